//! A token whose signature and fixed claims are good. Only its times are still to be checked, at each use.

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use super::{TokenError, UnixMillis};

pub(crate) type Claims = Map<String, Value>;

/// The greatest integer that JSON numbers hold exactly; no time lies beyond it.
const LATEST: f64 = 9_007_199_254_740_991.0;

pub(crate) struct Token {
    pub(crate) claims: Claims,
    /// `jwt:ISSUER#SUBJECT`.
    pub(crate) credential: Arc<str>,
    /// Unix seconds.
    expires: f64,
    not_before: Option<f64>,
}

impl Token {
    /// RFC 7519, 4.1, but for the times. A claim of a wrong type is refused, also where its value does not matter.
    /// `audiences`: any of them; empty means that it is not checked.
    pub(crate) fn of(claims: Claims, issuer: &str, audiences: &[Box<str>]) -> Result<Self, TokenError> {
        let expires = time(&claims, "exp")?.ok_or(TokenError::Claim)?;
        let not_before = time(&claims, "nbf")?;
        time(&claims, "iat")?;
        text(&claims, "jti")?;
        let subject = text(&claims, "sub")?.unwrap_or("");
        if text(&claims, "iss")? != Some(issuer) {
            return Err(TokenError::Issuer);
        }
        let own: Vec<&str> = match claims.get("aud") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => {
                several.iter().map(Value::as_str).collect::<Option<_>>().ok_or(TokenError::Claim)?
            }
            Some(_) => return Err(TokenError::Claim),
        };
        if !audiences.is_empty() && !audiences.iter().any(|wanted| own.contains(&&**wanted)) {
            return Err(TokenError::Audience);
        }
        let credential = format!("jwt:{issuer}#{subject}").into();
        Ok(Token { credential, expires, not_before, claims })
    }

    /// Valid from `nbf` on and until just before `exp`; `leeway` in seconds widens both ends.
    pub(super) fn check_times(&self, now: UnixMillis, leeway: f64) -> Result<(), TokenError> {
        #[allow(clippy::cast_precision_loss)] // Milliseconds of this era are exact in 53 bits.
        let now = now as f64 / 1000.0;
        if now >= self.expires + leeway {
            return Err(TokenError::Expired);
        }
        if self.not_before.is_some_and(|not_before| now + leeway < not_before) {
            return Err(TokenError::NotYet);
        }
        Ok(())
    }

    /// The subject; empty if there is none.
    pub(crate) fn subject(&self) -> &str {
        self.claims.get("sub").and_then(Value::as_str).unwrap_or("")
    }

    pub(crate) fn issuer(&self) -> &str {
        self.claims.get("iss").and_then(Value::as_str).unwrap_or("")
    }
}

/// A NumericDate (RFC 7519, 2): seconds since 1970, fractions allowed.
fn time(claims: &Claims, name: &str) -> Result<Option<f64>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..=LATEST).contains(seconds));
    seconds.map(Some).ok_or(TokenError::Claim)
}

fn text<'a>(claims: &'a Claims, name: &str) -> Result<Option<&'a str>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    value.as_str().map(Some).ok_or(TokenError::Claim)
}

/// Claims are about people.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("credential", &self.credential).finish_non_exhaustive()
    }
}
