//! What holds for a whole Gateway.

mod external_names;
mod infrastructure;
mod redis;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{ADDRESS_RANGE, DURATION, LINE};
use crate::{CacheConfig, ConditionsStatus};

pub use external_names::ExternalNames;
pub use infrastructure::{
    Autoscaling, DeploymentConfig, DisruptionBudget, Drain, ExternalTrafficPolicy, Quantities,
    ResourcesConfig, ServiceConfig, ServiceType,
};

pub use redis::{Redis, RedisAuthority, RedisPasswordRef, RedisSecretRef, RedisSentinel, RedisTls};

/// Referred to by `parametersRef` of a GatewayClass, or of a Gateway's `infrastructure`, which goes first.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gatehouse.dev",
    version = "v1alpha1",
    kind = "GatewayConfig",
    plural = "gatewayconfigs",
    doc = "What holds for a whole Gateway.",
    shortname = "gwc",
    category = "gatehouse",
    namespaced,
    status = "ConditionsStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn = r#"{"name":"RequireAuth","type":"boolean","jsonPath":".spec.requireAuth"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name":"Problem","type":"string","jsonPath":".status.conditions[?(@.status==\"False\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.autoscaling) || !has(self.deployment) || !has(self.deployment.replicas)").message("give at most one of deployment.replicas and autoscaling"),
    validation = Rule::new("!has(self.autoscaling) || !has(self.deployment) || !has(self.deployment.resources) || (has(self.deployment.resources.requests) && 'cpu' in self.deployment.resources.requests)").message("autoscaling needs deployment.resources.requests.cpu"),
)]
pub struct GatewayConfigSpec {
    /// The pods that serve the Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<DeploymentConfig>,
    /// The number of pods follows their load. Default: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// How many pods may be evicted at once. Default: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,
    /// How the Gateway is reached. Default: by a load balancer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceConfig>,
    /// How a pod that is to go ends its connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Where limits of store `Redis` count. Default: locally.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// Default: enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// Default: no spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Addresses whose `X-Forwarded-For` is believed, such as `10.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 64), regex(pattern = ADDRESS_RANGE)), extend("x-kubernetes-list-type" = "set"))]
    pub trusted_proxies: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// Room for the answers that rules with `cache` keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheConfig>,
    /// Services of type `ExternalName` as backends. Default: they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_names: Option<ExternalNames>,
    /// A route that no AuthPolicy covers is not accepted.
    #[serde(default)]
    pub require_auth: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessLog {
    /// One JSON line a request on the dataplane's standard output.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Share of requests that get a line. What was refused, broke off or has a status of 400 and above always gets one.
    #[serde(default = "all_of_them")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub sampling_percent: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// OTLP over gRPC, such as `http://collector:4317`.
    #[schemars(length(max = 2048), regex(pattern = "^http://[!-~]+$"))]
    pub endpoint: String,
    /// Share of requests without a trace context that begin a sampled trace.
    #[serde(default = "all_of_them")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub sampling_percent: f64,
    /// Default: `gatehouse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = LINE))]
    pub service_name: Option<String>,
}

/// Bounds on what clients can make grow. Absent: the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Client connections of one dataplane. Default: 50000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 50_000))]
    pub max_connections: Option<i32>,
    /// A request's head over HTTP/1. Default: 65536.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 262_144), extend("default" = 65_536))]
    pub max_head_bytes: Option<i32>,
    /// Fields of a request's head. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 1000), extend("default" = 100))]
    pub max_headers: Option<i32>,
    /// Requests at once on one HTTP/2 connection. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000), extend("default" = 100))]
    pub max_concurrent_streams: Option<i32>,
    /// From the first byte of a head to its last. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION), extend("default" = "10s"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('5m')").message("use 100ms to 5m"))]
    pub header_timeout: Option<String>,
    /// Between requests. Default: 75s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION), extend("default" = "75s"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("use 1s to 1h"))]
    pub idle_timeout: Option<String>,
    /// Between pieces of a request's body. Default: 60s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION), extend("default" = "60s"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("use 1s to 1h"))]
    pub body_idle_timeout: Option<String>,
    /// From a connection to the end of its TLS handshake. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION), extend("default" = "10s"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('1m')").message("use 100ms to 1m"))]
    pub tls_handshake_timeout: Option<String>,
    /// Of a TCP or TLS stream on which nothing moves. Default: 15m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION), extend("default" = "15m"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')").message("use 1s to 24h"))]
    pub stream_idle_timeout: Option<String>,
    /// Of what belongs to one client address of a UDP listener. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION), extend("default" = "30s"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("use 1s to 1h"))]
    pub udp_session_timeout: Option<String>,
}

fn yes() -> bool {
    true
}

fn all_of_them() -> f64 {
    100.0
}
