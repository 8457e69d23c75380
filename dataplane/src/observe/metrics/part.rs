//! Counts of the parts of an aggregate: how they ended, and how long they took.

use std::time::Duration;

use super::Counter;
use crate::Reason;

#[derive(Debug)]
pub(crate) struct PartMetrics {
    name: Box<str>,
    ended: Counter,
    microseconds: Counter,
    failed: [Counter; Reason::ALL.len()],
}

impl PartMetrics {
    pub(super) fn new(name: &str) -> Self {
        PartMetrics {
            name: name.into(),
            ended: Counter::default(),
            microseconds: Counter::default(),
            failed: std::array::from_fn(|_| Counter::default()),
        }
    }

    /// It has ended, in this time; for this reason if it has failed.
    pub(crate) fn count(&self, failed: Option<Reason>, took: Duration) {
        self.ended.add(1);
        self.microseconds.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if let Some(reason) = failed {
            self.failed[reason.index()].add(1);
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn ended(&self) -> u64 {
        self.ended.get()
    }

    pub(super) fn microseconds(&self) -> u64 {
        self.microseconds.get()
    }

    /// Those that are not 0.
    pub(super) fn failures(&self) -> impl Iterator<Item = (Reason, u64)> {
        let all = Reason::ALL.into_iter().zip(&self.failed);
        all.map(|(reason, counter)| (reason, counter.get())).filter(|(_, count)| *count > 0)
    }
}
