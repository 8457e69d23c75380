//! Which endpoints fail, by what becomes of the requests that they get. Pure but for the tallies, which all workers share.
//!
//! A tally is not exact: workers that write at once may lose a count. It is there to tell an endpoint that fails again and
//! again from one that does not.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use gatehouse_proto::config::v1;
use http::{HeaderMap, StatusCode};

/// An ejection grows up to so many times the first.
const GROWTH: u32 = 10;

/// When an endpoint is ejected, and for how long.
#[derive(Debug)]
pub(crate) struct Passive {
    /// Answers of 500 to 599, or none, one after the other. `u32::MAX`: any number is borne.
    errors: u32,
    /// Answers of 502, 503, 504, or none. The same.
    gateway_errors: u32,
    ratio: Option<Ratio>,
    /// Milliseconds.
    base: u64,
    /// Of the endpoints, how many may be ejected at once.
    max_percent: u32,
}

/// A share of the requests of a window.
#[derive(Debug)]
struct Ratio {
    percent: u32,
    /// With fewer requests a window says nothing.
    requests: u32,
    /// Milliseconds.
    window: u64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    /// The backend says that it failed.
    Error,
    /// So does it, or it does not answer, in a way that says that it is not fit to.
    GatewayError,
}

/// How an endpoint has done.
#[derive(Debug, Default)]
pub(super) struct Tally {
    errors: AtomicU32,
    gateway_errors: AtomicU32,
    /// When the window began.
    window: AtomicU64,
    asked: AtomicU32,
    failed: AtomicU32,
    /// Until when it is ejected; 0: it is not. Written with the set locked.
    until: AtomicU64,
    /// When the last ejection ended, or will.
    returned: AtomicU64,
    /// Ejections one after the other.
    times: AtomicU32,
}

impl Outcome {
    /// `is_grpc`: a head may tell how the call ended (gRPC over HTTP/2, Trailers-Only).
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap, is_grpc: bool) -> Self {
        // UNAVAILABLE.
        if is_grpc && headers.get("grpc-status").is_some_and(|code| code == "14") {
            return Outcome::GatewayError;
        }
        match status.as_u16() {
            502..=504 => Outcome::GatewayError,
            500..=599 => Outcome::Error,
            _ => Outcome::Success,
        }
    }
}

impl Passive {
    pub(super) fn compile(wire: &v1::PassiveCheck) -> Self {
        let most = |count: u32| if count == 0 { u32::MAX } else { count };
        Passive {
            errors: most(wire.consecutive_errors),
            gateway_errors: most(wire.consecutive_gateway_errors),
            ratio: (wire.failure_percent > 0).then_some(Ratio {
                percent: wire.failure_percent,
                requests: wire.minimum_requests,
                window: wire.interval_ms,
            }),
            base: wire.base_ejection_ms,
            max_percent: wire.max_ejection_percent,
        }
    }

    /// `true`: the endpoint is to be ejected.
    pub(super) fn note(&self, tally: &Tally, outcome: Outcome, now: impl Fn() -> u64) -> bool {
        let failed = outcome != Outcome::Success;
        let too_many = in_a_row(&tally.errors, failed) >= self.errors
            || in_a_row(&tally.gateway_errors, outcome == Outcome::GatewayError) >= self.gateway_errors;
        let too_much = self.ratio.as_ref().is_some_and(|ratio| ratio.note(tally, failed, now()));
        too_many || too_much
    }

    /// Of so many endpoints. The last is ejected only if all may be.
    pub(super) fn most_ejected(&self, all: usize) -> usize {
        let share = all.saturating_mul(usize::try_from(self.max_percent).unwrap_or(0)) / 100;
        if share == all { all } else { share.max(1).min(all.saturating_sub(1)) }
    }
}

/// Counts what comes one after the other. Whoever goes well only reads.
fn in_a_row(count: &AtomicU32, failed: bool) -> u32 {
    if failed {
        return count.fetch_add(1, Relaxed).saturating_add(1);
    }
    if count.load(Relaxed) != 0 {
        count.store(0, Relaxed);
    }
    0
}

impl Ratio {
    fn note(&self, tally: &Tally, failed: bool, now: u64) -> bool {
        if now.saturating_sub(tally.window.load(Relaxed)) >= self.window {
            tally.window.store(now, Relaxed);
            tally.asked.store(0, Relaxed);
            tally.failed.store(0, Relaxed);
        }
        let asked = tally.asked.fetch_add(1, Relaxed).saturating_add(1);
        let failures = if failed {
            tally.failed.fetch_add(1, Relaxed).saturating_add(1)
        } else {
            tally.failed.load(Relaxed)
        };
        failed
            && asked >= self.requests
            && u64::from(failures) * 100 >= u64::from(self.percent) * u64::from(asked)
    }
}

impl Tally {
    pub(super) fn is_ejected(&self, now: u64) -> bool {
        self.until.load(Relaxed) > now
    }

    /// 0: it is not ejected.
    pub(super) fn until(&self) -> u64 {
        self.until.load(Relaxed)
    }

    /// Begins an ejection and gives its time. It is longer if the endpoint has not kept well since the last for as long as
    /// that lasted.
    pub(super) fn eject(&self, passive: &Passive, now: u64) -> u64 {
        let times = self.times.load(Relaxed);
        let last = passive.time(times);
        let is_again = times > 0 && now.saturating_sub(self.returned.load(Relaxed)) < last;
        let times = if is_again { times.saturating_add(1) } else { 1 };
        let time = passive.time(times);
        let until = now.saturating_add(time);
        self.times.store(times, Relaxed);
        self.until.store(until, Relaxed);
        self.returned.store(until, Relaxed);
        self.forget();
        time
    }

    /// It begins anew.
    pub(super) fn readmit(&self) {
        self.until.store(0, Relaxed);
        self.forget();
    }

    fn forget(&self) {
        for count in [&self.errors, &self.gateway_errors, &self.asked, &self.failed] {
            count.store(0, Relaxed);
        }
    }
}

impl Passive {
    fn time(&self, times: u32) -> u64 {
        self.base.saturating_mul(times.min(GROWTH).into())
    }
}

#[cfg(test)]
mod tests;
