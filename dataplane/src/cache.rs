//! Answers of backends that are kept and given again (RFC 9111): the store that all workers share, who is fetching what, and
//! what was written meanwhile.
//!
//! What is said of one answer or request is pure and in [`policy`]; [`crate::http`] asks and answers. What is counted as
//! memory is what was asked for: heads, bodies and keys, whether they are kept or still on their way.

mod entry;
mod fill;
mod flight;
mod key;
pub(crate) mod policy;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    hash::BuildHasher,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync};
use tokio::{sync::watch, time::Instant};

use crate::seeds::Seeds;

pub(crate) use {
    entry::{Entry, Refreshing, Stored},
    fill::{Fill, Recorded},
    flight::{End, Flight, Seat, State},
    key::{Key, KeyWriter},
};

/// Bytes where nothing is said.
pub(crate) const DEFAULT_BYTES: u64 = 64 << 20;
/// A part of the store has room for the largest answer that a rule may keep.
const PART_BYTES: u64 = 12 << 20;
const MOST_PARTS: u64 = 16;
/// For how long requests for what was not kept do not wait for each other.
const PASS: Duration = Duration::from_secs(10);
/// Fetches that others can wait for, at most.
const FLIGHTS: usize = 16 << 10;
/// Targets that share a count of writes fall together: one in so many.
const WRITTEN: usize = 64 << 10;

/// Of a process.
pub(crate) struct Cache {
    store: sync::Cache<Key, Arc<Entry>, Weight, Seeds, Evictions>,
    evictions: Arc<AtomicU64>,
    /// As configured.
    bytes: AtomicU64,
    /// Of answers that are still coming.
    recording: AtomicU64,
    /// Held while an entry is replaced by one that is made from it.
    updates: Mutex<()>,
    flights: Mutex<HashMap<Key, watch::Receiver<State>, Seeds>>,
    /// Counts of writes, by the hash of their targets.
    written: Box<[AtomicU32]>,
    seeds: Seeds,
}

/// A place among the counts of writes, and what stood there when it was looked at: an answer that was asked for before is
/// of no use after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch {
    place: usize,
    count: u32,
}

#[derive(Debug, Clone)]
struct Weight;

#[derive(Debug, Clone)]
struct Evictions(Arc<AtomicU64>);

impl Weighter<Key, Arc<Entry>> for Weight {
    fn weight(&self, key: &Key, entry: &Arc<Entry>) -> u64 {
        entry.weight().saturating_add(key.len() as u64)
    }
}

impl Lifecycle<Key, Arc<Entry>> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Key, _: Arc<Entry>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Cache {
    pub(crate) fn new(bytes: u64) -> Arc<Self> {
        let kept = kept(bytes);
        let evictions = Arc::<AtomicU64>::default();
        let parts = (kept / PART_BYTES).clamp(1, MOST_PARTS);
        let options = OptionsBuilder::new()
            .shards(usize::try_from(parts).unwrap_or(1))
            .estimated_items_capacity(usize::try_from(kept / (16 << 10)).unwrap_or(usize::MAX))
            .weight_capacity(kept)
            .build()
            .expect("capacity and items are said");
        Arc::new(Cache {
            store: sync::Cache::with_options(
                options,
                Weight,
                Seeds::default(),
                Evictions(Arc::clone(&evictions)),
            ),
            evictions,
            bytes: bytes.into(),
            recording: 0.into(),
            updates: Mutex::default(),
            flights: Mutex::default(),
            written: (0..WRITTEN).map(|_| AtomicU32::new(0)).collect(),
            seeds: Seeds::default(),
        })
    }

    /// Room for so many bytes from now on.
    pub(crate) fn resize(&self, bytes: u64) {
        if self.bytes.load(Ordering::Relaxed) != bytes && self.bytes.swap(bytes, Ordering::Relaxed) != bytes {
            self.store.set_capacity(kept(bytes));
        }
    }

    /// What is kept, and what is still coming.
    pub(crate) fn held(&self) -> u64 {
        self.store.weight() + self.recording.load(Ordering::Relaxed)
    }

    pub(crate) fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.store.get(key)
    }

    /// As it stands now for a target: the host, and the path with its query, as clients see them.
    pub(crate) fn epoch(&self, host: &str, path: &str, query: Option<&str>) -> Epoch {
        let hash = self.seeds.hash_one((host, path, query));
        let place = usize::try_from(hash % WRITTEN as u64).unwrap_or(0);
        Epoch { place, count: self.written[place].load(Ordering::Acquire) }
    }

    /// What was asked for before is of no use any more.
    pub(crate) fn write(&self, epoch: Epoch) {
        self.written[epoch.place].fetch_add(1, Ordering::AcqRel);
    }

    fn is_current(&self, epoch: Epoch) -> bool {
        self.written[epoch.place].load(Ordering::Acquire) == epoch.count
    }

    /// Keeps an answer, in place of those that were selected by the same fields. `false`: it is of no use, or there is no room.
    pub(crate) fn keep(&self, key: &Key, stored: Arc<Stored>) -> bool {
        if !self.is_current(stored.epoch) {
            return false;
        }
        let _guard = self.updates.lock();
        let before = self.store.peek(key);
        let others = before.iter().flat_map(|entry| entry.others(&stored));
        let others: Vec<_> = others.filter(|other| self.is_current(other.epoch)).cloned().collect();
        self.store.insert(key.clone(), Arc::new(Entry::with(stored, others)));
        self.store.contains_key(key)
    }

    /// Requests for it do not wait for each other for a while, and what was selected by such a request is kept no longer.
    pub(crate) fn pass(&self, key: &Key, request: &http::HeaderMap, now: Instant) {
        let _guard = self.updates.lock();
        let before = self.store.peek(key);
        let others = before.iter().flat_map(|entry| entry.not_for(request)).cloned();
        self.store.insert(key.clone(), Arc::new(Entry::passing(now + PASS, others)));
    }

    /// Who fetches it. `key` has in it what selects among several answers, as far as that is known.
    pub(crate) fn join(self: &Arc<Self>, key: Key) -> Seat {
        let mut flights = self.flights.lock();
        if let Some(there) = flights.get(&key) {
            return Seat::Waits(there.clone());
        }
        if flights.len() >= FLIGHTS {
            return Seat::Alone;
        }
        let (sender, receiver) = watch::channel(State::Asking);
        flights.insert(key.clone(), receiver);
        Seat::First(Flight::new(Arc::clone(self), key, sender))
    }

    fn land(&self, key: &Key) {
        self.flights.lock().remove(key);
    }

    /// `false`: there is no room for so many bytes more that are still coming.
    fn take_room(&self, bytes: u64) -> bool {
        let most = self.bytes.load(Ordering::Relaxed) / 4;
        let taken = self.recording.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if taken > most {
            self.give_room(bytes);
        }
        taken <= most
    }

    fn give_room(&self, bytes: u64) {
        self.recording.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The rest is for answers that are still coming.
fn kept(bytes: u64) -> u64 {
    bytes - bytes / 4
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("held", &self.held()).finish_non_exhaustive()
    }
}
