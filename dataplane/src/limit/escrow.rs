//! Spends leases of counts in Redis, and asks for more: the only place where a request may wait for Redis.
//!
//! ```text
//! take: every limit has a lease -> spend from each, no Redis
//!       one is used up          -> refuse, no Redis
//!       one lacks               -> ask for all that lack, in one command, and wait; or wait with the one who asked
//! ```
//!
//! An ask is a task of its own, so that a client that goes away leaves nothing half done and all who wait share one
//! answer. A lease that runs low is renewed while it is spent.

use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::bounded::Sharded;
use super::key::Key;
use super::lease::{Ask, Lease, Spent};
use super::link::Link;
use super::local::Counters;
use super::plan::Pick;
use super::redis;
use super::rule::{Rule, Taken};
use super::store::StoreError;

/// The leases of this process.
#[derive(Debug)]
pub(super) struct Leases(Sharded<Lease>);

/// Opens when an ask has come to its end.
#[derive(Debug)]
pub(super) struct Gate {
    /// Without permits: whoever acquires waits until it is closed.
    end: Semaphore,
    failed: OnceLock<StoreError>,
}

/// What the limits of a decision say together.
#[derive(Debug)]
pub(super) enum Decision {
    /// `at`: on the local clock, within the time of every lease that was spent.
    Admit { taken: Vec<Taken>, at: u64 },
    /// How long each that is used up stays so, in microseconds.
    Refuse(Vec<Option<u64>>),
}

/// One limit's part in an ask.
#[derive(Debug)]
pub(super) struct Want {
    /// Names the count in Redis.
    pub(super) name: String,
    pub(super) rule: Rule,
    pub(super) ask: Ask,
    /// A count that Redis lost begins used up.
    pub(super) strict: bool,
    key: Key,
}

enum Step {
    Done(Decision),
    /// An ask, somebody's, must come to its end.
    Wait(Arc<Gate>, Key),
}

/// An ask on its way. However it ends, nobody waits for it any longer.
struct Pending {
    counters: Arc<Counters>,
    wants: Vec<Want>,
    gate: Arc<Gate>,
}

/// Counts a request that waits.
struct Waiting<'a>(&'a Leases, Key);

/// Decides within the link's time limit. `strict`: a count that Redis lost begins used up.
pub(super) async fn take(
    picks: &[Pick<'_>],
    strict: bool,
    counters: &Arc<Counters>,
    link: &Arc<Link>,
) -> Result<Decision, StoreError> {
    let mut end = None;
    loop {
        let (gate, key) = match attempt(picks, strict, counters, link) {
            Step::Done(decision) => return Ok(decision),
            Step::Wait(gate, key) => (gate, key),
        };
        let end = *end.get_or_insert_with(|| Instant::now() + link.limit());
        let _waiting = Waiting::new(counters.leases(), key);
        // An error says that it was closed: the ask has come to its end.
        let _ = timeout_at(end, gate.end.acquire()).await.map_err(|_| StoreError::TimedOut)?;
        if let Some(error) = gate.failed.get() {
            return Err(*error);
        }
    }
}

/// Spends one of every lease, or none.
fn attempt(picks: &[Pick<'_>], strict: bool, counters: &Arc<Counters>, link: &Arc<Link>) -> Step {
    let leases = counters.leases();
    // A lease is worth something only until its time: the clock is read after every wait.
    let now = counters.now();
    let mut taken = Vec::with_capacity(picks.len());
    for (n, pick) in picks.iter().enumerate() {
        let spent = leases.on(pick.key, now, |lease| lease.spend(pick.numbers.whole, now));
        if let Spent::Yes { taken: one, renew } = spent {
            taken.push(one);
            if renew {
                ask(std::slice::from_ref(pick), strict, now, counters, link);
            }
            continue;
        }
        for pick in &picks[..n] {
            leases.on(pick.key, now, |lease| lease.put_back(now));
        }
        let denied =
            picks.iter().map(|pick| leases.on(pick.key, now, |lease| lease.denied(pick.numbers.whole, now)));
        let denied: Vec<Option<u64>> = denied.collect();
        if denied.iter().any(Option::is_some) {
            return Step::Done(Decision::Refuse(denied));
        }
        if let Spent::Asked(gate) = spent {
            return Step::Wait(gate, pick.key);
        }
        // Those before have something, and so may those behind.
        let lacking = picks[n..]
            .iter()
            .enumerate()
            .filter(|(behind, pick)| *behind == 0 || !leases.on(pick.key, now, |lease| lease.has(now)));
        let lacking: Vec<Pick<'_>> = lacking.map(|(_, pick)| *pick).collect();
        return Step::Wait(ask(&lacking, strict, now, counters, link), pick.key);
    }
    Step::Done(Decision::Admit { taken, at: now })
}

/// Asks for leases of all of them in one command.
fn ask(picks: &[Pick<'_>], strict: bool, now: u64, counters: &Arc<Counters>, link: &Arc<Link>) -> Arc<Gate> {
    let gate = Arc::<Gate>::default();
    let wants = picks
        .iter()
        .map(|pick| Want {
            name: format!("{}{}", pick.numbers.prefix, pick.key),
            rule: pick.numbers.whole,
            ask: counters.leases().keep(pick.key, now, |lease| lease.ask(now, &gate)),
            strict,
            key: pick.key,
        })
        .collect();
    let pending = Pending { counters: Arc::clone(counters), wants, gate: Arc::clone(&gate) };
    tokio::spawn(pending.run(Arc::clone(link)));
    gate
}

impl Default for Gate {
    fn default() -> Gate {
        Gate { end: Semaphore::new(0), failed: OnceLock::new() }
    }
}

impl Leases {
    pub(super) fn new(room: usize) -> Leases {
        Leases(Sharded::new(room))
    }

    fn on<T>(&self, key: Key, now: u64, run: impl FnOnce(&mut Lease) -> T) -> T {
        let mut shard = self.0.lock(self.0.place(key));
        if let Some(lease) = shard.get_mut(key) {
            return run(lease);
        }
        let mut lease = Lease::new(now);
        let done = run(&mut lease);
        shard.put(key, lease, 1, now, now);
        done
    }

    /// As `on`, and keeps it for as long as it then says something.
    fn keep<T>(&self, key: Key, now: u64, run: impl FnOnce(&mut Lease) -> T) -> T {
        let mut shard = self.0.lock(self.0.place(key));
        let mut lease = shard.take(key).unwrap_or_else(|| Lease::new(now));
        let done = run(&mut lease);
        let over = lease.over();
        shard.put(key, lease, 1, over, now);
        done
    }
}

impl Pending {
    async fn run(mut self, link: Arc<Link>) {
        match redis::ask(&self.wants, &self.counters, &link).await {
            Ok(answers) => {
                let now = self.counters.now();
                for (want, answer) in self.wants.drain(..).zip(answers) {
                    self.counters.leases().keep(want.key, now, |lease| {
                        lease.answered(&want.ask, &answer, want.rule, now);
                    });
                }
            }
            Err(error) => {
                // It is empty: only this sets it.
                let _ = self.gate.failed.set(error);
            }
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let now = self.counters.now();
        for want in &self.wants {
            self.counters.leases().on(want.key, now, |lease| lease.gave_up(&want.ask));
        }
        self.gate.end.close();
    }
}

impl<'a> Waiting<'a> {
    fn new(leases: &'a Leases, key: Key) -> Waiting<'a> {
        leases.on(key, 0, Lease::wait);
        Waiting(leases, key)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.on(self.1, 0, Lease::waited);
    }
}
