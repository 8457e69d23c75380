//! Policies as a whole: which method decides, what a token must be, and that nothing random gets in.

mod certificates;
mod decision;
mod keys;
mod passwords;
mod random;
pub(crate) mod signer;
mod tokens;

use aws_lc_rs::digest::{SHA256, digest};
use gatehouse_proto::config::v1::{
    self, AuthConfig, AuthMethod, CredentialSource, HeaderSource, auth_method, credential, credential_source,
};
use http::{HeaderMap, HeaderValue};

use super::{ClientCertificate, Consumers, Identity, Policy, Refusal, Request, TokenCache};

pub(super) const ISSUER: &str = "https://issuer.test";
/// Unix seconds.
pub(super) const NOW: i64 = 1_800_000_000;

/// What a request got, short enough for tables.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With this credential.
    Known(String),
    Anonymous,
    /// 401.
    Refused,
    /// Somebody else is asked.
    Elsewhere,
    /// 403.
    Forbidden,
    /// 503.
    Unavailable,
}

impl From<Result<Identity, Refusal>> for Outcome {
    fn from(result: Result<Identity, Refusal>) -> Self {
        match result {
            Ok(identity) => identity
                .credential()
                .map_or(Outcome::Anonymous, |credential| Outcome::Known(credential.into())),
            Err(Refusal::Unauthenticated(challenges) | Refusal::UnknownKey { challenges, .. }) => {
                assert!(!challenges.is_empty(), "a 401 needs a challenge");
                Outcome::Refused
            }
            Err(Refusal::Elsewhere) => Outcome::Elsewhere,
            Err(Refusal::Forbidden(_)) => Outcome::Forbidden,
            Err(Refusal::Unavailable) => Outcome::Unavailable,
        }
    }
}

pub(super) fn header_source(name: &str, scheme: &str) -> CredentialSource {
    let header = HeaderSource { name: name.into(), scheme: scheme.into() };
    CredentialSource { kind: Some(credential_source::Kind::Header(header)) }
}

pub(super) fn query_source(name: &str) -> CredentialSource {
    CredentialSource { kind: Some(credential_source::Kind::Query(name.into())) }
}

pub(super) fn cookie_source(name: &str) -> CredentialSource {
    CredentialSource { kind: Some(credential_source::Kind::Cookie(name.into())) }
}

pub(super) fn by_jwt(jwt: v1::Jwt) -> AuthMethod {
    AuthMethod { kind: Some(auth_method::Kind::Jwt(jwt)) }
}

pub(super) fn by_key(sources: Vec<CredentialSource>) -> AuthMethod {
    AuthMethod { kind: Some(auth_method::Kind::ApiKey(v1::ApiKey { sources })) }
}

/// A policy of the namespace `ns`.
pub(super) fn policy(any_of: Vec<AuthMethod>) -> AuthConfig {
    AuthConfig { namespace: "ns".into(), any_of, ..AuthConfig::default() }
}

/// One consumer, with the key `bobs-key`.
pub(super) fn bob() -> Consumers {
    let key = digest(&SHA256, b"bobs-key").as_ref().to_vec();
    let consumer = v1::Consumer {
        username: "Zoë".into(),
        tier: "gold".into(),
        groups: vec!["a".into(), "b".into()],
        credentials: vec![v1::Credential {
            name: "k".into(),
            kind: Some(credential::Kind::ApiKeySha256(key)),
            ..v1::Credential::default()
        }],
        ..v1::Consumer::default()
    };
    let (consumers, refused) = Consumers::compile([("consumer/ns/bob", &consumer)].into_iter());
    assert!(refused.is_empty(), "{refused:?}");
    consumers
}

pub(super) fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

/// Asks a policy, without a cache that knows anything, at [`NOW`].
pub(super) fn ask(
    policy: &Policy,
    consumers: &Consumers,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Identity, Refusal> {
    let request = Request { headers, query, client: [192, 0, 2, 1].into(), certificate: None };
    policy.admit(consumers, &mut TokenCache::default(), request, NOW * 1000)
}
