//! JSON Web Tokens (RFC 7519), checked as RFC 8725 asks.
//!
//! What a token says of itself decides nothing: the algorithm must be one that the policy lists and that fits the key.
//! `jku`, `x5u`, `jwk` and `x5c` are never looked at. The library verifies signatures; header and claims are read here,
//! strictly, because its own reading takes claims of a wrong type for absent ones.

mod key;
mod strict;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gatehouse_proto::config::v1;
use jsonwebtoken::{Algorithm, crypto};
use serde_json::{Map, Value};

use super::{Invalid, UnixMillis};
use key::Key;

pub(crate) type Claims = Map<String, Value>;

/// Longer tokens are refused unread. Servers commonly take no longer header lines.
const TOKEN_BYTES: usize = 8 << 10;
const KEY_ID_BYTES: usize = 256;
/// The greatest integer that JSON numbers hold exactly; no time lies beyond it.
const LATEST: f64 = 9_007_199_254_740_991.0;

/// Why a credential is not accepted. The texts go into `error_description`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("more than one credential")]
    Several,
    #[error("unknown credential")]
    Unknown,
    #[error("malformed token")]
    Malformed,
    #[error("algorithm not allowed")]
    Algorithm,
    #[error("unknown key")]
    Key,
    #[error("bad signature")]
    Signature,
    #[error("token expired")]
    Expired,
    #[error("token not valid yet")]
    NotYet,
    #[error("bad claim")]
    Claim,
    #[error("wrong issuer")]
    Issuer,
    #[error("wrong audience")]
    Audience,
}

#[derive(Debug)]
pub(super) struct Verifier {
    issuer: Box<str>,
    audiences: Vec<Box<str>>,
    leeway: f64,
    keys: Vec<Key>,
    pending: bool,
}

impl Verifier {
    pub(super) fn compile(jwt: &v1::Jwt) -> Result<Self, Invalid> {
        let algorithms = jwt
            .algorithms
            .iter()
            .map(|name| name.parse().map_err(|_| Invalid(format!("jwt.algorithms: {name:?} is not known"))))
            .collect::<Result<Vec<Algorithm>, _>>()?;
        let mut keys = Vec::new();
        let mut unusable = None;
        for key in &jwt.keys {
            match Key::compile(key, &algorithms) {
                Ok(key) => keys.push(key),
                Err(reason) => unusable = Some(reason),
            }
        }
        if keys.is_empty() && !jwt.keys_pending {
            let reason = unusable.unwrap_or_else(|| "there is none".into());
            return Err(Invalid(format!("jwt: no key can be used: {reason}")));
        }
        Ok(Verifier {
            issuer: jwt.issuer.as_str().into(),
            audiences: jwt.audiences.iter().map(|audience| audience.as_str().into()).collect(),
            leeway: jwt.leeway_seconds.into(),
            pending: keys.is_empty(),
            keys,
        })
    }

    /// No key has arrived yet: nobody can be told apart.
    pub(super) fn is_pending(&self) -> bool {
        self.pending
    }

    pub(super) fn verify(&self, token: &str, now: UnixMillis) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        // Five parts are an encrypted token.
        if payload.contains('.') || signature.is_empty() {
            return Err(TokenError::Malformed);
        }
        let (algorithm, key_id) = read_header(&object(header)?)?;
        self.verify_signature(message, signature, algorithm, key_id.as_deref())?;
        let claims = object(payload)?;
        self.check(&claims, now)?;
        Ok(claims)
    }

    fn verify_signature(
        &self,
        message: &str,
        signature: &str,
        algorithm: Algorithm,
        key_id: Option<&str>,
    ) -> Result<(), TokenError> {
        let mut failure = TokenError::Key;
        for key in self.keys.iter().filter(|key| key.answers_to(key_id)) {
            let Some(decoding) = key.for_algorithm(algorithm) else {
                failure = TokenError::Algorithm;
                continue;
            };
            match crypto::verify(signature, message.as_bytes(), decoding, algorithm) {
                Ok(true) => return Ok(()),
                Ok(false) | Err(_) => failure = TokenError::Signature,
            }
        }
        Err(failure)
    }

    /// RFC 7519, 4.1.
    fn check(&self, claims: &Claims, now: UnixMillis) -> Result<(), TokenError> {
        #[allow(clippy::cast_precision_loss)] // Milliseconds of this era are exact in 53 bits.
        let now = now as f64 / 1000.0;
        let expires = time(claims, "exp")?.ok_or(TokenError::Claim)?;
        if now >= expires + self.leeway {
            return Err(TokenError::Expired);
        }
        if time(claims, "nbf")?.is_some_and(|not_before| now + self.leeway < not_before) {
            return Err(TokenError::NotYet);
        }
        time(claims, "iat")?;
        if claims.get("sub").is_some_and(|subject| !subject.is_string()) {
            return Err(TokenError::Claim);
        }
        if claims.get("iss").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err(TokenError::Issuer);
        }
        let wanted = |audience: &Value| {
            audience
                .as_str()
                .is_some_and(|audience| self.audiences.iter().any(|wanted| **wanted == *audience))
        };
        let fits = match claims.get("aud") {
            _ if self.audiences.is_empty() => true,
            Some(Value::Array(audiences)) => audiences.iter().any(wanted),
            Some(audience) => wanted(audience),
            None => false,
        };
        if fits { Ok(()) } else { Err(TokenError::Audience) }
    }
}

/// A part of the token: base64url without padding, holding one JSON object without repeated names.
fn object(part: &str) -> Result<Claims, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    strict::object(&bytes).map_err(|_| TokenError::Malformed)
}

fn read_header(header: &Claims) -> Result<(Algorithm, Option<String>), TokenError> {
    // Extensions that must be understood, and none is (RFC 7515, 4.1.11; RFC 7797; RFC 7516).
    if ["crit", "b64", "zip", "enc"].iter().any(|name| header.contains_key(*name)) {
        return Err(TokenError::Malformed);
    }
    let algorithm = header.get("alg").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
    let algorithm = algorithm.parse().map_err(|_| TokenError::Algorithm)?;
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) if id.len() <= KEY_ID_BYTES => Some(id.clone()),
        Some(_) => return Err(TokenError::Malformed),
    };
    Ok((algorithm, key_id))
}

/// A NumericDate; fractions are allowed (RFC 7519, 2).
fn time(claims: &Claims, name: &str) -> Result<Option<f64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(value) => {
            let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds));
            seconds.map(Some).ok_or(TokenError::Claim)
        }
    }
}
