//! The clients that are known, found by their credentials.

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use gatehouse_proto::config::v1::{self, credential::Kind};
use hashbrown::HashMap;
use http::HeaderValue;
use serde_json::Value;

use super::{Identity, UnixMillis, jwt::Claims};

/// SHA-256.
type KeyHash = [u8; 32];

/// All consumers of a Gateway, by namespace.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    namespaces: HashMap<Box<str>, Namespace, ahash::RandomState>,
}

/// A client, and what backends are told of it.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// `namespace/name`.
    pub(crate) id: Arc<str>,
    pub(crate) tier: Box<str>,
    /// `X-Consumer-*`.
    pub(super) headers: Vec<(&'static str, HeaderValue)>,
}

#[derive(Debug, Default)]
struct Namespace {
    keys: HashMap<KeyHash, ApiKey, ahash::RandomState>,
    /// By issuer and subject.
    subjects: HashMap<(Box<str>, Box<str>), Arc<Consumer>, ahash::RandomState>,
    /// Issuer and what the subject begins with; the longest first.
    prefixes: Vec<(Box<str>, Box<str>, Arc<Consumer>)>,
}

#[derive(Debug)]
struct ApiKey {
    hash: KeyHash,
    consumer: Arc<Consumer>,
    credential: Arc<str>,
    not_before: UnixMillis,
    /// 0: never.
    expires: UnixMillis,
}

impl Consumers {
    /// Gives the names of those that can't be used, and why.
    pub(crate) fn compile<'a>(
        all: impl Iterator<Item = (&'a str, &'a v1::Consumer)>,
    ) -> (Self, Vec<(String, String)>) {
        let mut consumers = Consumers::default();
        let mut refused = Vec::new();
        for (name, consumer) in all {
            if let Err(reason) = consumers.add(name, consumer) {
                refused.push((name.to_owned(), reason));
            }
        }
        for namespace in consumers.namespaces.values_mut() {
            namespace.prefixes.sort_by_key(|(_, prefix, _)| std::cmp::Reverse(prefix.len()));
        }
        (consumers, refused)
    }

    fn add(&mut self, name: &str, wire: &v1::Consumer) -> Result<(), String> {
        let id = name.strip_prefix("consumer/").unwrap_or(name);
        let namespace = id.split_once('/').map_or("", |(namespace, _)| namespace);
        let consumer = Arc::new(Consumer::compile(id, wire)?);
        let known = self.namespaces.entry(namespace.into()).or_default();
        for credential in &wire.credentials {
            match &credential.kind {
                Some(Kind::ApiKeySha256(hash)) => {
                    let hash = KeyHash::try_from(hash.as_slice()).map_err(|_| {
                        format!("credential {}: the key's hash is not SHA-256", credential.name)
                    })?;
                    known.keys.insert(
                        hash,
                        ApiKey {
                            hash,
                            consumer: Arc::clone(&consumer),
                            credential: format!("{id}#{}", credential.name).into(),
                            not_before: credential.not_before_ms,
                            expires: credential.expires_ms,
                        },
                    );
                }
                Some(Kind::Jwt(jwt)) => {
                    let issuer = Box::from(jwt.issuer.as_str());
                    match jwt.subject.strip_suffix('*') {
                        Some(prefix) => known.prefixes.push((issuer, prefix.into(), Arc::clone(&consumer))),
                        None => {
                            let subject = jwt.subject.as_str().into();
                            known.subjects.insert((issuer, subject), Arc::clone(&consumer));
                        }
                    }
                }
                None => return Err(format!("credential {}: its kind is not known", credential.name)),
            }
        }
        Ok(())
    }

    /// The consumer whose key this is, if it is valid now.
    pub(super) fn by_key(&self, namespace: &str, key: &[u8], now: UnixMillis) -> Option<Identity> {
        let hash = digest::digest(&digest::SHA256, key);
        let known = self.namespaces.get(namespace)?.keys.get(hash.as_ref())?;
        constant_time::verify_slices_are_equal(hash.as_ref(), &known.hash).ok()?;
        let valid = now >= known.not_before && (known.expires == 0 || now < known.expires);
        valid.then(|| Identity::known(Arc::clone(&known.consumer), Arc::clone(&known.credential)))
    }

    /// Who a verified token stands for; a token without a consumer is an identity of its own.
    pub(super) fn by_token(&self, namespace: &str, claims: Claims) -> Identity {
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or("");
        let (issuer, subject) = (text("iss"), text("sub"));
        let consumer = self.namespaces.get(namespace).and_then(|known| known.of_subject(issuer, subject));
        let credential = format!("jwt:{issuer}#{subject}").into();
        Identity::of_token(consumer, credential, claims)
    }
}

impl Namespace {
    fn of_subject(&self, issuer: &str, subject: &str) -> Option<Arc<Consumer>> {
        if subject.is_empty() {
            return None;
        }
        let exact = self.subjects.get(&(Box::from(issuer), Box::from(subject)));
        let by_prefix = || {
            let mut prefixes = self.prefixes.iter();
            let found = prefixes.find(|(of, prefix, _)| **of == *issuer && subject.starts_with(&**prefix));
            found.map(|(_, _, consumer)| consumer)
        };
        exact.or_else(by_prefix).cloned()
    }
}

impl Consumer {
    fn compile(id: &str, wire: &v1::Consumer) -> Result<Self, String> {
        let groups = wire.groups.join(",");
        let headers = [
            ("x-consumer-id", id),
            ("x-consumer-username", &wire.username),
            ("x-consumer-custom-id", &wire.custom_id),
            ("x-consumer-tier", &wire.tier),
            ("x-consumer-groups", &groups),
        ];
        let headers = headers
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| {
                let value = HeaderValue::from_str(value)
                    .map_err(|_| format!("{name} would hold a control character: {value:?}"))?;
                Ok((name, value))
            })
            .collect::<Result<_, String>>()?;
        Ok(Consumer { id: id.into(), tier: wire.tier.as_str().into(), headers })
    }
}
