//! Who of those that are known may pass.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{ADDRESS_RANGE, LINE, LIST_ENTRY};

/// Admits a request for which all that is stated holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.groups) && size(self.groups) > 0) || (has(self.tiers) && size(self.tiers) > 0) || (has(self.claims) && size(self.claims) > 0) || (has(self.clientIPs) && size(self.clientIPs) > 0)")
    .message("state at least one of groups, tiers, claims and clientIPs"))]
pub struct AuthorizationRule {
    /// The Consumer is in one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = LIST_ENTRY)), extend("x-kubernetes-list-type" = "set"))]
    pub groups: Vec<String>,
    /// The Consumer's tier is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), regex(pattern = LINE)), extend("x-kubernetes-list-type" = "set"))]
    pub tiers: Vec<String>,
    /// All of these hold of the token or the client's certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub claims: Vec<ClaimRule>,
    /// The client's address is in one of these ranges. Behind trusted proxies it is the one that they tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "clientIPs")]
    #[schemars(length(max = 256), inner(length(max = 64), regex(pattern = ADDRESS_RANGE)), extend("x-kubernetes-list-type" = "set"))]
    pub client_ips: Vec<String>,
}

/// What must hold of one claim. A list holds what one of its values holds; so do the words of `scope`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.equals) ? 1 : 0) + (has(self.anyOf) ? 1 : 0) + (has(self.exists) ? 1 : 0) == 1").message("give exactly one of equals, anyOf and exists"))]
pub struct ClaimRule {
    /// Dots descend into objects: `realm_access.roles`.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// It is this. Numbers and truth values are written as in JSON: `1`, `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    pub equals: Option<String>,
    /// It is one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 64), inner(length(max = 2048)), extend("x-kubernetes-list-type" = "set"))]
    pub any_of: Vec<String>,
    /// It is there, and is not null; or, with `false`, it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
}

/// A password of a Consumer (RFC 7617). The user's name is the one of the Consumer's credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BasicMethod {}

/// The certificate that the client showed in the TLS handshake, where the listener verifies clients (`spec.tls.frontend`
/// of the Gateway, mode `AllowValidOnly`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientCertificateMethod {}
