//! The addresses of a backend.
//!
//! A set is replaced as a whole by one store; an address that stays keeps its [`Endpoint`], and with it its connections,
//! its count of requests and what is known of its health. Who is fit is worked out when that changes, so that a choice
//! need not look at each.

mod set;
#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use arc_swap::{ArcSwap, Guard};
use parking_lot::{Mutex, MutexGuard};

use super::{
    active::{ActiveCheck, Health},
    balance, clock,
    constraint::Spent,
    outlier::{Passive, Tally},
};
pub(crate) use set::Set;

/// Endpoints that have left their sets, of all Services.
static DEPARTURES: AtomicU64 = AtomicU64::new(0);

/// One address. Its identity ends when it leaves its set: should the address come back, it belongs to somebody else.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    /// Of the address: the same in every process.
    pub(super) hash: u64,
    /// When it came to others; 0: it was there with the first.
    joined: u64,
    /// Of the zone that this dataplane is in. Written with the set locked.
    near: AtomicBool,
    gone: AtomicBool,
    /// Requests under way, of all workers.
    active: AtomicU32,
    tally: Tally,
    health: Health,
}

/// Where an endpoint is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    /// It is there for the zone that this dataplane is in.
    pub(crate) is_near: bool,
}

/// The current set.
#[derive(Debug, Default)]
pub(crate) struct EndpointCell {
    set: ArcSwap<Set>,
    /// Held by who replaces the set, so that nobody's change is lost.
    changing: Mutex<()>,
    /// Of those who are chosen one after the other, over all workers.
    turn: AtomicU64,
    ejections: AtomicU64,
    /// Requests under way, where they are bounded.
    active: AtomicU32,
    /// Where retries are bounded.
    spent: Spent,
}

/// What the endpoints of a Service are fit for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) service: Arc<str>,
    pub(crate) ready: usize,
    /// And healthy.
    pub(crate) ejected: usize,
    /// As checks say.
    pub(crate) unhealthy: usize,
    /// Since the Service came.
    pub(crate) ejections: u64,
}

/// Counts a request towards its endpoint while it lives.
#[derive(Debug)]
pub(crate) struct Active {
    endpoint: Arc<Endpoint>,
    /// Where it counts towards its Service as well.
    of_service: Option<ActiveOfService>,
}

/// Counts a request towards its Service while it lives.
#[derive(Debug)]
pub(super) struct ActiveOfService(Arc<EndpointCell>);

/// Nobody knows in which zone.
impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Place { address, is_near: false }
    }
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr) -> Arc<Self> {
        Endpoint::joining(address, 0)
    }

    fn joining(address: SocketAddr, joined: u64) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Endpoint {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            address,
            hash: balance::of_address(address),
            joined,
            near: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            active: AtomicU32::new(0),
            tally: Tally::default(),
            health: Health::default(),
        })
    }

    /// It has left its set: no new request goes there and idle connections are closed.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    fn leaves(&self) {
        self.gone.store(true, Ordering::Relaxed);
        DEPARTURES.fetch_add(1, Ordering::Release);
    }

    /// How many have left so far: with another number, somebody has gone.
    pub(super) fn departures() -> u64 {
        DEPARTURES.load(Ordering::Acquire)
    }

    pub(crate) fn begin(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active { endpoint: Arc::clone(self), of_service: None }
    }

    /// The same, if it has room for it. 0: it always has.
    pub(super) fn begin_within(self: &Arc<Self>, most: u32) -> Option<Active> {
        if most == 0 {
            return Some(self.begin());
        }
        take_one(&self.active, most).then(|| Active { endpoint: Arc::clone(self), of_service: None })
    }

    pub(super) fn joined(&self) -> u64 {
        self.joined
    }

    pub(super) fn load(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    fn is_near(&self) -> bool {
        self.near.load(Ordering::Relaxed)
    }

    fn set_near(&self, is_near: bool) {
        self.near.store(is_near, Ordering::Relaxed);
    }

    /// As checks say.
    pub(super) fn is_unfit(&self) -> bool {
        self.health.is_unfit()
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }
}

/// Exact, whatever others do at the same time.
fn take_one(count: &AtomicU32, most: u32) -> bool {
    let more = |count| (count < most).then_some(count + 1);
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

impl Active {
    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(super) fn with(mut self, of_service: Option<ActiveOfService>) -> Self {
        self.of_service = of_service;
        self
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.endpoint.active.fetch_sub(1, Ordering::Relaxed);
        drop(self.of_service.take());
    }
}

impl Drop for ActiveOfService {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl EndpointCell {
    /// `prefers_near`: so it is said to all that send there.
    pub(crate) fn replace(&self, mut places: Vec<Place>, prefers_near: bool) {
        places.sort_unstable_by_key(|place| (place.address, !place.is_near));
        places.dedup_by_key(|place| place.address);
        let _changing = self.changing.lock();
        let old = self.set.load_full();
        let joined = if old.all().is_empty() { 0 } else { clock::now() };
        let mut new = Vec::with_capacity(places.len());
        for place in &places {
            let kept = old.all().binary_search_by_key(&place.address, |endpoint| endpoint.address);
            let kept = kept.map(|at| Arc::clone(&old.all()[at]));
            let endpoint = kept.unwrap_or_else(|_| Endpoint::joining(place.address, joined));
            endpoint.set_near(place.is_near);
            new.push(endpoint);
        }
        self.set.store(Arc::new(Set::of(new, prefers_near, clock::now())));
        let stays = |one: &Endpoint| places.binary_search_by_key(&one.address, |place| place.address).is_ok();
        for endpoint in old.all().iter().filter(|one| !stays(one)) {
            endpoint.leaves();
        }
    }

    /// The same addresses, none of which is what it was: connections of before are not used again.
    pub(crate) fn renewed(&self) -> Self {
        let old = self.set.load_full();
        for endpoint in old.all() {
            endpoint.leaves();
        }
        let anew = |endpoint: &Arc<Endpoint>| {
            let new = Endpoint::new(endpoint.address);
            new.set_near(endpoint.is_near());
            new
        };
        let new = Set::of(old.all().iter().map(anew).collect(), old.prefers_near(), clock::now());
        EndpointCell { set: ArcSwap::from_pointee(new), ..EndpointCell::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.set.load().all().is_empty()
    }

    pub(super) fn spent(&self) -> &Spent {
        &self.spent
    }

    pub(super) fn load(&self) -> Guard<Arc<Set>> {
        self.set.load()
    }

    /// The current set, and which choice from it this is.
    pub(super) fn choice(&self, now: impl Fn() -> u64) -> (Guard<Arc<Set>>, u64) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (self.current(now), turn)
    }

    /// Lets those in again whose time is over.
    pub(super) fn current(&self, now: impl Fn() -> u64) -> Guard<Arc<Set>> {
        let set = self.set.load();
        if let Some(returns) = set.next_return()
            && returns <= now()
            // Somebody else is at it.
            && let Some(changing) = self.changing.try_lock()
        {
            self.settle(now(), &changing);
            return self.set.load();
        }
        set
    }

    /// Gives how long; `None`: it stays, because too many are ejected already.
    pub(super) fn eject(&self, endpoint: &Endpoint, passive: &Passive, now: u64) -> Option<u64> {
        let changing = self.changing.lock();
        let set = self.set.load_full();
        let ejected = set.all().iter().filter(|one| one.tally.is_ejected(now)).count();
        if endpoint.tally.is_ejected(now) || endpoint.is_gone() {
            return None;
        }
        if ejected >= passive.most_ejected(set.all().len()) {
            // It may be asked again after as many failures.
            endpoint.tally.readmit();
            return None;
        }
        let time = endpoint.tally.eject(passive, now);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        self.settle(now, &changing);
        Some(time)
    }

    /// Counts a request towards the whole, if there is room for it.
    pub(super) fn begin_within(self: &Arc<Self>, most: u32) -> Option<ActiveOfService> {
        take_one(&self.active, most).then(|| ActiveOfService(Arc::clone(self)))
    }

    /// A check has found an endpoint fit or not. `true`: it is not what it was.
    pub(crate) fn note_check(&self, endpoint: &Endpoint, fit: bool, check: &ActiveCheck) -> bool {
        let turned = endpoint.health.note(fit, check);
        if turned {
            let changing = self.changing.lock();
            self.settle(clock::now(), &changing);
        }
        turned
    }

    /// Nobody is checked any more: each is taken for fit.
    pub(crate) fn forget_checks(&self) {
        let changing = self.changing.lock();
        for endpoint in self.set.load().all() {
            endpoint.health.forget();
        }
        self.settle(clock::now(), &changing);
    }

    /// To look at while it may be replaced.
    pub(crate) fn load_full(&self) -> Arc<Set> {
        self.set.load_full()
    }

    /// Works out anew who is fit.
    fn settle(&self, now: u64, _: &MutexGuard<'_, ()>) {
        let old = self.set.load();
        self.set.store(Arc::new(Set::of(old.all().to_vec(), old.prefers_near(), now)));
    }

    pub(super) fn standing(&self, service: Arc<str>, now: u64) -> Standing {
        let set = self.set.load();
        let unhealthy = set.all().iter().filter(|endpoint| endpoint.is_unfit()).count();
        let is_out = |endpoint: &&Arc<Endpoint>| endpoint.tally.is_ejected(now) && !endpoint.is_unfit();
        let ejected = set.all().iter().filter(is_out).count();
        Standing {
            service,
            ready: set.all().len().saturating_sub(ejected + unhealthy),
            ejected,
            unhealthy,
            ejections: self.ejections.load(Ordering::Relaxed),
        }
    }
}
