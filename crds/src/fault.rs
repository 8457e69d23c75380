//! Faults that a rule injects.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ForceHeader;
use crate::pattern::DURATION;

/// What is done to requests on purpose, so that it can be seen how clients bear it: after authentication and limits,
/// before the backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.delay) || has(self.abort)").message("give delay, abort or both"))]
pub struct Fault {
    /// Only to requests with this header and this very value, such as `{name: X-Fault, value: "on"}`. Default: to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<ForceHeader>,
    /// Holds requests up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<FaultDelay>,
    /// Answers requests in place of the backend; after the delay, if both befall one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort: Option<FaultAbort>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct FaultDelay {
    /// For how long, from `1ms` to `1m`. It counts towards the request's timeout.
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('1m')").message("use 1ms to 1m"))]
    pub duration: String,
    /// Share of requests, each drawn by itself.
    #[serde(default = "all_of_them")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub percent: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FaultAbort {
    /// What clients get.
    #[serde(default = "unavailable")]
    #[schemars(range(min = 400, max = 599))]
    pub status: i32,
    /// What gRPC calls get in its place. Default: what gRPC makes of the status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 16))]
    pub grpc_status: Option<i32>,
    /// Share of requests, each drawn by itself.
    #[serde(default = "all_of_them")]
    #[schemars(range(min = 0.0, max = 100.0))]
    pub percent: f64,
}

fn unavailable() -> i32 {
    503
}

fn all_of_them() -> f64 {
    100.0
}
