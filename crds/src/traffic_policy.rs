//! How requests are spread over the endpoints of a Service.

mod compression;
mod connections;
mod health;
mod retries;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{DURATION, SECTION, TOKEN};
use crate::{ClientIpKey, Empty, HeaderKey, PolicyStatus};

pub use compression::{Coding, Compression};
pub use connections::ConnectionPool;
pub use health::{
    ActiveCheck, FailurePercent, GrpcCheck, HealthCheck, HttpCheck, PassiveCheck, WhenNoneHealthy,
};
pub use retries::{RetryBudget, RetryConstraint, RetryRate};

/// Says of a Service how its endpoints share the requests and which of them are fit to, for every route that leads to it.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gatehouse.dev",
    version = "v1alpha1",
    kind = "TrafficPolicy",
    plural = "trafficpolicies",
    doc = "How requests are spread over the endpoints of a Service.",
    shortname = "tp",
    category = "gatehouse",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".spec.targetRefs[*].name"}"#,
    printcolumn = r#"{"name":"Balancing","type":"string","jsonPath":".spec.loadBalancing.type"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name":"Problem","type":"string","jsonPath":".status.ancestors[*].conditions[?(@.status==\"False\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct TrafficPolicySpec {
    /// The Services that it is for. Of two policies for one Service the older counts; one for a port counts before one for
    /// the whole Service.
    #[schemars(length(min = 1, max = 16))]
    pub target_refs: Vec<ServiceTarget>,
    /// Which endpoint gets a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancing: Option<LoadBalancing>,
    /// Which endpoints are fit to get one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health_check: Option<HealthCheck>,
    /// How much is too much for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// How many of the requests to it may be retries, whatever rules say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_constraint: Option<RetryConstraint>,
    /// How long connections to its endpoints are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPool>,
    /// Which of its answers are compressed. Default: those that it compresses itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
}

/// Bounds on what one dataplane has under way at a time, streams and WebSockets among it. Nothing waits for its turn: what is
/// beyond them gets 503, and a stream is reset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.maxRequests) || has(self.maxRequestsPerEndpoint)").message("give maxRequests, maxRequestsPerEndpoint, or both"))]
pub struct CircuitBreaker {
    /// Requests to the Service. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_requests: Option<i32>,
    /// Requests to each of its endpoints: one that is full is passed over. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_requests_per_endpoint: Option<i32>,
}

/// A Service of the policy's namespace (GEP-2648).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceTarget {
    /// Empty: the core group.
    #[serde(default)]
    #[schemars(extend("enum" = [""]))]
    pub group: String,
    /// `Service`.
    #[serde(default = "service")]
    #[schemars(extend("enum" = ["Service"]))]
    pub kind: String,
    /// Name of the Service.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Only the port of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECTION))]
    pub section_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.consistentHash) == (self.type == 'ConsistentHash')").message("consistentHash belongs to the type ConsistentHash, and that needs it").field_path(".consistentHash"),
    validation = Rule::new("!has(self.slowStart) || self.type != 'ConsistentHash'").message("the type ConsistentHash has no slow start").field_path(".slowStart"),
)]
pub struct LoadBalancing {
    /// How an endpoint is chosen.
    #[serde(rename = "type", default)]
    pub kind: LoadBalancingType,
    /// What is the same of requests that go to the same endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent_hash: Option<ConsistentHash>,
    /// Whether a dataplane prefers the endpoints of its own zone. Default: what the Service says (`trafficDistribution`, or
    /// hints of topology-aware routing).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<TrafficDistribution>,
    /// An endpoint that comes to others gets its share of the requests little by little. Default: at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TrafficDistribution {
    /// All requests, while 5 of 7 of the zone's endpoints are fit; with fewer, 1.4 times the share that is. The others go to
    /// other zones.
    PreferSameZone,
    /// Zones do not count, whatever the Service says.
    Anywhere,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct SlowStart {
    /// How long it takes, such as 30s: from a tenth of what the others get to as much as they do.
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("use 1s to 1h"))]
    pub window: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LoadBalancingType {
    /// Of two drawn at random, the one with fewer requests under way.
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// Any, all with the same chance.
    Random,
    /// The same for requests that have the same `consistentHash`, on every dataplane, for as long as it is there.
    ConsistentHash,
}

/// A request that lacks it goes where `LeastRequest` sends it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.clientIP) ? 1 : 0) + (has(self.header) ? 1 : 0) + (has(self.cookie) ? 1 : 0) + (has(self.consumer) ? 1 : 0) == 1").message("give exactly one of clientIP, header, cookie and consumer"))]
pub struct ConsistentHash {
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "clientIP")]
    pub client_ip: Option<ClientIpKey>,
    /// The first value of a request header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderKey>,
    /// The value of a cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<CookieKey>,
    /// The consumer that an AuthPolicy found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<Empty>,
    /// In percent of the average, how many requests an endpoint has under way before others of the same hash go to the next
    /// one, such as 150. Default: no bound. The average is that of one dataplane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 110, max = 1000))]
    pub max_load_percent: Option<i32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CookieKey {
    /// Such as `session`.
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN))]
    pub name: String,
    /// Session affinity: a client that lacks the cookie gets one of the gateway's making, which lasts so long; `0s`: until the
    /// client ends its session. Default: cookies are the backend's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub ttl: Option<String>,
}

fn service() -> String {
    "Service".into()
}
