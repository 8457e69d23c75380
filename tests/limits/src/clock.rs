//! CLOCK_MONOTONIC in microseconds: the one clock that all processes of a machine share.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What [`Instant`] shows, on the shared clock. It is the same clock, but [`Instant`] does not tell its number.
#[derive(Clone, Copy)]
pub(crate) struct Clock {
    instant: Instant,
    /// Nanoseconds.
    shared: u64,
}

pub(crate) fn now_us() -> u64 {
    now_ns() / 1000
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

impl Clock {
    /// Exact to a quarter of a microsecond.
    pub(crate) fn new() -> Clock {
        loop {
            let (before, instant, after) = (now_ns(), Instant::now(), now_ns());
            if after - before <= 500 {
                return Clock { instant, shared: before.midpoint(after) };
            }
        }
    }

    pub(crate) fn us(&self, at: Instant) -> u64 {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap();
        let shared = match at.checked_duration_since(self.instant) {
            Some(since) => self.shared + nanos(since),
            None => self.shared - nanos(self.instant - at),
        };
        shared / 1000
    }
}
