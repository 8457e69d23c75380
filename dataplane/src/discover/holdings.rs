//! What this dataplane holds and what it could not use, by name and version. Pure.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_proto::config::v1::{Batch, Held, Rejection};

use super::{Changes, Outcome, Refused};

#[derive(Debug, Default)]
pub(super) struct Holdings {
    /// Version by name.
    held: BTreeMap<String, Vec<u8>>,
    /// By name: content that came last and was refused. Under the same name an older version may be held.
    refused: BTreeMap<String, Rejection>,
    /// Held, but not in force since the last batch.
    unfit: Vec<Refused>,
    /// Names of what is held and not understood.
    unknown: BTreeSet<String>,
}

/// What a batch changes once it is applied.
#[derive(Debug, Default)]
pub(super) struct Pending {
    upserts: BTreeMap<String, Vec<u8>>,
    removals: Vec<String>,
    unknown: BTreeSet<String>,
}

impl Pending {
    /// Sets aside what this version does not know: it counts as applied.
    pub(super) fn of(batch: Batch) -> (Self, Changes) {
        let mut pending = Self { removals: batch.removals.clone(), ..Self::default() };
        let mut changes = Changes { upserts: Vec::new(), removals: batch.removals };
        for resource in batch.upserts {
            pending.upserts.insert(resource.name.clone(), resource.version.clone());
            if resource.kind.is_some() {
                changes.upserts.push(resource);
            } else {
                pending.unknown.insert(resource.name);
            }
        }
        (pending, changes)
    }
}

impl Holdings {
    pub(super) fn held(&self) -> Vec<Held> {
        self.held
            .iter()
            .map(|(name, version)| Held { name: name.clone(), version: version.clone() })
            .collect()
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
            self.held.remove(&name);
            self.refused.remove(&name);
            self.unknown.remove(&name);
        }
        let mut reasons: BTreeMap<String, String> =
            outcome.refused.into_iter().map(|refused| (refused.name, refused.reason)).collect();
        for (name, version) in upserts {
            if let Some(reason) = reasons.remove(&name) {
                self.refused.insert(name.clone(), Rejection { name, version, reason });
                continue;
            }
            self.refused.remove(&name);
            self.unknown.remove(&name);
            self.held.insert(name, version);
        }
        self.unknown.append(&mut unknown);
        self.unfit = outcome.unfit;
    }

    /// All that can't be used now.
    pub(super) fn rejections(&self) -> Vec<Rejection> {
        let unfit = self.unfit.iter().filter_map(|Refused { name, reason }| {
            // Of a name whose newest content was refused, that is the news.
            let version = self.held.get(name).filter(|_| !self.refused.contains_key(name))?;
            Some(Rejection { name: name.clone(), version: version.clone(), reason: reason.clone() })
        });
        self.refused.values().cloned().chain(unfit).collect()
    }
}

#[cfg(test)]
mod tests;
