//! How many requests may pass.

mod concurrency;
mod condition;
mod response;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{DURATION, LINE, SECTION, TOKEN};
use crate::{PolicyStatus, TargetRef};

pub use concurrency::ConcurrencyLimit;
pub use condition::{ConditionHeader, ConditionRanges, LimitCondition};
pub use response::LimitResponse;

/// Limits requests, by token bucket or sliding window, for each consumer, credential, address or header value.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gatehouse.dev",
    version = "v1alpha1",
    kind = "RateLimitPolicy",
    plural = "ratelimitpolicies",
    doc = "How many requests may pass.",
    shortname = "rlp",
    category = "gatehouse",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".spec.targetRefs[*].name"}"#,
    printcolumn = r#"{"name":"Requests","type":"integer","jsonPath":".spec.limits[*].requests"}"#,
    printcolumn = r#"{"name":"Per","type":"string","jsonPath":".spec.limits[*].per"}"#,
    printcolumn = r#"{"name":"Store","type":"string","jsonPath":".spec.store"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name":"Programmed","type":"string","jsonPath":".status.ancestors[*].conditions[?(@.type==\"gatehouse.dev/Programmed\")].status"}"#,
    printcolumn = r#"{"name":"Problem","type":"string","jsonPath":".status.ancestors[*].conditions[?(@.status==\"False\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.limits) && self.limits.size() > 0) || (has(self.concurrency) && self.concurrency.size() > 0)").message("give limits, concurrency or both"),
    validation = Rule::new("self.accuracy == 'Strict' || self.store == 'Redis'").message("accuracy belongs to the store Redis").field_path(".accuracy"),
    validation = Rule::new("!has(self.limits) || !has(self.concurrency) || self.concurrency.all(c, !self.limits.exists(l, l.name == c.name))").message("limits and concurrency share their names: give each its own").field_path(".concurrency"),
)]
pub struct RateLimitPolicySpec {
    /// What it applies to, besides the GatewayRoutes that name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// All of them must have room for a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub limits: Vec<Limit>,
    /// How many requests may be under way at once. Each dataplane counts for itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub concurrency: Vec<ConcurrencyLimit>,
    /// Who shares the counts.
    #[serde(default)]
    pub scope: LimitScope,
    /// Where requests are counted.
    #[serde(default)]
    pub store: LimitStore,
    /// How exactly Redis counts.
    #[serde(default)]
    pub accuracy: LimitAccuracy,
    /// What happens while Redis does not answer.
    #[serde(default)]
    pub on_store_failure: StoreFailure,
    /// What a refused request gets, with the fields of the limits. Default: 429 with problem details. gRPC calls always
    /// get `RESOURCE_EXHAUSTED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<LimitResponse>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.burst) || self.algorithm == 'TokenBucket'").message("burst belongs to the algorithm TokenBucket").field_path(".burst"),
    validation = Rule::new("!has(self.cost) || (self.algorithm == 'TokenBucket' && has(self.burst) ? self.cost <= self.burst : self.cost <= self.requests)").message("cost is more than a request can have").field_path(".cost"),
    validation = Rule::new("!has(self.responseCost) || !has(self.cost) || self.cost == 1").message("give cost or responseCost, not both").field_path(".responseCost"),
    validation = Rule::new("!has(self.tiers) || self.algorithm == 'TokenBucket' || self.tiers.all(t, !has(t.burst))").message("burst belongs to the algorithm TokenBucket").field_path(".tiers"),
)]
pub struct Limit {
    /// Names it in the `RateLimit` response fields.
    #[schemars(length(min = 1, max = 63), regex(pattern = SECTION))]
    pub name: String,
    /// Requests are counted together when all parts are equal. Default: one count for everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub key: Vec<LimitKey>,
    /// How many in `per`.
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub requests: i64,
    /// A duration from `100ms` to `744h`, which is 31 days, such as `1m`.
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('744h')").message("use 100ms to 744h"))]
    pub per: String,
    /// Depth of the bucket. Default: `requests`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub burst: Option<i64>,
    /// How requests are counted.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// Other numbers for consumers of a tier.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["tier"]))]
    pub tiers: Vec<Tier>,
    /// Which requests it counts: those for which all hold. Default: every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub when: Vec<LimitCondition>,
    /// How much of `requests` and `burst` one request takes. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1))]
    pub cost: Option<i64>,
    /// The response says what the request cost. In place of `cost`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_cost: Option<ResponseCost>,
    /// It counts and never refuses: its metrics tell what it would have done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}

/// One is taken when the request is admitted, and the rest when the response's head is there: as far as the limit has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResponseCost {
    /// Of a backend's response; a whole number. Without it the request costs 1.
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN))]
    pub header: String,
    /// What is above counts as this.
    #[serde(default = "most")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct Tier {
    /// As in the Consumer's `tier`.
    #[schemars(length(min = 1, max = 63), regex(pattern = LINE))]
    pub tier: String,
    /// How many in `per`.
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub requests: i64,
    /// Default: the limit's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('744h')").message("use 100ms to 744h"))]
    pub per: Option<String>,
    /// Default: `requests` of this tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_i64))]
    pub burst: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.consumer), has(self.credential), has(self.clientIP), has(self.header), has(self.cookie), has(self.query), has(self.claim), has(self.path), has(self.host), has(self.method)].filter(one, one).size() == 1").message("give exactly one of consumer, credential, clientIP, header, cookie, query, claim, path, host and method"))]
pub struct LimitKey {
    /// The consumer, else the credential, else the client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer: Option<Empty>,
    /// The credential, else the client's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Empty>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "clientIP")]
    pub client_ip: Option<ClientIpKey>,
    /// The value of a request header; requests without it share a count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderKey>,
    /// The value of a cookie; requests without it share a count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<HeaderKey>,
    /// The first value of a query parameter; requests without it share a count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<QueryKey>,
    /// A claim of the token or certificate: a text, a number or a truth value. Requests without it share a count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimKey>,
    /// The path, without query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Empty>,
    /// The host, without port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Empty>,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Empty>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Empty {}

/// Addresses that share this many leading bits share a count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientIpKey {
    /// 32: each address by itself.
    #[serde(default = "whole_ipv4")]
    #[schemars(range(min = 1, max = 32))]
    pub ipv4_prefix: i32,
    /// 64: what one client usually has.
    #[serde(default = "one_ipv6_network")]
    #[schemars(range(min = 1, max = 128))]
    pub ipv6_prefix: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderKey {
    /// Such as `X-Tenant`.
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN))]
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClaimKey {
    /// Such as `tenant.id`: dots descend into objects.
    #[schemars(length(min = 1, max = 256), regex(pattern = LINE))]
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct QueryKey {
    /// Such as `tenant`.
    #[schemars(length(min = 1, max = 256), regex(pattern = LINE))]
    pub name: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// Refills evenly; up to `burst` may come at once.
    #[default]
    TokenBucket,
    /// At most `requests` in any stretch of `per`.
    SlidingWindow,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LimitScope {
    /// All routes that use the policy share its counts.
    #[default]
    Policy,
    /// Each route object has its own.
    Route,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LimitStore {
    /// The Redis of the GatewayConfig: one count for all dataplanes. Without one, as `Local`.
    #[default]
    Redis,
    /// Each dataplane counts its share.
    Local,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LimitAccuracy {
    /// Never more than the limit: a request that was not granted waits for Redis.
    #[default]
    Strict,
    /// A request that was not granted passes while its dataplane's share of the limit has room, and is counted afterwards.
    /// Up to twice the limit may pass while Redis hears of it.
    Fast,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum StoreFailure {
    /// Count locally until the store is back.
    #[default]
    FallbackLocal,
    /// Let everything pass.
    Allow,
    /// Answer 503.
    Deny,
}

fn most() -> i64 {
    1_000_000
}

impl Default for ClientIpKey {
    fn default() -> Self {
        ClientIpKey { ipv4_prefix: whole_ipv4(), ipv6_prefix: one_ipv6_network() }
    }
}

fn whole_ipv4() -> i32 {
    32
}

fn one_ipv6_network() -> i32 {
    64
}
