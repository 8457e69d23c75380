//! From objects to what dataplanes serve by, and to what users read in statuses: both from one pass, so that they can't
//! disagree.
//!
//! Pure: no I/O, no clock, no randomness. It never fails: an object that can't be used becomes a condition and the nearest
//! safe configuration, and harms nothing else. The same input gives the same output to the byte.
//!
//! `Programmed` is not decided here: only acknowledgements of dataplanes can tell.

mod address;
mod affinity;
mod aggregate;
mod attach;
mod authorities;
mod backend;
mod cache;
mod certificate;
mod check;
pub(crate) mod conditions;
mod conflicts;
mod consumer;
mod endpoints;
mod external_name;
mod fault;
mod frontend;
mod gateway;
mod grant;
mod grpc;
mod ingress;
mod input;
mod listener;
mod listener_set;
pub(crate) mod names;
pub mod nginx;
mod policy;
mod references;
mod rivals;
mod rollout;
mod route;
mod rule;
mod settings;
mod status;
mod translator;
mod used;
mod version;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use gatehouse_crds::{Gateway, GatewayConfigSpec, Listener};
use gatehouse_proto::config::v1::resource::Kind;

use crate::{
    fetch::Wanted,
    resources::{ObjectKey, Resources},
    serve::Content,
};
use ingress::Ingresses;

pub(crate) use address::requested;
pub use conditions::{Condition, ConditionType};
pub(crate) use listener::route_group;
pub(crate) use listener_set::parent as gateway_of_set;
pub use names::object_of;
pub use references::wanted;
pub use status::{ListenerStatus, ObjectId, ObjectStatus, ParentStatus, Statuses};
pub use translator::{Translator, Update};

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
    /// By Gateway, the listeners that ListenerSets add to it, each named `NAMESPACE/LISTENERSET/LISTENER`.
    pub joined: BTreeMap<ObjectKey, Vec<Listener>>,
    /// Gateways that nobody wrote: what each of our IngressClasses implies that an Ingress uses, with the class's name.
    /// They are in `gateways` and `provisioning` as well, and have no status of their own.
    pub implied_gateways: ImpliedGateways,
    /// JWKS documents that policies refer to, by id.
    pub jwks: BTreeMap<String, Wanted>,
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
pub type Config = BTreeMap<Arc<str>, Arc<Kind>>;

impl Translation {
    /// A Gateway as if the listeners of its ListenerSets were its own.
    pub fn merged<'a>(&self, key: &ObjectKey, gateway: &'a Gateway) -> Cow<'a, Gateway> {
        let mut merged = Cow::Borrowed(gateway);
        if let Some(joined) = self.joined.get(key) {
            merged.to_mut().spec.listeners.extend_from_slice(joined);
        }
        merged
    }
}

pub fn translate(resources: &Resources, settings: &Settings) -> Translation {
    Translator::new(resources, settings).into_translation()
}

/// The Gateways that the Ingresses imply: a part of what [`translate`] gives.
pub fn implied_gateways(resources: &Resources, settings: &Settings) -> ImpliedGateways {
    Ingresses::new(resources, settings).gateways
}

/// The same as it is kept.
pub type Contents = BTreeMap<Arc<str>, Content>;

/// Namespaces whose consumers a Gateway needs.
type Namespaces = BTreeMap<ObjectKey, BTreeSet<String>>;

/// The resources whose names begin so.
fn named(config: &Contents, prefix: &str) -> Vec<Arc<str>> {
    let all = config.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).map(|(name, _)| name);
    all.take_while(|name| name.starts_with(prefix)).cloned().collect()
}
