//! Cross-origin resource sharing (GEP-1767).

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{METHOD_OR_ANY, ORIGIN, TOKEN};

/// Which pages of other origins may use the rule, and how (HTTPCORSFilter).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.allowOrigins) || !('*' in self.allowOrigins) || self.allowOrigins.size() == 1")
        .message("`*` stands alone: it is every origin").field_path(".allowOrigins"),
    validation = Rule::new("!has(self.allowMethods) || !('*' in self.allowMethods) || self.allowMethods.size() == 1")
        .message("`*` stands alone: it is every method").field_path(".allowMethods"),
    validation = Rule::new("!has(self.allowHeaders) || !('*' in self.allowHeaders) || self.allowHeaders.size() == 1")
        .message("`*` stands alone: it is every header").field_path(".allowHeaders"),
    validation = Rule::new("!self.allowCredentials || !has(self.allowOrigins) || !('*' in self.allowOrigins)")
        .message("name the origins: with `*` and allowCredentials every page acts as its visitor").field_path(".allowOrigins"),
    validation = Rule::new("!self.allowCredentials || !has(self.exposeHeaders) || !('*' in self.exposeHeaders)")
        .message("name the headers: with allowCredentials browsers take `*` as a name").field_path(".exposeHeaders"),
)]
pub struct Cors {
    /// Such as `https://www.example.com`, `https://*.example.com` (any number of labels) or `*`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = ORIGIN)), extend("x-kubernetes-list-type" = "set"))]
    pub allow_origins: Vec<String>,
    /// Lets pages send cookies and client certificates.
    #[serde(default)]
    pub allow_credentials: bool,
    /// Or `*`. GET, HEAD and POST are always allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9), inner(length(min = 1, max = 7), regex(pattern = METHOD_OR_ANY)), extend("x-kubernetes-list-type" = "set"))]
    pub allow_methods: Vec<String>,
    /// Header fields of requests beside the usual ones, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256), regex(pattern = TOKEN)), extend("x-kubernetes-list-type" = "set"))]
    pub allow_headers: Vec<String>,
    /// Header fields of responses that pages may read beside the usual ones, or `*`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256), regex(pattern = TOKEN)), extend("x-kubernetes-list-type" = "set"))]
    pub expose_headers: Vec<String>,
    /// For how many seconds a browser may keep the answer to a preflight request.
    #[serde(default = "max_age")]
    #[schemars(range(min = 1))]
    pub max_age: i32,
}

fn max_age() -> i32 {
    5
}
