//! One request in, several backends asked at once, one JSON object out.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{DURATION, MEMBER, TEMPLATE};
use crate::{HeaderChanges, ServiceRef};

/// Asks several backends at the same time and answers GET and HEAD with one JSON object, which has a member for each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.errorsMember) || self.parts.all(p, p.name != self.errorsMember)")
        .message("errorsMember is the name of a part").field_path(".errorsMember"),
    validation = Rule::new("duration(self.timeout) >= duration('1ms') && duration(self.timeout) <= duration('5m')")
        .message("use 1ms to 5m").field_path(".timeout"),
)]
pub struct Aggregate {
    /// What is asked, in the order of the answer's members.
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub parts: Vec<AggregatePart>,
    /// For the whole: from the request's head to the last byte of the last part. What is not there then has failed.
    #[serde(default = "timeout")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub timeout: String,
    /// Bytes of one part's body; a part with more has failed.
    #[serde(default = "max_part_bytes")]
    #[schemars(range(min = 1, max = 4_194_304))]
    pub max_part_bytes: i32,
    /// A member of this name lists what has failed, as `[{"part":"reviews","reason":"upstream_timeout"}]`, in answers that
    /// lack something. Default: only the header `X-Gatehouse-Partial` names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = MEMBER))]
    pub errors_member: Option<String>,
}

/// A backend that is asked, and what becomes of its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AggregatePart {
    /// Of the member that holds its answer, such as `user`.
    #[schemars(length(min = 1, max = 63), regex(pattern = MEMBER))]
    pub name: String,
    pub backend_ref: ServiceRef,
    /// What it is asked for: a path and perhaps a query, with values of the request in braces, as
    /// `/users/{segment.2}?lang={query.lang}`. `{segment.N}`: of the request's path, from 1. `{query.NAME}`: the first of
    /// that name. `{claim.NAME}`: of a token, dots descend. `{consumer.username}`, `.customId`, `.tier`.
    #[schemars(length(min = 1, max = 1024), regex(pattern = TEMPLATE))]
    pub path: String,
    /// For this part alone, such as `500ms`; the whole's holds as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub timeout: Option<String>,
    /// What its failure does to the answer.
    #[serde(default)]
    pub on_failure: PartFailure,
    /// Beside those of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_headers: Option<HeaderChanges>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PartFailure {
    /// There is no answer but an error that names the part.
    #[default]
    Fail,
    /// Its member is `null`.
    Null,
    /// It has no member.
    Omit,
}

fn timeout() -> String {
    "5s".into()
}

fn max_part_bytes() -> i32 {
    1 << 20
}
