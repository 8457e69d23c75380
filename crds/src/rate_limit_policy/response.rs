//! What a refused request gets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Header;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LimitResponse {
    /// From 400 to 599.
    #[serde(default = "too_many_requests")]
    #[schemars(range(min = 400, max = 599))]
    pub status: i32,
    /// Such as `{name: Content-Type, value: text/plain}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<Header>,
    /// Sent as it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 4096))]
    pub body: String,
}

fn too_many_requests() -> i32 {
    429
}
