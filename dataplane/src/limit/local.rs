//! Counts in this process, shared by all its workers.
//!
//! Keys are spread over shards, each behind its own short lock; a decision locks the shards of its charges in order,
//! so it is atomic. The room is bounded: see `bounded`.

use std::time::Instant;

use ahash::RandomState;
use parking_lot::{Mutex, MutexGuard};

use super::bounded::Bounded;
use super::denials::Denials;
use super::key::Key;
use super::rule::{State, Taken};
use super::store::Charge;

/// Room for a million token buckets or short logs, about 100 MB when all of it is in use. A sliding window in full use
/// takes up to 33 cells.
const CELLS: usize = 1 << 20;
/// Denials by Redis that are remembered.
const DENIALS: usize = 1 << 18;
const SHARDS: usize = 64;

/// The counts of this process. One for the whole process, kept over changes of configuration.
#[derive(Debug)]
pub struct Counters {
    /// Where the local clock begins.
    origin: Instant,
    hasher: RandomState,
    shards: Vec<Mutex<Bounded<State>>>,
    denials: Denials,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters::with_room(CELLS, DENIALS)
    }
}

impl Counters {
    /// `cells`: how many token buckets can be counted at once; `denials`: how many denials by Redis are remembered.
    /// When there is no room, those nearest to being whole again are forgotten.
    pub fn with_room(cells: usize, denials: usize) -> Counters {
        let hasher = RandomState::new();
        let room = cells.div_ceil(SHARDS).max(1);
        let shards = (0..SHARDS).map(|_| Mutex::new(Bounded::new(room, hasher.clone()))).collect();
        Counters { origin: Instant::now(), hasher, shards, denials: Denials::new(denials) }
    }

    /// The local clock: microseconds since these counters were made.
    pub(super) fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn denials(&self) -> &Denials {
        &self.denials
    }

    /// Takes one from each charge, or from none.
    pub(super) fn take_all(&self, charges: &[Charge<'_>], now: u64) -> Vec<Taken> {
        let mut places: Vec<usize> = charges.iter().map(|charge| self.place(charge.key)).collect();
        places.sort_unstable();
        places.dedup();
        let mut locked: Vec<(usize, MutexGuard<'_, Bounded<State>>)> =
            places.into_iter().filter_map(|place| Some((place, self.shards.get(place)?.lock()))).collect();
        let shard = |key: Key| {
            let place = self.place(key);
            locked
                .iter()
                .position(|(at, _)| *at == place)
                .expect("the shard of every charge was locked above")
        };
        let at: Vec<usize> = charges.iter().map(|charge| shard(charge.key)).collect();

        let looked: Vec<_> = charges
            .iter()
            .zip(&at)
            .map(|(charge, at)| charge.rule.look(locked[*at].1.get_mut(charge.key), now))
            .collect();
        if looked.iter().any(|raw| !raw.admitted) {
            return charges.iter().zip(looked).map(|(charge, raw)| charge.rule.read(raw)).collect();
        }
        charges
            .iter()
            .zip(&at)
            .map(|(charge, at)| {
                let shard = &mut locked[*at].1;
                let mut state = shard.take(charge.key);
                let taken = charge.rule.read(charge.rule.take(&mut state, now));
                if let Some(state) = state {
                    let cells = state.cells();
                    shard.put(charge.key, state, cells, now + taken.reset_in, now);
                }
                taken
            })
            .collect()
    }

    fn place(&self, key: Key) -> usize {
        // The table below uses the low and the highest bits of the same hash.
        (self.hasher.hash_one(key) >> 40) as usize % SHARDS
    }

    #[cfg(test)]
    pub(super) fn cells(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().cells()).sum()
    }
}
