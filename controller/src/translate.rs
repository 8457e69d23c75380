//! From objects to what dataplanes serve by, and to what users read in statuses: both from one pass, so that they can't
//! disagree.
//!
//! Pure: no I/O, no clock, no randomness. It never fails: an object that can't be used becomes a condition and the nearest
//! safe configuration, and harms nothing else. The same input gives the same output to the byte.
//!
//! `Programmed` is not decided here: only acknowledgements of dataplanes can tell.

mod attach;
mod backend;
mod certificate;
mod check;
pub(crate) mod conditions;
mod consumer;
mod endpoints;
mod gateway;
mod grant;
mod ingress;
mod input;
mod listener;
pub(crate) mod names;
mod policy;
mod references;
mod route;
mod rule;
mod settings;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gatehouse_crds::{Gateway, GatewayConfigSpec};
use gatehouse_proto::config::v1::resource::Kind;

use crate::resources::{ObjectKey, Resources};
use {gateway::GatewayView, ingress::Ingresses, policy::Policies};

pub(crate) use attach::parent_key;
pub use conditions::{Condition, ConditionType};
pub use endpoints::{backends_of, endpoints};
pub(crate) use listener::route_group;
pub use references::wanted_secrets;
pub use status::{ListenerStatus, ObjectId, ObjectStatus, ParentStatus, Statuses};

/// The controller's name in GatewayClasses and statuses.
pub const CONTROLLER_NAME: &str = "gatehouse.dev/gateway-controller";

/// The controller's name in IngressClasses.
pub const INGRESS_CONTROLLER_NAME: &str = "gatehouse.dev/ingress-controller";

/// What translation depends on besides the objects.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// How many dataplanes share the local counts of a Gateway. Absent: one.
    pub replicas: BTreeMap<ObjectKey, u32>,
    /// The controller's own, and that of the Gateways that Ingresses imply.
    pub namespace: String,
}

#[derive(Debug, Default)]
pub struct Translation {
    /// By Gateway, then by resource name.
    pub gateways: BTreeMap<ObjectKey, Config>,
    pub statuses: Statuses,
    /// By Gateway: those of our classes, as in `gateways`.
    pub provisioning: BTreeMap<ObjectKey, Provisioning>,
    /// Gateways that nobody wrote: what each of our IngressClasses implies that an Ingress uses, with the class's name.
    /// They are in `gateways` and `provisioning` as well, and have no status of their own.
    pub implied_gateways: ImpliedGateways,
    /// JWKS URLs that policies refer to, and how often each is to be fetched.
    pub jwks_urls: BTreeMap<String, Duration>,
}

/// What a Gateway's pods and Service are to be planned by.
#[derive(Debug, Clone, PartialEq)]
pub enum Provisioning {
    /// By its GatewayConfig; `None`: it has none, and the defaults hold.
    Wanted(Option<Box<GatewayConfigSpec>>),
    /// Its parametersRef leads nowhere: nothing is planned, and what is deployed stays as it is.
    Keep,
}

/// By Gateway, the object and the name of its IngressClass.
pub type ImpliedGateways = BTreeMap<ObjectKey, (Gateway, String)>;

/// The resources of one Gateway, by name.
pub type Config = BTreeMap<String, Kind>;

pub fn translate(resources: &Resources, settings: &Settings) -> Translation {
    let mut statuses = Statuses::default();
    let classes = gateway::classes(resources, &mut statuses);
    let ingresses = Ingresses::new(resources, settings);
    let mut gateways: BTreeMap<&ObjectKey, GatewayView<'_>> = resources
        .gateways
        .iter()
        .filter_map(|(key, gateway)| Some((key, GatewayView::new(key, gateway, &classes, resources)?)))
        .collect();
    let implied = ingresses.gateways.iter().map(|(key, (gateway, class))| {
        (key, GatewayView::implied(key, gateway, ingress::parameters(class, resources), resources))
    });
    let taken: Vec<&ObjectKey> =
        implied.filter_map(|(key, view)| gateways.insert(key, view)).map(|view| view.key).collect();
    let routes = ingresses.routes(&gateways);
    let mut policies = Policies::new(resources, settings, &ingresses.gateways);
    let mut configs: BTreeMap<ObjectKey, Config> =
        gateways.iter().map(|(key, gateway)| ((*key).clone(), gateway.config())).collect();
    for input in input::routes(resources).chain(routes) {
        let status = route::translate(&input, &mut gateways, &mut policies, &mut configs, resources);
        if !status.parents.is_empty() {
            statuses.set(input.kind, input.key, status);
        }
    }
    let mut used_namespaces = BTreeMap::new();
    gateway::configs(resources, &mut statuses);
    policies.emit(&mut configs, &mut used_namespaces, &mut statuses);
    consumer::emit(resources, &used_namespaces, &mut configs, &mut statuses);
    endpoints::emit(resources, &mut configs);
    let mut provisioning = BTreeMap::new();
    for (key, gateway) in gateways {
        if let Some((_, class)) = ingresses.gateways.get(key) {
            statuses.set("IngressClass", &ObjectKey::new("", class), gateway.class_status());
        } else {
            statuses.set("Gateway", key, gateway.status());
        }
        provisioning.insert(key.clone(), gateway.provisioning);
    }
    for key in taken {
        statuses.set("Gateway", key, gateway::taken());
    }
    let jwks_urls = policies.jwks_urls();
    Translation { gateways: configs, statuses, provisioning, implied_gateways: ingresses.gateways, jwks_urls }
}

/// The Gateways that the Ingresses imply: a part of what [`translate`] gives.
pub fn implied_gateways(resources: &Resources, settings: &Settings) -> ImpliedGateways {
    Ingresses::new(resources, settings).gateways
}

/// Namespaces whose consumers a Gateway needs.
type Namespaces = BTreeMap<ObjectKey, BTreeSet<String>>;
