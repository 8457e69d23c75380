//! Which Secrets and ConfigMaps translation refers to, and of which the view knows how they stand. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::translate::ObjectId;

/// How long a translation waits for one that it refers to. After it, it counts as missing.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Referenced {
    wanted: BTreeSet<ObjectId>,
    known: BTreeSet<ObjectId>,
    /// Since when those that are not known are waited for.
    waiting: BTreeMap<ObjectId, Instant>,
}

impl Referenced {
    pub(super) fn want(&mut self, wanted: BTreeSet<ObjectId>, now: Instant) {
        self.known.retain(|id| wanted.contains(id));
        self.waiting.retain(|id, _| wanted.contains(id));
        for id in wanted.iter().filter(|id| !self.known.contains(*id)) {
            self.waiting.entry(id.clone()).or_insert(now);
        }
        self.wanted = wanted;
    }

    /// The view has it, or knows that it does not exist.
    pub(super) fn know(&mut self, id: ObjectId) {
        if self.wanted.contains(&id) {
            self.waiting.remove(&id);
            self.known.insert(id);
        }
    }

    /// When waiting ends; `None`: there is nothing to wait for.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.waiting.values().map(|since| *since + PATIENCE).filter(|deadline| *deadline > now).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::ObjectKey;

    fn id(kind: &'static str) -> ObjectId {
        ObjectId { kind, key: ObjectKey::new("ns", "a") }
    }

    #[test]
    fn each_is_waited_for_once_and_for_a_while() {
        let (a, b) = (id("Secret"), id("ConfigMap"));
        let set = |keys: &[&ObjectId]| keys.iter().map(|key| (*key).clone()).collect::<BTreeSet<_>>();
        let start = Instant::now();
        let mut referenced = Referenced::default();
        assert_eq!(referenced.deadline(start), None);
        referenced.want(set(&[&a]), start);
        assert_eq!(referenced.deadline(start), Some(start + PATIENCE));
        // It never came; the next one is waited for all the same.
        let later = start + PATIENCE;
        assert_eq!(referenced.deadline(later), None);
        referenced.want(set(&[&a, &b]), later);
        assert_eq!(referenced.deadline(later), Some(later + PATIENCE));
        referenced.know(b.clone());
        assert_eq!(referenced.deadline(later), None);
        // Nobody wanted it for a while: it has to be read again.
        referenced.want(set(&[]), later);
        referenced.want(set(&[&b]), later);
        assert_eq!(referenced.deadline(later), Some(later + PATIENCE));
    }
}
