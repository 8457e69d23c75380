//! Counts that are the same for as long as anything holds them, so that a change of what they are of keeps them. What nothing
//! else refers to is forgotten.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

#[derive(Debug)]
pub(super) struct Handles<K, T>(Mutex<Known<K, T>>);

#[derive(Debug)]
struct Known<K, T> {
    by_key: BTreeMap<K, Weak<T>>,
    /// How many were alive when it was last cleaned up: nobody may ever ask for the metrics.
    live: usize,
}

impl<K, T> Default for Handles<K, T> {
    fn default() -> Self {
        Handles(Mutex::new(Known { by_key: BTreeMap::new(), live: 0 }))
    }
}

impl<K: Ord, T> Handles<K, T> {
    pub(super) fn get(&self, key: K, make: impl FnOnce(&K) -> T) -> Arc<T> {
        let mut known = self.0.lock();
        if let Some(found) = known.by_key.get(&key).and_then(Weak::upgrade) {
            return found;
        }
        if known.by_key.len() > 2 * known.live + 64 {
            known.by_key.retain(|_, handle| handle.strong_count() > 0);
            known.live = known.by_key.len();
        }
        let made = Arc::new(make(&key));
        known.by_key.insert(key, Arc::downgrade(&made));
        made
    }

    /// Those that are alive, in the order of their keys.
    pub(super) fn live(&self) -> Vec<Arc<T>> {
        self.0.lock().by_key.values().filter_map(Weak::upgrade).collect()
    }
}
