//! What this dataplane holds and what it could not use, by name and version. Pure.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_proto::config::v1::{Held, Rejection};
use hashbrown::HashMap;

use super::{Outcome, Refused};
use crate::seeds::Seeds;

#[derive(Debug, Default)]
pub(super) struct Holdings {
    held: HashMap<Box<str>, Version, Seeds>,
    /// By name: content that came last and was refused. Under the same name an older version may be held.
    refused: BTreeMap<String, Rejection>,
    /// Held, but not in force since the last batch.
    unfit: Vec<Refused>,
    /// Names of what is held and not understood.
    unknown: BTreeSet<String>,
}

/// As the controller gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version([u8; 16]);

/// What a batch changes once it is applied.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) upserts: Vec<(Box<str>, Version)>,
    pub(super) removals: Vec<String>,
    /// Of the upserts: this version does not know their kind. They count as applied.
    pub(super) unknown: BTreeSet<String>,
}

impl Version {
    /// That of no content: the resource is sent again.
    pub(super) const UNKNOWN: Version = Version([0; 16]);

    pub(super) fn of(wire: &[u8]) -> Self {
        wire.try_into().map_or(Version::UNKNOWN, Version)
    }

    fn to_wire(self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl Holdings {
    /// In no order.
    pub(super) fn held(&self) -> Vec<Held> {
        let held = self.held.iter();
        held.map(|(name, version)| Held { name: name.to_string(), version: version.to_wire() }).collect()
    }

    pub(super) fn refused(&self) -> Vec<Rejection> {
        self.refused.values().cloned().collect()
    }

    /// How many resources are held and not understood.
    pub(super) fn unknown(&self) -> usize {
        self.unknown.len()
    }

    pub(super) fn settle(&mut self, pending: Pending, outcome: Outcome) {
        let Pending { upserts, removals, mut unknown } = pending;
        for name in removals {
            self.held.remove(&*name);
            self.refused.remove(&name);
            self.unknown.remove(&name);
        }
        let mut reasons: BTreeMap<String, String> =
            outcome.refused.into_iter().map(|refused| (refused.name, refused.reason)).collect();
        for (name, version) in upserts {
            if let Some(reason) = reasons.remove(&*name) {
                let name = String::from(name);
                self.refused.insert(name.clone(), Rejection { name, version: version.to_wire(), reason });
                continue;
            }
            self.refused.remove(&*name);
            self.unknown.remove(&*name);
            self.held.insert(name, version);
        }
        self.unknown.append(&mut unknown);
        self.unfit = outcome.unfit;
    }

    /// All that can't be used now.
    pub(super) fn rejections(&self) -> Vec<Rejection> {
        let unfit = self.unfit.iter().filter_map(|Refused { name, reason }| {
            // Of a name whose newest content was refused, that is the news.
            let version = self.held.get(&**name).filter(|_| !self.refused.contains_key(name))?;
            Some(Rejection { name: name.clone(), version: version.to_wire(), reason: reason.clone() })
        });
        self.refused.values().cloned().chain(unfit).collect()
    }
}

#[cfg(test)]
mod tests;
