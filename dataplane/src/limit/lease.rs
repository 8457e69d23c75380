//! What this process holds of one count in Redis: requests that it may still admit, for how long, and what it remembers
//! of the last answer. Pure: the clock is handed in, in microseconds since the process began to count.
//!
//! A lease is worth something only until its time, counted from when Redis was asked: Redis counts from when it answered,
//! which is later, so a process that was stopped in between never spends what Redis has taken back. A last part of it is
//! left unused, for clocks that run at different speeds.
//!
//! How much to ask for follows the demand, and at most doubles each time. A count that is used rarely is never leased
//! ahead: each of its requests asks.

use std::sync::Arc;

use super::escrow::Gate;
use super::rule::{Rule, Taken};

/// A request that waits is granted for as long as a call may take; what is granted ahead for this long.
pub(super) const LEASE_US: u64 = 500_000;
/// A lease holds the demand of so long.
const HORIZON_US: u64 = 200_000;
/// Part of a lease's time that isn't used.
const SAFETY: u64 = 128;
/// A lease smaller than this is not renewed before it is spent.
const WORTH_RENEWING: u64 = 4;
/// Spent is all that Redis knows of. Below 2^53.
const EVERYTHING: u64 = 1 << 50;

#[derive(Debug)]
pub(super) struct Lease {
    left: u64,
    until: u64,
    /// Since the last answer.
    spent: u64,
    last_spent: u64,
    /// Requests that came since the last answer, admitted or not, and when that was; 0: there was none.
    seen: u64,
    since: u64,
    /// When it was last asked for or answered.
    touched: u64,
    /// What the last answer granted.
    size: u64,
    /// How many requests wait for the answer.
    waiting: u64,
    /// The ask that waits for an answer: its number, and where to wait for it.
    asking: Option<(u64, Arc<Gate>)>,
    /// The count is used up until then, by this rule. Nothing but a change of the limit makes it admit earlier.
    denied: Option<(Rule, u64)>,
    /// What else the count had at the last answer, and when it is whole again.
    beside: u64,
    whole_at: u64,
}

/// What comes of a request.
#[derive(Debug)]
pub(super) enum Spent {
    /// It may pass. `renew`: little is left.
    Yes { taken: Taken, renew: bool },
    /// Somebody has asked already.
    Asked(Arc<Gate>),
    /// Redis must be asked, unless the count is used up.
    Lacking,
}

/// What Redis is told of a lease, and asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ask {
    /// When: it names the ask.
    pub(super) seq: u64,
    pub(super) left: u64,
    pub(super) spent: u64,
    /// How long ago the last was spent.
    pub(super) age: u64,
    /// Wait besides the one that asks.
    pub(super) more: u64,
    /// Will come soon.
    pub(super) ahead: u64,
}

/// What Redis says to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) granted: u64,
    /// What was left at the ask counts on.
    pub(super) kept: bool,
    /// How long it lasts.
    pub(super) lasts: u64,
    /// The count with all that is granted, to anybody.
    pub(super) count: Taken,
}

impl Lease {
    pub(super) fn new(now: u64) -> Lease {
        Lease {
            left: 0,
            until: 0,
            spent: EVERYTHING,
            last_spent: 0,
            seen: 0,
            since: 0,
            touched: now,
            size: 0,
            waiting: 0,
            asking: None,
            denied: None,
            beside: 0,
            whole_at: 0,
        }
    }

    /// When there is nothing left worth knowing.
    pub(super) fn over(&self) -> u64 {
        let denied = self.denied.map_or(0, |(_, until)| until);
        self.until.max(denied).max(self.touched + 2 * LEASE_US)
    }

    pub(super) fn spend(&mut self, rule: Rule, now: u64) -> Spent {
        self.seen += 1;
        if self.left > 0 && now < self.until {
            self.left -= 1;
            self.spent = self.spent.saturating_add(1);
            self.last_spent = now;
            return Spent::Yes { taken: self.taken(now), renew: self.wants_more(rule, now) };
        }
        self.asking.as_ref().map_or(Spent::Lacking, |(_, gate)| Spent::Asked(Arc::clone(gate)))
    }

    /// Takes back what was spent at `then`, because another limit refused the request; unless Redis may have been told.
    pub(super) fn put_back(&mut self, then: u64) {
        if self.touched < then {
            self.left += 1;
            self.spent = self.spent.saturating_sub(1);
        }
    }

    /// Microseconds until the count has room.
    pub(super) fn denied(&self, rule: Rule, now: u64) -> Option<u64> {
        self.denied.filter(|(by, until)| *by == rule && *until > now).map(|(_, until)| until - now)
    }

    /// There is something to spend, or somebody has asked.
    pub(super) fn has(&self, now: u64) -> bool {
        (self.left > 0 && now < self.until) || self.asking.is_some()
    }

    pub(super) fn wait(&mut self) {
        self.waiting += 1;
    }

    pub(super) fn waited(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Until [`Lease::answered`] or [`Lease::gave_up`] nobody else asks.
    pub(super) fn ask(&mut self, now: u64, gate: &Arc<Gate>) -> Ask {
        if self.until <= now {
            self.left = 0;
        }
        let seq = now.max(self.touched + 1);
        self.touched = seq;
        self.asking = Some((seq, Arc::clone(gate)));
        let more = self.waiting;
        let demand = match now.saturating_sub(self.since) {
            elapsed if self.since > 0 && elapsed > 0 => self.seen.saturating_mul(HORIZON_US) / elapsed,
            _ => 0,
        };
        let ahead = demand.min(self.seen * 2).saturating_sub(self.left + more + 1);
        let age = if self.spent < EVERYTHING { now.saturating_sub(self.last_spent) } else { 0 };
        Ask { seq, left: self.left, spent: self.spent, age: age - age / SAFETY, more, ahead }
    }

    /// Nothing happens when it was not this ask that is waited for.
    pub(super) fn answered(&mut self, ask: &Ask, answer: &Answer, rule: Rule, now: u64) {
        if !self.is_asking(ask) {
            return;
        }
        self.asking = None;
        self.touched = now.max(self.touched);
        self.spent = if ask.spent >= EVERYTHING { 0 } else { self.spent.saturating_sub(ask.spent) };
        let until = ask.seq + answer.lasts - answer.lasts / SAFETY;
        if ask.left == 0 || !answer.kept {
            (self.left, self.until) = (0, until);
        } else if answer.granted > 0 {
            self.until = self.until.max(until);
        }
        self.left += answer.granted;
        self.size = answer.granted;
        self.beside = answer.count.remaining;
        self.whole_at = now + answer.count.reset_in;
        self.denied =
            (answer.count.remaining == 0).then(|| (rule, ask.seq + answer.count.free_in.max(rule.pause())));
        (self.seen, self.since) = (0, now);
    }

    /// No answer came: whatever was granted is never spent.
    pub(super) fn gave_up(&mut self, ask: &Ask) {
        if self.is_asking(ask) {
            self.asking = None;
        }
    }

    fn is_asking(&self, ask: &Ask) -> bool {
        self.asking.as_ref().is_some_and(|(seq, _)| *seq == ask.seq)
    }

    fn wants_more(&self, rule: Rule, now: u64) -> bool {
        self.size >= WORTH_RENEWING
            && self.left <= self.size / 4
            && self.asking.is_none()
            && self.denied(rule, now).is_none()
    }

    fn taken(&self, now: u64) -> Taken {
        let remaining = self.beside.saturating_add(self.left);
        let wait = self.denied.map_or(0, |(_, until)| until.saturating_sub(now));
        Taken {
            admitted: true,
            remaining,
            free_in: if remaining == 0 { wait } else { 0 },
            reset_in: self.whole_at.saturating_sub(now),
        }
    }
}
