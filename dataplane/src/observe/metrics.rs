//! Counters and gauges of a process. Labels come from configuration and from closed sets, never from requests.
//!
//! What a request adds to is reached without a lock: its route's handle came with the route. `docs/observability.md`
//! lists the names.

mod handles;
mod limit;
mod part;
mod process;
mod route;
mod text;

use std::{
    hash::BuildHasher,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use gatehouse_proto::config::v1;
use hashbrown::HashTable;
use parking_lot::Mutex;

pub(crate) use {limit::LimitMetrics, part::PartMetrics, route::RouteMetrics};

use super::{CacheResult, Record, StreamRecord};
use crate::{Reason, discover::Source, rollout::Counts, seeds::Seeds};
use {handles::Handles, route::RouteCounts};

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// Requests of one worker that have begun and not ended. Only that worker writes; a cache line of its own keeps workers
/// off each other.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(super) struct Active(AtomicU64);

/// A count for each reason, at its index.
#[derive(Debug)]
struct ByReason([Counter; Reason::ALL.len()]);

/// All of a process.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    routes: Mutex<Routes>,
    /// By policy, `NAMESPACE/NAME`, and limit.
    limits: Handles<(Box<str>, Box<str>), LimitMetrics>,
    /// Of rollouts that are analysed: few.
    rollouts: Handles<Box<str>, Counts>,
    /// Requests that no route took.
    unrouted: Arc<RouteCounts>,
    active: Mutex<Vec<Arc<Active>>>,
    reasons: ByReason,
    pub(crate) connections: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) log_dropped: Counter,
    pub(crate) spans_dropped: Counter,
    pub(crate) store_failures: Counter,
    /// Questions whether a request may pass that nobody answered.
    pub(crate) external_auth_failures: Counter,
    /// Copies of requests that a backend has answered.
    pub(crate) mirrored: Counter,
    /// Those that none has.
    pub(crate) mirrored_lost: Counter,
    pub(crate) retries_refused: Counter,
    /// Questions to DNS.
    pub(crate) dns_lookups: Counter,
    /// Those that nobody answered.
    pub(crate) dns_lookup_failures: Counter,
    /// Addresses that DNS gave and that must not be connected to.
    pub(crate) dns_addresses_refused: Counter,
    pub(crate) config_batches: Counter,
    pub(crate) config_refused: Counter,
    /// Writes of the state to disk that failed.
    pub(crate) state_write_failures: Counter,
    /// Files of a state that could not be used at the start.
    pub(crate) state_files_ignored: Counter,
    /// Unix milliseconds of the last batch; 0: none yet.
    config_updated: AtomicU64,
}

/// What others keep count of.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauges {
    /// Client connections that are open.
    pub(crate) connections: usize,
    /// What answers that are kept take, in bytes, and how many had to make room for others.
    pub(crate) cache: (u64, u64),
    /// There is a channel to the controller.
    pub(crate) connected: bool,
    /// A whole state has been applied.
    pub(crate) synced: bool,
    /// Resources that can't be used now.
    pub(crate) rejected: usize,
    /// Resources that are held and of a kind that this version does not know.
    pub(crate) unknown: usize,
    /// Where the first whole state came from.
    pub(crate) source: Option<Source>,
    /// Since the controller last confirmed the state in force; `None` before there is one.
    pub(crate) age: Option<Duration>,
}

/// Counts, and hashes of object and rule. What nothing else refers to is forgotten.
#[derive(Debug, Default)]
struct Routes {
    known: HashTable<(u64, Weak<RouteCounts>)>,
    seeds: Seeds,
    /// Counts that were alive when it was last cleaned up.
    live: usize,
}

impl Default for ByReason {
    fn default() -> Self {
        ByReason(std::array::from_fn(|_| Counter::default()))
    }
}

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Active {
    pub(super) fn begin(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.0.store(self.0.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }
}

impl Metrics {
    /// A handle of a rule. All of them count together, for as long as one that has counted is held: a change of the rule
    /// keeps its counts.
    pub(crate) fn route(&self, object: impl Into<Arc<str>>, rule: u32, rule_name: &str) -> Arc<RouteMetrics> {
        let object = object.into();
        let rule: Box<str> = if rule_name.is_empty() { rule.to_string().into() } else { rule_name.into() };
        let counts = self.routes.lock().find(&object, &rule);
        Arc::new(RouteMetrics::new(object, rule, counts))
    }

    /// The handle of a part of an aggregate.
    pub(crate) fn part(&self, route: &RouteMetrics, name: &str) -> Arc<PartMetrics> {
        self.counts(route).part(name)
    }

    /// The handle of a limit of `ratelimit/NAMESPACE/NAME`.
    pub(crate) fn limit(&self, policy: &str, limit: &str) -> Arc<LimitMetrics> {
        let policy = policy.strip_prefix("ratelimit/").unwrap_or(policy);
        self.limits.get((policy.into(), limit.into()), |(policy, limit)| LimitMetrics::new(policy, limit))
    }

    /// The counts of a rollout: the same for as long as a route names them.
    pub(crate) fn rollout(&self, name: &str) -> Arc<Counts> {
        self.rollouts.get(name.into(), |name| Counts::new(name))
    }

    /// What was counted for rollouts. Empty: there are none.
    pub(crate) fn rollouts(&self) -> Vec<v1::RolloutCounts> {
        self.rollouts.live().iter().map(|counts| counts.report()).collect()
    }

    pub(super) fn worker(&self) -> Arc<Active> {
        let active = Arc::default();
        self.active.lock().push(Arc::clone(&active));
        active
    }

    pub(super) fn count(&self, record: &Record) {
        let counts = record.route.as_ref().map_or(&*self.unrouted, |route| self.counts(route));
        counts.count(record.status, record.duration);
        if let Some(reason) = record.reason {
            self.reasons.0[reason.index()].add(1);
        }
    }

    pub(crate) fn count_cached(&self, route: &RouteMetrics, result: CacheResult) {
        self.counts(route).count_cached(result);
    }

    pub(super) fn count_stream(&self, record: &StreamRecord) {
        let counts = record.route.as_ref().map_or(&*self.unrouted, |route| self.counts(route));
        counts.count_stream(record.bytes_received, record.bytes_sent);
        if let Some(reason) = record.reason {
            self.reasons.0[reason.index()].add(1);
        }
    }

    /// A batch of configuration was applied, but for so many resources whose content was refused.
    pub(crate) fn configured(&self, refused: usize, now: SystemTime) {
        self.config_batches.add(1);
        self.config_refused.add(refused as u64);
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.config_updated.store(u64::try_from(since.as_millis()).unwrap_or(0), Ordering::Relaxed);
    }

    fn counts<'a>(&self, route: &'a RouteMetrics) -> &'a RouteCounts {
        route.counts(|| self.routes.lock().get(route))
    }

    fn active(&self) -> u64 {
        self.active.lock().iter().map(|worker| worker.0.load(Ordering::Relaxed)).sum()
    }

    /// Those that are alive, in the order of their labels.
    fn live_routes(&self) -> Vec<Arc<RouteCounts>> {
        let mut live = self.routes.lock().clean();
        live.sort_by(|a, b| (a.object(), a.rule()).cmp(&(b.object(), b.rule())));
        live
    }
}

impl Routes {
    fn find(&self, object: &str, rule: &str) -> Option<Arc<RouteCounts>> {
        let hash = self.seeds.hash_one((object, rule));
        let alive = |(of, other): &(u64, Weak<RouteCounts>)| {
            let other = other.upgrade().filter(|_| *of == hash)?;
            (other.object() == object && other.rule() == rule).then_some(other)
        };
        self.known.find(hash, |other| alive(other).is_some()).and_then(alive)
    }

    fn get(&mut self, route: &RouteMetrics) -> Arc<RouteCounts> {
        if let Some(found) = self.find(route.object(), route.rule()) {
            return found;
        }
        // Nobody may ever ask for the metrics.
        if self.known.len() > 2 * self.live + 64 {
            self.clean();
        }
        let hash = self.seeds.hash_one((&**route.object(), route.rule()));
        let made = Arc::new(RouteCounts::new(Arc::clone(route.object()), route.rule().into()));
        self.known.insert_unique(hash, (hash, Arc::downgrade(&made)), |(hash, _)| *hash);
        made
    }

    fn clean(&mut self) -> Vec<Arc<RouteCounts>> {
        let mut live = Vec::with_capacity(self.known.len());
        self.known.retain(|(_, route)| {
            let before = live.len();
            live.extend(route.upgrade());
            live.len() > before
        });
        self.live = live.len();
        live
    }
}

#[cfg(test)]
mod tests;
