//! How many pods a Gateway has, and how they are replaced: Deployment, HorizontalPodAutoscaler, PodDisruptionBudget.

use gatehouse_crds::{Autoscaling, DisruptionBudget, GatewayConfigSpec};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        autoscaling::v2::{
            CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
            MetricTarget, ResourceMetricSource,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Settings, identity::Identity, pods};

/// Pods of a Gateway whose GatewayConfig says nothing else: the loss of one is no outage.
pub const DEFAULT_REPLICAS: i32 = 2;

pub(super) fn deployment(identity: &Identity, config: &GatewayConfigSpec, settings: &Settings) -> Deployment {
    let wanted = config.deployment.as_ref().and_then(|deployment| deployment.replicas);
    let rolling_update = RollingUpdateDeployment {
        // A rollout takes no capacity away: a pod goes when its successor is ready.
        max_unavailable: Some(IntOrString::Int(0)),
        max_surge: Some(IntOrString::String("25%".to_owned())),
    };
    let spec = DeploymentSpec {
        // An autoscaler owns the number.
        replicas: config.autoscaling.is_none().then_some(wanted.unwrap_or(DEFAULT_REPLICAS)),
        selector: identity.label_selector(),
        strategy: Some(DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(rolling_update),
        }),
        template: pods::template(identity, config, settings),
        ..DeploymentSpec::default()
    };
    Deployment { metadata: identity.metadata(identity.name()), spec: Some(spec), status: None }
}

pub(super) fn autoscaler(identity: &Identity, config: &Autoscaling) -> HorizontalPodAutoscaler {
    let cpu = ResourceMetricSource {
        name: "cpu".to_owned(),
        target: MetricTarget {
            type_: "Utilization".to_owned(),
            average_utilization: Some(config.cpu_utilization),
            ..MetricTarget::default()
        },
    };
    let spec = HorizontalPodAutoscalerSpec {
        scale_target_ref: CrossVersionObjectReference {
            api_version: Some("apps/v1".to_owned()),
            kind: "Deployment".to_owned(),
            name: identity.name().to_owned(),
        },
        min_replicas: Some(config.min_replicas),
        max_replicas: config.max_replicas,
        metrics: Some(vec![MetricSpec {
            type_: "Resource".to_owned(),
            resource: Some(cpu),
            ..MetricSpec::default()
        }]),
        behavior: None,
    };
    HorizontalPodAutoscaler { metadata: identity.metadata(identity.name()), spec: Some(spec), status: None }
}

pub(super) fn disruption_budget(identity: &Identity, config: &DisruptionBudget) -> PodDisruptionBudget {
    let spec = PodDisruptionBudgetSpec {
        min_available: config.min_available.clone(),
        max_unavailable: config.max_unavailable.clone(),
        selector: Some(identity.label_selector()),
        // A pod that serves nobody does not keep a node from being drained.
        unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
    };
    PodDisruptionBudget { metadata: identity.metadata(identity.name()), spec: Some(spec), status: None }
}
