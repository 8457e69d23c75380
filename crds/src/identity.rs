//! What backends are told of a client, besides the `X-Consumer-*` fields.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{DURATION, IDENTITY_HEADER, SECRET_ENTRY};

/// Of a header field.
const NOT_OURS: &str = "!self.matches('^(?i)x-(consumer|forwarded|real-ip$|request-id$)')";
const OURS: &str = "the gateway itself sets X-Consumer-*, X-Forwarded-*, X-Real-IP and X-Request-ID";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Claims that become request headers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["header"]))]
    pub claims: Vec<ClaimHeader>,
    /// Leaves the credential in the request.
    #[serde(default)]
    pub forward_credential: bool,
    /// A token of the gateway's own that tells who the client is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<IdentityToken>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
pub struct ClaimHeader {
    /// Dots descend into objects: `address.country`.
    #[schemars(length(min = 1, max = 256))]
    pub claim: String,
    /// Such as `X-User-Email`. Always begins with `X-`; the fields that the gateway itself sets can't be taken.
    #[schemars(length(min = 1, max = 256), regex(pattern = IDENTITY_HEADER))]
    #[x_kube(validation = Rule::new(NOT_OURS).message(OURS))]
    pub header: String,
}

/// A JSON Web Token (RFC 7519) with `sub`, `credential` and what is known of the Consumer: `username`, `customId`, `tier` and
/// `groups`. For backends that more than the gateway can reach, such as another gateway.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityToken {
    /// Begins with `X-`; the fields that the gateway itself sets can't be taken. A client's own copy is removed.
    #[serde(default = "x_identity_token")]
    #[schemars(length(max = 256), regex(pattern = IDENTITY_HEADER))]
    #[x_kube(validation = Rule::new(NOT_OURS).message(OURS))]
    pub header: String,
    /// `iss`, such as `https://edge.example.com`.
    #[schemars(length(min = 1, max = 2048))]
    pub issuer: String,
    /// `aud`. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub audience: Option<String>,
    /// How it is signed.
    #[serde(default)]
    pub algorithm: SigningAlgorithm,
    /// A Secret of this namespace: a shared secret of at least 32 bytes for HS256, else a PEM private key (PKCS #8).
    pub secret_ref: SigningSecretRef,
    /// From a request to `exp`, from `1s` to `1h`.
    #[serde(default = "one_minute")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("use 1s to 1h"))]
    pub lifetime: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SigningAlgorithm {
    /// HMAC by a secret that the backend has, too.
    #[default]
    HS256,
    /// ECDSA by a key of the curve P-256: the backend needs its public key alone.
    ES256,
    /// Ed25519, the same way.
    EdDSA,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SigningSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which entry of the Secret.
    #[serde(default = "key")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_ENTRY))]
    pub key: String,
}

fn x_identity_token() -> String {
    "X-Identity-Token".into()
}

fn one_minute() -> String {
    "1m".into()
}

fn key() -> String {
    "key".into()
}
