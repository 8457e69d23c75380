//! GatewayClasses and Gateways.

use std::collections::BTreeMap;

use gatehouse_crds::{GROUP, Gateway, GatewayConfigSpec, ParametersRef};
use gatehouse_proto::config::v1::resource::Kind;

use super::{
    CONTROLLER_NAME, Config,
    conditions::{Condition, ConditionType, Problem, reason},
    listener::ListenerView,
    names, settings,
    status::{ObjectStatus, Statuses},
};
use crate::resources::{ObjectKey, Resources};

/// Our classes, each with its configuration if it refers to one.
pub(super) type Classes<'a> = BTreeMap<&'a str, Option<(&'a ObjectKey, &'a GatewayConfigSpec)>>;

/// A Gateway of one of our classes.
#[derive(Debug)]
pub(super) struct GatewayView<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) listeners: Vec<ListenerView<'a>>,
    pub(super) require_auth: bool,
    settings: Kind,
    problem: Option<Problem>,
}

pub(super) fn classes<'a>(resources: &'a Resources, statuses: &mut Statuses) -> Classes<'a> {
    let mut classes = Classes::new();
    for (name, class) in &resources.gateway_classes {
        if class.spec.controller_name != CONTROLLER_NAME {
            continue;
        }
        let namespace =
            class.spec.parameters_ref.as_ref().and_then(|parameters| parameters.namespace.as_deref());
        let parameters = class.spec.parameters_ref.as_ref();
        let config =
            parameters.map(|parameters| configuration(parameters, namespace.unwrap_or(""), resources));
        let condition = match &config {
            Some(Err(problem)) => Condition::not(ConditionType::Accepted, problem.clone()),
            _ => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
        };
        let status = ObjectStatus { conditions: vec![condition], ..ObjectStatus::default() };
        statuses.set("GatewayClass", &ObjectKey::new("", name), status);
        classes.insert(name, config.and_then(Result::ok));
    }
    classes
}

fn configuration<'a>(
    parameters: &ParametersRef,
    namespace: &str,
    resources: &'a Resources,
) -> Result<(&'a ObjectKey, &'a GatewayConfigSpec), Problem> {
    let invalid = |message| Problem::new(reason::INVALID_PARAMETERS, message);
    if (parameters.group.as_str(), parameters.kind.as_str()) != (GROUP, "GatewayConfig") {
        return Err(invalid(format!(
            "parametersRef: {} {} is no GatewayConfig of {GROUP}",
            parameters.kind, parameters.name
        )));
    }
    let key = ObjectKey::new(namespace, &parameters.name);
    let found = resources.gateway_configs.get_key_value(&key);
    found
        .map(|(key, config)| (key, &config.spec))
        .ok_or_else(|| invalid(format!("parametersRef: GatewayConfig {key} does not exist")))
}

impl<'a> GatewayView<'a> {
    /// `None` if it is of another controller's class.
    pub(super) fn new(
        key: &'a ObjectKey,
        gateway: &'a Gateway,
        classes: &Classes<'a>,
        resources: &'a Resources,
    ) -> Option<Self> {
        let class = classes.get(gateway.spec.gateway_class_name.as_str())?;
        let own = gateway
            .spec
            .infrastructure
            .as_ref()
            .and_then(|infrastructure| infrastructure.parameters_ref.as_ref());
        let (config, mut problem) = match own.map(|own| configuration(own, &key.namespace, resources)) {
            Some(Ok(config)) => (Some(config), None),
            Some(Err(problem)) => (*class, Some(problem)),
            None => (*class, None),
        };
        let (settings, unusable) = settings::compile(config, resources);
        problem = problem.or(unusable);
        let mut listeners: Vec<_> = gateway
            .spec
            .listeners
            .iter()
            .map(|listener| ListenerView::new(listener, &key.namespace, resources))
            .collect();
        find_conflicts(&mut listeners);
        Some(GatewayView {
            key,
            listeners,
            require_auth: config.is_some_and(|(_, config)| config.require_auth),
            settings: Kind::Settings(settings),
            problem,
        })
    }

    /// What does not depend on routes.
    pub(super) fn config(&self) -> Config {
        let listeners = self.listeners.iter().flat_map(|listener| listener.resources(self.key));
        std::iter::once((names::SETTINGS.to_owned(), self.settings.clone())).chain(listeners).collect()
    }

    pub(super) fn status(&self) -> ObjectStatus {
        let broken: Vec<&str> = self
            .listeners
            .iter()
            .filter(|listener| !listener.is_accepted())
            .map(|listener| listener.spec.name.as_str())
            .collect();
        let condition = match &self.problem {
            Some(problem) => Condition::not(ConditionType::Accepted, problem.clone()),
            None if broken.is_empty() => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
            None => Condition {
                kind: ConditionType::Accepted,
                // The others are served.
                status: broken.len() < self.listeners.len(),
                reason: reason::LISTENERS_NOT_VALID,
                message: format!("listeners that can't be served: {}", broken.join(", ")),
            },
        };
        ObjectStatus {
            conditions: vec![condition],
            listeners: self.listeners.iter().map(ListenerView::status).collect(),
            ..ObjectStatus::default()
        }
    }
}

/// Listeners of one port must agree on the protocol and differ in their host names (GEP-1364). The first keeps both.
fn find_conflicts(listeners: &mut [ListenerView<'_>]) {
    for later in 1..listeners.len() {
        let (before, after) = listeners.split_at_mut(later);
        let listener = &mut after[0];
        let same_port =
            before.iter().filter(|other| other.spec.port == listener.spec.port && other.is_accepted());
        let conflict = same_port.into_iter().find_map(|other| {
            let name = &other.spec.name;
            if !listener.has_protocol_of(other) {
                let message = format!("listener {name} serves another protocol on port {}", other.spec.port);
                return Some((reason::PROTOCOL_CONFLICT, message));
            }
            (listener.hostname == other.hostname).then(|| {
                let message =
                    format!("listener {name} already serves this host name on port {}", other.spec.port);
                (reason::HOSTNAME_CONFLICT, message)
            })
        });
        if let Some((reason, message)) = conflict {
            listener.conflict_with(reason, message);
        }
    }
}
