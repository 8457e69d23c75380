//! How many retries a Service has to bear (GEP-3388). Pure but for the counts, which all workers share: those that write at
//! the same time may lose one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use gatehouse_proto::config::v1;

#[derive(Debug)]
pub(super) struct Constraint {
    /// Of a hundred requests, how many may be retries.
    percent: u64,
    /// Milliseconds.
    interval: u64,
    /// Retries that may always be made.
    least: u64,
    /// Milliseconds.
    least_interval: u64,
}

/// Of a Service.
#[derive(Debug, Default)]
pub(super) struct Spent {
    requests: Window,
    retries: Window,
    /// Over the interval of those that may always be made.
    recent: Window,
}

/// Counts in the interval that runs and in the one before it. The last interval before any moment is all of the first, and
/// that part of the second which it still covers.
#[derive(Debug, Default)]
struct Window {
    began: AtomicU64,
    count: AtomicU64,
    before: AtomicU64,
}

impl Constraint {
    pub(super) fn compile(wire: &v1::RetryConstraint) -> Self {
        Constraint {
            percent: wire.percent.into(),
            interval: wire.interval_ms.max(1),
            least: wire.min_count.into(),
            least_interval: wire.min_interval_ms.max(1),
        }
    }

    /// A request comes.
    pub(super) fn note(&self, spent: &Spent, now: u64) {
        spent.requests.add(self.interval, now);
    }

    /// `true`: one may be sent again, and counts.
    pub(super) fn take(&self, spent: &Spent, now: u64) -> bool {
        let retries = spent.retries.sum(self.interval, now) + 1;
        let all = spent.requests.sum(self.interval, now) + retries;
        let may =
            retries * 100 <= self.percent * all || spent.recent.sum(self.least_interval, now) < self.least;
        if may {
            spent.retries.add(self.interval, now);
            spent.recent.add(self.least_interval, now);
        }
        may
    }
}

impl Window {
    fn turn(&self, length: u64, now: u64) {
        let passed = now.saturating_sub(self.began.load(Relaxed));
        if passed >= length {
            let count = self.count.swap(0, Relaxed);
            self.before.store(if passed < 2 * length { count } else { 0 }, Relaxed);
            self.began.store(now - passed % length, Relaxed);
        }
    }

    fn add(&self, length: u64, now: u64) {
        self.turn(length, now);
        self.count.fetch_add(1, Relaxed);
    }

    fn sum(&self, length: u64, now: u64) -> u64 {
        self.turn(length, now);
        let passed = now.saturating_sub(self.began.load(Relaxed)).min(length);
        self.count.load(Relaxed) + self.before.load(Relaxed) * (length - passed) / length
    }
}

#[cfg(test)]
mod tests {
    use super::{Constraint, Spent, v1};

    fn constraint(percent: u32, min_count: u32) -> Constraint {
        Constraint::compile(&v1::RetryConstraint {
            percent,
            interval_ms: 10_000,
            min_count,
            min_interval_ms: 1000,
        })
    }

    #[test]
    fn a_share_of_all_requests_may_be_retries() {
        let (constraint, spent) = (constraint(20, 0), Spent::default());
        let mut retries = 0;
        for now in 1..=8000 {
            constraint.note(&spent, now);
            retries += u64::from(constraint.take(&spent, now));
        }
        // 8,000 and 2,000 are 10,000.
        assert_eq!(retries, 2000);
        assert!(!constraint.take(&spent, 8000));
        // What is long ago counts for nothing.
        assert!(!constraint.take(&spent, 40_000));
        for _ in 0..4 {
            constraint.note(&spent, 40_000);
        }
        assert!(constraint.take(&spent, 40_000) && !constraint.take(&spent, 40_000));
    }

    #[test]
    fn some_may_always_be_made() {
        let (constraint, spent) = (constraint(0, 10), Spent::default());
        let taken = |from: u64, to: u64| (from..to).filter(|now| constraint.take(&spent, *now)).count();
        assert_eq!(taken(5000, 5100), 10);
        // Half of the second before is still in this one, and a little less with each millisecond.
        assert_eq!(taken(6500, 6501), 1);
        assert!((4..=5).contains(&taken(6501, 6510)));
        assert_eq!(taken(9000, 9100), 10);
    }
}
