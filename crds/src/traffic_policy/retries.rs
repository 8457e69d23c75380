//! How many retries a Service has to bear (GEP-3388).

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::DURATION;

/// A retry is made while either has room for it, as one dataplane counts. One that is not made passes on what it would have
/// made good.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetryConstraint {
    /// A share of the requests.
    #[serde(default)]
    pub budget: RetryBudget,
    /// So many, however few the requests are.
    #[serde(default)]
    pub min_retry_rate: RetryRate,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct RetryBudget {
    /// Of a hundred requests, how many may be retries.
    #[serde(default = "twenty")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
    /// Over which they are counted.
    #[serde(default = "ten_seconds")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("use 1s to 1h"))]
    pub interval: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct RetryRate {
    /// Retries in an `interval`.
    #[serde(default = "ten")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub count: i32,
    /// In which so many may be made.
    #[serde(default = "one_second")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("use 1s to 1h"))]
    pub interval: String,
}

impl Default for RetryBudget {
    fn default() -> Self {
        RetryBudget { percent: twenty(), interval: ten_seconds() }
    }
}

impl Default for RetryRate {
    fn default() -> Self {
        RetryRate { count: ten(), interval: one_second() }
    }
}

fn twenty() -> i32 {
    20
}

fn ten() -> i32 {
    10
}

fn ten_seconds() -> String {
    "10s".into()
}

fn one_second() -> String {
    "1s".into()
}
