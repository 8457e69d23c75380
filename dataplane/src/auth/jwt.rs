//! JSON Web Tokens (RFC 7519), checked as RFC 8725 asks.
//!
//! What a token says of itself decides nothing: the algorithm must be one that the policy lists and that fits the key.
//! No JWT library reads them: those at hand parse the key anew for each token, and take claims of a wrong type for absent
//! ones. aws-lc verifies the signatures.

mod algorithm;
mod compact;
mod error;
mod key;
mod material;
mod signer;
mod strict;
mod token;

use gatehouse_proto::config::v1;
use serde_json::Value;

use super::{Invalid, UnixMillis};
pub(crate) use token::Claims;
use {algorithm::Algorithm, compact::Compact, key::Key};
pub(super) use {error::TokenError, signer::Signer, token::Token};

/// So many keys are tried for one token, in the policy's order: enough for any rotation, and a bound on what a
/// forged token costs.
const TRIES: usize = 16;
/// Seconds. More would keep tokens alive that their issuer takes for dead.
const LEEWAY: u32 = 300;

/// The issuer, keys and audiences that a token must come up to.
#[derive(Debug)]
pub(crate) struct Verifier {
    issuer: Box<str>,
    audiences: Vec<Box<str>>,
    /// Seconds.
    leeway: f64,
    keys: Vec<Key>,
    /// More keys are on their way.
    pending: bool,
    /// What the URL is called that they come from.
    jwks: Option<Box<str>>,
}

impl Verifier {
    pub(crate) fn compile(jwt: &v1::Jwt) -> Result<Self, Invalid> {
        // `#` separates issuer and subject in the name of a credential; no issuer of OpenID Connect has it.
        if jwt.issuer.is_empty() || jwt.issuer.contains('#') {
            return Err(Invalid("jwt.issuer: give the exact `iss` of the tokens, without `#`".into()));
        }
        if jwt.leeway_seconds > LEEWAY {
            return Err(Invalid(format!("jwt.leewaySeconds: use {LEEWAY} or less")));
        }
        let algorithms = jwt
            .algorithms
            .iter()
            .map(|name| {
                Algorithm::named(name)
                    .ok_or_else(|| Invalid(format!("jwt.algorithms: {name:?} is not known")))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if algorithms.is_empty() {
            return Err(Invalid("jwt.algorithms: name at least one".into()));
        }
        let mut keys = Vec::new();
        let mut unusable = None;
        for key in &jwt.keys {
            // Key sets hold keys for other uses too, which must not harm the rest (RFC 7517, 5).
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
            pending: jwt.keys_pending,
            jwks: (!jwt.jwks.is_empty()).then(|| jwt.jwks.as_str().into()),
            keys,
        })
    }

    /// Where keys could come from that are not known yet.
    pub(crate) fn jwks(&self) -> Option<&str> {
        self.jwks.as_deref()
    }

    /// Everything but the times, which [`Verifier::check_times`] checks.
    ///
    /// # Errors
    /// [`TokenError::Issuer`] is found before the signature is looked at: another method may know the issuer.
    pub(crate) fn verify(&self, token: &str) -> Result<Token, TokenError> {
        let compact = Compact::read(token)?;
        if compact.claims.get("iss").and_then(Value::as_str) != Some(&*self.issuer) {
            return Err(TokenError::Issuer);
        }
        self.verify_signature(&compact)
            .map_err(|error| if self.pending { TokenError::Pending } else { error })?;
        Token::of(compact.claims, &self.issuer, &self.audiences)
    }

    pub(crate) fn check_times(&self, token: &Token, now: UnixMillis) -> Result<(), TokenError> {
        token.check_times(now, self.leeway)
    }

    /// A token that names a key gets the keys of that name, then those without a name; one that names none may get any.
    fn verify_signature(&self, token: &Compact<'_>) -> Result<(), TokenError> {
        let wanted = token.key_id.as_deref();
        let named = self.keys.iter().filter(|key| wanted.is_none() || key.id() == wanted);
        let nameless = self.keys.iter().filter(|key| wanted.is_some() && key.id().is_none());
        let mut failure = TokenError::Key;
        let mut tries = 0;
        for key in named.chain(nameless) {
            match key.verify(token.algorithm, token.message, &token.signature) {
                Some(true) => return Ok(()),
                Some(false) => {
                    failure = TokenError::Signature;
                    tries += 1;
                }
                None if failure == TokenError::Key => failure = TokenError::Algorithm,
                None => {}
            }
            if tries == TRIES {
                break;
            }
        }
        Err(failure)
    }
}
