//! Which Secrets translation refers to, and of which the view knows how they stand. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::resources::ObjectKey;

/// How long a translation waits for a Secret that it refers to. After it, it counts as missing.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Secrets {
    wanted: BTreeSet<ObjectKey>,
    known: BTreeSet<ObjectKey>,
    /// Since when those that are not known are waited for.
    waiting: BTreeMap<ObjectKey, Instant>,
}

impl Secrets {
    pub(super) fn want(&mut self, wanted: BTreeSet<ObjectKey>, now: Instant) {
        self.known.retain(|key| wanted.contains(key));
        self.waiting.retain(|key, _| wanted.contains(key));
        for key in wanted.iter().filter(|key| !self.known.contains(*key)) {
            self.waiting.entry(key.clone()).or_insert(now);
        }
        self.wanted = wanted;
    }

    /// The view has it, or knows that it does not exist.
    pub(super) fn know(&mut self, secret: ObjectKey) {
        if self.wanted.contains(&secret) {
            self.waiting.remove(&secret);
            self.known.insert(secret);
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

    #[test]
    fn each_is_waited_for_once_and_for_a_while() {
        let (a, b) = (ObjectKey::new("ns", "a"), ObjectKey::new("ns", "b"));
        let set = |keys: &[&ObjectKey]| keys.iter().map(|key| (*key).clone()).collect::<BTreeSet<_>>();
        let start = Instant::now();
        let mut secrets = Secrets::default();
        assert_eq!(secrets.deadline(start), None);
        secrets.want(set(&[&a]), start);
        assert_eq!(secrets.deadline(start), Some(start + PATIENCE));
        // It never came; the next one is waited for all the same.
        let later = start + PATIENCE;
        assert_eq!(secrets.deadline(later), None);
        secrets.want(set(&[&a, &b]), later);
        assert_eq!(secrets.deadline(later), Some(later + PATIENCE));
        secrets.know(b.clone());
        assert_eq!(secrets.deadline(later), None);
        // Nobody wanted it for a while: it has to be read again.
        secrets.want(set(&[]), later);
        secrets.want(set(&[&b]), later);
        assert_eq!(secrets.deadline(later), Some(later + PATIENCE));
    }
}
