//! A limit's numbers, whichever its algorithm is, and the state that belongs to them.

use super::bucket::{Bucket, Mark};
use super::window::{SLOTS, Slots, Window};

const AHEAD_US: u64 = 250_000;
const PAUSE_US: u64 = 150_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Bucket(Bucket),
    Window(Window),
}

/// What a store answers for a rule: the same three numbers from Lua as from here, read by the rule. Microseconds from
/// now, and counts: a bucket's debt (whole and part), or a window's used, first and last expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) admitted: bool,
    pub(super) numbers: [u64; 3],
}

/// The answer of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) admitted: bool,
    /// How many more requests would be admitted now.
    pub(super) remaining: u64,
    /// Microseconds until at least one will be; 0 when one is.
    pub(super) free_in: u64,
    /// Microseconds until the whole quota is there again.
    pub(super) reset_in: u64,
}

/// A local count.
#[derive(Debug, Clone)]
pub(super) enum State {
    Bucket(Mark),
    Window(Slots),
}

impl Rule {
    /// What one of `replicas` that count for themselves may admit: its part, and at least 1.
    pub(super) fn share(self, replicas: u64) -> Rule {
        match self {
            Rule::Bucket(bucket) => Rule::Bucket(bucket.share(replicas)),
            Rule::Window(window) => Rule::Window(window.share(replicas)),
        }
    }

    pub(super) fn read(&self, raw: Raw) -> Taken {
        match self {
            Rule::Bucket(bucket) => bucket.read(raw),
            Rule::Window(window) => window.read(raw),
        }
    }

    /// What a request at `now` would find. Takes nothing. A state of the other algorithm counts as none.
    pub(super) fn look(&self, state: Option<&mut State>, now: u64) -> Raw {
        match (self, state) {
            (Rule::Bucket(bucket), Some(State::Bucket(mark))) => bucket.look(Some(mark), now).0,
            (Rule::Bucket(bucket), _) => bucket.look(None, now).0,
            (Rule::Window(window), Some(State::Window(slots))) => window.look(slots, now),
            (Rule::Window(window), _) => window.look(&mut Slots::default(), now),
        }
    }

    /// Takes one, if the rule admits it.
    pub(super) fn take(&self, state: &mut Option<State>, now: u64) -> Raw {
        match self {
            Rule::Bucket(bucket) => match bucket.look(State::mark(state), now) {
                (_, Some(next)) => {
                    *state = Some(State::Bucket(next));
                    Bucket::debt(next, now)
                }
                (raw, None) => raw,
            },
            Rule::Window(window) => {
                let mut slots = State::slots(state.take());
                let mut raw = window.look(&mut slots, now);
                if raw.admitted {
                    raw = window.take(&mut slots, 1, now);
                }
                *state = Some(State::Window(slots));
                raw
            }
        }
    }

    /// Takes so many, or all that there are.
    pub(super) fn use_up(&self, state: &mut Option<State>, count: u64, now: u64) -> Raw {
        match self {
            Rule::Bucket(bucket) => {
                let next = bucket.used_up(State::mark(state), count, now);
                *state = Some(State::Bucket(next));
                Bucket::debt(next, now)
            }
            Rule::Window(window) => {
                let mut slots = State::slots(state.take());
                let left = window.read(window.look(&mut slots, now)).remaining;
                let raw = window.take(&mut slots, count.min(left), now);
                *state = Some(State::Window(slots));
                raw
            }
        }
    }

    /// An eighth of all; and what comes back in a quarter of a second, so that what comes back slowly is handed out one
    /// by one when it runs dry.
    pub(super) fn ahead(&self) -> Ahead {
        let (all, requests, per) = match self {
            Rule::Bucket(bucket) => (bucket.burst, bucket.requests, bucket.per),
            Rule::Window(window) => (window.requests, window.requests, window.per),
        };
        let soon = u128::from(requests) * u128::from(AHEAD_US) / u128::from(per);
        Ahead { most: all / 8, least: u64::try_from(soon).unwrap_or(u64::MAX).min(all) }
    }

    /// Times of spending that lie closer are told as one.
    pub(super) fn grain(&self) -> u64 {
        let (Rule::Bucket(Bucket { per, .. }) | Rule::Window(Window { per, .. })) = self;
        (per / SLOTS).max(1)
    }

    /// How long a grant lasts for a request that waits, in microseconds: as long as its call may take, and longer where
    /// that costs nothing, so that a process that is kept waiting loses none.
    pub(super) fn waits(&self, call: u64, lease: u64) -> u64 {
        let (Rule::Bucket(Bucket { per, .. }) | Rule::Window(Window { per, .. })) = self;
        (per / 128).clamp(call, lease.max(call))
    }

    /// How long nobody asks again after the count was found used up, if it does not take longer anyway: what comes back
    /// gathers meanwhile, so that one ask brings many. Nobody waits where little comes back.
    pub(super) fn pause(&self) -> u64 {
        if self.ahead().least == 0 {
            return 0;
        }
        let pause = match self {
            Rule::Bucket(bucket) => bucket.interval.us.saturating_mul(bucket.burst / 8),
            // What comes back in a pause is lost to the window for as long: on average, half of this.
            Rule::Window(window) => window.per / 128,
        };
        pause.min(PAUSE_US)
    }

    /// The rule as `lease.lua` reads it: its algorithm and five numbers.
    pub(super) fn arguments(&self) -> (&'static str, [u64; 5]) {
        match self {
            Rule::Bucket(bucket) => {
                let (interval, depth) = (bucket.interval, bucket.depth);
                ("bucket", [bucket.requests, interval.us, interval.part, depth.us, depth.part])
            }
            Rule::Window(window) => ("window", [window.requests, window.per, window.slot, 0, 0]),
        }
    }
}

/// How much of a count may be leased ahead of the requests that spend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ahead {
    /// At most, to one dataplane at once.
    pub(super) most: u64,
    /// At most, while little is left.
    pub(super) least: u64,
}

impl State {
    /// A state of the other algorithm counts as none; so below.
    fn mark(state: &mut Option<State>) -> Option<&mut Mark> {
        match state {
            Some(State::Bucket(mark)) => Some(mark),
            _ => None,
        }
    }

    fn slots(state: Option<State>) -> Slots {
        match state {
            Some(State::Window(slots)) => slots,
            _ => Slots::default(),
        }
    }

    /// How much room it takes, in cells of about 100 bytes.
    pub(super) fn cells(&self) -> usize {
        match self {
            State::Bucket(_) => 1,
            State::Window(slots) => 1 + slots.room() / 4,
        }
    }
}
