//! Ingresses, brought to what the Gateway API would say: each of our IngressClasses that is used implies one Gateway, and
//! each Ingress is a route on it. From there on they take the way of all Gateways and routes; nothing is translated here.
//!
//! What two Ingresses claim goes to the older one, then to the one whose name comes first, and the other is told.

mod annotations;
mod class;
mod listeners;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use gatehouse_crds::{GATEWAY_GROUP, Gateway, ParentRef, Redirect};
use k8s_openapi::api::networking::v1::Ingress;
use kube::Resource;

use super::{
    ImpliedGateways, Settings,
    conditions::{Problem, reason},
    gateway::GatewayView,
    input::{self, ActionInput, Matches, OwnHost, RouteInput, RuleAuth, RuleInput},
};
use crate::{
    provision,
    resources::{INGRESS_GROUP, ObjectKey, Resources},
};
use annotations::{Annotations, Answer};
use class::Classes;
use listeners::Listeners;
use rules::{Claims, Rule};

pub(super) use class::parameters;

/// Every Ingress of our classes.
#[derive(Debug)]
pub(super) struct Ingresses<'a> {
    pub(super) gateways: ImpliedGateways,
    routes: Vec<Route<'a>>,
}

/// One Ingress.
#[derive(Debug)]
struct Route<'a> {
    key: &'a ObjectKey,
    created: i64,
    gateway: ObjectKey,
    parent_refs: Vec<ParentRef>,
    rules: Vec<Rule>,
    annotations: Annotations,
    /// Of the rules, by their indices in the Gateway.
    listeners: BTreeSet<usize>,
    /// Those that present a certificate of its own.
    certified: BTreeSet<usize>,
    unresolved: Vec<Problem>,
    conflicts: Vec<Problem>,
}

/// The listener of plain HTTP, by its index.
const PLAIN: usize = 0;

/// What is said to who comes by plain HTTP and must not.
static TO_HTTPS: LazyLock<Redirect> = LazyLock::new(|| Redirect {
    scheme: Some("https".into()),
    status_code: Some(308),
    ..Redirect::default()
});

/// The oldest first.
type ByAge<'a> = BTreeMap<(i64, &'a ObjectKey), &'a Ingress>;

impl<'a> Ingresses<'a> {
    pub(super) fn new(resources: &'a Resources, settings: &Settings) -> Self {
        let classes = Classes::new(resources);
        let mut by_class: BTreeMap<&str, ByAge<'a>> = BTreeMap::new();
        for (key, ingress) in &resources.ingresses {
            if let Some(class) = classes.of(ingress) {
                by_class.entry(class).or_default().insert((input::created(ingress), key), ingress);
            }
        }
        let mut ingresses = Ingresses { gateways: ImpliedGateways::new(), routes: Vec::new() };
        let key = |class: &str| ObjectKey::new(&*settings.namespace, format!("{class}-ingress"));
        // Where pods stand, they must learn that the last Ingress of their class is gone.
        for class in classes.names() {
            let gateway = key(class);
            let service = ObjectKey::new(&*gateway.namespace, provision::object_name(&gateway.name));
            if resources.services.contains_key(&service) {
                by_class.entry(class).or_default();
            }
        }
        for (class, by_age) in by_class {
            let key = key(class);
            let mut gateway = ingresses.add(class, &key, by_age);
            let owner =
                resources.ingress_classes.get(class).and_then(|class| class.controller_owner_ref(&()));
            gateway.metadata.owner_references = owner.map(|owner| vec![owner]);
            ingresses.gateways.insert(key, (gateway, class.to_owned()));
        }
        ingresses
    }

    /// The Ingresses of a class; gives the Gateway that they imply.
    fn add(&mut self, class: &str, gateway: &ObjectKey, by_age: ByAge<'a>) -> Gateway {
        let mut listeners = Listeners::default();
        let mut claims = Claims::default();
        let (first, mut certified) = (self.routes.len(), Vec::new());
        for ((created, key), ingress) in by_age {
            let annotations = Annotations::of(ingress);
            // A canary has its host and path from another, which must not lose them to it.
            let rules = if annotations.is_canary { Vec::new() } else { rules::rules(ingress, &annotations) };
            let mut tls = listeners.claim(key, ingress);
            let conflicts = claims.claim(key, &rules);
            let unserved = |text: &String| Problem::new(reason::UNSUPPORTED_VALUE, text.clone());
            tls.unresolved.extend(annotations.unserved.iter().map(unserved));
            certified.push(tls.hosts);
            self.routes.push(Route {
                key,
                created,
                gateway: gateway.clone(),
                parent_refs: vec![ParentRef {
                    group: Some(GATEWAY_GROUP.into()),
                    kind: Some("Gateway".into()),
                    namespace: Some(gateway.namespace.clone()),
                    name: gateway.name.clone(),
                    ..ParentRef::default()
                }],
                rules,
                annotations,
                listeners: BTreeSet::new(),
                certified: BTreeSet::new(),
                unresolved: tls.unresolved,
                conflicts: tls.conflicts.into_iter().chain(conflicts).collect(),
            });
        }
        // Only now all listeners are known.
        let numbered = listeners.numbered();
        for (route, hosts) in self.routes[first..].iter_mut().zip(certified) {
            route.certified = hosts.iter().filter_map(|host| numbered.of(host)).collect();
            let mut plain = Vec::new();
            for rule in &mut route.rules {
                rule.listeners = rule.host.as_deref().map(|host| numbered.serving(host)).unwrap_or_default();
                route.listeners.extend(&rule.listeners);
                // Where there is no other listener for the host, there is nowhere to go.
                if route.annotations.to_https && route.annotations.moved.is_none() && rule.listeners.len() > 1
                {
                    rule.listeners.remove(&PLAIN);
                    plain.push(Rule { listeners: BTreeSet::from([PLAIN]), ..rule.to_https() });
                }
            }
            route.rules.extend(plain);
        }
        listeners.gateway(class, gateway)
    }

    /// `gateways`: the implied ones among others.
    pub(super) fn routes(&self, gateways: &BTreeMap<ObjectKey, GatewayView>) -> Vec<RouteInput<'_>> {
        self.routes.iter().map(|route| route.input(gateways.get(&route.gateway))).collect()
    }
}

/// The Secrets that the Ingresses of our classes name, found without the rest.
pub(super) fn secrets(resources: &Resources) -> impl Iterator<Item = ObjectKey> {
    let classes = Classes::new(resources);
    let ours = resources.ingresses.iter().filter(move |(_, ingress)| classes.of(ingress).is_some());
    ours.flat_map(|(key, ingress)| {
        let entries = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
        let names = entries.filter_map(|tls| tls.secret_name.as_deref());
        names.map(|name| ObjectKey::new(&*key.namespace, name))
    })
}

impl Route<'_> {
    fn input(&self, gateway: Option<&GatewayView>) -> RouteInput<'_> {
        let listeners = gateway.map_or(&[][..], |gateway| &gateway.listeners);
        let certified = self.certified.iter().filter_map(|index| listeners.get(*index)?.unresolved());
        RouteInput {
            group: INGRESS_GROUP,
            kind: "Ingress",
            key: self.key,
            created: self.created,
            parent_refs: &self.parent_refs,
            hostnames: &[],
            takes: input::Takes::Requests,
            backend_field: "backend.service",
            rules: self.rules.iter().map(|rule| rule.input(&self.annotations)).collect(),
            listeners: Some(&self.listeners),
            unresolved: self.unresolved.iter().chain(certified).cloned().collect(),
            conflicts: self.conflicts.clone(),
            unconverted: self.annotations.closed.as_deref(),
        }
    }
}

impl Rule {
    fn input<'a>(&'a self, annotations: &'a Annotations) -> RuleInput<'a> {
        let (action, problem) = match (&self.backend, &annotations.moved) {
            (Ok(_), _) if self.to_https => (ActionInput::Redirect(&TO_HTTPS), None),
            (Ok(_), Some(Answer::Redirect(redirect))) => (ActionInput::Redirect(redirect), None),
            (Ok(_), Some(Answer::Respond(respond))) => (ActionInput::Respond(respond), None),
            (Ok(backend), None) => {
                let backend = input::BackendInput {
                    port_name: backend.port_name.as_deref(),
                    ..input::plain_backend(&backend.reference)
                };
                let forward = ActionInput::Forward {
                    backends: vec![backend],
                    rewrite: self.rewrite.as_ref(),
                    mirrors: Vec::new(),
                    failover: &[],
                    affinity: None,
                    rollout: None,
                };
                (forward, None)
            }
            (Err(problem), _) => (ActionInput::Nothing, Some(problem.clone())),
        };
        RuleInput {
            name: None,
            field: Some(&self.field),
            own: Some(OwnHost { host: self.host.as_deref().unwrap_or(""), listeners: &self.listeners }),
            is_last: self.is_default,
            matches: Matches::Http(&self.matches),
            request_headers: None,
            response_headers: None,
            cors: annotations.cors.as_ref(),
            action,
            timeouts: annotations.timeouts.as_ref(),
            retry: None,
            max_body_bytes: annotations.max_body_bytes,
            fault: None,
            cache: None,
            auth: RuleAuth::Attached,
            rate_limits: None,
            problem,
        }
    }
}
