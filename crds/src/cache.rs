//! Answers that a rule keeps.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::DURATION;

/// Keeps answers of the backends, as far as they say that they may be kept (RFC 9111), and gives them again. Every request is
/// authenticated and counted all the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cache {
    /// Bytes of a body. A longer one passes and is not kept.
    #[serde(default = "max_body_bytes")]
    #[schemars(range(min = 1, max = 8_388_608))]
    pub max_body_bytes: i32,
    /// `true`: all who may send requests get the same answers. Default: each consumer has its own, or each credential that is no
    /// consumer's, where the rule asks who sends a request.
    #[serde(default)]
    pub shared: bool,
    /// For so long, once it is not fresh any more, an answer is still given while a new one is fetched (RFC 5861). Only where
    /// the answer itself says nothing of it, and does not forbid it. `0s`: not at all.
    #[serde(default = "never")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("use 0s to 24h"))]
    pub stale_while_revalidate: String,
}

/// Of all rules of a Gateway, in one dataplane.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CacheConfig {
    /// What the answers that are kept may take, with their heads and with those that are still coming. The least used go first.
    #[serde(default = "max_bytes")]
    #[schemars(range(min = 1_048_576, max = 17_179_869_184_i64))]
    pub max_bytes: i64,
}

fn max_body_bytes() -> i32 {
    1 << 20
}

fn never() -> String {
    "0s".to_owned()
}

fn max_bytes() -> i64 {
    64 << 20
}
