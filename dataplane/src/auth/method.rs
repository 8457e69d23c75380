//! One of the ways by which a policy lets clients prove who they are.

use std::sync::Arc;

use gatehouse_proto::config::v1::{self, auth_method};

use super::{Invalid, Source, jwt::Verifier, source};

/// RFC 6750, 3.
pub(super) const BEARER: &str = "Bearer realm=\"gatehouse\"";
/// No scheme is registered for API keys; `ApiKey` is what most gateways say.
const API_KEY: &str = "ApiKey realm=\"gatehouse\"";

#[derive(Debug)]
pub(super) struct Method {
    pub(super) kind: Kind,
    sources: Vec<Source>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// Shared with the workers' caches.
    Jwt(Arc<Verifier>),
    ApiKey,
}

impl Method {
    pub(super) fn compile(method: &v1::AuthMethod) -> Result<Self, Invalid> {
        match &method.kind {
            Some(auth_method::Kind::Jwt(jwt)) => Ok(Method {
                kind: Kind::Jwt(Arc::new(Verifier::compile(jwt)?)),
                sources: source::compile(&jwt.sources, Source::bearer())?,
            }),
            Some(auth_method::Kind::ApiKey(key)) => Ok(Method {
                kind: Kind::ApiKey,
                sources: source::compile(&key.sources, Source::x_api_key())?,
            }),
            None => Err(Invalid("anyOf: this dataplane does not know one of the methods".into())),
        }
    }

    /// In the order in which they are searched.
    pub(super) fn sources(&self) -> &[Source] {
        &self.sources
    }

    pub(super) fn is_jwt(&self) -> bool {
        matches!(self.kind, Kind::Jwt(_))
    }

    pub(super) fn challenge(&self) -> &'static str {
        match self.kind {
            Kind::Jwt(_) => BEARER,
            Kind::ApiKey => API_KEY,
        }
    }
}
