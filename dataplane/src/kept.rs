//! The content of everything in force, encoded: what the disk and siblings get.
//!
//! A resource that was refused is kept as it was before, as in force. An AuthConfig is not: keys that were taken back
//! must not come to life again by a restart; without it, what it guards is closed.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::{compile::Refused, discover::Upsert};

/// Cheap to read while it changes: resources are shared, not copied.
#[derive(Debug)]
pub(crate) struct Kept {
    /// By name. `None` before there is a whole state.
    resources: Mutex<Option<BTreeMap<String, Bytes>>>,
    changes: watch::Sender<()>,
}

/// A batch that is about to be applied.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    upserts: BTreeMap<String, Bytes>,
    removals: Vec<String>,
}

impl Noted {
    pub(crate) fn of(removals: &[String]) -> Self {
        Noted { upserts: BTreeMap::new(), removals: removals.to_vec() }
    }

    /// To be called for each that comes.
    pub(crate) fn upsert(&mut self, upsert: &Upsert) {
        // A copy: what came is a piece of a whole message.
        let encoded = Bytes::copy_from_slice(&upsert.encoded);
        self.upserts.insert(upsert.resource.name.clone(), encoded);
    }

    #[cfg(test)]
    pub(crate) fn whole(upserts: &[gatehouse_proto::config::v1::Resource], removals: &[String]) -> Self {
        let mut noted = Noted::of(removals);
        upserts.iter().cloned().map(Upsert::of).for_each(|upsert| noted.upsert(&upsert));
        noted
    }
}

impl Default for Kept {
    fn default() -> Self {
        Kept { resources: Mutex::default(), changes: watch::Sender::new(()) }
    }
}

impl Kept {
    /// The batch was applied, but for what was refused. From the first on, the state is whole.
    pub(crate) fn settle(&self, noted: Noted, refused: &[Refused]) {
        let Noted { mut upserts, removals } = noted;
        let mut resources = self.resources.lock();
        let fresh = resources.is_none();
        let resources = resources.get_or_insert_default();
        let mut changed = fresh || !removals.is_empty();
        for name in removals {
            resources.remove(&name);
        }
        for Refused { name, .. } in refused {
            upserts.remove(name);
            if name.starts_with("auth/") {
                changed |= resources.remove(name).is_some();
            }
        }
        changed |= !upserts.is_empty();
        resources.append(&mut upserts);
        if changed {
            self.changes.send_replace(());
        }
    }

    /// Encoded resources, in the order of their names.
    pub(crate) fn whole(&self) -> Option<Vec<Bytes>> {
        Some(self.resources.lock().as_ref()?.values().cloned().collect())
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_proto::config::v1::{Resource, Service, resource::Kind};
    use prost::Message;

    use super::{Kept, Noted};
    use crate::compile::Refused;

    fn settle(kept: &Kept, upserts: &[(&str, u8)], removals: &[&str], refused: &[&str]) {
        let upserts: Vec<_> = upserts
            .iter()
            .map(|(name, version)| Resource {
                name: (*name).into(),
                version: vec![*version],
                kind: Some(Kind::Service(Service::default())),
            })
            .collect();
        let removals: Vec<_> = removals.iter().map(|name| (*name).to_owned()).collect();
        let refused: Vec<_> =
            refused.iter().map(|name| Refused { name: (*name).into(), reason: "bad".into() }).collect();
        kept.settle(Noted::whole(&upserts, &removals), &refused);
    }

    fn held(kept: &Kept) -> Vec<(String, u8)> {
        let decoded = kept.whole().unwrap().into_iter().map(|bytes| Resource::decode(bytes).unwrap());
        decoded.map(|resource| (resource.name, resource.version[0])).collect()
    }

    #[test]
    fn what_is_in_force_is_kept() {
        let kept = Kept::default();
        let mut changes = kept.changes();
        assert!(kept.whole().is_none(), "nothing is whole yet");
        settle(&kept, &[], &[], &[]);
        assert!(held(&kept).is_empty());
        assert!(changes.has_changed().unwrap(), "an empty state is a state");

        settle(&kept, &[("route/a", 1), ("auth/a", 1), ("route/b", 1)], &[], &["route/b"]);
        assert_eq!(held(&kept), [("auth/a".into(), 1), ("route/a".into(), 1)]);
        settle(&kept, &[("route/a", 2), ("auth/a", 2)], &[], &["route/a", "auth/a"]);
        assert_eq!(held(&kept), [("route/a".into(), 1)], "keys that were taken back are gone");

        changes.mark_unchanged();
        settle(&kept, &[("route/a", 3)], &[], &["route/a"]);
        settle(&kept, &[], &[], &[]);
        assert!(!changes.has_changed().unwrap(), "nothing is written for nothing");
        settle(&kept, &[], &["route/a"], &[]);
        assert!(held(&kept).is_empty());
        assert!(changes.has_changed().unwrap());
    }
}
