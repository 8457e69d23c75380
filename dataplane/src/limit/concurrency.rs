//! How many requests may be under way at once in this dataplane.
//!
//! A count exists only while something is under way, so there are never more of them than requests.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Facts;
use super::key::{Encoded, Key};
use super::local::Counters;
use super::plan::Scope;
use crate::observe::metrics::LimitMetrics;

const SHARDS: usize = 64;

#[derive(Debug)]
pub(super) struct Concurrency {
    pub(super) scope: Scope,
    pub(super) seed: Encoded,
    pub(super) most: u64,
    /// It never refuses.
    pub(super) shadow: bool,
    pub(super) metrics: Arc<LimitMetrics>,
}

/// How many are under way, by count. Keyed by digests, of which nobody can choose which fall together.
#[derive(Debug)]
pub(super) struct Flights(Vec<Mutex<HashMap<Key, u64, ahash::RandomState>>>);

/// A request that is under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    counters: Arc<Counters>,
    key: Key,
}

impl Concurrency {
    /// `Err`: as many as may be are under way. `Ok(None)`: it is none of this limit's, or only watched.
    pub(super) fn enter(&self, facts: &Facts<'_>, counters: &Arc<Counters>) -> Result<Option<Permit>, ()> {
        if !self.scope.holds(facts) {
            return Ok(None);
        }
        let key = self.scope.key(&self.seed, facts);
        if counters.flights().begin(key, self.most) {
            self.metrics.allowed.add(1);
            return Ok(Some(Permit { counters: Arc::clone(counters), key }));
        }
        if self.shadow {
            self.metrics.shadow_limited.add(1);
            return Ok(None);
        }
        self.metrics.limited.add(1);
        Err(())
    }
}

impl Flights {
    fn shard(&self, key: Key) -> &Mutex<HashMap<Key, u64, ahash::RandomState>> {
        &self.0[key.spread() % SHARDS]
    }

    fn begin(&self, key: Key, most: u64) -> bool {
        let mut counts = self.shard(key).lock();
        let count = counts.entry(key).or_default();
        let room = *count < most;
        *count += u64::from(room);
        room
    }

    fn end(&self, key: Key) {
        let mut counts = self.shard(key).lock();
        let left = counts.get_mut(&key).map(|count| {
            *count = count.saturating_sub(1);
            *count
        });
        if left == Some(0) {
            counts.remove(&key);
        }
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> usize {
        self.0.iter().map(|shard| shard.lock().len()).sum()
    }
}

impl Default for Flights {
    fn default() -> Flights {
        Flights((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.counters.flights().end(self.key);
    }
}
