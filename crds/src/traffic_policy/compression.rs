//! Answers that are compressed on their way to clients.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a type and its subtype may be, `*` for every subtype.
const CONTENT_TYPE: &str = r"^[A-Za-z0-9!#$&^_.+-]+/([A-Za-z0-9!#$&^_.+-]+|\*)$";

/// Of what clients take compressed and backends have not compressed themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Compression {
    /// The first counts where a client likes several equally.
    #[serde(default = "codings")]
    #[schemars(length(min = 1, max = 3), extend("x-kubernetes-list-type" = "set"))]
    pub codings: Vec<Coding>,
    /// Bytes: a body that is known to be shorter is left as it is.
    #[serde(default = "min_length")]
    #[schemars(range(min = 0, max = 1_048_576))]
    pub min_length: i32,
    /// What is worth it, as `application/json` or `text/*`.
    #[serde(default = "content_types")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 128), regex(pattern = CONTENT_TYPE)), extend("x-kubernetes-list-type" = "set"))]
    pub content_types: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932: `br`.
    Brotli,
    /// RFC 1952.
    Gzip,
}

fn codings() -> Vec<Coding> {
    vec![Coding::Zstd, Coding::Brotli, Coding::Gzip]
}

fn min_length() -> i32 {
    1024
}

fn content_types() -> Vec<String> {
    let types = [
        "text/html",
        "text/css",
        "text/plain",
        "text/csv",
        "text/xml",
        "text/javascript",
        "application/javascript",
        "application/json",
        "application/problem+json",
        "application/ld+json",
        "application/manifest+json",
        "application/xml",
        "application/xhtml+xml",
        "application/rss+xml",
        "application/atom+xml",
        "application/wasm",
        "image/svg+xml",
    ];
    types.map(str::to_owned).to_vec()
}
