//! Spends leases of counts in Redis, and asks for more: the only place where a request may wait for Redis.
//!
//! ```text
//! take: every limit has a lease -> spend from each, no Redis
//!       one is used up          -> refuse, no Redis
//!       one lacks               -> ask for all that lack, in one command, and wait; or wait with the one who asked
//!       one lacks, fast         -> pass by this dataplane's own part of every limit, and tell Redis of it
//! ```
//!
//! In a cluster counts may lie on several shelves, and no command reaches more than one: each shelf is asked, at the same
//! time. What one of them granted to a request that another refused is not spent, and goes back at once.
//!
//! An ask is a task of its own, so that a client that goes away leaves nothing half done and all who wait share one
//! answer. A lease that runs low is renewed while it is spent; what is left of one that nobody wants goes back.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::bounded::Sharded;
use super::cluster::Shelf;
use super::due::Due;
use super::key::Key;
use super::lease::{Answer, Ask, Lease, Purpose, Spent, Watch};
use super::link::Link;
use super::local::{Counters, Local};
use super::plan::{Charge, Numbers, Pick};
use super::redis::{self, Remote};
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
    /// It passes before Redis was asked.
    Ahead(Vec<Taken>),
    /// How long each that is used up stays so, in microseconds.
    Refuse(Vec<Option<u64>>),
}

/// What a policy wants of leases.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// A count that Redis lost begins used up.
    pub(super) strict: bool,
    /// Nobody waits for Redis while this dataplane's own part of the limits has room.
    pub(super) fast: bool,
}

/// One limit's part in an ask.
#[derive(Debug, Clone)]
pub(super) struct Want {
    /// Names the count in Redis.
    pub(super) name: String,
    pub(super) rule: Rule,
    pub(super) ask: Ask,
    /// A count that Redis lost begins used up.
    pub(super) strict: bool,
    key: Key,
}

/// The store could not be asked for the limit at this place.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) at: usize,
    pub(super) error: StoreError,
}

enum Step {
    Done(Decision),
    /// An ask, somebody's, must come to its end for the limit at this place.
    Wait(Arc<Gate>, usize),
}

/// An ask on its way. However it ends, nobody waits for it any longer.
struct Pending {
    counters: Arc<Counters>,
    wants: Vec<Want>,
    gate: Arc<Gate>,
}

/// Counts a request that waits.
struct Waiting<'a>(&'a Leases, Key);

/// Decides until `end`, which is set with the first wait.
pub(super) async fn take(
    picks: &[Pick<'_>],
    terms: Terms,
    counters: &Arc<Counters>,
    remote: &Remote,
    end: &mut Option<Instant>,
) -> Result<Decision, Failed> {
    loop {
        let (gate, at) = match attempt(picks, terms, counters, remote) {
            Step::Done(Decision::Refuse(denied)) => {
                if end.is_some() {
                    return_granted(picks, &denied, counters, remote);
                }
                return Ok(Decision::Refuse(denied));
            }
            Step::Done(decision) => return Ok(decision),
            Step::Wait(gate, at) => (gate, at),
        };
        let end = *end.get_or_insert_with(|| Instant::now() + remote.limit());
        let _waiting = Waiting::new(counters.leases(), picks[at].key);
        // An error says that it was closed: the ask has come to its end.
        let ended = timeout_at(end, gate.end.acquire()).await;
        let failed = ended.map_or(Some(StoreError::TimedOut), |_| gate.failed.get().copied());
        if let Some(error) = failed {
            return Err(Failed { at, error });
        }
    }
}

/// Tells Redis of what was granted to a request that is refused. On one shelf nothing was.
fn return_granted(picks: &[Pick<'_>], denied: &[Option<u64>], counters: &Arc<Counters>, remote: &Remote) {
    let by = picks.iter().zip(denied).filter(|(_, denied)| denied.is_some()).map(|(pick, _)| pick);
    let refused: Vec<&Pick<'_>> = by.collect();
    for pick in picks.iter().filter(|pick| !refused.iter().any(|refused| remote.together(refused, pick))) {
        give_back(pick, counters, remote);
    }
}

/// What was spent at `at` on a request that something else refuses.
pub(super) fn put_back(picks: &[Pick<'_>], at: u64, counters: &Arc<Counters>, remote: &Remote) {
    for pick in picks {
        counters.leases().on(pick.key, at, |lease| lease.put_back(at));
        give_back(pick, counters, remote);
    }
}

fn give_back(pick: &Pick<'_>, counters: &Arc<Counters>, remote: &Remote) {
    let (now, gate) = (counters.now(), Arc::<Gate>::default());
    if let Some(ask) = counters.leases().on(pick.key, now, |lease| lease.give_back_one(now, &gate)) {
        let link = remote.link(pick);
        send(vec![Want::new(pick.key, pick.numbers, ask, false, link.shelf())], gate, counters, link);
    }
}

/// Takes so much of a count as far as it has it, and waits for nothing.
pub(super) fn charge(due: &Due, count: u64, counters: &Arc<Counters>, remote: &Remote) {
    let (now, gate) = (counters.now(), Arc::<Gate>::default());
    let ask = counters.leases().keep(due.key, now, |lease| {
        lease.owe(count, due.numbers.whole, now);
        lease.lacks(Purpose::Owed, now).then(|| lease.ask(Purpose::Owed, now, &gate))
    });
    if let Some(ask) = ask {
        let link = remote.at(due.spread);
        send(vec![Want::new(due.key, &due.numbers, ask, due.strict, link.shelf())], gate, counters, link);
    }
}

/// Spends one of every lease, or none.
fn attempt(picks: &[Pick<'_>], terms: Terms, counters: &Arc<Counters>, remote: &Remote) -> Step {
    let leases = counters.leases();
    'again: loop {
        // A lease is worth something only until its time: the clock is read after every wait.
        let now = counters.now();
        let mut taken = Vec::with_capacity(picks.len());
        for (n, pick) in picks.iter().enumerate() {
            let spent = leases.on(pick.key, now, |lease| lease.spend(pick.numbers.whole, now));
            if let Spent::Yes { taken: one, renew } = spent {
                taken.push(one);
                if renew {
                    ask(&[*pick], Purpose::Renew, terms.strict, now, counters, remote.link(pick));
                }
                continue;
            }
            for pick in &picks[..n] {
                leases.on(pick.key, now, |lease| lease.put_back(now));
            }
            let denied = picks
                .iter()
                .map(|pick| leases.on(pick.key, now, |lease| lease.refused(pick.numbers.whole, now)));
            let denied: Vec<Option<u64>> = denied.collect();
            if denied.iter().any(Option::is_some) {
                return Step::Done(Decision::Refuse(denied));
            }
            if terms.fast
                && let Some(taken) = pass_ahead(picks, terms, now, counters, remote)
            {
                return Step::Done(Decision::Ahead(taken));
            }
            if let Spent::Asked(gate) = spent {
                return Step::Wait(gate, n);
            }
            // Those before have something, and so may those behind.
            let (here, elsewhere): (Vec<Pick<'_>>, Vec<Pick<'_>>) =
                picks[n..].iter().copied().partition(|behind| remote.together(pick, behind));
            for shelf in elsewhere.chunk_by(|one, next| remote.together(one, next)) {
                ask(shelf, Purpose::Wait, terms.strict, now, counters, remote.link(&shelf[0]));
            }
            match ask(&here, Purpose::Wait, terms.strict, now, counters, remote.link(pick)) {
                Some(gate) => return Step::Wait(gate, n),
                // Another worker was quicker.
                None => continue 'again,
            }
        }
        return Step::Done(Decision::Admit { taken, at: now });
    }
}

/// Takes from this dataplane's own part of every limit, and owes it to Redis. `None`: one has no room, or Redis is away and
/// the policy's `onStoreFailure` decides.
fn pass_ahead(
    picks: &[Pick<'_>],
    terms: Terms,
    now: u64,
    counters: &Arc<Counters>,
    remote: &Remote,
) -> Option<Vec<Taken>> {
    if picks.iter().any(|pick| remote.link(pick).is_down()) {
        return None;
    }
    let charges: Vec<Charge> = picks.iter().map(Pick::share).collect();
    let taken = Local { counters, now }.take(&charges);
    if taken.iter().any(|taken| !taken.admitted) {
        return None;
    }
    for pick in picks {
        counters.leases().keep(pick.key, now, |lease| lease.owe(1, pick.numbers.whole, now));
    }
    for shelf in picks.chunk_by(|one, next| remote.together(one, next)) {
        ask(shelf, Purpose::Owed, terms.strict, now, counters, remote.link(&shelf[0]));
    }
    Some(taken)
}

/// Asks in one command for leases of all that lack one and that nobody has asked for, if there are any. They lie together.
fn ask(
    picks: &[Pick<'_>],
    purpose: Purpose,
    strict: bool,
    now: u64,
    counters: &Arc<Counters>,
    link: &Arc<Link>,
) -> Option<Arc<Gate>> {
    let gate = Arc::<Gate>::default();
    let wants: Vec<Want> = picks
        .iter()
        .filter_map(|pick| {
            // Looked at and asked for at once: two asks would each tell what was spent, and Redis count it twice.
            let ask = counters.leases().keep(pick.key, now, |lease| {
                lease.lacks(purpose, now).then(|| lease.ask(purpose, now, &gate))
            })?;
            Some(Want::new(pick.key, pick.numbers, ask, strict, link.shelf()))
        })
        .collect();
    if wants.is_empty() {
        return None;
    }
    send(wants, Arc::clone(&gate), counters, link);
    Some(gate)
}

/// Asks by a task of its own.
fn send(wants: Vec<Want>, gate: Arc<Gate>, counters: &Arc<Counters>, link: &Arc<Link>) {
    let pending = Pending { counters: Arc::clone(counters), wants, gate };
    tokio::spawn(pending.run(Arc::clone(link)));
}

impl Want {
    fn new(key: Key, numbers: &Numbers, ask: Ask, strict: bool, shelf: &Shelf) -> Want {
        let name = shelf.key(&format!("{}{key}", numbers.prefix));
        Want { name, rule: numbers.whole, ask, strict, key }
    }
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
                let watched = self.settle(&answers);
                let counters = Arc::clone(&self.counters);
                // Those who wait come first: they mostly leave nothing to look after.
                drop(self);
                for want in watched {
                    tokio::spawn(look_after(want, Arc::clone(&counters), Arc::clone(&link)));
                }
            }
            Err(error) => {
                // It is empty: only this sets it.
                let _ = self.gate.failed.set(error);
            }
        }
    }

    /// Returns those that hold something and that nobody looks after yet: who waited for it may be gone.
    fn settle(&mut self, answers: &[Answer]) -> Vec<Want> {
        let now = self.counters.now();
        let mut watched = Vec::new();
        for (want, answer) in self.wants.drain(..).zip(answers) {
            let watch = self.counters.leases().keep(want.key, now, |lease| {
                lease.answered(&want.ask, answer, want.rule, now);
                lease.watch()
            });
            if watch {
                watched.push(want);
            }
        }
        watched
    }
}

/// Asks for what is owed, and gives back what is left of a lease in time, if it is not renewed.
async fn look_after(mut want: Want, counters: Arc<Counters>, link: Arc<Link>) {
    loop {
        let (now, gate) = (counters.now(), Arc::<Gate>::default());
        match counters.leases().on(want.key, now, |lease| lease.look_after(now, &gate)) {
            Watch::Later(then) => tokio::time::sleep(Duration::from_micros(then - now)).await,
            Watch::Over => return,
            Watch::Tell(ask) => {
                want.ask = ask;
                let mut pending = Pending { counters: Arc::clone(&counters), wants: vec![want], gate };
                let Ok(answers) = redis::ask(&pending.wants, &counters, &link).await else { return };
                let Some(again) = pending.settle(&answers).pop() else { return };
                want = again;
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
