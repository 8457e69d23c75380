//! GatewayClasses and Gateways.

use std::{collections::BTreeMap, ops::Range};

use gatehouse_crds::{
    CertificateRef, ExternalNames, GATEWAY_GROUP, GROUP, Gateway, GatewayConfigSpec, Listener, ListenerSet,
    ParametersRef,
};
use gatehouse_proto::config::v1::{self, Certificate, resource::Kind};

use super::{
    CONTROLLER_NAME, Contents, Provisioning, address, certificate,
    conditions::{Condition, ConditionType, Problem, reason},
    conflicts, frontend, grant,
    listener::ListenerView,
    listener_set::{self, SetView},
    names,
    settings::{self, IdleTimeouts},
    status::{ObjectStatus, Statuses},
    version,
};
use crate::resources::{ObjectKey, Resources};

/// Our classes, each with what its parametersRef leads to.
pub(super) type Classes<'a> = BTreeMap<&'a str, Parameters<'a>>;

/// A GatewayConfig; `None`: no reference to one.
pub(super) type Parameters<'a> = Result<Option<(&'a ObjectKey, &'a GatewayConfigSpec)>, Problem>;

/// A Gateway of one of our classes.
#[derive(Debug)]
pub(super) struct GatewayView {
    pub(super) key: ObjectKey,
    /// Its own, then those of its ListenerSets in their order.
    pub(super) listeners: Vec<ListenerView>,
    /// How many are its own.
    own: usize,
    sets: BTreeMap<ObjectKey, SetView>,
    pub(super) require_auth: bool,
    /// Which of them it serves.
    pub(super) external_names: Option<ExternalNames>,
    pub(super) provisioning: Provisioning,
    settings: v1::Settings,
    idle_timeouts: IdleTimeouts,
    /// What backends are shown that ask for a certificate.
    own_certificate: Option<Result<(ObjectKey, Certificate), Problem>>,
    /// Clients without a valid certificate may be let in.
    is_insecure: bool,
    problem: Option<Problem>,
}

pub(super) fn classes<'a>(resources: &'a Resources, statuses: &mut Statuses) -> Classes<'a> {
    let mut classes = Classes::new();
    for (name, class) in &resources.gateway_classes {
        if class.spec.controller_name != CONTROLLER_NAME {
            continue;
        }
        let reference = class.spec.parameters_ref.as_ref();
        let namespace = reference.and_then(|reference| reference.namespace.as_deref()).unwrap_or("");
        let parameters = configuration("parametersRef", reference, namespace, resources);
        let condition = match &parameters {
            Err(problem) => Condition::not(ConditionType::Accepted, problem.clone()),
            Ok(_) => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
        };
        let conditions = [condition].into_iter().chain(version::condition(&resources.installed)).collect();
        let status = ObjectStatus { conditions, ..ObjectStatus::default() };
        statuses.set("GatewayClass", &ObjectKey::new("", name), status);
        classes.insert(name, parameters);
    }
    classes
}

/// GatewayConfigs, whether or not anything refers to them.
pub(super) fn configs(resources: &Resources, statuses: &mut Statuses) {
    for (key, config) in &resources.gateway_configs {
        let (_, problem) = settings::compile(Some((key, &config.spec)), resources);
        let condition = match problem {
            Some(problem) => Condition::not(ConditionType::Accepted, problem),
            None => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
        };
        let status = ObjectStatus { conditions: vec![condition], ..ObjectStatus::default() };
        statuses.set("GatewayConfig", key, status);
    }
}

/// `field`: where the reference stands.
pub(super) fn configuration<'a>(
    field: &str,
    reference: Option<&ParametersRef>,
    namespace: &str,
    resources: &'a Resources,
) -> Parameters<'a> {
    let Some(parameters) = reference else { return Ok(None) };
    let invalid = |message| Problem::new(reason::INVALID_PARAMETERS, message);
    if (parameters.group.as_str(), parameters.kind.as_str()) != (GROUP, "GatewayConfig") {
        return Err(invalid(format!(
            "{field}: {} {} is no GatewayConfig of {GROUP}",
            parameters.kind, parameters.name
        )));
    }
    let key = ObjectKey::new(namespace, &parameters.name);
    let found = resources.gateway_configs.get_key_value(&key);
    match found {
        Some((key, config)) => Ok(Some((key, &config.spec))),
        None => Err(invalid(format!("{field}: GatewayConfig {key} does not exist"))),
    }
}

impl GatewayView {
    /// `None` if it is of another controller's class. `sets`: those that want to join it, in their order.
    pub(super) fn new(
        key: &ObjectKey,
        gateway: &Gateway,
        sets: &[(&ObjectKey, &ListenerSet)],
        classes: &Classes<'_>,
        resources: &Resources,
    ) -> Option<Self> {
        let class = classes.get(gateway.spec.gateway_class_name.as_str())?;
        let infrastructure = gateway.spec.infrastructure.as_ref();
        let own = infrastructure.and_then(|infrastructure| infrastructure.parameters_ref.as_ref());
        let parameters = match own {
            Some(_) => configuration("parametersRef", own, &key.namespace, resources),
            None => class.clone(),
        };
        let listener = |listener: &Listener| ListenerView::new(listener, key, None, resources);
        let mut listeners: Vec<_> = gateway.spec.listeners.iter().map(listener).collect();
        let mut joined = Vec::new();
        for (set, object) in sets {
            let admitted = listener_set::admit(key, gateway, &set.namespace, resources).map(|()| {
                let listener = |listener: &Listener| ListenerView::new(listener, key, Some(set), resources);
                let first = listeners.len();
                listeners.extend(object.spec.listeners.iter().map(listener));
                first..listeners.len()
            });
            joined.push((*set, admitted));
        }
        let tls = gateway.spec.tls.as_ref();
        let frontend = tls.and_then(|tls| tls.frontend.as_ref());
        if let Some(frontend) = frontend {
            for listener in &mut listeners {
                listener.validate_clients(frontend, &key.namespace, resources);
            }
        }
        conflicts::find(&mut listeners);
        let fallback = class.as_ref().ok().copied().flatten();
        let mut view = GatewayView::with(key, listeners, parameters, fallback, resources);
        view.problem = view.problem.or_else(|| address::unsupported(gateway));
        view.is_insecure = frontend.is_some_and(frontend::is_insecure);
        let own = tls.and_then(|tls| tls.backend.as_ref()?.client_certificate_ref.as_ref());
        view.own_certificate = own.map(|reference| own_certificate(reference, key, resources));
        view.own = gateway.spec.listeners.len();
        view.sets = joined.into_iter().map(|(set, admitted)| (set.clone(), view.set(admitted))).collect();
        Some(view)
    }

    /// What Ingresses imply. `parameters`: of their class.
    pub(super) fn implied(
        key: &ObjectKey,
        gateway: &Gateway,
        parameters: Parameters<'_>,
        resources: &Resources,
    ) -> Self {
        let listener = |listener: &Listener| ListenerView::implied(listener, resources);
        let listeners = gateway.spec.listeners.iter().map(listener).collect();
        GatewayView::with(key, listeners, parameters, None, resources)
    }

    /// `fallback`: what holds in place of parameters that can't be read.
    fn with(
        key: &ObjectKey,
        listeners: Vec<ListenerView>,
        parameters: Parameters<'_>,
        fallback: Option<(&ObjectKey, &GatewayConfigSpec)>,
        resources: &Resources,
    ) -> Self {
        // What can't be read may have said that authentication is required.
        let require_auth =
            parameters.as_ref().map_or(true, |config| config.is_some_and(|(_, config)| config.require_auth));
        // What can't be read may have said that there are none.
        let external_names = parameters
            .as_ref()
            .ok()
            .and_then(|config| config.and_then(|(_, config)| config.external_names.clone()));
        let provisioning = match &parameters {
            Ok(config) => Provisioning::Wanted(config.map(|(_, config)| Box::new(config.clone()))),
            Err(_) => Provisioning::Keep,
        };
        let (config, missing) = match parameters {
            Ok(config) => (config, None),
            Err(problem) => (fallback, Some(problem)),
        };
        let (settings, unusable) = settings::compile(config, resources);
        let problem = missing.or(unusable);
        let idle_timeouts = IdleTimeouts::of(config.map(|(_, config)| config));
        GatewayView {
            key: key.clone(),
            own: listeners.len(),
            listeners,
            sets: BTreeMap::new(),
            require_auth,
            external_names,
            provisioning,
            settings,
            idle_timeouts,
            own_certificate: None,
            is_insecure: false,
            problem,
        }
    }

    /// `admitted`: the listeners of the ListenerSet among those of the Gateway.
    fn set(&self, admitted: Result<Range<usize>, Problem>) -> SetView {
        match admitted {
            Err(problem) => {
                SetView { listeners: 0..0, accepted: Condition::not(ConditionType::Accepted, problem) }
            }
            Ok(listeners) => {
                let accepted = if self.accepted().status {
                    let listeners = &self.listeners[listeners.clone()];
                    accepted(listeners, |listener| listener.is_accepted() && listener.is_served())
                } else {
                    let message = format!("Gateway {} is not accepted", self.key);
                    let problem = Problem::new(reason::PARENT_NOT_ACCEPTED, message);
                    Condition::not(ConditionType::Accepted, problem)
                };
                SetView { listeners, accepted }
            }
        }
    }

    pub(super) fn own_listeners(&self) -> Range<usize> {
        0..self.own
    }

    /// The listeners of a ListenerSet.
    pub(super) fn listeners_of(&self, set: &ObjectKey) -> Result<Range<usize>, Problem> {
        let refused = |message| Err(Problem::new(reason::NO_MATCHING_PARENT, message));
        match self.sets.get(set) {
            Some(view) if !view.listeners.is_empty() => Ok(view.listeners.clone()),
            Some(view) => refused(format!("ListenerSet {set} is not accepted: {}", view.accepted.message)),
            None => refused(format!("ListenerSet {set} is not accepted")),
        }
    }

    /// What does not depend on routes.
    pub(super) fn config(&self) -> Contents {
        let idle = self.idle_timeouts;
        let listeners = self.listeners.iter().flat_map(|listener| listener.resources(&self.key, idle));
        let mut settings = self.settings.clone();
        let mut own = None;
        if let Some(Ok((secret, certificate))) = &self.own_certificate {
            let name = names::certificate(secret);
            settings.backend_certificate.clone_from(&name);
            own = Some((name, Kind::Certificate(certificate.clone())));
        }
        let whole = std::iter::once((names::SETTINGS.to_owned(), Kind::Settings(settings)));
        whole.chain(own).chain(listeners).map(|(name, kind)| (name.into(), kind.into())).collect()
    }

    /// Of the IngressClass that implies it.
    pub(super) fn class_status(&self) -> ObjectStatus {
        let condition = match &self.problem {
            Some(problem) => Condition::not(ConditionType::Accepted, problem.clone()),
            None => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
        };
        ObjectStatus { conditions: vec![condition], ..ObjectStatus::default() }
    }

    pub(super) fn status(&self) -> ObjectStatus {
        let resolved = self.own_certificate.as_ref().map(|own| match own {
            Ok(_) => Condition::is(ConditionType::ResolvedRefs, reason::RESOLVED_REFS),
            Err(problem) => Condition::not(ConditionType::ResolvedRefs, problem.clone()),
        });
        let insecure = self.is_insecure.then(|| Condition {
            message: "AllowInsecureFallback lets in clients without a valid certificate".into(),
            ..Condition::is(ConditionType::InsecureFrontendValidationMode, reason::CONFIGURATION_CHANGED)
        });
        let attached = self.sets.values().filter(|set| set.accepted.status).count();
        ObjectStatus {
            conditions: std::iter::once(self.accepted()).chain(resolved).chain(insecure).collect(),
            listeners: self.listeners[..self.own].iter().map(ListenerView::status).collect(),
            attached_listener_sets: i32::try_from(attached).ok().filter(|attached| *attached > 0),
            ..ObjectStatus::default()
        }
    }

    /// Of itself: ListenerSets have their own.
    fn accepted(&self) -> Condition {
        match &self.problem {
            Some(problem) => Condition::not(ConditionType::Accepted, problem.clone()),
            None => accepted(&self.listeners[..self.own], ListenerView::is_accepted),
        }
    }

    /// Those that want to join it.
    pub(super) fn sets(&self) -> impl Iterator<Item = &ObjectKey> {
        self.sets.keys()
    }

    /// The listeners of all of them that it serves, each by a name that is its own.
    pub(super) fn joined(&self) -> Vec<Listener> {
        let joined = self.listeners[self.own..].iter().filter(|listener| listener.is_accepted());
        joined.map(|listener| Listener { name: listener.place(), ..listener.spec.clone() }).collect()
    }

    /// Of one of its ListenerSets.
    pub(super) fn set_status(&self, set: &ObjectKey) -> ObjectStatus {
        let Some(view) = self.sets.get(set) else { return ObjectStatus::default() };
        ObjectStatus {
            conditions: vec![view.accepted.clone()],
            listeners: self.listeners[view.listeners.clone()].iter().map(ListenerView::status).collect(),
            ..ObjectStatus::default()
        }
    }
}

/// Of what has listeners.
fn accepted(listeners: &[ListenerView], is_right: impl Fn(&ListenerView) -> bool) -> Condition {
    let broken = listeners.iter().filter(|listener| !is_right(listener));
    let broken: Vec<&str> = broken.map(|listener| listener.spec.name.as_str()).collect();
    if broken.is_empty() {
        return Condition::is(ConditionType::Accepted, reason::ACCEPTED);
    }
    Condition {
        kind: ConditionType::Accepted,
        // The others are served.
        status: broken.len() < listeners.len(),
        reason: reason::LISTENERS_NOT_VALID,
        message: format!("listeners that can't be served: {}", broken.join(", ")),
    }
}

/// The Secret that backends are shown the content of (GEP-3155).
fn own_certificate(
    reference: &CertificateRef,
    gateway: &ObjectKey,
    resources: &Resources,
) -> Result<(ObjectKey, Certificate), Problem> {
    let from = grant::From { group: GATEWAY_GROUP, kind: "Gateway", namespace: &gateway.namespace };
    certificate::resolve(reference, from, resources).map_err(|problem| {
        let of_gateway = match problem.reason {
            reason::INVALID_CERTIFICATE_REF => reason::INVALID_CLIENT_CERTIFICATE_REF,
            other => other,
        };
        Problem::new(of_gateway, format!("tls.backend.clientCertificateRef: {}", problem.message))
    })
}

/// Of a Gateway that has the name of one that Ingresses imply.
pub(super) fn taken() -> ObjectStatus {
    let message = "an IngressClass implies a Gateway of this name and namespace: take another name";
    let condition = Condition::not(ConditionType::Accepted, Problem::new(reason::CONFLICTED, message));
    ObjectStatus { conditions: vec![condition], ..ObjectStatus::default() }
}
