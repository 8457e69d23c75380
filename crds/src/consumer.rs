//! A client that is known by name.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ConditionsStatus;
use crate::pattern::{LINE, LIST_ENTRY, SECRET_ENTRY, SUBJECT};

/// Known to the AuthPolicies of its namespace. Backends see it in `X-Consumer-*`.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gatehouse.dev",
    version = "v1alpha1",
    kind = "Consumer",
    plural = "consumers",
    doc = "A client that is known by name.",
    shortname = "con",
    category = "gatehouse",
    namespaced,
    status = "ConditionsStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn = r#"{"name":"Username","type":"string","jsonPath":".spec.username"}"#,
    printcolumn = r#"{"name":"Tier","type":"string","jsonPath":".spec.tier"}"#,
    printcolumn = r#"{"name":"Groups","type":"string","jsonPath":".spec.groups","priority":1}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name":"Programmed","type":"string","jsonPath":".status.conditions[?(@.type==\"gatehouse.dev/Programmed\")].status"}"#,
    printcolumn = r#"{"name":"Problem","type":"string","jsonPath":".status.conditions[?(@.status==\"False\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerSpec {
    /// `X-Consumer-Username`. Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = LINE))]
    pub username: Option<String>,
    /// `X-Consumer-Custom-Id`: the client's id in another system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = LINE))]
    pub custom_id: Option<String>,
    /// Chooses the numbers of rate limits, such as `gold`; `X-Consumer-Tier`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = LINE))]
    pub tier: Option<String>,
    /// `X-Consumer-Groups`, separated by commas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = LIST_ENTRY)), extend("x-kubernetes-list-type" = "set"))]
    pub groups: Vec<String>,
    /// What it can prove itself by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub credentials: Vec<Credential>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.apiKey) != has(self.jwt)").message("give exactly one of apiKey and jwt"))]
pub struct Credential {
    /// Tells it from the consumer's others.
    #[schemars(length(min = 1, max = 63), regex(pattern = LINE))]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyCredential>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtCredential>,
}

/// A key that clients send as it is. The gateway keeps only its hash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.notBefore) || !has(self.expires) || timestamp(self.notBefore) < timestamp(self.expires)")
    .message("expires must be after notBefore").field_path(".expires"))]
pub struct ApiKeyCredential {
    /// A Secret of this namespace.
    pub secret_ref: CredentialSecretRef,
    /// RFC 3339, such as `2030-01-31T12:00:00Z`. Default: valid at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub not_before: Option<String>,
    /// RFC 3339. Default: valid for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), extend("format" = "date-time"))]
    pub expires: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CredentialSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which entry of the Secret.
    #[serde(default = "key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_ENTRY))]
    pub key: String,
}

/// Tokens of this issuer and subject stand for the consumer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JwtCredential {
    /// As in the AuthPolicy.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// `alice`, or what it begins with followed by `*`: `svc-*`.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBJECT))]
    pub subject: String,
}

fn key() -> String {
    "key".into()
}
