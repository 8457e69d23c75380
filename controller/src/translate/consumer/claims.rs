//! What tells consumers apart, and who has it: of those that claim the same, the oldest keeps it.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256, digest};
use gatehouse_crds::{
    ApiKeyCredential, BasicCredential, CertificateCredential, Consumer, Credential, JwtCredential,
};
use gatehouse_proto::config::v1::{CertificateName, certificate_name};

use crate::{
    resources::{ObjectKey, Resources},
    translate::input::created,
};

/// Who has what: age, consumer. The smallest keeps it.
type Claim<'a> = (i64, &'a ObjectKey, &'a str);

/// What only one consumer of a namespace may have.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    /// SHA-256.
    ApiKey(Vec<u8>),
    /// The user's name.
    User(String),
    /// Issuer, subject or pattern.
    Subject(String, String),
    Certificate(&'static str, String),
}

#[derive(Debug, Default)]
pub(super) struct Claims<'a>(BTreeMap<(&'a str, Proof), Vec<Claim<'a>>>);

/// Another consumer has the same.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rival<'a> {
    pub(super) consumer: &'a ObjectKey,
    pub(super) we_keep_it: bool,
}

impl Proof {
    /// `None` where something is missing that it is made of.
    pub(super) fn of(
        credential: &Credential,
        key: &ObjectKey,
        consumer: &Consumer,
        resources: &Resources,
    ) -> Option<Self> {
        if let Some(api_key) = &credential.api_key {
            return api_key_hash(api_key, &key.namespace, resources).map(Proof::ApiKey);
        }
        if let Some(basic) = &credential.basic {
            return Some(Proof::User(user(basic, key, consumer).to_owned()));
        }
        if let Some(JwtCredential { issuer, subject }) = &credential.jwt {
            return Some(Proof::Subject(issuer.clone(), subject.clone()));
        }
        let (kind, name) = certificate(credential.certificate.as_ref()?)?;
        Some(Proof::Certificate(kind, name))
    }

    /// As messages call it.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Proof::ApiKey(_) => "API key",
            Proof::User(_) => "user name",
            Proof::Subject(..) => "issuer and subject",
            Proof::Certificate(..) => "name of a certificate",
        }
    }
}

impl<'a> Claims<'a> {
    /// Every claim of every consumer.
    pub(super) fn new(resources: &'a Resources) -> Self {
        let mut claims = Claims::default();
        for (key, consumer) in &resources.consumers {
            for credential in &consumer.spec.credentials {
                if let Some(proof) = Proof::of(credential, key, consumer, resources) {
                    let claim = (created(consumer), key, credential.name.as_str());
                    claims.0.entry((&key.namespace, proof)).or_default().push(claim);
                }
            }
        }
        for several in claims.0.values_mut() {
            several.sort_unstable();
        }
        claims
    }

    /// Whether another consumer has it too. One consumer may have the same twice, with other times.
    pub(super) fn rival(&self, key: &'a ObjectKey, proof: &Proof) -> Option<Rival<'a>> {
        let several = self.0.get(&(key.namespace.as_str(), proof.clone()))?;
        let (_, winner, _) = several.first()?;
        if *winner != key {
            return Some(Rival { consumer: winner, we_keep_it: false });
        }
        let (_, other, _) = several.iter().find(|(_, other, _)| *other != key)?;
        Some(Rival { consumer: other, we_keep_it: true })
    }
}

pub(super) fn api_key_hash(
    api_key: &ApiKeyCredential,
    namespace: &str,
    resources: &Resources,
) -> Option<Vec<u8>> {
    let secret = resources.secret_entry(namespace, &api_key.secret_ref.name, &api_key.secret_ref.key)?;
    // Editors and `echo` leave a line end that no client would send.
    let key = secret.trim_ascii();
    (!key.is_empty()).then(|| digest(&SHA256, key).as_ref().to_vec())
}

/// What the client calls itself.
pub(super) fn user<'a>(basic: &'a BasicCredential, key: &'a ObjectKey, consumer: &'a Consumer) -> &'a str {
    basic.username.as_deref().or(consumer.spec.username.as_deref()).unwrap_or(&key.name)
}

/// With the user's name, so that nobody sees who has the same password as another.
pub(super) fn password_hash(
    basic: &BasicCredential,
    user: &str,
    namespace: &str,
    resources: &Resources,
) -> Option<Vec<u8>> {
    let reference = &basic.password_secret_ref;
    let mut password = resources.secret_entry(namespace, &reference.name, &reference.key)?;
    while let [rest @ .., b'\r' | b'\n'] = password {
        password = rest;
    }
    let mut hash = Context::new(&SHA256);
    hash.update(&(user.len() as u64).to_be_bytes());
    hash.update(user.as_bytes());
    hash.update(password);
    (!password.is_empty()).then(|| hash.finish().as_ref().to_vec())
}

/// The kind of name, and the name.
fn certificate(certificate: &CertificateCredential) -> Option<(&'static str, String)> {
    match (&certificate.dns, &certificate.uri, &certificate.email, &certificate.subject) {
        (Some(dns), None, None, None) => Some(("dns", dns.to_ascii_lowercase())),
        (None, Some(uri), None, None) => Some(("uri", uri.clone())),
        (None, None, Some(email), None) => Some(("email", email.clone())),
        (None, None, None, Some(subject)) => Some(("subject", subject.clone())),
        _ => None,
    }
}

pub(super) fn certificate_name(credential: &CertificateCredential) -> Option<CertificateName> {
    use certificate_name::Kind::{Dns, Email, Subject, Uri};
    let (kind, name) = certificate(credential)?;
    let kind = match kind {
        "dns" => Dns(name),
        "uri" => Uri(name),
        "email" => Email(name),
        _ => Subject(name),
    };
    Some(CertificateName { kind: Some(kind) })
}
