//! Counts in this process, shared by all its workers.
//!
//! Keys are spread over shards, each behind its own short lock; a decision locks the shards of its charges in order,
//! so it is atomic. The room is bounded: see `bounded`.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::bounded::{Bounded, Sharded};
use super::cluster::{SHELVES, Shelf};
use super::concurrency::Flights;
use super::escrow::Leases;
use super::key::Key;
use super::plan::Charge;
use super::rule::{State, Taken};

/// Room for a million token buckets or short logs, about 100 MB when all of it is in use. A sliding window in full use
/// takes up to 33 cells.
const CELLS: usize = 1 << 20;
/// Counts in Redis of which something is leased or remembered.
const LEASES: usize = 1 << 18;
/// What the local clock shows at its beginning.
const START_US: u64 = 1_000_000;

/// The counts of this process. One for the whole process, kept over changes of configuration.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Where the local clock begins.
    origin: Instant,
    states: Sharded<State>,
    leases: Leases,
    flights: Flights,
    /// Names this process to Redis. Random, so that no two that ever run are called the same.
    holder: u64,
    /// What each shelf of Redis was called when it last answered, so that it can be told that it forgot; 0: it never did.
    epochs: [AtomicU64; SHELVES],
}

/// The counts as they are at one time on the local clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local<'a> {
    pub(super) counters: &'a Counters,
    pub(super) now: u64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters::with_room(CELLS, LEASES)
    }
}

impl Counters {
    /// `cells`: how many token buckets can be counted at once; `leases`: of how many counts in Redis something is known.
    /// When there is no room, those nearest to being whole again are forgotten.
    pub(crate) fn with_room(cells: usize, leases: usize) -> Counters {
        Counters {
            origin: Instant::now(),
            states: Sharded::new(cells),
            leases: Leases::new(leases),
            flights: Flights::default(),
            holder: RandomState::new().hash_one(std::process::id()),
            epochs: Default::default(),
        }
    }

    /// The local clock: microseconds since a second before these counters were made, so that 0 is no time.
    pub(super) fn micros(&self, now: Instant) -> u64 {
        let micros = u64::try_from(now.saturating_duration_since(self.origin).as_micros());
        micros.unwrap_or(u64::MAX).saturating_add(START_US)
    }

    /// When the local clock showed that.
    pub(crate) fn instant(&self, micros: u64) -> Instant {
        self.origin + Duration::from_micros(micros.saturating_sub(START_US))
    }

    pub(super) fn now(&self) -> u64 {
        self.micros(Instant::now())
    }

    pub(super) fn leases(&self) -> &Leases {
        &self.leases
    }

    pub(super) fn flights(&self) -> &Flights {
        &self.flights
    }

    pub(super) fn holder(&self) -> u64 {
        self.holder
    }

    pub(super) fn epoch(&self, shelf: &Shelf) -> u64 {
        self.epochs[shelf.number].load(Relaxed)
    }

    pub(super) fn learn(&self, shelf: &Shelf, epoch: u64) {
        self.epochs[shelf.number].store(epoch, Relaxed);
    }

    #[cfg(test)]
    pub(super) fn cells(&self) -> usize {
        self.states.cells()
    }
}

impl Local<'_> {
    /// Takes so much of a count, as far as it has it.
    pub(super) fn charge(&self, charge: Charge, count: u64) {
        let states = &self.counters.states;
        let mut shard = states.lock(states.place(charge.key));
        let mut state = shard.take(charge.key);
        let left = charge.rule.read(charge.rule.use_up(&mut state, count, self.now));
        if let Some(state) = state {
            let cells = state.cells();
            shard.put(charge.key, state, cells, self.now + left.reset_in, self.now);
        }
    }

    /// Takes one request from every charge, or from none when one of them refuses. The answers stand in the order of
    /// the charges; when one refuses, the others say what is left untaken.
    pub(super) fn take(&self, charges: &[Charge]) -> Vec<Taken> {
        let (states, now) = (&self.counters.states, self.now);
        let mut places: Vec<usize> = charges.iter().map(|charge| states.place(charge.key)).collect();
        places.sort_unstable();
        places.dedup();
        let mut locked: Vec<(usize, MutexGuard<'_, Bounded<State>>)> =
            places.into_iter().map(|place| (place, states.lock(place))).collect();
        let shard = |key: Key| {
            let place = states.place(key);
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
}
