//! What is kept under one key: an answer, or some that are told apart by the fields that `Vary` names.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header::AGE};
use tokio::time::Instant;

use super::{
    Epoch,
    policy::{Selection, Terms},
};

/// More would be a way to fill the store under one key.
const MOST: usize = 8;
/// What an answer takes besides its bytes, roughly.
const OVERHEAD: u64 = 512;

#[derive(Debug)]
pub(crate) struct Entry {
    /// The latest first.
    answers: Box<[Arc<Stored>]>,
    pass_until: Option<Instant>,
}

/// An answer as the backend gave it, without what was for the gateway alone.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) status: StatusCode,
    /// Without `Age`.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) selection: Selection,
    pub(crate) terms: Terms,
    pub(crate) arrived: Instant,
    pub(crate) epoch: Epoch,
    /// The Service that gave it, by its place in the rule.
    pub(crate) service: usize,
    /// Somebody fetches another one.
    pub(crate) refreshing: AtomicBool,
}

impl Stored {
    pub(crate) fn age(&self, now: Instant) -> Duration {
        self.terms.age.saturating_add(now.saturating_duration_since(self.arrived))
    }

    /// In seconds; negative: for so long it has not been.
    pub(crate) fn fresh_for(&self, now: Instant) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        seconds(self.terms.fresh_for) - seconds(self.age(now))
    }

    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        self.age(now) < self.terms.fresh_for
    }

    /// It has not been fresh for less than so long.
    pub(crate) fn is_stale_for_less(&self, than: Duration, now: Instant) -> bool {
        !than.is_zero() && self.age(now) < self.terms.fresh_for.saturating_add(than)
    }

    /// The head as it goes out.
    pub(crate) fn head(&self, now: Instant) -> HeaderMap {
        let mut headers = self.headers.clone();
        headers.insert(AGE, HeaderValue::from(self.age(now).as_secs()));
        headers
    }

    /// `true` for the one who is to fetch another.
    pub(crate) fn begin_refresh(&self) -> bool {
        !self.refreshing.swap(true, Ordering::AcqRel)
    }

    fn weight(&self) -> u64 {
        let fields = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 32);
        let bytes = self.body.len() + fields.sum::<usize>() + self.selection.len();
        OVERHEAD + bytes as u64
    }
}

impl Entry {
    pub(super) fn with(stored: Arc<Stored>, others: Vec<Arc<Stored>>) -> Self {
        let answers = std::iter::once(stored).chain(others).take(MOST).collect();
        Entry { answers, pass_until: None }
    }

    pub(super) fn passing(until: Instant, others: impl Iterator<Item = Arc<Stored>>) -> Self {
        Entry { answers: others.take(MOST).collect(), pass_until: Some(until) }
    }

    pub(super) fn weight(&self) -> u64 {
        OVERHEAD + self.answers.iter().map(|stored| stored.weight()).sum::<u64>()
    }

    /// Those that a request selects otherwise.
    pub(super) fn others(&self, stored: &Stored) -> impl Iterator<Item = &Arc<Stored>> {
        self.answers.iter().filter(|other| other.selection != stored.selection)
    }

    pub(super) fn not_for(&self, request: &HeaderMap) -> impl Iterator<Item = &Arc<Stored>> {
        self.answers.iter().filter(|other| !other.selection.selects(request))
    }

    /// The latest answer that the request selects, if nothing was written since it was asked for.
    pub(crate) fn select(&self, request: &HeaderMap, epoch: Epoch) -> Option<&Arc<Stored>> {
        self.answers.iter().find(|stored| stored.epoch == epoch && stored.selection.selects(request))
    }

    /// There is an answer, and another request selects it.
    pub(crate) fn is_for_others(&self, epoch: Epoch) -> bool {
        self.answers.iter().any(|stored| stored.epoch == epoch)
    }

    /// By what its latest answer is selected.
    pub(crate) fn selection(&self) -> Option<&Selection> {
        self.answers.first().map(|stored| &stored.selection)
    }

    pub(crate) fn passes(&self, now: Instant) -> bool {
        self.pass_until.is_some_and(|until| now < until)
    }
}

/// Ends what [`Stored::begin_refresh`] began.
#[derive(Debug)]
pub(crate) struct Refreshing(pub(crate) Arc<Stored>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        self.0.refreshing.store(false, Ordering::Release);
    }
}
