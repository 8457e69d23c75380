//! A Service that says whether a request may pass.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{DURATION, PATH, TOKEN};

/// Asks a Service about each request that no other method has found a credential in: by HTTP with a request of its own that has
/// no body, of which 2xx admits, and 401, 403 and redirects go to the client; or by the gRPC protocol that Envoy asks by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("!has(self.protocol) || self.protocol != 'GRPC' || ((!has(self.path) || self.path == '/') && (!has(self.method) || self.method == 'GET'))").message("path and method belong to the protocol HTTP"),
)]
#[serde(rename_all = "camelCase")]
pub struct ExternalMethod {
    /// Who is asked.
    pub backend_ref: ExternalBackend,
    /// What it speaks. GRPC is `envoy.service.auth.v3.Authorization/Check`.
    #[serde(default)]
    pub protocol: ExternalAuthProtocol,
    /// The path that is asked for. What the client asks for is told in X-Forwarded-Method, -Proto, -Host and -Uri.
    #[serde(default = "root")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = PATH))]
    pub path: String,
    /// How it is asked.
    #[serde(default)]
    pub method: ExternalAuthVerb,
    /// Fields of the request that are told. Default: Authorization and Cookie; with the protocol GRPC, all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256), regex(pattern = TOKEN)), extend("x-kubernetes-list-type" = "set"))]
    pub forward_headers: Vec<String>,
    /// Fields of an answer that admits, which the backend gets. A client's own are removed. Default: none; with the protocol GRPC,
    /// all that the answer sets, in place of a client's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256), regex(pattern = TOKEN)), extend("x-kubernetes-list-type" = "set"))]
    pub copy_headers: Vec<String>,
    /// The field of an answer that tells who asks, such as `X-Auth-User`: limits and logs know it as `external:VALUE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN))]
    pub identity_header: Option<String>,
    /// The longest that an answer may take, from `10ms` to `10s`.
    #[serde(default = "a_second")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms') && duration(self) <= duration('10s')").message("use 10ms to 10s"))]
    pub timeout: String,
    /// What happens when there is no answer in time, or one that says neither yes nor no.
    #[serde(default)]
    pub failure_mode: ExternalAuthFailure,
    /// For how long an answer that admits holds for a request about which the same would be told, from `1s` to `5m`. Default:
    /// each request is asked about.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "cacheTTL")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('5m')").message("use 1s to 5m"))]
    pub cache_ttl: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExternalBackend {
    /// Name of the Service.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Namespace of the Service. Default: the policy's. Another one must let it in by a ReferenceGrant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Port of the Service.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExternalAuthProtocol {
    #[default]
    Http,
    Grpc,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExternalAuthVerb {
    #[default]
    Get,
    Head,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExternalAuthFailure {
    /// 503.
    #[default]
    Deny,
    /// It passes, without an identity.
    Allow,
}

fn root() -> String {
    "/".into()
}

fn a_second() -> String {
    "1s".into()
}
