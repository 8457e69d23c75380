//! Who may send requests.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{ADDRESS_RANGE, ALGORITHM, DURATION, SECRET_ENTRY, TOKEN, VISIBLE};
use crate::{
    AuthorizationRule, BasicMethod, ClientCertificateMethod, ExternalMethod, Identity, LocalRef,
    PolicyStatus, TargetRef,
};

/// Admits requests that carry one of several kinds of credential. The clients that it knows by name are the Consumers of
/// its own namespace.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "gatehouse.dev",
    version = "v1alpha1",
    kind = "AuthPolicy",
    plural = "authpolicies",
    doc = "Who may send requests.",
    shortname = "ap",
    category = "gatehouse",
    namespaced,
    status = "PolicyStatus",
    derive = "PartialEq",
    derive = "Default",
    printcolumn = r#"{"name":"Target","type":"string","jsonPath":".spec.targetRefs[*].name"}"#,
    printcolumn = r#"{"name":"Enforcement","type":"string","jsonPath":".spec.enforcement"}"#,
    printcolumn = r#"{"name":"Accepted","type":"string","jsonPath":".status.ancestors[*].conditions[?(@.type==\"Accepted\")].status"}"#,
    printcolumn = r#"{"name":"Programmed","type":"string","jsonPath":".status.ancestors[*].conditions[?(@.type==\"gatehouse.dev/Programmed\")].status"}"#,
    printcolumn = r#"{"name":"Problem","type":"string","jsonPath":".status.ancestors[*].conditions[?(@.status==\"False\")].reason"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.anyOf) && size(self.anyOf) > 0) || (has(self.anonymous) && self.anonymous == 'Allow')").message("without a method in anyOf nobody gets in: add one, or anonymous: Allow"),
    validation = Rule::new("!has(self.anyOf) || !self.anyOf.exists(m, has(m.external)) || !has(self.anonymous) || self.anonymous == 'Deny'").message("external decides about who shows nothing, too: leave anonymous at Deny").field_path(".anonymous"),
    validation = Rule::new("!has(self.anyOf) || size(self.anyOf) == 0 || self.anyOf.filter(m, has(m.external)).size() == (has(self.anyOf[size(self.anyOf) - 1].external) ? 1 : 0)").message("external decides about all that comes to it: give one, as the last").field_path(".anyOf"),
    validation = Rule::new("(has(self.anyOf) && size(self.anyOf) > 0) || (has(self.authorize) && size(self.authorize) > 0) || (has(self.denyClientIPs) && size(self.denyClientIPs) > 0)").message("without anyOf the policy needs authorize or denyClientIPs"),
)]
pub struct AuthPolicySpec {
    /// What it applies to, besides the GatewayRoutes that name it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<TargetRef>,
    /// The first that finds its credential in the request decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub any_of: Vec<AuthMethod>,
    /// What happens to a request without any credential.
    #[serde(default)]
    pub anonymous: Anonymous,
    /// Who of them may pass: whom any of these admits. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub authorize: Vec<AuthorizationRule>,
    /// Clients of these address ranges are refused before anything else is looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "denyClientIPs")]
    #[schemars(length(max = 256), inner(length(max = 64), regex(pattern = ADDRESS_RANGE)), extend("x-kubernetes-list-type" = "set"))]
    pub deny_client_ips: Vec<String>,
    /// How it stands to more specific ones.
    #[serde(default)]
    pub enforcement: Enforcement,
    /// What the backend is told besides the `X-Consumer-*` fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.jwt) ? 1 : 0) + (has(self.apiKey) ? 1 : 0) + (has(self.basic) ? 1 : 0) + (has(self.clientCertificate) ? 1 : 0) + (has(self.external) ? 1 : 0) == 1")
    .message("give exactly one of jwt, apiKey, basic, clientCertificate and external"))]
pub struct AuthMethod {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ApiKeyMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic: Option<BasicMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<ClientCertificateMethod>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalMethod>,
}

/// A JSON Web Token (RFC 7519). `exp` is required; `nbf` is honoured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.jwks) ? 1 : 0) + (has(self.secretRef) ? 1 : 0) + (has(self.inline) ? 1 : 0) == 1").message("give exactly one of jwks, secretRef and inline"),
    validation = Rule::new("!has(self.algorithms) || !self.algorithms.exists(a, a.startsWith('HS')) || (has(self.secretRef) && self.secretRef.format != 'PEM')")
        .message("HS256, HS384 and HS512 need a shared secret: use secretRef with format HMAC or JWKS").field_path(".algorithms"),
    validation = Rule::new("!has(self.algorithms) || !has(self.secretRef) || self.secretRef.format != 'HMAC' || self.algorithms.all(a, a.startsWith('HS'))")
        .message("a shared secret verifies HS256, HS384 and HS512 only").field_path(".algorithms"),
)]
pub struct JwtMethod {
    /// `iss` must be exactly this, such as `https://issuer.example.com`.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// `aud` must hold one of these. Default: not checked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 2048)))]
    pub audiences: Vec<String>,
    /// Which algorithms are accepted, whatever a token says: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA,
    /// HS256, HS384, HS512. Default: RS256, ES256 and EdDSA; HS256 for a secret of format HMAC.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 12), inner(length(max = 5), regex(pattern = ALGORITHM)), extend("x-kubernetes-list-type" = "set"))]
    pub algorithms: Vec<String>,
    /// Keys behind a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JwksUrl>,
    /// Keys in a Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<KeySecretRef>,
    /// Public keys written here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inline: Option<InlineKeys>,
    /// Where the token is looked for. Default: `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub sources: Vec<CredentialSource>,
    /// Allowed difference of clocks.
    #[serde(default = "half_a_minute")]
    #[schemars(range(min = 0, max = 300))]
    pub leeway_seconds: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.caRefs) || size(self.caRefs) == 0 || self.url.startsWith('https://')").message("caRefs need a URL that begins with https://").field_path(".caRefs"))]
pub struct JwksUrl {
    /// Of a JSON Web Key Set (RFC 7517), such as `https://issuer.example.com/.well-known/jwks.json`.
    #[schemars(length(max = 2048), regex(pattern = "^https?://[!-~]+$"))]
    pub url: String,
    /// How often it is fetched anew, from `10s` to `24h`.
    #[serde(default = "five_minutes")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')").message("use 10s to 24h"))]
    pub refresh_interval: String,
    /// ConfigMaps of this namespace whose entry `ca.crt` holds the authorities that the server's certificate must be of, PEM.
    /// Default: the public ones, and those of the controller's system.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ca_refs: Vec<LocalRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KeySecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which entry of the Secret.
    #[serde(default = "jwks_json")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_ENTRY))]
    pub key: String,
    /// What the entry holds.
    #[serde(default)]
    pub format: KeyFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum KeyFormat {
    /// A JSON Web Key Set.
    #[default]
    Jwks,
    /// A PEM public key.
    Pem,
    /// A shared secret, at least as long as the hash.
    Hmac,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.jwks) != has(self.pem)").message("give exactly one of jwks and pem"))]
pub struct InlineKeys {
    /// A JSON Web Key Set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 65536))]
    pub jwks: Option<String>,
    /// A PEM public key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536), regex(pattern = "^-----BEGIN PUBLIC KEY-----"))]
    pub pem: Option<String>,
}

/// A key of a Consumer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKeyMethod {
    /// Where the key is looked for. Default: the header `X-API-Key`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub sources: Vec<CredentialSource>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("(has(self.header) ? 1 : 0) + (has(self.query) ? 1 : 0) + (has(self.cookie) ? 1 : 0) == 1").message("give exactly one of header, query and cookie"))]
pub struct CredentialSource {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<HeaderSource>,
    /// A query parameter. It ends up in the logs of what stands before the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<NamedSource>,
    /// A cookie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<NamedSource>,
}

/// A request header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderSource {
    /// Such as `Authorization`.
    #[schemars(length(min = 1, max = 256), regex(pattern = TOKEN))]
    pub name: String,
    /// What stands before the credential, such as `Bearer`. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = TOKEN))]
    pub scheme: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NamedSource {
    /// Such as `api_key`.
    #[schemars(length(min = 1, max = 256), regex(pattern = VISIBLE))]
    pub name: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Anonymous {
    /// 401.
    #[default]
    Deny,
    /// It passes, without an identity.
    Allow,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// A more specific AuthPolicy takes its place.
    #[default]
    Default,
    /// It always applies, besides any more specific one.
    Required,
}

fn half_a_minute() -> i32 {
    30
}

fn five_minutes() -> String {
    "5m".into()
}

fn jwks_json() -> String {
    "jwks.json".into()
}
