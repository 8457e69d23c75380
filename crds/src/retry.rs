//! Requests that are sent again (GEP-1731).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::DURATION;

/// When a request is sent once more, and how often (HTTPRouteRetry). A connection that breaks and a backend that is too
/// slow count as well, for methods that may be repeated; 502 and 504 in `codes` make them count for every method.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Retry {
    /// Statuses of backends that are not passed on while attempts are left, such as 503: for every method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(range(min = 400, max = 599)), extend("x-kubernetes-list-type" = "set"))]
    pub codes: Vec<i32>,
    /// How often at most, after the first time. Default: once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10))]
    pub attempts: Option<i32>,
    /// How long to wait at least before the next attempt; each wait is twice the one before, up to ten times this, and up
    /// to half as long again. Default: 25ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub backoff: Option<String>,
}
