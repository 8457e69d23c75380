//! Who sends a request: checks its credential against a policy and says what the backend may know.
//!
//! Pure: configuration, header fields, query and the time go in, an identity or a refusal comes out.
//!
//! The methods of a policy are tried in their order; the first that finds its credential in the request decides. Within
//! one method a second credential, be it in another place or twice in one, is refused: nobody can say which one counts.

mod consumer;
mod identity;
mod jwt;
mod source;

use gatehouse_proto::config::v1::{self, auth_method::Kind};
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) use consumer::Consumers;
pub(crate) use identity::Identity;
use {
    identity::Forwarding,
    jwt::{TokenError, Verifier},
    source::{Found, Source},
};

/// Unix time in milliseconds.
pub(crate) type UnixMillis = i64;

/// Longer API keys are refused unread.
const API_KEY_BYTES: usize = 512;

/// A compiled `AuthConfig`.
#[derive(Debug)]
pub(crate) struct Policy {
    namespace: Box<str>,
    methods: Vec<Method>,
    allow_anonymous: bool,
    forwarding: Forwarding,
    challenges: Vec<HeaderValue>,
    broken: bool,
}

/// Why a policy can't be compiled: a sentence that names the field.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(String);

/// Where a credential may stand.
#[derive(Debug, Clone, Copy)]
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

#[derive(Debug)]
enum Method {
    Jwt(Verifier, Vec<Source>),
    ApiKey(Vec<Source>),
}

impl Policy {
    pub(crate) fn compile(config: &v1::AuthConfig) -> Result<Self, Invalid> {
        let methods = config.any_of.iter().map(Method::compile).collect::<Result<Vec<_>, _>>()?;
        Ok(Policy {
            namespace: config.namespace.as_str().into(),
            challenges: methods.iter().map(|method| HeaderValue::from_static(method.challenge())).collect(),
            methods,
            allow_anonymous: config.allow_anonymous,
            forwarding: Forwarding::compile(config.identity.as_ref())?,
            broken: !config.broken.is_empty(),
        })
    }

    pub(crate) fn authenticate(
        &self,
        consumers: &Consumers,
        request: Request<'_>,
        now: UnixMillis,
    ) -> Result<Identity, Refusal> {
        if self.broken {
            return Err(Refusal::Unavailable);
        }
        for method in &self.methods {
            match source::find(method.sources(), request) {
                Found::Nothing => {}
                Found::Several => return Err(self.refuse(method, TokenError::Several)),
                Found::One(credential) => {
                    return match method {
                        Method::Jwt(verifier, _) if verifier.is_pending() => Err(Refusal::Unavailable),
                        Method::Jwt(verifier, _) => verifier
                            .verify(&credential, now)
                            .map(|claims| consumers.by_token(&self.namespace, claims))
                            .map_err(|error| self.refuse(method, error)),
                        Method::ApiKey(_) => Some(credential)
                            .filter(|key| key.len() <= API_KEY_BYTES)
                            .and_then(|key| consumers.by_key(&self.namespace, key.as_bytes(), now))
                            .ok_or_else(|| self.refuse(method, TokenError::Unknown)),
                    };
                }
            }
        }
        if self.allow_anonymous {
            return Ok(Identity::anonymous());
        }
        Err(Refusal::Unauthenticated(self.challenges.clone()))
    }

    /// Fields that only this policy may set: a client's own copies must go.
    pub(crate) fn owned_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.forwarding.headers()
    }

    /// Tells the backend who sends, and takes the credentials out unless the policy forwards them. Gives the query
    /// without them, if it held one.
    pub(crate) fn apply(
        &self,
        identity: &Identity,
        headers: &mut HeaderMap,
        query: Option<&str>,
    ) -> Option<String> {
        let stripped = if self.forwarding.credential() {
            None
        } else {
            source::strip(self.methods.iter().flat_map(Method::sources), headers, query)
        };
        identity.write(headers, &self.forwarding);
        stripped
    }

    fn refuse(&self, method: &Method, error: TokenError) -> Refusal {
        let own = method.challenge();
        let challenges = self.methods.iter().map(|other| match other {
            Method::Jwt(..) if other.challenge() == own => {
                let text = format!("{own}, error=\"invalid_token\", error_description=\"{error}\"");
                HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(own))
            }
            _ => HeaderValue::from_static(other.challenge()),
        });
        Refusal::Unauthenticated(challenges.collect())
    }
}

impl Method {
    fn compile(method: &v1::AuthMethod) -> Result<Self, Invalid> {
        match &method.kind {
            Some(Kind::Jwt(jwt)) => {
                let sources = source::compile(&jwt.sources, &[Source::bearer()])?;
                Ok(Method::Jwt(Verifier::compile(jwt)?, sources))
            }
            Some(Kind::ApiKey(key)) => {
                Ok(Method::ApiKey(source::compile(&key.sources, &[Source::x_api_key()])?))
            }
            None => Err(Invalid("anyOf: this dataplane does not know one of the methods".into())),
        }
    }

    fn sources(&self) -> &[Source] {
        match self {
            Method::Jwt(_, sources) | Method::ApiKey(sources) => sources,
        }
    }

    /// RFC 6750, 3. There is no registered scheme for API keys; `ApiKey` is what most gateways say.
    fn challenge(&self) -> &'static str {
        match self {
            Method::Jwt(..) => "Bearer realm=\"gatehouse\"",
            Method::ApiKey(_) => "ApiKey realm=\"gatehouse\"",
        }
    }
}
