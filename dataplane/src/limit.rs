//! Rate limits: decides whether a request may pass, by counts that live in this process or in Redis.
//!
//! ```text
//! Policy::check(phase, facts) -> plan: key + rule a limit -> local | escrow: leases of counts in Redis -> Outcome
//! ```
//!
//! A [`Policy`] is compiled from configuration and holds no counts: those live in [`Counters`] and in Redis under keys
//! made of policy, limit, scope and key parts, so a change of configuration never resets one. The rules themselves
//! (`bucket`, `window`) are pure. No request waits for a store longer than the store's hard time limit.
//!
//! What holds together: within one policy and phase a request that one limit refuses takes from none of them. Between
//! phases and between policies this is not so: what an earlier one took stays taken.

mod bounded;
mod bucket;
mod compile;
mod escrow;
mod key;
mod lease;
mod link;
mod local;
mod plan;
mod quota;
mod redis;
mod rule;
mod store;
mod window;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use ::http::HeaderMap;

pub(crate) use compile::Invalid;
pub(crate) use local::Counters;
pub(crate) use quota::Quota;
pub(crate) use redis::RedisTarget;
pub(crate) use store::StoreError;

use escrow::Decision;
use local::Local;
use plan::{Charge, Limit, Pick};
use quota::Entry;
use redis::Remote;

/// A compiled `gatehouse.config.v1.RateLimit`.
#[derive(Debug)]
pub(crate) struct Policy {
    before: Vec<Limit>,
    with: Vec<Limit>,
    store: Place,
    on_failure: OnFailure,
    /// Each route object has its own counts.
    per_route: bool,
    broken: bool,
}

/// When a limit is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before authentication: limits keyed by nothing, the client's address or headers, without tiers.
    BeforeIdentity,
    /// After it: limits keyed by consumer or credential, and those with tiers.
    WithIdentity,
}

/// What a limit may look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The client, behind trusted proxies.
    pub client: IpAddr,
    pub headers: &'a HeaderMap,
    /// The consumer, unique in the cluster: `namespace/name`.
    pub consumer: Option<&'a str>,
    /// The credential, unique within its consumer.
    pub credential: Option<&'a str>,
    /// The consumer's tier.
    pub tier: Option<&'a str>,
    /// The route object, as `Kind/namespace/name`.
    pub route: &'a str,
}

/// A decision, and how it came about.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub verdict: Verdict,
    /// Why the store could not be asked, in which case the policy's `onStoreFailure` decided.
    pub degraded: Option<StoreError>,
    /// When it spent leases, on the clock of [`Counters`]: for those who check that no limit is passed.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests look"))]
    pub leased_at: Option<u64>,
}

#[derive(Debug)]
pub(crate) enum Verdict {
    /// The request may pass. Without a quota when nothing was counted.
    Admit(Option<Quota>),
    /// A limit is used up: 429 with the quota's headers.
    Refuse(Quota),
    /// The store can't be asked, and the policy says to deny then: 503.
    Unavailable,
    /// The policy is such that it can't be enforced: 503.
    Broken,
}

/// Where a worker counts: the counters that all workers of the process share, and the worker's own connection to Redis.
#[derive(Debug)]
pub(crate) struct Stores {
    counters: Arc<Counters>,
    remote: Option<Remote>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Local,
    Redis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnFailure {
    Local,
    Allow,
    Deny,
}

impl Stores {
    /// Opens nothing: the first decision of a policy that counts in Redis connects. Without a target such policies
    /// count locally. Made once a worker, and again when the target changes.
    pub(crate) fn new(counters: Arc<Counters>, redis: Option<&RedisTarget>) -> Stores {
        Stores { counters, remote: redis.map(Remote::new) }
    }
}

impl Policy {
    /// Whether [`Policy::check`] has anything to do in this phase. A broken policy has: it refuses in the first.
    pub(crate) fn has(&self, phase: Phase) -> bool {
        self.broken || !self.limits(phase).is_empty()
    }

    /// Counts the request and decides. `now` is read once a request.
    ///
    /// Call it within a tokio runtime: a connection to Redis is driven by a task of its own.
    pub(crate) async fn check(
        &self,
        phase: Phase,
        facts: &Facts<'_>,
        stores: &Stores,
        now: Instant,
    ) -> Outcome {
        if self.broken {
            return Outcome { verdict: Verdict::Broken, degraded: None, leased_at: None };
        }
        let limits = self.limits(phase);
        if limits.is_empty() {
            return Outcome { verdict: Verdict::Admit(None), degraded: None, leased_at: None };
        }
        let picks: Vec<Pick<'_>> = limits.iter().map(|limit| limit.pick(facts, self.per_route)).collect();
        match (self.store, &stores.remote) {
            (Place::Redis, Some(remote)) => self.check_remote(&picks, &stores.counters, remote, now).await,
            (Place::Redis, None) | (Place::Local, _) => Outcome {
                verdict: check_local(&picks, &stores.counters, now),
                degraded: None,
                leased_at: None,
            },
        }
    }

    fn limits(&self, phase: Phase) -> &[Limit] {
        match phase {
            Phase::BeforeIdentity => &self.before,
            Phase::WithIdentity => &self.with,
        }
    }

    async fn check_remote(
        &self,
        picks: &[Pick<'_>],
        counters: &Arc<Counters>,
        remote: &Remote,
        now: Instant,
    ) -> Outcome {
        let strict = self.on_failure == OnFailure::Deny;
        match escrow::take(picks, strict, counters, remote.link()).await {
            Ok(Decision::Admit { taken, at }) => {
                Outcome { verdict: verdict(picks, &taken), degraded: None, leased_at: Some(at) }
            }
            Ok(Decision::Refuse(denied)) => {
                let wait = denied.iter().copied().flatten().max().unwrap_or_default();
                let entries = picks.iter().zip(denied).map(|(pick, wait)| Entry {
                    shown: Arc::clone(&pick.numbers.shown),
                    left: wait.map(|wait| (0, wait)),
                });
                Outcome {
                    verdict: Verdict::Refuse(Quota::refused(entries.collect(), wait)),
                    degraded: None,
                    leased_at: None,
                }
            }
            Err(error) => {
                let verdict = match self.on_failure {
                    OnFailure::Local => check_local(picks, counters, now),
                    OnFailure::Allow => Verdict::Admit(None),
                    OnFailure::Deny => Verdict::Unavailable,
                };
                Outcome { verdict, degraded: Some(error), leased_at: None }
            }
        }
    }
}

fn check_local(picks: &[Pick<'_>], counters: &Counters, now: Instant) -> Verdict {
    let charges: Vec<Charge> = picks.iter().map(Pick::share).collect();
    let taken = Local { counters, now: counters.micros(now) }.take(&charges);
    verdict(picks, &taken)
}

fn verdict(picks: &[Pick<'_>], taken: &[rule::Taken]) -> Verdict {
    let entries = picks.iter().zip(taken).map(|(pick, taken)| Entry {
        shown: Arc::clone(&pick.numbers.shown),
        left: Some((taken.remaining, if taken.remaining == 0 { taken.free_in } else { taken.reset_in })),
    });
    let entries = entries.collect();
    match taken.iter().filter(|taken| !taken.admitted).map(|taken| taken.free_in).max() {
        Some(wait) => Verdict::Refuse(Quota::refused(entries, wait)),
        None => Verdict::Admit(Some(Quota::admitted(entries))),
    }
}

#[cfg(test)]
mod tests;
