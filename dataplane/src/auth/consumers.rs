//! The clients that are known, found by their credentials. Each namespace knows its own.
//!
//! A credential belongs to one consumer: should two have the same, the first by name keeps it. (The controller, which
//! knows their ages, lets the older keep it and sends no second one.)

mod holders;
mod keys;
mod subjects;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use gatehouse_proto::config::v1::{self, credential::Kind};
use hashbrown::HashMap;

use super::{
    Identity, UnixMillis,
    consumer::Consumer,
    jwt::{Token, TokenError},
};
use {holders::Holder, keys::Keys, subjects::Subjects};

/// All consumers of a Gateway. Immutable: a change makes a new one.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    namespaces: HashMap<Box<str>, Namespace, ahash::RandomState>,
}

#[derive(Debug, Default)]
struct Namespace {
    keys: Keys,
    subjects: Subjects,
}

impl Consumers {
    /// `all` goes by resource name, `consumer/NAMESPACE/NAME`. Gives also the names of those of which something can't be
    /// used, and a sentence each; the rest of such a consumer is in force.
    pub(crate) fn compile<'a>(
        all: impl Iterator<Item = (&'a str, &'a v1::Consumer)>,
    ) -> (Self, Vec<(String, String)>) {
        let mut consumers = Consumers::default();
        let mut refused = Vec::new();
        for (name, consumer) in all {
            let problems = consumers.add(name, consumer);
            if !problems.is_empty() {
                refused.push((name.to_owned(), problems.join("; ")));
            }
        }
        (consumers, refused)
    }

    fn add(&mut self, name: &str, wire: &v1::Consumer) -> Vec<String> {
        let Some((id, namespace)) =
            name.strip_prefix("consumer/").and_then(|id| Some((id, id.split_once('/')?.0)))
        else {
            return vec!["its resource is not named consumer/NAMESPACE/NAME".into()];
        };
        let consumer = match Consumer::compile(id, wire) {
            Ok(consumer) => Arc::new(consumer),
            Err(problem) => return vec![problem],
        };
        let known = self.namespaces.entry(namespace.into()).or_default();
        let added = wire.credentials.iter().map(|credential| {
            let holder = Holder::new(&consumer, credential);
            let added = match &credential.kind {
                Some(Kind::ApiKeySha256(hash)) => known.keys.add(hash, holder),
                Some(Kind::Jwt(jwt)) => known.subjects.add(jwt, holder),
                None => Err("this dataplane does not know its kind".into()),
            };
            added.map_err(|problem| format!("credential {}: {problem}", credential.name))
        });
        added.filter_map(Result::err).collect()
    }

    /// The consumer whose key this is, if it is valid now.
    pub(super) fn by_key(&self, namespace: &str, key: &str, now: UnixMillis) -> Option<Identity> {
        let holders = self.namespaces.get(namespace)?.keys.get(key)?;
        let holder = holders.in_force(now)?;
        Some(Identity::of_key(Arc::clone(&holder.consumer), Arc::clone(&holder.credential)))
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
