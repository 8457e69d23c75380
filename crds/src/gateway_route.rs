//! Routing and policy in one object, for a team that owns an API.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{HOSTNAME, NAMESPACE, SECTION};
use crate::{
    Aggregate, Cache, Cors, Fault, GatewayRouteStatus, Header, HeaderChanges, LocalRef, Mirror, ParentRef,
    Redirect, Retry, Rollout, RouteMatch, ServiceRef, SessionAffinity, Timeouts, UrlRewrite,
};

/// Says which requests of its Gateways it takes, who may send them and how many, and where they go.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gatehouse.dev",
    version = "v1alpha1",
    kind = "GatewayRoute",
    plural = "gatewayroutes",
    doc = "Routing and policy in one object, for a team that owns an API.",
    shortname = "gwr",
    category = "gatehouse",
    namespaced,
    status = "GatewayRouteStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn = r#"{"name":"Hostnames","type":"string","jsonPath":".spec.hostnames"}"#,
    printcolumn = r#"{"name":"Gateway","type":"string","jsonPath":".spec.parentRefs[*].name"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.parents[*].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name":"Programmed","type":"string","jsonPath":".status.parents[*].conditions[?(@.type==\"gatehouse.dev/Programmed\")].status"}"#,
    printcolumn = r#"{"name":"Problem","type":"string","jsonPath":".status.parents[*].conditions[?(@.status==\"False\")].reason"}"#,
    printcolumn = r#"{"name":"Rollout","type":"string","jsonPath":".status.rollouts[*].phase"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.rules.all(a, !has(a.name) || self.rules.exists_one(b, has(b.name) && a.name == b.name))")
    .message("give each rule its own name").field_path(".rules"))]
pub struct GatewayRouteSpec {
    /// The Gateways that serve it.
    #[schemars(length(min = 1, max = 32))]
    pub parent_refs: Vec<ParentRef>,
    /// Hosts, such as `api.example.com` or `*.example.com`. Default: every host of the listener.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = HOSTNAME)), extend("x-kubernetes-list-type" = "set"))]
    pub hostnames: Vec<String>,
    /// What holds for every rule that does not say otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub defaults: Option<Defaults>,
    /// Which of them takes a request is decided as the Gateway API does, not by their order alone.
    #[schemars(length(min = 1, max = 64))]
    pub rules: Vec<GatewayRouteRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Defaults {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// RateLimitPolicies of this namespace: each must have room for a request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rate_limits: Vec<LocalRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Bytes that a request's body may have: one with more gets 413. 0: any number, which is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_099_511_627_776_i64))]
    pub max_request_body_bytes: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.backendRefs) ? 1 : 0) + (has(self.redirect) ? 1 : 0) + (has(self.respond) ? 1 : 0) + (has(self.aggregate) ? 1 : 0) == 1")
        .message("give exactly one of backendRefs, redirect, respond and aggregate"),
    validation = Rule::new("!has(self.rewrite) || has(self.backendRefs)").message("rewrite needs backendRefs"),
    validation = Rule::new("!has(self.mirror) || has(self.backendRefs)").message("mirror needs backendRefs"),
    validation = Rule::new("!has(self.fault) || has(self.backendRefs) || has(self.aggregate)").message("fault needs backendRefs or aggregate"),
    validation = Rule::new("!has(self.cache) || has(self.backendRefs)").message("cache needs backendRefs"),
    validation = Rule::new("!has(self.cache) || !has(self.rollout)").message("cache and rollout can't stand together: an answer of one version would be given for the other"),
    validation = Rule::new("!has(self.failover) || has(self.backendRefs)").message("failover needs backendRefs"),
    validation = Rule::new("!has(self.sessionAffinity) || has(self.backendRefs)").message("sessionAffinity needs backendRefs"),
    validation = Rule::new("!has(self.timeouts) || !has(self.aggregate)").message("aggregate has timeouts of its own"),
    validation = Rule::new("!has(self.rollout) || has(self.backendRefs)").message("rollout needs backendRefs: the stable version"),
    validation = Rule::new("!has(self.rollout) || has(self.name)").message("a rule with a rollout needs a name"),
    validation = Rule::new("!has(self.rewrite) || !has(self.rewrite.path) || self.rewrite.path.type != 'ReplacePrefixMatch' || !has(self.matches) || self.matches.all(m, m.path.type == 'PathPrefix')")
        .message("ReplacePrefixMatch needs matches of type PathPrefix alone").field_path(".rewrite"),
    validation = Rule::new("!has(self.redirect) || !has(self.redirect.path) || self.redirect.path.type != 'ReplacePrefixMatch' || !has(self.matches) || self.matches.all(m, m.path.type == 'PathPrefix')")
        .message("ReplacePrefixMatch needs matches of type PathPrefix alone").field_path(".redirect"),
)]
pub struct GatewayRouteRule {
    /// Names the rule to policies (`sectionName`), logs and metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECTION))]
    pub name: Option<String>,
    /// Any of them. Default: every request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub matches: Vec<RouteMatch>,
    /// Replaces `defaults.auth`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// RateLimitPolicies of this namespace. A list here, even an empty one, replaces `defaults.rateLimits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rate_limits: Option<Vec<LocalRef>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<UrlRewrite>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderChanges>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_headers: Option<HeaderChanges>,
    /// Which pages of other origins may use it. Preflight requests are answered before authentication and limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Copies of requests for other Services, whose answers nobody sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub mirror: Vec<Mirror>,
    /// Replaces `defaults.timeouts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<Timeouts>,
    /// Replaces `defaults.retry`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Replaces `defaults.maxRequestBodyBytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_099_511_627_776_i64))]
    pub max_request_body_bytes: Option<i64>,
    /// Delays and errors on purpose. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// Answers that are kept and given again. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// Where requests go, by weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    pub backend_refs: Option<Vec<BackendRef>>,
    /// Where requests go while those have too few endpoints that are fit: to the first of these that has enough. A Service
    /// takes all requests while 5 of 7 of its endpoints are fit; with fewer, 1.4 times the share that is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub failover: Vec<ServiceRef>,
    /// What keeps a client's requests at one backend and endpoint. Default: each goes by the weights, and as the Service's
    /// TrafficPolicy says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// How a new version takes their place. The rule needs a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
    /// Sends the client elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect: Option<Redirect>,
    /// Asks several backends at once and puts their answers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
    /// Answers from the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub respond: Option<Respond>,
}

/// Who may send requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.policyRef) != has(self.public)").message("give exactly one of policyRef and public"),
    validation = Rule::new("!has(self.public) || self.public").message("public can only be true: leave it out otherwise").field_path(".public"),
)]
pub struct Auth {
    /// An AuthPolicy of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_ref: Option<LocalRef>,
    /// `true`: everybody. Lifts AuthPolicies whose enforcement is `Default`, never those that are `Required`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public: Option<bool>,
}

/// A Service and its share of the requests (Gateway API BackendRef).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.port)").message("a Service needs a port"))]
pub struct BackendRef {
    /// The core group, whose name is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [""], "default" = ""))]
    pub group: Option<String>,
    /// `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Service"], "default" = "Service"))]
    pub kind: Option<String>,
    /// Default: the route's own. Another namespace needs a ReferenceGrant there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAMESPACE))]
    pub namespace: Option<String>,
    /// Name of the Service.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// A port of the Service, by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Its share, out of the sum of all; 0 sends nothing there.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub weight: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Respond {
    /// Such as 503.
    #[schemars(range(min = 200, max = 599))]
    pub status: i32,
    /// Such as `{name: Content-Type, value: text/plain}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<Header>,
    /// Sent as it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 65536))]
    pub body: String,
}

fn one() -> i32 {
    1
}
