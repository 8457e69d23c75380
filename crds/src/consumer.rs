//! A client that is known by name.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ConditionsStatus;
use crate::pattern::{LINE, LIST_ENTRY, SECRET_ENTRY, SUBJECT, USER, VISIBLE};

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
#[x_kube(validation = Rule::new("(has(self.apiKey) ? 1 : 0) + (has(self.jwt) ? 1 : 0) + (has(self.basic) ? 1 : 0) + (has(self.certificate) ? 1 : 0) == 1")
    .message("give exactly one of apiKey, jwt, basic and certificate"))]
pub struct Credential {
    /// Tells it from the consumer's others.
    #[schemars(length(min = 1, max = 63), regex(pattern = LINE))]
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyCredential>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtCredential>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicCredential>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateCredential>,
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
    /// `alice`; what it begins with and `*`: `svc-*`; or `*`: every token of the issuer, also without a subject.
    #[schemars(length(min = 1, max = 253), regex(pattern = SUBJECT))]
    pub subject: String,
}

/// A user name and a password (RFC 7617). The gateway keeps only a hash.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.notBefore) || !has(self.expires) || timestamp(self.notBefore) < timestamp(self.expires)")
    .message("expires must be after notBefore").field_path(".expires"))]
pub struct BasicCredential {
    /// What the client calls itself, without a colon. Default: the Consumer's username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = USER))]
    pub username: Option<String>,
    /// A Secret of this namespace that holds the password.
    pub password_secret_ref: PasswordSecretRef,
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
pub struct PasswordSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which entry of the Secret.
    #[serde(default = "password")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_ENTRY))]
    pub key: String,
}

/// What a client's certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(has(self.dns) ? 1 : 0) + (has(self.uri) ? 1 : 0) + (has(self.email) ? 1 : 0) + (has(self.subject) ? 1 : 0) == 1")
    .message("give exactly one of dns, uri, email and subject"))]
pub struct CertificateCredential {
    /// A DNS name among its alternative names, compared without case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = VISIBLE))]
    pub dns: Option<String>,
    /// A URI among them, exactly: `spiffe://example.com/ns/shop/sa/orders`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048), regex(pattern = VISIBLE))]
    pub uri: Option<String>,
    /// An e-mail address among them, exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 320), regex(pattern = VISIBLE))]
    pub email: Option<String>,
    /// Its subject, as `openssl x509 -noout -subject -nameopt RFC2253` prints it: `CN=orders,O=Example`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = LINE))]
    pub subject: Option<String>,
}

fn password() -> String {
    "password".into()
}

fn key() -> String {
    "key".into()
}
