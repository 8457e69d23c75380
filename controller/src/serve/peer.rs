//! What one dataplane has been given, as far as the server knows, and what it needs to have a given state. Pure.

use std::{collections::BTreeMap, sync::Arc};

use gatehouse_proto::config::v1::{Hello, Rejection};

use super::{
    published::{Generation, Published, Versioned},
    state::StateVersion,
    version::Version,
};

/// The longest reason that is kept of a rejection, in bytes: it goes into statuses.
const MAX_REASON_BYTES: usize = 1024;

/// A refused version counts as given, so that it is not sent again.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// By resource name. `None`: a version that is not one of ours.
    given: BTreeMap<Arc<str>, Option<Version>>,
    /// What it can't use of that, and why.
    rejected: BTreeMap<String, String>,
}

/// What leads from what the dataplane has been given to a state.
#[derive(Debug)]
pub(super) struct Delta {
    pub(super) generation: Generation,
    pub(super) state: StateVersion,
    pub(super) upserts: Vec<Arc<Versioned>>,
    pub(super) removals: Vec<Arc<str>>,
}

impl Delta {
    pub(super) fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removals.is_empty()
    }
}

impl Peer {
    pub(super) fn new(hello: Hello) -> Self {
        let mut peer = Self::default();
        for held in hello.holds {
            peer.given.insert(held.name.into(), Version::from_wire(&held.version));
        }
        for rejection in &hello.rejected {
            peer.given.insert(rejection.name.as_str().into(), Version::from_wire(&rejection.version));
        }
        peer.reject(hello.rejected);
        peer
    }

    pub(super) fn delta(&self, desired: &Published) -> Delta {
        let differs = |wanted: &&Arc<Versioned>| self.given.get(&wanted.name) != Some(&Some(wanted.version));
        let gone = |name: &&Arc<str>| !desired.resources.contains_key(*name);
        Delta {
            generation: desired.generation,
            state: desired.version,
            upserts: desired.resources.values().filter(differs).cloned().collect(),
            removals: self.given.keys().filter(gone).cloned().collect(),
        }
    }

    /// The dataplane applied the delta; `rejected` is all that it can't use now.
    pub(super) fn acknowledge(&mut self, delta: Delta, rejected: Vec<Rejection>) {
        for name in delta.removals {
            self.given.remove(&name);
        }
        for resource in delta.upserts {
            self.given.insert(resource.name.clone(), Some(resource.version));
        }
        self.reject(rejected);
    }

    /// What it can't use, and why.
    pub(super) fn rejected(&self) -> &BTreeMap<String, String> {
        &self.rejected
    }

    /// Only the present version of what it was given can be rejected.
    fn reject(&mut self, rejected: Vec<Rejection>) {
        self.rejected.clear();
        for Rejection { name, version, mut reason } in rejected {
            let version = Version::from_wire(&version);
            if version.is_some() && self.given.get(name.as_str()) == Some(&version) {
                reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
                self.rejected.insert(name, reason);
            }
        }
    }
}

#[cfg(test)]
mod tests;
