//! How many requests may be under way at once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LimitCondition, LimitKey};
use crate::pattern::SECTION;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConcurrencyLimit {
    /// Names it in metrics.
    #[schemars(length(min = 1, max = 63), regex(pattern = SECTION))]
    pub name: String,
    /// Requests are counted together when all parts are equal. Default: one count for everybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub key: Vec<LimitKey>,
    /// How many at once, in one dataplane. A WebSocket counts until it is closed.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests: i64,
    /// Which requests it counts: those for which all hold. Default: every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub when: Vec<LimitCondition>,
    /// It counts and never refuses: its metrics tell what it would have done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shadow: bool,
}
