//! The resources of a batch: encoded until they are applied, one after the other, so that a whole state is never held
//! decoded.

use std::{collections::BTreeSet, fmt};

use bytes::Bytes;
use gatehouse_proto::config::v1::Resource;
use prost::Message;
use tracing::error;

use super::{
    Refused,
    holdings::{Pending, Version},
};

/// Gives those that this version understands, and notes what came.
pub struct Upserts {
    waiting: std::vec::IntoIter<Bytes>,
    /// The controller need not send again what has not changed since.
    exact: bool,
    came: Vec<(Box<str>, Version)>,
    unknown: BTreeSet<String>,
    damaged: Vec<Refused>,
}

/// A resource that came.
pub struct Upsert {
    pub resource: Resource,
    /// The same, as it came.
    pub encoded: Bytes,
}

/// What can be read of a resource whose content can't.
#[derive(Clone, PartialEq, Message)]
struct Head {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    version: Vec<u8>,
}

impl Upserts {
    pub(super) fn new(encoded: Vec<Bytes>, exact: bool) -> Self {
        Upserts {
            waiting: encoded.into_iter(),
            exact,
            came: Vec::new(),
            unknown: BTreeSet::new(),
            damaged: Vec::new(),
        }
    }

    /// What was given so far, and what of it could not be read.
    pub(super) fn finish(self, removals: Vec<String>) -> (Pending, Vec<Refused>) {
        (Pending { upserts: self.came, removals, unknown: self.unknown }, self.damaged)
    }

    fn note(&mut self, name: &str, version: &[u8]) {
        let version = if self.exact { Version::of(version) } else { Version::UNKNOWN };
        self.came.push((name.into(), version));
    }
}

impl Upsert {
    #[cfg(test)]
    pub(crate) fn of(resource: Resource) -> Self {
        let encoded = resource.encode_to_vec().into();
        Upsert { resource, encoded }
    }
}

// What is encoded may hold secrets.

impl fmt::Debug for Upserts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upserts").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Upsert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upsert").field("resource", &self.resource).finish_non_exhaustive()
    }
}

impl Iterator for Upserts {
    type Item = Upsert;

    fn next(&mut self) -> Option<Upsert> {
        loop {
            let encoded = self.waiting.next()?;
            match Resource::decode(encoded.clone()) {
                Ok(resource) => {
                    self.note(&resource.name, &resource.version);
                    if resource.kind.is_some() {
                        return Some(Upsert { resource, encoded });
                    }
                    self.unknown.insert(resource.name);
                }
                Err(reason) => match Head::decode(encoded) {
                    Ok(Head { name, version }) => {
                        self.note(&name, &version);
                        self.damaged.push(Refused { name, reason: reason.to_string() });
                    }
                    Err(error) => error!(%error, "a resource without a name that can be read is ignored"),
                },
            }
        }
    }
}
