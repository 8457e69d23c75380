//! What this process holds of one count in Redis: requests that it may still admit, for how long, and what it remembers
//! of the last answer. Pure: the clock is handed in, in microseconds since the process began to count.
//!
//! A lease is worth something only until its time, counted from when Redis was asked: Redis counts from when it answered,
//! which is later, so a process that was stopped in between never spends what Redis has taken back. A last part of it is
//! left unused, for clocks that run at different speeds.
//!
//! How much to ask for follows the demand, and at most doubles each time. A count that is used rarely is never leased
//! ahead: each of its requests asks. What was leased ahead and is not wanted goes back before its time is over.

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
/// So long before its end what is left of a lease goes back, or in the middle of a shorter one: time for Redis to hear of it.
const RETURN_US: u64 = 100_000;
/// Redis is told of so many times of spending in an ask.
const GROUPS: usize = 32;
/// Spent is all that Redis knows of. Below 2^53.
const EVERYTHING: u64 = 1 << 50;

#[derive(Debug)]
pub(super) struct Lease {
    left: u64,
    until: u64,
    /// Since the last answer; `told`: of it, what an ask that waits for an answer has told.
    spent: u64,
    spends: Spends,
    told: Spends,
    /// Requests that came since the last answer, admitted or not, and when that was; 0: there was none.
    seen: u64,
    since: u64,
    /// When it was last asked for or answered.
    touched: u64,
    /// What the last answer granted.
    size: u64,
    /// How many requests wait for the answer.
    waiting: u64,
    /// How much was used before it was granted.
    owed: u64,
    /// The ask that waits for an answer: its number, and where to wait for it.
    asking: Option<(u64, Arc<Gate>)>,
    /// The count is used up until then, by this rule. Nothing but a change of the limit makes it admit earlier.
    denied: Option<(Rule, u64)>,
    /// What else the count had at the last answer, and when it is whole again.
    beside: u64,
    whole_at: u64,
    /// Somebody looks after it and gives back what is left in time.
    watched: bool,
}

/// How many were spent when, the oldest first: each at the latest time of its group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Spends(Vec<Group>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    first: u64,
    last: u64,
    count: u64,
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

/// Why Redis is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A request waits for it.
    Wait,
    /// Little is left, and more will be wanted.
    Renew,
    /// Something was used before it was granted.
    Owed,
}

/// What Redis is told of a lease, and asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    /// When: it names the ask.
    pub(super) seq: u64,
    pub(super) left: u64,
    pub(super) spent: u64,
    /// How many of them were spent how long ago, the oldest first. What is not among them is as old as can be.
    pub(super) ages: Vec<(u64, u64)>,
    /// Wait; 0: it only tells.
    pub(super) wanted: u64,
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
    /// When a lease of somebody else ends, from now; 0: there is none.
    pub(super) others: u64,
    /// The count with all that is granted, to anybody.
    pub(super) count: Taken,
}

/// What is to be done for a lease that nobody may want any more.
#[derive(Debug)]
pub(super) enum Watch {
    /// Look again then.
    Later(u64),
    /// It is no longer there to be spent, or something is owed: tell Redis.
    Tell(Ask),
    /// There is nothing to look after.
    Over,
}

impl Spends {
    /// Groups lie as close as the rule can tell apart, and no closer than there is room for.
    fn add(&mut self, rule: Rule, now: u64, count: u64) {
        match self.0.last_mut() {
            Some(group) if now < group.first + rule.grain() => {
                (group.last, group.count) = (now.max(group.last), group.count + count);
            }
            _ => {
                self.thin();
                self.0.push(Group { first: now, last: now, count });
            }
        }
    }

    /// The last one.
    fn take_back(&mut self) {
        if let Some(group) = self.0.last_mut() {
            group.count = group.count.saturating_sub(1);
        }
    }

    fn append(&mut self, others: &mut Spends) {
        self.0.append(&mut others.0);
        while self.0.len() > GROUPS {
            self.thin();
        }
    }

    /// Joins neighbours when there is no room for one more.
    fn thin(&mut self) {
        if self.0.len() >= GROUPS {
            let pairs = self.0.chunks(2).map(|pair| Group {
                first: pair.first().map_or(0, |group| group.first),
                last: pair.last().map_or(0, |group| group.last),
                count: pair.iter().map(|group| group.count).sum(),
            });
            self.0 = pairs.collect();
        }
    }

    fn ages(&self, now: u64) -> Vec<(u64, u64)> {
        let age = |group: &Group| {
            let age = now.saturating_sub(group.last);
            (age - age / SAFETY, group.count)
        };
        self.0.iter().map(age).collect()
    }
}

impl Lease {
    pub(super) fn new(now: u64) -> Lease {
        Lease {
            left: 0,
            until: 0,
            spent: EVERYTHING,
            spends: Spends::default(),
            told: Spends::default(),
            seen: 0,
            since: 0,
            touched: now,
            size: 0,
            waiting: 0,
            owed: 0,
            asking: None,
            denied: None,
            beside: 0,
            whole_at: 0,
            watched: false,
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
            self.take(1, rule, now);
            return Spent::Yes { taken: self.taken(now), renew: self.wants_more(rule, now) };
        }
        self.asking.as_ref().map_or(Spent::Lacking, |(_, gate)| Spent::Asked(Arc::clone(gate)))
    }

    fn take(&mut self, count: u64, rule: Rule, now: u64) {
        self.left -= count;
        self.spent = self.spent.saturating_add(count);
        self.spends.add(rule, now, count);
    }

    /// So much was used before it was granted: it is taken from what is left, or else from what comes.
    pub(super) fn owe(&mut self, count: u64, rule: Rule, now: u64) {
        self.owed = self.owed.saturating_add(count).min(EVERYTHING);
        if now < self.until {
            self.pay(rule, now);
        }
    }

    fn pay(&mut self, rule: Rule, now: u64) {
        let paid = self.owed.min(self.left);
        if paid > 0 {
            self.owed -= paid;
            self.take(paid, rule, now);
        }
    }

    /// Takes back what was spent at `then`, because another limit refused the request; unless Redis may have been told.
    pub(super) fn put_back(&mut self, then: u64) {
        if self.touched < then {
            self.left += 1;
            self.spent = self.spent.saturating_sub(1);
            self.spends.take_back();
        }
    }

    /// Microseconds until the count has room.
    pub(super) fn denied(&self, rule: Rule, now: u64) -> Option<u64> {
        self.denied.filter(|(by, until)| *by == rule && *until > now).map(|(_, until)| until - now)
    }

    /// As `denied`, if nothing of what was granted is left either.
    pub(super) fn refused(&self, rule: Rule, now: u64) -> Option<u64> {
        self.denied(rule, now).filter(|_| self.left == 0 || self.until <= now)
    }

    /// Nobody has asked, and there is nothing to spend: or little, to renew it.
    pub(super) fn lacks(&self, purpose: Purpose, now: u64) -> bool {
        let lacking = match purpose {
            Purpose::Wait => self.left == 0 || self.until <= now,
            Purpose::Renew => true,
            Purpose::Owed => self.owed > 0,
        };
        lacking && self.asking.is_none()
    }

    pub(super) fn wait(&mut self) {
        self.waiting += 1;
    }

    pub(super) fn waited(&mut self) {
        self.waiting = self.waiting.saturating_sub(1);
    }

    /// Until [`Lease::answered`] or [`Lease::gave_up`] nobody else asks.
    pub(super) fn ask(&mut self, purpose: Purpose, now: u64, gate: &Arc<Gate>) -> Ask {
        if self.until <= now {
            self.left = 0;
        }
        // Those who wait take what is left first.
        let waiting = self.waiting + u64::from(purpose == Purpose::Wait);
        let wanted = (waiting + self.owed).saturating_sub(self.left);
        let demand = match now.saturating_sub(self.since) {
            elapsed if self.since > 0 && elapsed > 0 => self.seen.saturating_mul(HORIZON_US) / elapsed,
            _ => 0,
        };
        let ahead = demand.min(self.seen * 2).saturating_sub(self.left + wanted);
        self.tell(now, gate, wanted, ahead)
    }

    /// Whether somebody has to look after what was granted or is owed; asked once, it is true once.
    pub(super) fn watch(&mut self) -> bool {
        let watch = (self.left > 0 || self.owed > 0) && !self.watched;
        self.watched |= watch;
        watch
    }

    pub(super) fn look_after(&mut self, now: u64, gate: &Arc<Gate>) -> Watch {
        if self.owed > 0 && self.asking.is_none() {
            self.watched = false;
            return Watch::Tell(self.ask(Purpose::Owed, now, gate));
        }
        let due = self.until - RETURN_US.min(self.until.saturating_sub(self.touched) / 2);
        if self.left > 0 && due > now {
            return Watch::Later(due);
        }
        if self.left > 0 && self.until > now && self.asking.is_some() {
            // What comes of it may last longer.
            return Watch::Later(self.until);
        }
        self.watched = false;
        if self.left == 0 || self.until <= now {
            return Watch::Over;
        }
        self.left = 0;
        Watch::Tell(self.tell(now, gate, 0, 0))
    }

    /// What was granted to a request that is refused, if it is all that is left and nobody waits or asks.
    pub(super) fn give_back_one(&mut self, now: u64, gate: &Arc<Gate>) -> Option<Ask> {
        if self.left != 1 || self.until <= now || self.waiting > 0 || self.asking.is_some() {
            return None;
        }
        self.left = 0;
        Some(self.tell(now, gate, 0, 0))
    }

    fn tell(&mut self, now: u64, gate: &Arc<Gate>, wanted: u64, ahead: u64) -> Ask {
        let seq = now.max(self.touched + 1);
        self.touched = seq;
        self.asking = Some((seq, Arc::clone(gate)));
        // What an ask told that never got an answer is told again.
        self.told.append(&mut self.spends);
        let ages = if self.spent < EVERYTHING { self.told.ages(now) } else { Vec::new() };
        Ask { seq, left: self.left, spent: self.spent, ages, wanted, ahead }
    }

    /// Nothing happens when it was not this ask that is waited for.
    pub(super) fn answered(&mut self, ask: &Ask, answer: &Answer, rule: Rule, now: u64) {
        if !self.is_asking(ask) {
            return;
        }
        self.asking = None;
        self.touched = now.max(self.touched);
        self.spent = if ask.spent >= EVERYTHING { 0 } else { self.spent.saturating_sub(ask.spent) };
        self.told = Spends::default();
        let until = ask.seq + answer.lasts - answer.lasts / SAFETY;
        if ask.left == 0 || !answer.kept {
            (self.left, self.until) = (0, until);
        } else if answer.granted > 0 {
            self.until = self.until.max(until);
        }
        self.left += answer.granted;
        self.pay(rule, now);
        self.size = answer.granted;
        self.beside = answer.count.remaining;
        if answer.count.remaining == 0 {
            // It has taken all that there was.
            self.owed = 0;
        }
        self.whole_at = now + answer.count.reset_in;
        self.denied = (answer.count.remaining == 0).then(|| {
            let pause = rule.pause();
            let free_in = answer.count.free_in.max(pause);
            // What others hold may come back sooner.
            let again = if answer.others > 0 { free_in.min(answer.others.max(pause)) } else { free_in };
            (rule, ask.seq + again)
        });
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
