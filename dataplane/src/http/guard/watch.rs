//! What a connection's pipeline and its guard know of each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    task::Waker,
};

use futures_util::task::AtomicWaker;

use crate::Reason;

/// Shared by the guard of a connection and the service behind the parser. Both run on one thread; the atomics are there
/// because an upgraded stream must be `Send` for hyper.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Heads that went through to the parser.
    passed: AtomicU32,
    /// Requests that the service has seen.
    seen: AtomicU32,
    /// Index of the refusal's reason plus one; 0 is none.
    refused: AtomicU8,
    upgrade: AtomicU8,
    waker: AtomicWaker,
}

const UNDECIDED: u8 = 0;
const GRANTED: u8 = 1;
const DENIED: u8 = 2;

impl Watch {
    /// Called once for each request that the parser gives out: `Some` if it stands in for one that was refused.
    pub(crate) fn next_request(&self) -> Option<Reason> {
        let seen = self.0.seen.fetch_add(1, Ordering::Relaxed) + 1;
        if seen <= self.0.passed.load(Ordering::Relaxed) {
            return None;
        }
        let index = usize::from(self.0.refused.load(Ordering::Relaxed));
        Reason::ALL.get(index.wrapping_sub(1)).copied()
    }

    /// A head has come.
    pub(crate) fn any_request(&self) -> bool {
        self.0.passed.load(Ordering::Relaxed) > 0 || self.0.refused.load(Ordering::Relaxed) > 0
    }

    /// Decides the upgrade that the current request asked for.
    pub(crate) fn decide_upgrade(&self, granted: bool) {
        self.0.upgrade.store(if granted { GRANTED } else { DENIED }, Ordering::Relaxed);
        self.0.waker.wake();
    }

    pub(super) fn passed(&self, heads: u32) {
        self.0.passed.fetch_add(heads, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, reason: Reason) {
        let index = u8::try_from(reason.index() + 1).unwrap_or(1);
        self.0.refused.store(index, Ordering::Relaxed);
    }

    /// The decision, once: `None` leaves `waker` to be woken by it.
    pub(super) fn take_decision(&self, waker: &Waker) -> Option<bool> {
        self.0.waker.register(waker);
        match self.0.upgrade.swap(UNDECIDED, Ordering::Relaxed) {
            GRANTED => Some(true),
            DENIED => Some(false),
            _ => None,
        }
    }
}
