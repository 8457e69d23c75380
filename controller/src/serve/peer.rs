//! What one dataplane has been given, as far as the server knows, and what it needs to have a given state. Pure.

use std::{collections::BTreeMap, sync::Arc};

use gatehouse_proto::config::v1::{Hello, Rejection};

use super::{
    published::{Published, Versioned},
    version::Version,
};

/// The longest reason that is kept of a rejection, in bytes: it goes into statuses.
const MAX_REASON_BYTES: usize = 1024;

/// A refused version counts as given, so that it is not sent again.
#[derive(Debug)]
pub(super) struct Peer {
    given: Given,
    /// What it can't use of that, and why.
    rejected: BTreeMap<String, String>,
}

#[derive(Debug)]
enum Given {
    /// What it said that it holds, by resource name. `None`: a version that is not one of ours.
    Said(BTreeMap<Arc<str>, Option<Version>>),
    /// A whole state.
    State(Arc<Published>),
}

/// What leads from what the dataplane has been given to a state.
#[derive(Debug)]
pub(super) struct Delta {
    pub(super) desired: Arc<Published>,
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
        let mut given = BTreeMap::new();
        for held in hello.holds {
            given.insert(held.name.into(), Version::from_wire(&held.version));
        }
        for rejection in &hello.rejected {
            given.insert(rejection.name.as_str().into(), Version::from_wire(&rejection.version));
        }
        let mut peer = Peer { given: Given::Said(given), rejected: BTreeMap::new() };
        peer.reject(hello.rejected);
        peer
    }

    /// Once a state was acknowledged, this costs what differs from it.
    pub(super) fn delta(&self, desired: Arc<Published>) -> Delta {
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        match &self.given {
            Given::Said(given) => {
                let differs =
                    |wanted: &&Arc<Versioned>| given.get(&wanted.name) != Some(&Some(wanted.version));
                upserts.extend(desired.resources.iter().filter(differs).cloned());
                removals.extend(given.keys().filter(|name| desired.resources.get(name).is_none()).cloned());
            }
            Given::State(given) => {
                for difference in desired.resources.differences(&given.resources) {
                    match (difference.before, difference.after) {
                        (_, Some(after)) => upserts.push(Arc::clone(after)),
                        (Some(before), None) => removals.push(Arc::clone(&before.name)),
                        (None, None) => {}
                    }
                }
            }
        }
        Delta { desired, upserts, removals }
    }

    /// The dataplane applied the delta; `rejected` is all that it can't use now.
    pub(super) fn acknowledge(&mut self, delta: Delta, rejected: Vec<Rejection>) {
        self.given = Given::State(delta.desired);
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
            let given = match &self.given {
                Given::Said(given) => given.get(name.as_str()).copied().flatten(),
                Given::State(given) => given.resources.get(&name).map(|resource| resource.version),
            };
            if version.is_some() && given == version {
                reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
                self.rejected.insert(name, reason);
            }
        }
    }
}

#[cfg(test)]
mod tests;
