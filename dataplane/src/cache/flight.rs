//! One fetch that others wait for.

use std::sync::Arc;

use tokio::sync::watch;

use super::{Cache, Key};

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Asking,
    /// The head is there.
    Answering,
    Ended(End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The answer is kept.
    Kept,
    /// It is of no use to others: each asks for itself.
    Alone,
    /// Its client has left, or it broke: somebody else may begin.
    Gone,
}

/// The place of a request among those that want the same.
#[derive(Debug)]
pub(crate) enum Seat {
    First(Flight),
    Waits(watch::Receiver<State>),
    /// Nobody waits for it, and it for nobody.
    Alone,
}

/// Of who asks first. Dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Flight {
    cache: Arc<Cache>,
    key: Key,
    state: watch::Sender<State>,
}

impl Flight {
    pub(super) fn new(cache: Arc<Cache>, key: Key, state: watch::Sender<State>) -> Self {
        Flight { cache, key, state }
    }

    pub(crate) fn answering(&self) {
        self.state.send_replace(State::Answering);
    }

    pub(crate) fn end(self, end: End) {
        // First, so that whoever is told finds the place free.
        self.cache.land(&self.key);
        self.state.send_replace(State::Ended(end));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if !matches!(*self.state.borrow(), State::Ended(_)) {
            self.cache.land(&self.key);
            self.state.send_replace(State::Ended(End::Gone));
        }
    }
}
