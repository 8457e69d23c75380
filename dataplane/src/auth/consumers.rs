//! The clients that are known, found by their credentials. Each namespace knows its own.
//!
//! A credential belongs to one consumer: should two have the same, the first by name keeps it. (The controller, which
//! knows their ages, lets the older keep it and sends no second one.)

mod certificates;
mod holders;
mod keys;
mod register;
mod subjects;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hashbrown::HashMap;

pub(crate) use register::Register;

use super::{
    Identity, UnixMillis,
    certificate::{CertificateName, ClientCertificate},
    consumer::{Consumer, CredentialKind, Hash},
    jwt::{Token, TokenError},
};
use {
    certificates::{Ambiguous, Certificates},
    holders::Holder,
    keys::Keys,
    subjects::Subjects,
};

/// All consumers of a Gateway. Immutable: a change makes a new one.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    namespaces: HashMap<Box<str>, Namespace, ahash::RandomState>,
}

#[derive(Debug, Default)]
struct Namespace {
    keys: Keys,
    passwords: Keys,
    certificates: Certificates,
    subjects: Subjects,
}

impl Consumers {
    /// Those of these resources, and what the [`Register`] says of them.
    #[cfg(test)]
    pub(crate) fn compile<'a>(
        all: impl Iterator<Item = (&'a str, &'a gatehouse_proto::config::v1::Consumer)>,
    ) -> (Self, Vec<(String, String)>) {
        let mut register = Register::default();
        all.for_each(|(name, consumer)| register.put(name, consumer));
        register.index()
    }

    /// Gives a sentence for each credential that another has already.
    fn add(&mut self, consumer: &Arc<Consumer>) -> Vec<String> {
        let namespace = consumer.id.split_once('/').map_or("", |(namespace, _)| namespace);
        let known = self.namespaces.entry(namespace.into()).or_default();
        let added = (0..).zip(&consumer.credentials).map(|(at, credential)| {
            let holder = Holder { consumer: Arc::clone(consumer), at };
            let added = match &credential.kind {
                CredentialKind::ApiKey(hash) => known.keys.add(hash, holder),
                CredentialKind::Password(hash) => known.passwords.add(hash, holder),
                CredentialKind::Certificate(name) => known.certificates.add(name, holder),
                CredentialKind::Token { issuer, subject } => known.subjects.add(issuer, subject, holder),
            };
            let name = credential.name.get(consumer.id.len() + 1..).unwrap_or_default();
            added.map_err(|problem| format!("credential {name}: {problem}"))
        });
        added.filter_map(Result::err).collect()
    }

    /// The consumer whose key this is, if it is valid now.
    pub(super) fn by_key(&self, namespace: &str, key: &str, now: UnixMillis) -> Option<Identity> {
        self.namespaces.get(namespace)?.keys.find(key, now)
    }

    /// The consumer whose user name and password these are the hash of, if they are valid now.
    pub(super) fn by_password(&self, namespace: &str, hash: &Hash, now: UnixMillis) -> Option<Identity> {
        self.namespaces.get(namespace)?.passwords.find_hash(hash, now)
    }

    /// Who a verified certificate stands for; one without a consumer is an identity of its own.
    ///
    /// # Errors
    /// It stands for several.
    pub(super) fn by_certificate(
        &self,
        namespace: &str,
        certificate: &Arc<ClientCertificate>,
    ) -> Result<Identity, Ambiguous> {
        let known = self.namespaces.get(namespace);
        let consumer = known.map(|known| known.certificates.get(certificate)).transpose()?.flatten();
        Ok(Identity::of_certificate(consumer.cloned(), Arc::clone(certificate)))
    }

    /// Who a verified token stands for; a token without a consumer is an identity of its own.
    ///
    /// # Errors
    /// The consumer's credential is not in force now.
    pub(super) fn by_token(
        &self,
        namespace: &str,
        token: Arc<Token>,
        now: UnixMillis,
    ) -> Result<Identity, TokenError> {
        let known = self.namespaces.get(namespace);
        let consumer = match known.and_then(|known| known.subjects.get(token.issuer(), token.subject())) {
            None => None,
            // It must not pass as a stranger's, who may be less restricted.
            Some(holders) => Some(Arc::clone(&holders.in_force(now).ok_or(TokenError::Unknown)?.consumer)),
        };
        Ok(Identity::of_token(consumer, token))
    }
}
