//! The compact form of a token (RFC 7515, 7.1), taken apart strictly.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{TokenError, algorithm::Algorithm, strict};

/// Longer tokens are refused unread. Servers commonly take no longer header lines.
pub(super) const TOKEN_BYTES: usize = 8 << 10;
const KEY_ID_BYTES: usize = 256;

/// A token that nobody has verified yet.
pub(super) struct Compact<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
    /// What is signed.
    pub(super) message: &'a [u8],
    pub(super) signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    pub(super) fn read(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        // A dot in the payload is one of five parts, which are an encrypted token (RFC 7516), or worse: no base64url.
        let header = object(header)?;
        let (algorithm, key_id) = read_header(&header)?;
        let signature = bytes(signature)?;
        if signature.is_empty() {
            return Err(TokenError::Malformed);
        }
        let message = message.as_bytes();
        Ok(Compact { algorithm, key_id, claims: object(payload)?, message, signature })
    }
}

/// `jku`, `x5u`, `jwk` and `x5c` are ignored: keys come from the policy.
fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), TokenError> {
    // Extensions that must be understood, and none is (RFC 7515, 4.1.11; RFC 7797; RFC 7516).
    if ["crit", "b64", "zip", "enc"].iter().any(|name| header.contains_key(*name)) {
        return Err(TokenError::Malformed);
    }
    if ["typ", "cty"].iter().any(|name| header.get(*name).is_some_and(|value| !value.is_string())) {
        return Err(TokenError::Malformed);
    }
    let algorithm = header.get("alg").and_then(Value::as_str).ok_or(TokenError::Malformed)?;
    let algorithm = Algorithm::named(algorithm).ok_or(TokenError::Algorithm)?;
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) if id.len() <= KEY_ID_BYTES => Some(id.clone()),
        Some(_) => return Err(TokenError::Malformed),
    };
    Ok((algorithm, key_id))
}

/// base64url without padding; a last digit with unused bits set is refused.
fn bytes(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)
}

/// One JSON object without repeated names.
fn object(part: &str) -> Result<Map<String, Value>, TokenError> {
    strict::object(&bytes(part)?).map_err(|_| TokenError::Malformed)
}
