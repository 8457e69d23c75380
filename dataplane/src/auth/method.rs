//! One of the ways by which a policy lets clients prove who they are.

use std::sync::Arc;

use gatehouse_proto::config::v1::{self, auth_method};

use super::{External, Invalid, Source, jwt::Verifier, source};

/// RFC 6750, 3.
pub(super) const BEARER: &str = "Bearer realm=\"gatehouse\"";
/// No scheme is registered for API keys; `ApiKey` is what most gateways say.
const API_KEY: &str = "ApiKey realm=\"gatehouse\"";
/// RFC 7617, 2.1.
const BASIC: &str = "Basic realm=\"gatehouse\", charset=\"UTF-8\"";
/// No scheme is registered for them either, and a 401 needs one (RFC 9110, 15.5.2).
const CLIENT_CERTIFICATE: &str = "ClientCertificate realm=\"gatehouse\"";

/// Where its answer can't be passed on.
const EXTERNAL: &str = "External realm=\"gatehouse\"";

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
    Basic,
    ClientCertificate,
    External(Arc<External>),
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
            Some(auth_method::Kind::Basic(_)) => {
                Ok(Method { kind: Kind::Basic, sources: vec![Source::basic()] })
            }
            Some(auth_method::Kind::ClientCertificate(_)) => {
                Ok(Method { kind: Kind::ClientCertificate, sources: Vec::new() })
            }
            Some(auth_method::Kind::External(external)) => Ok(Self::external(External::http(external)?)),
            Some(auth_method::Kind::ExternalGrpc(external)) => Ok(Self::external(External::grpc(external)?)),
            None => Err(Invalid("anyOf: this dataplane does not know one of the methods".into())),
        }
    }

    fn external(external: External) -> Self {
        Method { kind: Kind::External(Arc::new(external)), sources: Vec::new() }
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
            Kind::Basic => BASIC,
            Kind::ClientCertificate => CLIENT_CERTIFICATE,
            Kind::External(_) => EXTERNAL,
        }
    }
}
