//! How it is found out which endpoints are fit for requests.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Empty;
use crate::pattern::{DURATION, PATH, PRECISE_AUTHORITY};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// By what becomes of the requests that they get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passive: Option<PassiveCheck>,
    /// By asking them, whether or not they get requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<ActiveCheck>,
}

/// Each dataplane asks each endpoint by itself, once, however many routes lead there. One that is new is fit until it has
/// been asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.http) ? 1 : 0) + (has(self.tcp) ? 1 : 0) + (has(self.grpc) ? 1 : 0) == 1").message("give exactly one of http, tcp and grpc"),
    validation = Rule::new("duration(self.timeout) <= duration(self.interval)").message("timeout can't be longer than interval").field_path(".timeout"),
)]
pub struct ActiveCheck {
    /// A GET, over what its Service speaks, with TLS where a BackendTLSPolicy says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpCheck>,
    /// Whether it can be connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<Empty>,
    /// `grpc.health.v1.Health/Check`, over HTTP/2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcCheck>,
    /// From one check to the next, give or take a tenth.
    #[serde(default = "three_seconds")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('1h')").message("use 100ms to 1h"))]
    pub interval: String,
    /// From the beginning of a check's connection to its answer.
    #[serde(default = "one_second")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms') && duration(self) <= duration('1h')").message("use 10ms to 1h"))]
    pub timeout: String,
    /// It is fit again after so many good checks one after the other.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub healthy_threshold: i32,
    /// It is unfit after so many bad ones.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub unhealthy_threshold: i32,
    /// What happens to requests while no endpoint is fit.
    #[serde(default)]
    pub when_none_healthy: WhenNoneHealthy,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCheck {
    /// Such as `/healthz`.
    #[serde(default = "root")]
    #[schemars(length(max = 1024), regex(pattern = PATH))]
    pub path: String,
    /// What stands in `Host`. Default: the server name of the BackendTLSPolicy, or the endpoint's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = PRECISE_AUTHORITY))]
    pub host: Option<String>,
    /// Default: 200 to 399.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 200, max = 599)))]
    pub expected_statuses: Vec<i32>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GrpcCheck {
    /// Such as `shop.Orders`. Default: the server as a whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 253))]
    pub service: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum WhenNoneHealthy {
    /// They go to any: it may be the check that is wrong.
    #[default]
    UseAll,
    /// They get 503.
    Refuse,
}

/// An endpoint that fails again and again gets no requests for a while. Each dataplane finds out by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.consecutive5xxErrors > 0 || self.consecutiveGatewayErrors > 0 || has(self.failurePercent)").message("give at least one of consecutive5xxErrors, consecutiveGatewayErrors and failurePercent"))]
pub struct PassiveCheck {
    /// It is ejected after so many answers of 500 to 599, or requests without an answer, one after the other. 0: never.
    #[serde(default = "five", rename = "consecutive5xxErrors")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub consecutive_5xx_errors: i32,
    /// The same of answers of 502, 503 and 504, and of requests without an answer. 0: never.
    #[serde(default)]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub consecutive_gateway_errors: i32,
    /// Or when such a share of its requests fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_percent: Option<FailurePercent>,
    /// How long it stays ejected the first time. Each time that it does not keep well for as long as that, the next is longer
    /// by as much again, up to ten times.
    #[serde(default = "half_a_minute")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('1h')").message("use 100ms to 1h"))]
    pub base_ejection_time: String,
    /// Of its Service's endpoints, how many may be ejected at once: at least one, and the last only with 100. While all are,
    /// requests go to the `failover` of their rule, or else to any.
    #[serde(default = "half")]
    #[schemars(range(min = 1, max = 100))]
    pub max_ejection_percent: i32,
}

/// Counted in windows, one after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailurePercent {
    /// So many percent of the requests in a window, as `consecutive5xxErrors` understands failures.
    #[schemars(range(min = 1, max = 100))]
    pub threshold: i32,
    /// With fewer requests a window says nothing.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub minimum_requests: i32,
    /// Length of a window.
    #[serde(default = "ten_seconds")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("use 1s to 1h"))]
    pub interval: String,
}

fn root() -> String {
    "/".into()
}

fn one() -> i32 {
    1
}

fn three() -> i32 {
    3
}

fn one_second() -> String {
    "1s".into()
}

fn three_seconds() -> String {
    "3s".into()
}

fn five() -> i32 {
    5
}

fn twenty() -> i32 {
    20
}

fn half() -> i32 {
    50
}

fn half_a_minute() -> String {
    "30s".into()
}

fn ten_seconds() -> String {
    "10s".into()
}
