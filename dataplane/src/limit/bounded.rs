//! A map that never grows past its room. Clients choose how many keys there are, so something must go when it is full.
//!
//! Every insertion looks at a few entries and drops those whose time is over. When there is still no room, the one of a
//! few that would be over soonest goes: it holds the least. A flood of fresh keys so pushes out its own kind, and a
//! count that somebody is using up stays.

use ahash::RandomState;
use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};

use super::key::Key;

const SHARDS: usize = 64;
/// How many entries an insertion looks at when there is room, and how many at least when there is not.
const SWEEP: usize = 2;
const SAMPLE: usize = 8;

/// Many maps, each behind its own lock, which is held for as long as a decision takes.
#[derive(Debug)]
pub(super) struct Sharded<V> {
    shards: Vec<Mutex<Bounded<V>>>,
    /// Keyed, so that nobody can choose keys that fall together.
    hasher: RandomState,
}

#[derive(Debug)]
pub(super) struct Bounded<V> {
    /// Places in `entries`.
    index: HashTable<usize>,
    entries: Vec<Entry<V>>,
    /// The next place to look at.
    hand: usize,
    /// Room in use, and how much there is.
    cells: usize,
    capacity: usize,
    /// Keyed, so that nobody can choose keys that collide.
    hasher: RandomState,
}

#[derive(Debug)]
struct Entry<V> {
    key: Key,
    /// When it says nothing any more.
    until: u64,
    cells: usize,
    value: V,
}

impl<V> Sharded<V> {
    pub(super) fn new(capacity: usize) -> Sharded<V> {
        let hasher = RandomState::new();
        let room = capacity.div_ceil(SHARDS).max(1);
        let shards = (0..SHARDS).map(|_| Mutex::new(Bounded::new(room, hasher.clone()))).collect();
        Sharded { shards, hasher }
    }

    /// Where a key is. To lock several, lock them in the order of their places.
    pub(super) fn place(&self, key: Key) -> usize {
        // The table uses the lowest and the highest bits of the same hash.
        (self.hasher.hash_one(key) >> 40) as usize % SHARDS
    }

    /// `place`: from [`Sharded::place`].
    pub(super) fn lock(&self, place: usize) -> MutexGuard<'_, Bounded<V>> {
        self.shards[place].lock()
    }

    #[cfg(test)]
    pub(super) fn cells(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().cells()).sum()
    }
}

impl<V> Bounded<V> {
    fn new(capacity: usize, hasher: RandomState) -> Bounded<V> {
        Bounded { index: HashTable::new(), entries: Vec::new(), hand: 0, cells: 0, capacity, hasher }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut V> {
        let place = self.find(key)?;
        Some(&mut self.entries.get_mut(place)?.value)
    }

    /// Removes and returns.
    pub(super) fn take(&mut self, key: Key) -> Option<V> {
        let place = self.find(key)?;
        Some(self.remove(place).value)
    }

    /// Sets a value that takes up `cells` until `until`, and makes room for it.
    pub(super) fn put(&mut self, key: Key, value: V, cells: usize, until: u64, now: u64) {
        if let Some(place) = self.find(key) {
            self.remove(place);
        }
        self.sweep(now);
        while self.cells + cells > self.capacity && !self.entries.is_empty() {
            self.evict();
        }
        let hash = self.hasher.hash_one(key);
        let (entries, hasher) = (&self.entries, &self.hasher);
        self.index.insert_unique(hash, self.entries.len(), |place| {
            entries.get(*place).map_or(0, |entry| hasher.hash_one(entry.key))
        });
        self.cells += cells;
        self.entries.push(Entry { key, until, cells, value });
    }

    #[cfg(test)]
    fn cells(&self) -> usize {
        self.cells
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn find(&self, key: Key) -> Option<usize> {
        let hash = self.hasher.hash_one(key);
        self.index.find(hash, |place| self.entries.get(*place).is_some_and(|entry| entry.key == key)).copied()
    }

    fn sweep(&mut self, now: u64) {
        for _ in 0..SWEEP.min(self.entries.len()) {
            let place = self.advance();
            if self.entries.get(place).is_some_and(|entry| entry.until <= now) {
                self.remove(place);
            }
        }
    }

    fn evict(&mut self) {
        let sample = (0..SAMPLE.min(self.entries.len())).map(|_| self.advance());
        let sample: Vec<usize> = sample.collect();
        let victim = sample
            .into_iter()
            .min_by_key(|place| self.entries.get(*place).map_or(u64::MAX, |entry| entry.until));
        if let Some(victim) = victim {
            self.remove(victim);
        }
    }

    /// A place that exists, as long as there is an entry.
    fn advance(&mut self) -> usize {
        if self.hand >= self.entries.len() {
            self.hand = 0;
        }
        let place = self.hand;
        self.hand += 1;
        place
    }

    /// The last entry moves to the place that becomes free.
    fn remove(&mut self, place: usize) -> Entry<V> {
        self.unindex(place);
        let last = self.entries.len() - 1;
        if place != last {
            let hash = self.hasher.hash_one(self.entries[last].key);
            if let Some(moved) = self.index.find_mut(hash, |at| *at == last) {
                *moved = place;
            }
        }
        let entry = self.entries.swap_remove(place);
        self.cells -= entry.cells;
        entry
    }

    fn unindex(&mut self, place: usize) {
        let hash = self.hasher.hash_one(self.entries[place].key);
        if let Ok(found) = self.index.find_entry(hash, |at| *at == place) {
            found.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use ahash::RandomState;

    use super::super::key::{Encoded, Field, Key};
    use super::Bounded;

    fn key(n: u64) -> Key {
        Encoded::default().with(Field::Header, &n.to_le_bytes()).key()
    }

    #[test]
    fn room_is_never_exceeded_and_what_is_used_up_most_stays() {
        let mut map = Bounded::new(1000, RandomState::new());
        map.put(key(u64::MAX), 7, 10, 1_000_000, 0);
        for n in 0..20_000 {
            map.put(key(n), n, 1 + n as usize % 5, 100 + n % 50, 0);
            assert!(map.cells() <= 1000, "{} at {n}", map.cells());
            assert_eq!(map.get_mut(key(n)).copied(), Some(n));
        }
        assert!(map.len() > 200);
        assert_eq!(map.get_mut(key(u64::MAX)).copied(), Some(7));
    }

    #[test]
    fn what_is_over_goes_as_others_come() {
        let mut map = Bounded::new(1000, RandomState::new());
        for n in 0..500 {
            map.put(key(n), n, 1, 10, 0);
        }
        assert_eq!(map.len(), 500);
        for n in 1000..1600 {
            map.put(key(n), n, 1, 1_000, 20);
        }
        assert_eq!(map.len(), 600);
        assert!((0..500).all(|n| map.get_mut(key(n)).is_none()));
        assert!((1000..1600).all(|n| map.take(key(n)) == Some(n)));
        assert_eq!((map.len(), map.cells()), (0, 0));
    }

    #[test]
    fn putting_again_replaces() {
        let mut map = Bounded::new(10, RandomState::new());
        map.put(key(1), 1, 3, 10, 0);
        map.put(key(1), 2, 5, 10, 0);
        assert_eq!((map.len(), map.cells(), map.get_mut(key(1)).copied()), (1, 5, Some(2)));
    }
}
