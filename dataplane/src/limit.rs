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
mod cluster;
mod compile;
mod concurrency;
mod condition;
mod due;
mod escrow;
mod facts;
mod key;
mod lease;
mod link;
mod local;
mod plan;
mod quota;
mod redis;
mod rule;
mod server;
mod store;
mod told;
mod window;

use std::sync::Arc;
use std::time::Instant;

pub(crate) use compile::Invalid;
pub(crate) use concurrency::Permit;
pub(crate) use due::Due;
pub(crate) use facts::Facts;
pub(crate) use local::Counters;
pub(crate) use quota::Quota;
pub(crate) use server::RedisTarget;
pub(crate) use store::StoreError;
pub use told::Counted;

use concurrency::Concurrency;
use escrow::{Decision, Failed, Terms};
use local::Local;
use plan::{Charge, Limit, Pick};
use quota::Entry;
use redis::Remote;

use crate::snapshot::Respond;

/// A compiled `gatehouse.config.v1.RateLimit`.
#[derive(Debug)]
pub(crate) struct Policy {
    before: Limits,
    with: Limits,
    store: Place,
    /// Nobody waits for Redis while this dataplane's part of the limits has room.
    fast: bool,
    on_failure: OnFailure,
    broken: bool,
    /// What a refused request gets in place of 429.
    response: Option<Arc<Respond>>,
}

/// Those of a phase.
#[derive(Debug, Default)]
struct Limits {
    enforced: Vec<Limit>,
    /// They count and never refuse.
    shadow: Vec<Limit>,
    concurrency: Vec<Concurrency>,
}

/// When a limit is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before authentication: limits keyed by nothing, the client's address or headers, without tiers.
    BeforeIdentity,
    /// After it: limits keyed by consumer or credential, and those with tiers.
    WithIdentity,
}

/// A decision, and how it came about.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub verdict: Verdict,
    /// Why the store could not be asked, in which case the policy's `onStoreFailure` decided.
    pub degraded: Option<StoreError>,
    /// What the limits take besides when the response is there. Only of what is admitted.
    pub due: Vec<Due>,
    /// When it spent leases, on the clock of [`Counters`]: for those who check that no limit is passed.
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

/// By which a decision is made that Redis could not make.
struct Ways<'a> {
    counters: &'a Arc<Counters>,
    remote: &'a Remote,
    now: Instant,
    /// Nobody waits longer.
    end: Option<tokio::time::Instant>,
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

impl Limits {
    fn is_empty(&self) -> bool {
        self.enforced.is_empty() && self.shadow.is_empty() && self.concurrency.is_empty()
    }
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

    /// Counts the request as under way for as long as the permits live. `None`: as many as may be are, and it is refused.
    pub(crate) fn enter(&self, phase: Phase, facts: &Facts<'_>, stores: &Stores) -> Option<Vec<Permit>> {
        let limits = self.limits(phase).concurrency.iter();
        let permits = limits.filter_map(|limit| limit.enter(facts, &stores.counters).transpose());
        permits.collect::<Result<_, ()>>().ok()
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
            return Verdict::Broken.into();
        }
        let limits = self.limits(phase);
        let picks: Vec<Pick<'_>> = limits.enforced.iter().filter_map(|limit| limit.pick(facts)).collect();
        let mut outcome = self.decide(&picks, stores, now).await;
        if matches!(outcome.verdict, Verdict::Admit(_)) {
            for pick in limits.shadow.iter().filter_map(|limit| limit.pick(facts)) {
                // By itself: one that is used up must not keep others from counting. What it says is in its metrics.
                outcome.due.append(&mut self.decide(&[pick], stores, now).await.due);
            }
        }
        outcome
    }

    /// What a refused request gets in place of 429 with problem details.
    pub(crate) fn response(&self) -> Option<&Arc<Respond>> {
        self.response.as_ref()
    }

    #[must_use]
    pub(crate) fn answering(self, response: Option<Respond>) -> Policy {
        Policy { response: response.map(Arc::new), ..self }
    }

    async fn decide(&self, picks: &[Pick<'_>], stores: &Stores, now: Instant) -> Outcome {
        if picks.is_empty() {
            return Verdict::Admit(None).into();
        }
        let (outcome, local) = match (self.store, &stores.remote) {
            (Place::Redis, Some(remote)) => {
                let outcome = self.check_remote(picks, &stores.counters, remote, now).await;
                let local = outcome.degraded.is_some();
                (outcome, local)
            }
            (Place::Redis, None) | (Place::Local, _) => {
                (check_local(picks, &stores.counters, now).into(), true)
            }
        };
        let due = match outcome.verdict {
            Verdict::Admit(_) => {
                picks.iter().filter_map(|pick| pick.due(local, self.terms().strict)).collect()
            }
            _ => Vec::new(),
        };
        Outcome { due, ..outcome }
    }

    fn terms(&self) -> Terms {
        Terms { strict: self.on_failure == OnFailure::Deny, fast: self.fast }
    }

    fn limits(&self, phase: Phase) -> &Limits {
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
        let mut end = None;
        match escrow::take(picks, self.terms(), counters, remote, &mut end).await {
            Ok(decision) => decided(picks, decision),
            Err(failed) => {
                let ways = Ways { counters, remote, now, end };
                self.fall_back(picks.to_vec(), failed, ways).await
            }
        }
    }

    /// `onStoreFailure` decides on the limits whose counts can't be asked for. In a cluster that may be some: the others
    /// are asked for.
    async fn fall_back(&self, mut asked: Vec<Pick<'_>>, mut lost: Failed, ways: Ways<'_>) -> Outcome {
        let Ways { counters, remote, now, mut end } = ways;
        let degraded = Some(lost.error);
        let mut failed = Vec::new();
        let decision = loop {
            let by = asked[lost.at];
            failed.extend(asked.extract_if(.., |pick| remote.together(&by, pick)));
            if asked.is_empty() {
                break Decision::Ahead(Vec::new());
            }
            match escrow::take(&asked, self.terms(), counters, remote, &mut end).await {
                Ok(decision) => break decision,
                Err(more) => lost = more,
            }
        };
        failed.iter().for_each(|pick| pick.metrics.fell_back.add(1));
        let (mut taken, at) = match decision {
            Decision::Admit { taken, at } => (taken, Some(at)),
            Decision::Ahead(taken) => (taken, None),
            refusal @ Decision::Refuse(_) => return Outcome { degraded, ..decided(&asked, refusal) },
        };
        let verdict = match self.on_failure {
            OnFailure::Local => {
                let charges: Vec<Charge> = failed.iter().map(Pick::share).collect();
                taken.extend(Local { counters, now: counters.micros(now) }.take(&charges));
                verdict(&[asked.as_slice(), &failed].concat(), &taken)
            }
            OnFailure::Allow => {
                failed.iter().for_each(Pick::admitted);
                if asked.is_empty() { Verdict::Admit(None) } else { verdict(&asked, &taken) }
            }
            OnFailure::Deny => Verdict::Unavailable,
        };
        let admitted = matches!(verdict, Verdict::Admit(_));
        if !admitted && let Some(at) = at {
            escrow::put_back(&asked, at, counters, remote);
        }
        Outcome { degraded, leased_at: at.filter(|_| admitted), ..verdict.into() }
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        Outcome { verdict, degraded: None, due: Vec::new(), leased_at: None }
    }
}

/// What leases decide.
fn decided(picks: &[Pick<'_>], decision: Decision) -> Outcome {
    let (verdict, leased_at) = match decision {
        Decision::Admit { taken, at } => (verdict(picks, &taken), Some(at)),
        Decision::Ahead(taken) => (verdict(picks, &taken), None),
        Decision::Refuse(denied) => {
            for (pick, _) in picks.iter().zip(&denied).filter(|(_, wait)| wait.is_some()) {
                pick.refused();
            }
            let wait = denied.iter().copied().flatten().max().unwrap_or_default();
            let entries = picks.iter().zip(denied).map(|(pick, wait)| Entry {
                shown: Arc::clone(&pick.numbers.shown),
                left: wait.map(|wait| (0, wait)),
            });
            (Verdict::Refuse(Quota::refused(entries.collect(), wait)), None)
        }
    };
    Outcome { leased_at, ..verdict.into() }
}

fn check_local(picks: &[Pick<'_>], counters: &Counters, now: Instant) -> Verdict {
    let charges: Vec<Charge> = picks.iter().map(Pick::share).collect();
    let taken = Local { counters, now: counters.micros(now) }.take(&charges);
    verdict(picks, &taken)
}

fn verdict(picks: &[Pick<'_>], taken: &[rule::Taken]) -> Verdict {
    let entries = picks.iter().zip(taken).map(|(pick, taken)| Entry {
        shown: Arc::clone(&pick.numbers.shown),
        left: Some((
            taken.remaining.saturating_mul(pick.numbers.cost),
            if taken.remaining == 0 { taken.free_in } else { taken.reset_in },
        )),
    });
    let entries = entries.collect();
    let refused = picks.iter().zip(taken).filter(|(_, taken)| !taken.admitted);
    match refused.inspect(|(pick, _)| pick.refused()).map(|(_, taken)| taken.free_in).max() {
        Some(wait) => Verdict::Refuse(Quota::refused(entries, wait)),
        None => {
            picks.iter().for_each(Pick::admitted);
            Verdict::Admit(Some(Quota::admitted(entries)))
        }
    }
}

#[cfg(test)]
mod tests;
