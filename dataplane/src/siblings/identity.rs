//! What a dataplane proves itself by to its siblings, and what they must prove.

use std::{fmt, sync::Arc};

use gatehouse_proto::config::v1::{self, JwtKey, jwt_key};
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde_json::Value;

use crate::auth::{TokenVerifier, UnixMillis};

/// Those that API servers sign with, and no shared secrets.
const ALGORITHMS: [&str; 8] = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "PS384", "PS512"];
/// Between the clocks of two nodes.
const LEEWAY_SECONDS: u32 = 10;

/// A compiled `Siblings`.
pub(crate) struct Identity {
    pub(super) tls: Arc<ServerConfig>,
    verifier: TokenVerifier,
    subject: Box<str>,
}

/// There is one name, whatever a client asks for; the client decides whether it is the right one.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl Identity {
    /// The error is a sentence.
    pub(crate) fn compile(siblings: &v1::Siblings, certificate: Arc<CertifiedKey>) -> Result<Self, String> {
        if siblings.audience.is_empty() || siblings.subject.is_empty() {
            return Err("siblings: audience and subject must be given".into());
        }
        let set: Value =
            serde_json::from_str(&siblings.jwks).map_err(|_| "siblings.jwks: it is no JSON".to_owned())?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or("siblings.jwks: it has no list `keys`")?;
        let jwt = v1::Jwt {
            issuer: siblings.issuer.clone(),
            audiences: vec![siblings.audience.clone()],
            algorithms: ALGORITHMS.map(str::to_owned).to_vec(),
            keys: keys
                .iter()
                .map(|key| JwtKey { kind: Some(jwt_key::Kind::Jwk(key.to_string())), ..JwtKey::default() })
                .collect(),
            leeway_seconds: LEEWAY_SECONDS,
            ..v1::Jwt::default()
        };
        let verifier = TokenVerifier::compile(&jwt).map_err(|invalid| format!("siblings: {invalid}"))?;

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("siblings: {error}"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Always(certificate)));
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Identity { tls: Arc::new(tls), verifier, subject: siblings.subject.as_str().into() })
    }

    /// Whether this token is that of a sibling. The error is for our own log: a stranger learns nothing.
    pub(super) fn admit(&self, token: &str, now: UnixMillis) -> Result<(), String> {
        let token = self.verifier.verify(token).map_err(|error| error.to_string())?;
        self.verifier.check_times(&token, now).map_err(|error| error.to_string())?;
        if token.subject() != &*self.subject {
            return Err(format!("{:?} is not {:?}", token.subject(), self.subject));
        }
        Ok(())
    }
}

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Without the key.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("subject", &self.subject).finish_non_exhaustive()
    }
}
