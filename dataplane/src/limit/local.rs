//! Counts in this process, shared by all its workers.
//!
//! Keys are spread over shards, each behind its own short lock; a decision locks the shards of its charges in order,
//! so it is atomic. The room is bounded: see `bounded`.

use std::convert::Infallible;
use std::time::Instant;

use parking_lot::MutexGuard;

use super::bounded::{Bounded, Sharded};
use super::denials::Denials;
use super::key::Key;
use super::rule::{State, Taken};
use super::store::{Charge, Store};

/// Room for a million token buckets or short logs, about 100 MB when all of it is in use. A sliding window in full use
/// takes up to 33 cells.
const CELLS: usize = 1 << 20;
/// Denials by Redis that are remembered.
const DENIALS: usize = 1 << 18;

/// The counts of this process. One for the whole process, kept over changes of configuration.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Where the local clock begins.
    origin: Instant,
    states: Sharded<State>,
    denials: Denials,
}

/// The counts as they are at one time on the local clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local<'a> {
    pub(super) counters: &'a Counters,
    pub(super) now: u64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters::with_room(CELLS, DENIALS)
    }
}

impl Counters {
    /// `cells`: how many token buckets can be counted at once; `denials`: how many denials by Redis are remembered.
    /// When there is no room, those nearest to being whole again are forgotten.
    pub(crate) fn with_room(cells: usize, denials: usize) -> Counters {
        Counters { origin: Instant::now(), states: Sharded::new(cells), denials: Denials::new(denials) }
    }

    /// The local clock: microseconds since these counters were made.
    pub(super) fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.origin).as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn denials(&self) -> &Denials {
        &self.denials
    }

    #[cfg(test)]
    pub(super) fn cells(&self) -> usize {
        self.states.cells()
    }
}

impl Store for Local<'_> {
    type Error = Infallible;

    async fn take(&self, charges: &[Charge<'_>]) -> Result<Vec<Taken>, Infallible> {
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
            return Ok(charges.iter().zip(looked).map(|(charge, raw)| charge.rule.read(raw)).collect());
        }
        let taken = charges
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
            .collect();
        Ok(taken)
    }
}
