//! What HTTPRoute and GatewayRoute have in common. Shapes and names are the Gateway API's.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{
    DURATION, HEADER_VALUE, PATH, PRECISE_HOSTNAME, PREFIX_REPLACEMENT, SUBSTITUTION, TOKEN,
};

/// All that must hold of a request (HTTPRouteMatch).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// Default: every path.
    #[serde(default)]
    pub path: PathMatch,
    /// Default: every method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// All must hold, such as `{name: X-Version, value: "2"}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<ValueMatch>,
    /// All must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub query_params: Vec<ValueMatch>,
}

/// HTTPPathMatch. Paths are compared in their canonical form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("self.type == 'RegularExpression' || self.value.startsWith('/')")
        .message("value must begin with `/`").field_path(".value"),
    validation = Rule::new("self.type == 'RegularExpression' || !self.value.matches('/[.]{1,2}(/|$)')")
        .message("a canonical path has no segment `.` or `..`: this would never match").field_path(".value"),
    validation = Rule::new("self.type == 'RegularExpression' || !self.value.matches('%.?[a-f]')")
        .message("a canonical path writes escapes as `%2F`, not `%2f`: this would never match").field_path(".value"),
    validation = Rule::new("self.type == 'RegularExpression' || !self.value.matches('[^!-~]|[<>#?\"]')")
        .message("value is a path without query: write other characters percent-encoded, such as `%20`").field_path(".value"),
)]
pub struct PathMatch {
    /// How `value` is compared.
    #[serde(default, rename = "type")]
    pub kind: PathMatchType,
    /// Begins with `/`, such as `/v2`; or a regular expression.
    #[serde(default = "root")]
    #[schemars(length(min = 1, max = 1024))]
    pub value: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathMatchType {
    /// The whole path, as it is.
    Exact,
    /// Whole segments: `/v2` takes `/v2` and `/v2/x`, never `/v2x`.
    #[default]
    PathPrefix,
    /// The whole path.
    RegularExpression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Delete,
    Connect,
    Options,
    Trace,
    Patch,
}

/// A header's or query parameter's value (HTTPHeaderMatch, HTTPQueryParamMatch).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ValueMatch {
    /// How `value` is compared.
    #[serde(default, rename = "type")]
    pub kind: ValueMatchType,
    /// Headers are compared without case, query parameters with it.
    #[schemars(length(min = 1, max = 256), regex(pattern = crate::pattern::VISIBLE))]
    pub name: String,
    /// Compared with the whole of what was sent.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ValueMatchType {
    /// The whole value, as it is.
    #[default]
    Exact,
    /// The whole value.
    RegularExpression,
}

/// Changes of header fields, in the order set, add, remove (HTTPHeaderFilter).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderChanges {
    /// Takes the place of what is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub set: Vec<Header>,
    /// Stands beside what is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub add: Vec<Header>,
    /// Names, such as `X-Internal`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256), regex(pattern = TOKEN)), extend("x-kubernetes-list-type" = "set"))]
    pub remove: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Header {
    /// Such as `X-Region`.
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN))]
    pub name: String,
    /// Sent as it is.
    #[schemars(length(max = 4096), regex(pattern = HEADER_VALUE))]
    pub value: String,
}

/// Sends the client elsewhere. What is absent is taken from the request (HTTPRequestRedirectFilter).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["http", "https"]))]
    pub scheme: Option<String>,
    /// Such as `www.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = PRECISE_HOSTNAME))]
    pub hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
    /// Default: the one of `scheme` if that is given, else the listener's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// 301, 302, 303, 307 or 308. Default: 302.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [301, 302, 303, 307, 308], "default" = 302))]
    pub status_code: Option<i32>,
}

/// HTTPURLRewriteFilter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UrlRewrite {
    /// Replaces Host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = PRECISE_HOSTNAME))]
    pub hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathModifier>,
}

/// HTTPPathModifier: `{type: ReplacePrefixMatch, replacePrefixMatch: /}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'ReplaceFullPath') == has(self.replaceFullPath)")
        .message("give replaceFullPath with type ReplaceFullPath, and only then"),
    validation = Rule::new("(self.type == 'ReplacePrefixMatch') == has(self.replacePrefixMatch)")
        .message("give replacePrefixMatch with type ReplacePrefixMatch, and only then"),
    validation = Rule::new("(self.type == 'ReplaceRegexMatch') == has(self.replaceRegexMatch)")
        .message("give replaceRegexMatch with type ReplaceRegexMatch, and only then"),
)]
pub struct PathModifier {
    /// What is replaced.
    #[serde(rename = "type")]
    pub kind: PathModifierType,
    /// Takes the place of the whole path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = PATH))]
    pub replace_full_path: Option<String>,
    /// Takes the place of the prefix that matched. Empty takes it away, as `/` does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = PREFIX_REPLACEMENT))]
    pub replace_prefix_match: Option<String>,
    /// Only in a GatewayRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace_regex_match: Option<RegexReplacement>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PathModifierType {
    ReplaceFullPath,
    ReplacePrefixMatch,
    ReplaceRegexMatch,
}

/// Puts a path together anew from parts of the old: `{pattern: "/v1/([^/]+)/(.*)", substitution: "/$2/of/$1"}`. A path that the
/// pattern does not match stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegexReplacement {
    /// A regular expression for the whole path.
    #[schemars(length(min = 1, max = 1024))]
    pub pattern: String,
    /// Takes the place of the whole path. `$1` to `$9` and `${name}` stand for what a group of the pattern matched, `$$` for a
    /// dollar sign.
    #[schemars(length(min = 1, max = 1024), regex(pattern = SUBSTITUTION))]
    pub substitution: String,
}

/// HTTPRouteTimeouts, and two of a GatewayRoute's own: durations such as `10s`; `0s` is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.request) || !has(self.backendRequest) || duration(self.request) == duration('0s') || duration(self.backendRequest) <= duration(self.request)")
    .message("backendRequest can't be longer than request"))]
pub struct Timeouts {
    /// From the request's head to the response's head, retries included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub request: Option<String>,
    /// The same for one attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    pub backend_request: Option<String>,
    /// For a connection to an endpoint, and as long for TLS on it; with more, another endpoint is tried. Default: 3s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms') && duration(self) <= duration('5m')").message("use 10ms to 5m"))]
    pub connect: Option<String>,
    /// How long nothing of a request may go to its backend and nothing of the answer come, from the first byte to the last,
    /// WebSockets among them. Before the answer it ends an attempt, as `backendRequest` does; after its head the answer breaks
    /// off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) == duration('0s') || duration(self) >= duration('10ms')").message("use 0s, or 10ms and more"))]
    pub idle: Option<String>,
}

impl Default for PathMatch {
    fn default() -> Self {
        PathMatch { kind: PathMatchType::default(), value: root() }
    }
}

fn root() -> String {
    "/".into()
}
