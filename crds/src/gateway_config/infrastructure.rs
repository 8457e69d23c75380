//! What a Gateway becomes in the cluster: its pods, how many of them, and the Service in front.
//!
//! Where Kubernetes has a type for a field, it is that type and Kubernetes' own schema.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Affinity, Toleration},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::LocalRef;
use crate::pattern::{ADDRESS_RANGE, COUNT_OR_PERCENT, DURATION, QUANTITY};

/// The dataplane's pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeploymentConfig {
    /// How many pods. Default: 2, so that the loss of one is no outage. `autoscaling` takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// Of one pod, such as `{requests: {cpu: "1", memory: 512Mi}}`. Default: requests of `100m` CPU and `256Mi` memory,
    /// no limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesConfig>,
    /// Only nodes with these labels, such as `{kubernetes.io/arch: amd64}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes that are no hindrance, such as `{key: edge, operator: Exists, effect: NoSchedule}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
    /// Which nodes and which neighbours the pods prefer or need, besides being spread over nodes and zones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Who gives way when nodes are full, such as `system-cluster-critical`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Secrets of the Gateway's namespace by which nodes fetch the image from a private registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<LocalRef>,
}

/// Amounts by resource, such as `{cpu: 500m, memory: 256Mi}`.
pub type Quantities = BTreeMap<String, IntOrString>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ResourcesConfig {
    /// What a node must have free. Autoscaling measures by its `cpu`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: Quantities,
    /// What a pod never gets more of. A limit of `cpu` is also the number of worker threads, rounded up.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: Quantities,
}

/// A HorizontalPodAutoscaler by CPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("minReplicas can't be more than maxReplicas").field_path(".minReplicas"))]
pub struct Autoscaling {
    /// Never fewer pods.
    #[serde(default = "two")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: i32,
    /// Never more pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// The average that it aims at, as a percentage of what the pods request.
    #[serde(default = "seventy")]
    #[schemars(range(min = 1, max = 1000))]
    pub cpu_utilization: i32,
}

/// A PodDisruptionBudget: how many pods may be evicted at once, as when nodes are drained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.minAvailable) != has(self.maxUnavailable)").message("give exactly one of minAvailable and maxUnavailable"))]
pub struct DisruptionBudget {
    /// So many pods stay, such as `1` or `50%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "pattern" = COUNT_OR_PERCENT))]
    pub min_available: Option<IntOrString>,
    /// So many pods may go, such as `1` or `25%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 0, "pattern" = COUNT_OR_PERCENT))]
    pub max_unavailable: Option<IntOrString>,
}

/// The Service in front of the pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.externalTrafficPolicy) || self.type != 'ClusterIP'").message("externalTrafficPolicy belongs to the types LoadBalancer and NodePort").field_path(".externalTrafficPolicy"),
    validation = Rule::new("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'").message("loadBalancerClass belongs to the type LoadBalancer").field_path(".loadBalancerClass"),
    validation = Rule::new("!has(self.loadBalancerSourceRanges) || self.type == 'LoadBalancer'").message("loadBalancerSourceRanges belongs to the type LoadBalancer").field_path(".loadBalancerSourceRanges"),
)]
pub struct ServiceConfig {
    /// How the Gateway is reached.
    #[serde(default, rename = "type")]
    pub kind: ServiceType,
    /// For the load balancer's maker, such as `service.beta.kubernetes.io/aws-load-balancer-type: external`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// `Local` keeps the client's address, which limits by address and access logs need, and reaches only nodes that
    /// have a pod. Default: `Cluster`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_traffic_policy: Option<ExternalTrafficPolicy>,
    /// Which load balancer, such as `service.k8s.aws/nlb`. It can't be changed while the Service stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub load_balancer_class: Option<String>,
    /// Clients that the load balancer lets in, such as `203.0.113.0/24`. Default: everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 64), regex(pattern = ADDRESS_RANGE)), extend("x-kubernetes-list-type" = "set"))]
    pub load_balancer_source_ranges: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    #[default]
    LoadBalancer,
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    NodePort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalTrafficPolicy {
    Cluster,
    Local,
}

/// How a pod that is to go ends its connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct Drain {
    /// So long a pod still takes connections, until everybody knows that it goes: `0s` to `5m`.
    #[serde(default = "five_seconds")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('5m')").message("use 0s to 5m"))]
    pub delay: String,
    /// So long open requests may take after that: `1s` to `1h`.
    #[serde(default = "thirty_seconds")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("use 1s to 1h"))]
    pub timeout: String,
}

impl Default for Drain {
    fn default() -> Self {
        Drain { delay: five_seconds(), timeout: thirty_seconds() }
    }
}

fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {"x-kubernetes-int-or-string": true, "minimum": 0, "pattern": QUANTITY},
    })
}

fn two() -> i32 {
    2
}

fn seventy() -> i32 {
    70
}

fn five_seconds() -> String {
    "5s".into()
}

fn thirty_seconds() -> String {
    "30s".into()
}
