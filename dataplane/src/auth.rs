//! Who sends a request: checks its credential against a policy and says what the backend may know.
//!
//! Pure: configuration, header fields, query and the time go in, an identity or a refusal comes out.
//!
//! The methods of a policy are tried in their order; the first that finds its credential in the request decides, whatever
//! else the request holds. Within one method a second credential, be it in another place or twice in one, is refused:
//! nobody can say which one counts. Of several JWT methods the one that has the token's issuer decides.

mod cache;
mod consumer;
mod consumers;
mod forward;
mod identity;
mod jwt;
mod method;
mod source;
#[cfg(test)]
pub(crate) mod tests;

use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use {
    cache::TokenCache, consumers::Consumers, identity::Identity, jwt::Verifier as TokenVerifier,
};
use {
    forward::ClaimHeaders,
    jwt::TokenError,
    method::{Kind, Method},
    source::{Found, Source},
};

/// Unix time in milliseconds.
pub(crate) type UnixMillis = i64;

/// A compiled `AuthConfig`.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    namespace: Box<str>,
    methods: Vec<Method>,
    allow_anonymous: bool,
    claims: ClaimHeaders,
    forward_credential: bool,
    broken: bool,
}

/// Why a policy can't be compiled: a sentence that names the field.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(String);

/// Where a credential may stand. Deliberately without `Debug`.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
}

#[derive(Debug)]
pub(crate) enum Refusal {
    /// 401 with these `WWW-Authenticate` fields.
    Unauthenticated(Vec<HeaderValue>),
    /// The policy can't be enforced now: 503.
    Unavailable,
}

impl Policy {
    /// A policy that says of itself that it is broken compiles, and refuses everything.
    pub(crate) fn compile(config: &v1::AuthConfig) -> Result<Self, Invalid> {
        if !config.broken.is_empty() {
            return Ok(Policy { broken: true, ..Policy::default() });
        }
        let methods = config.any_of.iter().map(Method::compile).collect::<Result<Vec<_>, _>>()?;
        if methods.is_empty() {
            return Err(Invalid("anyOf: name at least one method".into()));
        }
        let (claims, forward_credential) =
            config.identity.as_ref().map_or((&[][..], false), |wire| (&wire.claims, wire.forward_credential));
        let is_source =
            |name: &_| methods.iter().flat_map(Method::sources).any(|source| source.is_header(name));
        Ok(Policy {
            namespace: config.namespace.as_str().into(),
            claims: ClaimHeaders::compile(claims, is_source)?,
            methods,
            allow_anonymous: config.allow_anonymous,
            forward_credential,
            broken: false,
        })
    }

    pub(crate) fn authenticate(
        &self,
        consumers: &Consumers,
        tokens: &mut TokenCache,
        request: Request<'_>,
        now: UnixMillis,
    ) -> Result<Identity, Refusal> {
        if self.broken {
            return Err(Refusal::Unavailable);
        }
        let mut is_of_other_issuer = false;
        for method in &self.methods {
            let found = match (&method.kind, is_of_other_issuer) {
                // A token was found, so nothing but a token decides.
                (Kind::ApiKey, true) => continue,
                _ => source::find(method.sources(), request),
            };
            let credential = match found {
                Found::Nothing => continue,
                Found::Several => return Err(self.refuse(method.is_jwt().then_some(TokenError::Several))),
                Found::One(credential) => credential,
            };
            let Kind::Jwt(verifier) = &method.kind else {
                let identity = consumers.by_key(&self.namespace, &credential, now);
                return identity.ok_or_else(|| self.refuse(None));
            };
            let token = tokens.verify(verifier, &credential, now);
            match token.and_then(|token| consumers.by_token(&self.namespace, token, now)) {
                Ok(identity) => return Ok(identity),
                Err(TokenError::Issuer) => is_of_other_issuer = true,
                Err(TokenError::Pending) => return Err(Refusal::Unavailable),
                Err(error) => return Err(self.refuse(Some(error))),
            }
        }
        if is_of_other_issuer {
            return Err(self.refuse(Some(TokenError::Issuer)));
        }
        if self.allow_anonymous { Ok(Identity::anonymous()) } else { Err(self.refuse(None)) }
    }

    /// Fields that only this policy may set: a client's own copies must go, under every spelling.
    pub(crate) fn owned_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.claims.headers()
    }

    /// Writes the claims that backends may see, and takes the credentials of all methods out unless the policy forwards
    /// them. Gives the query without them, if it held one.
    pub(crate) fn apply(
        &self,
        identity: &Identity,
        headers: &mut HeaderMap,
        query: Option<&str>,
    ) -> Option<String> {
        let stripped = if self.forward_credential {
            None
        } else {
            source::strip(self.methods.iter().flat_map(Method::sources), headers, query)
        };
        if let Some(claims) = identity.claims() {
            self.claims.write(claims, headers);
        }
        stripped
    }

    /// One challenge a kind of method. What is wrong with a token is told by the challenge of its kind (RFC 6750, 3.1).
    fn refuse(&self, of_token: Option<TokenError>) -> Refusal {
        let mut schemes: Vec<&'static str> = Vec::new();
        for method in &self.methods {
            if !schemes.contains(&method.challenge()) {
                schemes.push(method.challenge());
            }
        }
        let challenge = |scheme: &'static str| match of_token {
            Some(error) if scheme == method::BEARER => {
                let text = format!("{scheme}, error=\"invalid_token\", error_description=\"{error}\"");
                HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(scheme))
            }
            _ => HeaderValue::from_static(scheme),
        };
        Refusal::Unauthenticated(schemes.into_iter().map(challenge).collect())
    }
}
