//! Equal values that many hold, each kept once for as long as anything holds it.

use std::{
    hash::{BuildHasher, Hash},
    sync::{Arc, Weak},
};

use hashbrown::HashTable;

use crate::seeds::Seeds;

#[derive(Debug)]
pub(crate) struct Interned<T: ?Sized> {
    /// With their hashes. Some may be gone.
    known: HashTable<(u64, Weak<T>)>,
    seeds: Seeds,
    /// How many were held when it was last cleaned up.
    live: usize,
}

impl<T: ?Sized> Default for Interned<T> {
    fn default() -> Self {
        Interned { known: HashTable::new(), seeds: Seeds::default(), live: 0 }
    }
}

impl<T: Eq + Hash + ?Sized> Interned<T> {
    /// What is held already and equals the value, or else the value.
    pub(crate) fn get(&mut self, value: Arc<T>) -> Arc<T> {
        let hash = self.seeds.hash_one(&*value);
        let held =
            |(of, other): &(u64, Weak<T>)| other.upgrade().filter(|other| *of == hash && **other == *value);
        if let Some(found) = self.known.find(hash, |other| held(other).is_some()).and_then(held) {
            return found;
        }
        if self.known.len() > 2 * self.live + 64 {
            self.known.retain(|(_, other)| other.strong_count() > 0);
            self.live = self.known.len();
        }
        self.known.insert_unique(hash, (hash, Arc::downgrade(&value)), |(hash, _)| *hash);
        value
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Interned;

    #[test]
    fn equals_are_one_and_what_nobody_holds_is_forgotten() {
        let mut interned = Interned::<str>::default();
        let mut get = |number: usize| interned.get(number.to_string().into());
        let held: Vec<_> = (0..10).map(&mut get).collect();
        (0..10_000).for_each(|number| drop(get(number)));
        for (number, held) in held.iter().enumerate() {
            assert!(Arc::ptr_eq(held, &get(number)));
        }
        assert!(interned.known.len() < 200, "{}", interned.known.len());
    }
}
