//! A new version of a backend that takes over step by step.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{COOKIE_VALUE, DURATION, HEADER_VALUE, TOKEN};
use crate::{RouteParentStatus, ServiceRef};

/// How a new version takes the place of `backendRefs`, which are the stable one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.canary) != has(self.blueGreen)").message("give exactly one of canary and blueGreen"))]
pub struct Rollout {
    /// The new version gets a growing share of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The new version gets nothing but what is sent to it on purpose, and then everything at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue_green: Option<BlueGreen>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlueGreen {
    /// The new version.
    pub backend_ref: ServiceRef,
    /// Anything, such as the version of an image. Another one begins the rollout anew, as another `backendRef` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub revision: Option<String>,
    /// Requests that get the new version before it gets all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<RolloutForce>,
    /// After how long it gets all by itself, such as 1h. Default: when the annotation says `promote`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub switch_after: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// The new version.
    pub backend_ref: ServiceRef,
    /// Anything, such as the version of an image. Another one begins the rollout anew, as another `backendRef` does: for
    /// a Service that stays the same while what is behind it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub revision: Option<String>,
    /// One after the other; behind the last, the new version gets everything.
    #[schemars(length(min = 1, max = 20))]
    pub steps: Vec<RolloutStep>,
    /// Requests that get the new version whatever its share, unless it was rolled back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<RolloutForce>,
    /// What gets the same version again. Default: each request is decided by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
    /// Compares the new version with the stable one while it runs: what is worse is rolled back, and no step follows without
    /// enough requests. Default: steps follow by time alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<RolloutAnalysis>,
}

/// What the dataplanes themselves count decides; forced requests don't.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutAnalysis {
    /// How often.
    #[serde(default = "interval")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub interval: String,
    /// Of each version in a step, before anything is said about them.
    #[serde(default = "min_requests")]
    #[schemars(range(min = 10, max = 1_000_000))]
    pub min_requests: i32,
    #[serde(default)]
    pub errors: RolloutErrors,
    #[serde(default)]
    pub latency: RolloutLatency,
}

/// Requests that were answered with 5xx, or failed in the gateway because of the version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutErrors {
    /// Of a hundred requests, how many more may fail than of the stable version.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 100))]
    pub max_increase: i32,
    /// Of a hundred requests, how many may fail, however the stable version does. Default: no such limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max: Option<i32>,
}

/// Until the head of the response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutLatency {
    /// Of a hundred requests, how many take at most the latency that is compared.
    #[serde(default = "quantile")]
    #[schemars(range(min = 50, max = 99))]
    pub quantile: i32,
    /// Percent of the stable version's: 150 is half as long again. Less can't be told apart by what is counted.
    #[serde(default = "max_ratio")]
    #[schemars(range(min = 150, max = 10_000))]
    pub max_ratio: i32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutStep {
    /// Of a hundred requests, how many the new version gets.
    #[schemars(range(min = 1, max = 99))]
    pub weight: i32,
    /// For how long at least, such as 5m.
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub hold: String,
}

/// Either is enough.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.header) || has(self.cookie)").message("give header, cookie or both"))]
pub struct RolloutForce {
    /// Such as `{name: X-Canary, value: always}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<ForceHeader>,
    /// Such as `{name: canary, value: always}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<ForceCookie>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForceHeader {
    /// Compared without case.
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN))]
    pub name: String,
    /// Compared as it is.
    #[schemars(length(min = 1, max = 256), regex(pattern = HEADER_VALUE))]
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ForceCookie {
    /// Compared as it is.
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN))]
    pub name: String,
    /// Compared as it is.
    #[schemars(length(min = 1, max = 256), regex(pattern = COOKIE_VALUE))]
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Sticky {
    /// A consumer, or else the credential. Who got the new version keeps it while its share grows. Requests without an
    /// identity are decided each by itself.
    Consumer,
}

/// Of a GatewayRoute: what holds on each parent, and how far its rollouts have come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GatewayRouteStatus {
    /// Entries of other controllers stand beside ours.
    #[serde(default)]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub parents: Vec<RouteParentStatus>,
    /// One for each rule with a `rollout`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rollouts: Vec<RolloutStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutStatus {
    /// The rule's.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Of the new version's reference and revision: with another, the rollout begins anew.
    #[schemars(length(min = 1, max = 64))]
    pub hash: String,
    pub phase: RolloutPhase,
    /// The first is 1; 0 before it.
    #[schemars(range(min = 0, max = 20))]
    pub step: i32,
    /// Of a hundred requests, how many the new version gets.
    #[schemars(range(min = 0, max = 100))]
    pub weight: i32,
    /// When the step began, or the phase if none is under way.
    pub since: MicroTime,
    /// Why the phase is what it is, in a word.
    #[schemars(length(min = 1, max = 64))]
    pub reason: String,
    /// The same in a sentence.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The command of the annotation that was obeyed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub command: Option<String>,
    /// What the last analysis saw in this step of the new version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<RolloutObserved>,
    /// The same of the stable one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<RolloutObserved>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutObserved {
    pub requests: i64,
    pub errors: i64,
    /// Of the quantile that is compared. Absent: there were no requests, or it is longer than a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_millis: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutPhase {
    /// A step is under way.
    Progressing,
    /// Its time is over, and something is missing for the next; or something is missing for the first.
    Waiting,
    /// By the annotation.
    Paused,
    /// The new version gets everything.
    Promoted,
    /// The new version gets nothing.
    RolledBack,
}

impl Default for RolloutErrors {
    fn default() -> Self {
        RolloutErrors { max_increase: one(), max: None }
    }
}

impl Default for RolloutLatency {
    fn default() -> Self {
        RolloutLatency { quantile: quantile(), max_ratio: max_ratio() }
    }
}

fn interval() -> String {
    "30s".into()
}

fn min_requests() -> i32 {
    100
}

fn one() -> i32 {
    1
}

fn quantile() -> i32 {
    90
}

fn max_ratio() -> i32 {
    150
}
