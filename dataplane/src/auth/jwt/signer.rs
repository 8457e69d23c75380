//! A token of the gateway's own that tells backends who the client is: for those that more than the gateway can reach, to
//! whom a header field proves nothing.

use std::fmt;

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gatehouse_proto::config::v1::IdentityToken;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;

use super::{Invalid, UnixMillis};
use crate::{
    auth::{Identity, forward},
    filter::ConsumerField,
};

/// RFC 7518, 3.2.
const SHORTEST_SECRET: usize = 32;

pub(crate) struct Signer {
    header: HeaderName,
    issuer: Box<str>,
    /// Empty: none.
    audience: Box<str>,
    /// Seconds.
    lifetime: i64,
    key: Key,
}

enum Key {
    Secret(Box<hmac::Key>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// RFC 7519, 4.1, and what `X-Consumer-*` tells.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    iss: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    aud: &'a str,
    iat: i64,
    exp: i64,
    credential: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [Box<str>],
}

impl Signer {
    /// `is_taken`: something else stands in that field.
    pub(crate) fn compile(
        wire: &IdentityToken,
        is_taken: impl Fn(&HeaderName) -> bool,
    ) -> Result<Self, Invalid> {
        let invalid = |what: String| Invalid(format!("identity.token: {what}"));
        let header = forward::free(&wire.header, is_taken).map_err(invalid)?;
        if wire.issuer.is_empty() || wire.lifetime_seconds == 0 {
            return Err(invalid("give an issuer and a lifetime".into()));
        }
        let key = Key::compile(&wire.algorithm, &wire.key).map_err(invalid)?;
        Ok(Signer {
            header,
            issuer: wire.issuer.as_str().into(),
            audience: wire.audience.as_str().into(),
            lifetime: wire.lifetime_seconds.into(),
            key,
        })
    }

    pub(crate) fn header(&self) -> &HeaderName {
        &self.header
    }

    /// Nothing is said of who is not known.
    pub(crate) fn write(&self, identity: &Identity, headers: &mut HeaderMap, now: UnixMillis) {
        let token = self.sign(identity, now).and_then(|token| HeaderValue::try_from(token).ok());
        if let Some(mut token) = token {
            token.set_sensitive(true);
            headers.insert(self.header.clone(), token);
        }
    }

    fn sign(&self, identity: &Identity, now: UnixMillis) -> Option<String> {
        let field = |field| identity.of_consumer(field).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let issued = now.div_euclid(1000);
        let statement = Statement {
            iss: &self.issuer,
            sub: identity.name()?,
            aud: &self.audience,
            iat: issued,
            exp: issued + self.lifetime,
            credential: identity.credential()?,
            username: field(ConsumerField::Username),
            custom_id: field(ConsumerField::CustomId),
            tier: field(ConsumerField::Tier),
            groups: identity.groups(),
        };
        let mut token = self.key.jose().to_owned();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(&statement).ok()?, &mut token);
        let signature = self.key.sign(token.as_bytes())?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Some(token)
    }
}

impl Key {
    /// The error is a sentence.
    fn compile(algorithm: &str, key: &[u8]) -> Result<Self, String> {
        let rejected = |_| format!("the key is none for {algorithm}");
        match algorithm {
            "HS256" if key.len() < SHORTEST_SECRET => {
                Err(format!("HS256 needs a secret of {SHORTEST_SECRET} bytes or more"))
            }
            "HS256" => Ok(Key::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, key)))),
            "ES256" => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key)
                .map(Key::P256)
                .map_err(rejected),
            "EdDSA" => Ed25519KeyPair::from_pkcs8(key).map(Key::Ed25519).map_err(rejected),
            _ => Err(format!("this dataplane does not sign by {algorithm:?}")),
        }
    }

    /// The encoded JOSE header (RFC 7515, 4): `{"alg":"HS256","typ":"JWT"}` and its like.
    fn jose(&self) -> &'static str {
        match self {
            Key::Secret(_) => "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
            Key::P256(_) => "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9",
            Key::Ed25519(_) => "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9",
        }
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Key::Secret(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Key::P256(pair) => {
                pair.sign(&SystemRandom::new(), message).ok().map(|signature| signature.as_ref().to_vec())
            }
            Key::Ed25519(pair) => Some(pair.sign(message).as_ref().to_vec()),
        }
    }
}

/// Without the key.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("header", &self.header)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
