//! What a Gateway needs in the cluster.
//!
//! ```text
//! Gateway + GatewayConfig + Settings -> plan -> Plan -> Applier -> API server
//! ```
//!
//! `plan` is pure: the same input gives the same objects to the byte. The pod template holds nothing that changes with
//! listeners, routes or the channel's CA, so that pods are replaced only when they must be: listener ports go to the
//! Service and, over the channel, to the dataplane; the CA is read from its ConfigMap on each connect.

mod apply;
mod identity;
mod names;
mod object;
mod pods;
mod scale;
mod service;
mod worker;

use std::{collections::BTreeMap, str::FromStr};

use gatehouse_crds::{Gateway, GatewayConfigSpec};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Service, ServiceAccount},
    policy::v1::PodDisruptionBudget,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;

use crate::resources::ObjectKey;
use identity::Identity;

pub use apply::Applier;
pub use names::{object_name, peers_host};
pub use object::Object;
pub use scale::DEFAULT_REPLICAS;
pub use worker::{Failures, Plans, provision};

/// Where a dataplane answers `/livez`, `/readyz` and `/metrics`. No listener may have this port.
pub const ADMIN_PORT: i32 = 18081;
/// Where a dataplane gives its last good state to its siblings. No listener may have this port.
pub const PEERS_PORT: i32 = 18002;
/// The audience of the dataplanes' tokens.
pub const TOKEN_AUDIENCE: &str = "gatehouse";

/// What plans depend on besides the Gateway and its GatewayConfig.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Of the dataplane.
    pub image: String,
    pub pull_policy: PullPolicy,
    /// Of the channel, as dataplanes reach it: `https://gatehouse-controller.gatehouse-system.svc:18000`.
    pub controller_address: String,
    /// The certificates that dataplanes trust the channel by, as PEM.
    pub ca_pem: String,
}

/// When a node fetches the image anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// Not the name of a pull policy.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no pull policy: use Always, IfNotPresent or Never")]
pub struct UnknownPullPolicy(String);

impl PullPolicy {
    fn as_str(self) -> &'static str {
        match self {
            PullPolicy::Always => "Always",
            PullPolicy::IfNotPresent => "IfNotPresent",
            PullPolicy::Never => "Never",
        }
    }
}

impl FromStr for PullPolicy {
    type Err = UnknownPullPolicy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [PullPolicy::Always, PullPolicy::IfNotPresent, PullPolicy::Never]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| UnknownPullPolicy(text.to_owned()))
    }
}

/// The objects of one Gateway, in its namespace and owned by it. `None`: there is to be no such object.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    gateway: ObjectKey,
    owner: OwnerReference,
    /// None of the objects is to be there any more.
    withdrawn: bool,
    pub service_account: ServiceAccount,
    pub config_map: ConfigMap,
    pub deployment: Deployment,
    /// `None` when no listener has a port that can be served.
    pub service: Option<Service>,
    /// Headless: where a dataplane finds its siblings.
    pub peers: Service,
    pub autoscaler: Option<HorizontalPodAutoscaler>,
    pub disruption_budget: Option<PodDisruptionBudget>,
}

/// `config` is the GatewayConfig that holds for the Gateway, as [`crate::translate::Provisioning`] has it.
pub fn plan(gateway: &Gateway, config: Option<&GatewayConfigSpec>, settings: &Settings) -> Plan {
    let identity = Identity::new(gateway);
    let defaults = GatewayConfigSpec::default();
    let config = config.unwrap_or(&defaults);
    let name = identity.name().to_owned();
    Plan {
        service_account: ServiceAccount {
            metadata: identity.metadata(&name),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
        config_map: ConfigMap {
            metadata: identity.metadata(&name),
            data: Some([("ca.crt".to_owned(), settings.ca_pem.clone())].into()),
            ..ConfigMap::default()
        },
        deployment: scale::deployment(&identity, config, settings),
        service: service::public(&identity, gateway, config.service.as_ref()),
        peers: service::peers(&identity),
        autoscaler: config.autoscaling.as_ref().map(|autoscaling| scale::autoscaler(&identity, autoscaling)),
        disruption_budget: config
            .disruption_budget
            .as_ref()
            .map(|budget| scale::disruption_budget(&identity, budget)),
        gateway: identity.gateway,
        owner: identity.owner,
        withdrawn: false,
    }
}

/// For a Gateway that is not ours any more, while something of ours stands for it.
pub fn withdrawal(
    gateway: &Gateway,
    services: &BTreeMap<ObjectKey, Service>,
    settings: &Settings,
) -> Option<Plan> {
    let plan = Plan { withdrawn: true, ..plan(gateway, None, settings) };
    let peers = ObjectKey::new(&*plan.gateway.namespace, names::peers_name(&plan.gateway.name));
    let peers = services.get(&peers)?;
    let is_ours = identity::is_labelled(peers)
        && peers.owner_references().iter().any(|owner| owner.uid == plan.owner.uid);
    is_ours.then_some(plan)
}

impl Plan {
    /// The Gateway that it is for.
    pub fn gateway(&self) -> &ObjectKey {
        &self.gateway
    }

    /// Every object that a plan can have, in the order in which they are made: what pods need before the pods.
    pub fn objects(&self) -> Vec<Object> {
        let name = object_name(&self.gateway.name);
        let mut objects = vec![
            Object::new(&name, Some(&self.service_account)),
            Object::new(&name, Some(&self.config_map)),
            Object::new(&names::peers_name(&self.gateway.name), Some(&self.peers)),
            Object::new(&name, self.service.as_ref()),
            Object::new(&name, Some(&self.deployment)),
            Object::new(&name, self.autoscaler.as_ref()),
            Object::new(&name, self.disruption_budget.as_ref()),
        ];
        if self.withdrawn {
            objects.iter_mut().for_each(|object| object.content = None);
            // Last what tells that there is something.
            objects.sort_by_key(|object| object.name != name);
        }
        objects
    }
}

#[cfg(test)]
mod tests;
