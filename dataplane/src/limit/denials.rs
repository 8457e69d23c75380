//! Remembers what Redis denied until its time comes, so that a client which keeps asking costs Redis nothing.
//!
//! Safe: nothing but a change of the limit can make a request admissible earlier, so a denial counts only for the rule
//! that it was given by.

use super::bounded::Sharded;
use super::key::Key;
use super::rule::Rule;

#[derive(Debug)]
pub(super) struct Denials(Sharded<Denied>);

#[derive(Debug)]
struct Denied {
    rule: Rule,
    /// On the local clock, microseconds.
    until: u64,
}

impl Denials {
    pub(super) fn new(room: usize) -> Denials {
        Denials(Sharded::new(room))
    }

    /// `now`: when Redis was asked, not when it answered, so that a denial never lasts too long.
    pub(super) fn remember(&self, key: Key, rule: Rule, now: u64, wait: u64) {
        let until = now.saturating_add(wait);
        self.0.lock(self.0.place(key)).put(key, Denied { rule, until }, 1, until, now);
    }

    /// Microseconds for which it still holds.
    pub(super) fn recall(&self, key: Key, rule: Rule, now: u64) -> Option<u64> {
        let mut denials = self.0.lock(self.0.place(key));
        let denied = denials.get_mut(key)?;
        if denied.rule == rule && denied.until > now {
            return Some(denied.until - now);
        }
        denials.take(key);
        None
    }
}
