//! Which requests a limit counts.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Empty;
use crate::pattern::{ADDRESS_RANGE, LINE, TOKEN};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.methods), has(self.pathPrefix), has(self.header), has(self.clientIP), has(self.tiers), has(self.groups), has(self.anonymous)].filter(one, one).size() == 1").message("give exactly one of methods, pathPrefix, header, clientIP, tiers, groups and anonymous"))]
pub struct LimitCondition {
    /// The request has one of these, such as `POST`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 32), regex(pattern = TOKEN)), extend("x-kubernetes-list-type" = "set"))]
    pub methods: Vec<String>,
    /// The path begins with these segments, such as `/reports`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = "^/[!-~]*$"))]
    pub path_prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<ConditionHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "clientIP")]
    pub client_ip: Option<ConditionRanges>,
    /// The consumer is of one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63), regex(pattern = LINE)), extend("x-kubernetes-list-type" = "set"))]
    pub tiers: Vec<String>,
    /// The consumer is in one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253), regex(pattern = LINE)), extend("x-kubernetes-list-type" = "set"))]
    pub groups: Vec<String>,
    /// The request came without a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anonymous: Option<Empty>,
    /// It holds for requests for which the rest does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// The request has the header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionHeader {
    /// Such as `X-Tenant`.
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN))]
    pub name: String,
    /// With this value. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096), regex(pattern = LINE))]
    pub value: Option<String>,
}

/// The client's address is in one of the ranges.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConditionRanges {
    /// Such as `10.0.0.0/8`.
    #[schemars(length(min = 1, max = 64), inner(length(max = 64), regex(pattern = ADDRESS_RANGE)), extend("x-kubernetes-list-type" = "set"))]
    pub ranges: Vec<String>,
}
