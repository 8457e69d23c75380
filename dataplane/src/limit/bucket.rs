//! The token bucket, in its GCRA form: exact, in integers.
//!
//! With `requests` r, `per` P and `burst` b, a request costs T = P / r of time, and the state is one mark: when the
//! bucket would be full again (the theoretical arrival time of ITU-T I.371). A request at t moves the mark to
//! max(mark, t) + T, and is admitted if that is not later than t + b T. So k requests that were admitted from t1 to tk
//! satisfy k T <= (tk - t1) + b T: **no window of length D admits more than r/P x D + b**, and a request is admitted
//! whenever an ideal bucket holds a whole token.
//!
//! T is rarely a whole number of microseconds, so a mark is microseconds and a number of r-ths: additions never round.
//! `lease.lua` does the same arithmetic; every number stays below 2^53, where Lua's numbers are exact.

use super::rule::{Raw, Taken};

/// A point or length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    /// Microseconds.
    pub(super) us: u64,
    /// In `requests`-ths of a microsecond; less than a whole one.
    pub(super) part: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Tokens added in `per`.
    pub(super) requests: u64,
    /// Microseconds.
    pub(super) per: u64,
    pub(super) burst: u64,
    /// What a request costs.
    pub(super) interval: Mark,
    /// What a full bucket is worth.
    pub(super) depth: Mark,
}

impl Bucket {
    /// None of the arguments may be 0.
    pub(super) fn new(requests: u64, per: u64, burst: u64) -> Bucket {
        let depth = u128::from(burst) * u128::from(per);
        let r = u128::from(requests);
        Bucket {
            requests,
            per,
            burst,
            interval: Mark { us: per / requests, part: per % requests },
            depth: Mark { us: clamp(depth / r), part: clamp(depth % r) },
        }
    }

    /// What one of `replicas` that count for themselves may admit.
    pub(super) fn share(self, replicas: u64) -> Bucket {
        Bucket::new(self.requests, self.per.saturating_mul(replicas), (self.burst / replicas).max(1))
    }

    /// Looks without taking: what a request at `now` would find, and the mark that it would leave.
    ///
    /// A mark deeper in debt than the bucket is becomes that deep: there is one only after the limit was lowered or
    /// the clock was set back.
    pub(super) fn look(&self, mark: Option<&mut Mark>, now: u64) -> (Raw, Option<Mark>) {
        let full = Mark { us: now + self.depth.us, part: self.depth.part };
        let base = match mark {
            None => Mark { us: now, part: 0 },
            Some(mark) => {
                if mark.part >= self.requests {
                    *mark = Mark { us: mark.us + 1, part: 0 };
                }
                if *mark > full {
                    *mark = full;
                }
                if mark.us < now { Mark { us: now, part: 0 } } else { *mark }
            }
        };
        let next = self.plus(base, self.interval);
        let admitted = next <= full;
        (Raw { admitted, numbers: [base.us - now, base.part, 0] }, admitted.then_some(next))
    }

    /// The mark behind so many requests, or behind all that the bucket holds.
    pub(super) fn used_up(&self, mark: Option<&mut Mark>, count: u64, now: u64) -> Mark {
        let full = Mark { us: now + self.depth.us, part: self.depth.part };
        let held = mark.map_or(Mark { us: now, part: 0 }, |mark| *mark).max(Mark { us: now, part: 0 });
        let r = u128::from(self.requests);
        // In `requests`-ths of a microsecond: a request is worth `per` of them.
        let parts = u128::from(count) * u128::from(self.per) + u128::from(held.part);
        let end = (parts / r).saturating_add(u128::from(held.us));
        u64::try_from(end).map_or(full, |us| Mark { us, part: clamp(parts % r) }.min(full))
    }

    /// What a mark means, seen from `now`.
    pub(super) fn debt(mark: Mark, now: u64) -> Raw {
        Raw { admitted: true, numbers: [mark.us.saturating_sub(now), mark.part, 0] }
    }

    pub(super) fn read(&self, raw: Raw) -> Taken {
        let [us, part, _] = raw.numbers;
        let (r, per) = (u128::from(self.requests), u128::from(self.per));
        // In `requests`-ths of a microsecond; a token is worth `per` of them.
        let debt = u128::from(us) * r + u128::from(part);
        let depth = u128::from(self.burst) * per;
        Taken {
            admitted: raw.admitted,
            remaining: clamp(depth.saturating_sub(debt) / per),
            free_in: clamp((debt + per).saturating_sub(depth).div_ceil(r)),
            reset_in: clamp(debt.div_ceil(r)),
        }
    }

    fn plus(&self, a: Mark, b: Mark) -> Mark {
        let (us, part) = (a.us + b.us, a.part + b.part);
        if part >= self.requests {
            Mark { us: us + 1, part: part - self.requests }
        } else {
            Mark { us, part }
        }
    }
}

fn clamp(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
