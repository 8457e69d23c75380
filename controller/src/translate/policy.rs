//! Which policies guard which rules.
//!
//! Policies attach from general to specific: Gateway, ListenerSet, listener, route, rule, and what a GatewayRoute itself names. The
//! most specific one counts. An AuthPolicy whose enforcement is `Required` counts besides it, wherever it is attached.
//! What can't be resolved fails closed: the name stays on the route, and what is emitted under it refuses.

mod auth;
mod authorize;
mod backend_tls;
mod external;
mod identity;
mod index;
mod keys;
mod limit;
mod services;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_crds::{Enforcement, GATEWAY_GROUP, ParentRef, TargetRef};
use gatehouse_proto::config::v1::{self, resource::Kind};

use super::{
    Contents, ImpliedGateways, Settings,
    conditions::{Condition, ConditionType, Problem, reason},
    input::{RouteInput, RuleAuth, RuleInput},
    listener::ListenerView,
    names,
    status::{ObjectId, ObjectStatus, ParentStatus},
};
use crate::{
    fetch::Wanted,
    resources::{ObjectKey, Resources},
};
use backend_tls::BackendTls;
use index::{Index, Target};
use traffic::Traffic;

/// What came to light while a policy was compiled.
#[derive(Debug, Clone, Default)]
struct Findings {
    /// It can't be enforced as it is written, and refuses.
    unaccepted: Option<Problem>,
    unresolved: Option<Problem>,
    /// What is worth knowing although it works.
    notes: Vec<String>,
    /// Backends that it needs by itself, by their resource names.
    services: Vec<(String, v1::Service)>,
}

/// What the policies of all kinds target.
#[derive(Debug)]
pub(super) struct Policies {
    auth: Index,
    limits: Index,
    pub(super) backend_tls: BackendTls,
    pub(super) traffic: Traffic,
}

/// The kinds of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PolicyKind {
    Auth,
    RateLimit,
}

/// A policy that says something of a Service. It has no resource of its own: it is a part of its Service's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OfBackend {
    Tls(ObjectKey),
    Traffic(ObjectKey),
}

/// What policies are put out from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) resources: &'a Resources,
    pub(super) settings: &'a Settings,
    pub(super) implied: &'a ImpliedGateways,
}

/// The resource names of the policies that guard a rule on a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Guards {
    pub(super) auth: Vec<String>,
    pub(super) limits: Vec<String>,
}

impl PolicyKind {
    pub(super) const ALL: [Self; 2] = [PolicyKind::Auth, PolicyKind::RateLimit];

    pub(super) fn kind(self) -> &'static str {
        match self {
            PolicyKind::Auth => "AuthPolicy",
            PolicyKind::RateLimit => "RateLimitPolicy",
        }
    }

    /// The name of a policy's resource.
    pub(super) fn resource(self, key: &ObjectKey) -> String {
        match self {
            PolicyKind::Auth => names::auth(key),
            PolicyKind::RateLimit => names::rate_limit(key),
        }
    }

    pub(super) fn exists(self, key: &ObjectKey, resources: &Resources) -> bool {
        match self {
            PolicyKind::Auth => resources.auth_policies.contains_key(key),
            PolicyKind::RateLimit => resources.rate_limit_policies.contains_key(key),
        }
    }

    pub(super) fn existing(self, resources: &Resources) -> Vec<ObjectKey> {
        match self {
            PolicyKind::Auth => resources.auth_policies.keys().cloned().collect(),
            PolicyKind::RateLimit => resources.rate_limit_policies.keys().cloned().collect(),
        }
    }

    fn compile(self, key: &ObjectKey, backend_tls: &BackendTls, resources: &Resources) -> (Kind, Findings) {
        match self {
            PolicyKind::Auth => {
                let (config, findings) = auth::config(key, backend_tls, resources);
                (Kind::Auth(config), findings)
            }
            PolicyKind::RateLimit => {
                let (config, findings) = limit::config(key, resources);
                (Kind::RateLimit(config), findings)
            }
        }
    }
}

impl OfBackend {
    pub(super) fn id(&self) -> ObjectId {
        let (kind, key) = match self {
            OfBackend::Tls(key) => ("BackendTLSPolicy", key),
            OfBackend::Traffic(key) => ("TrafficPolicy", key),
        };
        ObjectId { kind, key: key.clone() }
    }

    pub(super) fn existing(resources: &Resources) -> impl Iterator<Item = OfBackend> {
        let tls = resources.backend_tls_policies.keys().cloned().map(OfBackend::Tls);
        tls.chain(resources.traffic_policies.keys().cloned().map(OfBackend::Traffic))
    }
}

impl Policies {
    pub(super) fn new(resources: &Resources) -> Self {
        Policies {
            auth: Index::new(resources.auth_policies.iter().map(|(key, policy)| {
                let is_required = policy.spec.enforcement == Enforcement::Required;
                (key, policy, policy.spec.target_refs.as_slice(), is_required)
            })),
            limits: Index::new(
                resources
                    .rate_limit_policies
                    .iter()
                    .map(|(key, policy)| (key, policy, policy.spec.target_refs.as_slice(), false)),
            ),
            backend_tls: BackendTls::new(resources),
            traffic: Traffic::new(resources),
        }
    }

    fn index(&self, kind: PolicyKind) -> &Index {
        match kind {
            PolicyKind::Auth => &self.auth,
            PolicyKind::RateLimit => &self.limits,
        }
    }

    /// Policies whose status tells of the route.
    pub(super) fn targeting(&self, kind: PolicyKind, route: &ObjectId) -> impl Iterator<Item = &ObjectKey> {
        self.index(kind).of(route.kind, &route.key)
    }

    /// `gateways`: those whose routes lead to what it is for. `None`: it does not exist.
    pub(super) fn status_of_backend(
        &self,
        policy: &OfBackend,
        gateways: BTreeSet<&ObjectKey>,
        resources: &Resources,
    ) -> Option<ObjectStatus> {
        match policy {
            OfBackend::Tls(key) => self.backend_tls.status(key, gateways),
            OfBackend::Traffic(key) => self.traffic.status(key, gateways, resources),
        }
    }

    /// Whether a policy asks a Service whether requests may pass: with the policy, backends come and go.
    pub(super) fn is_external(key: &ObjectKey, resources: &Resources) -> bool {
        let policy = resources.auth_policies.get(key);
        policy.is_some_and(|policy| policy.spec.any_of.iter().any(|method| method.external.is_some()))
    }

    /// Whether an AuthPolicy asks one of these Services.
    pub(super) fn asks_any(resources: &Resources, services: &BTreeSet<ObjectKey>) -> bool {
        resources.auth_policies.iter().any(|(key, policy)| {
            let external = policy.spec.any_of.iter().filter_map(|method| method.external.as_ref());
            external.map(|external| external::service(external, key)).any(|one| services.contains(&one))
        })
    }

    /// For a rule served by a listener. The problem names a policy that does not exist.
    pub(super) fn guards(
        &self,
        resources: &Resources,
        gateway: &ObjectKey,
        listener: &ListenerView,
        route: &RouteInput<'_>,
        rule: &RuleInput<'_>,
    ) -> (Guards, Option<Problem>) {
        let section = Some(listener.spec.name.as_str());
        let mut places = vec![Target::new("Gateway", gateway, None)];
        match &listener.set {
            None => places.push(Target::new("Gateway", gateway, section)),
            Some(set) => {
                places.extend([None, section].map(|section| Target::new("ListenerSet", set, section)));
            }
        }
        places.push(Target::new(route.kind, route.key, None));
        places.extend(rule.name.map(|name| Target::new(route.kind, route.key, Some(name))));
        let named = |name: &str| ObjectKey::new(&route.key.namespace, name);
        let mut problems = Vec::new();

        let attached: Vec<&ObjectKey> = places.iter().filter_map(|place| self.auth.at(place)).collect();
        let is_required = |key: &ObjectKey| {
            resources
                .auth_policies
                .get(key)
                .is_some_and(|policy| policy.spec.enforcement == Enforcement::Required)
        };
        let mut auth: Vec<ObjectKey> =
            attached.iter().filter(|key| is_required(key)).map(|key| (*key).clone()).collect();
        match rule.auth {
            RuleAuth::Public => {}
            RuleAuth::Attached => auth.extend(attached.last().map(|key| (*key).clone())),
            RuleAuth::Policy(name) => {
                let key = named(name);
                if !resources.auth_policies.contains_key(&key) {
                    problems.push(missing("AuthPolicy", &key));
                }
                auth.push(key);
            }
        }
        let limits: Vec<ObjectKey> = match &rule.rate_limits {
            None => places
                .iter()
                .filter_map(|place| self.limits.at(place))
                .next_back()
                .cloned()
                .into_iter()
                .collect(),
            Some(names) => names.iter().map(|name| named(name)).collect(),
        };
        for key in &limits {
            if !resources.rate_limit_policies.contains_key(key) {
                problems.push(missing("RateLimitPolicy", key));
            }
        }
        let guards = Guards {
            auth: once(auth).iter().map(names::auth).collect(),
            limits: once(limits).iter().map(names::rate_limit).collect(),
        };
        (guards, Problem::join(problems))
    }

    /// Puts a policy into the configurations of the Gateways that use it, and gives its status, if it exists.
    pub(super) fn emit(
        &self,
        kind: PolicyKind,
        key: &ObjectKey,
        used: &[&ObjectKey],
        configs: &mut BTreeMap<ObjectKey, Contents>,
        sources: Sources<'_>,
    ) -> Option<ObjectStatus> {
        let (config, findings) = kind.compile(key, &self.backend_tls, sources.resources);
        for gateway in used {
            if let Some(state) = configs.get_mut(*gateway) {
                let mut config = config.clone();
                if let Kind::RateLimit(limit) = &mut config
                    && let Some(replicas) = sources.settings.replicas.get(*gateway)
                {
                    limit.replicas = *replicas;
                }
                state.insert(kind.resource(key).into(), config.into());
                for (name, service) in &findings.services {
                    state.insert(name.as_str().into(), Kind::Service(service.clone()).into());
                }
            }
        }
        kind.exists(key, sources.resources).then(|| self.status(kind, key, used, &findings, sources))
    }

    /// What policies want fetched, by id; the shortest interval counts. What has no authorities that can be read is not.
    pub(super) fn jwks(resources: &Resources) -> BTreeMap<String, Wanted> {
        let mut all: BTreeMap<String, Wanted> = BTreeMap::new();
        for (key, policy) in &resources.auth_policies {
            let jwks = policy.spec.any_of.iter().filter_map(|method| method.jwt.as_ref()?.jwks.as_ref());
            for wanted in jwks.filter_map(|jwks| keys::wanted(jwks, &key.namespace, resources).ok()) {
                let known = all.entry(wanted.id()).or_insert_with(|| wanted.clone());
                known.interval = known.interval.min(wanted.interval);
            }
        }
        all
    }

    fn status(
        &self,
        kind: PolicyKind,
        key: &ObjectKey,
        used: &[&ObjectKey],
        findings: &Findings,
        sources: Sources<'_>,
    ) -> ObjectStatus {
        let mut parents: Vec<ParentStatus> = used
            .iter()
            .map(|gateway| ParentStatus {
                parent_ref: ancestor(gateway),
                conditions: conditions(findings, None),
                gateway: Some((*gateway).clone()),
                attached: Vec::new(),
            })
            .collect();
        for (target, winner) in self.index(kind).targets_of(key) {
            let refused = if !exists(&target, &key.namespace, sources) {
                Some(Problem::new(
                    reason::TARGET_NOT_FOUND,
                    format!("targetRefs: {} {} does not exist", target.kind, target.name),
                ))
            } else if winner == key {
                None
            } else {
                Some(Problem::new(
                    reason::CONFLICTED,
                    format!("{winner} comes before it on the same target, {} {}", target.kind, target.name),
                ))
            };
            if refused.is_some() || used.is_empty() {
                parents.push(ParentStatus {
                    parent_ref: as_parent(&target),
                    conditions: conditions(findings, refused.as_ref()),
                    gateway: None,
                    attached: Vec::new(),
                });
            }
        }
        ObjectStatus { parents, ..ObjectStatus::default() }
    }
}

fn exists(target: &TargetRef, namespace: &str, sources: Sources<'_>) -> bool {
    let resources = sources.resources;
    let key = ObjectKey::new(namespace, &target.name);
    let section = target.section_name.as_deref();
    match target.kind.as_str() {
        "Gateway" => {
            let implied = sources.implied.get(&key).map(|(gateway, _)| gateway);
            implied.or_else(|| resources.gateways.get(&key)).is_some_and(|gateway| {
                is_one(section, gateway.spec.listeners.iter().map(|listener| Some(&*listener.name)))
            })
        }
        "ListenerSet" => resources.listener_sets.get(&key).is_some_and(|set| {
            is_one(section, set.spec.listeners.iter().map(|listener| Some(&*listener.name)))
        }),
        "HTTPRoute" => resources
            .http_routes
            .get(&key)
            .is_some_and(|route| is_one(section, route.spec.rules.iter().map(|rule| rule.name.as_deref()))),
        "GRPCRoute" => resources
            .grpc_routes
            .get(&key)
            .is_some_and(|route| is_one(section, route.spec.rules.iter().map(|rule| rule.name.as_deref()))),
        "GatewayRoute" => resources
            .gateway_routes
            .get(&key)
            .is_some_and(|route| is_one(section, route.spec.rules.iter().map(|rule| rule.name.as_deref()))),
        _ => false,
    }
}

/// The section, if one is asked for, is among those of the object.
fn is_one<'a>(section: Option<&str>, mut sections: impl Iterator<Item = Option<&'a str>>) -> bool {
    section.is_none_or(|section| sections.any(|one| one == Some(section)))
}

fn missing(kind: &str, key: &ObjectKey) -> Problem {
    Problem::new(reason::POLICY_NOT_FOUND, format!("{kind} {key} does not exist, so the rule answers 503"))
}

/// Each once, in their order.
fn once(policies: Vec<ObjectKey>) -> Vec<ObjectKey> {
    let mut once = Vec::new();
    for key in policies {
        if !once.contains(&key) {
            once.push(key);
        }
    }
    once
}

/// `refused`: what is wrong with one target.
fn conditions(findings: &Findings, refused: Option<&Problem>) -> Vec<Condition> {
    let accepted = match refused.or(findings.unaccepted.as_ref()) {
        None => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
        Some(problem) => Condition::not(ConditionType::Accepted, problem.clone()),
    };
    let resolved = match &findings.unresolved {
        None => Condition {
            message: findings.notes.join("; "),
            ..Condition::is(ConditionType::ResolvedRefs, reason::RESOLVED_REFS)
        },
        Some(problem) => Condition::not(ConditionType::ResolvedRefs, problem.clone()),
    };
    vec![accepted, resolved]
}

fn ancestor(gateway: &ObjectKey) -> ParentRef {
    ParentRef {
        group: Some(GATEWAY_GROUP.into()),
        kind: Some("Gateway".into()),
        namespace: Some(gateway.namespace.clone()),
        name: gateway.name.clone(),
        ..ParentRef::default()
    }
}

fn as_parent(target: &TargetRef) -> ParentRef {
    ParentRef {
        group: Some(target.group.clone()),
        kind: Some(target.kind.clone()),
        name: target.name.clone(),
        section_name: target.section_name.clone(),
        ..ParentRef::default()
    }
}
