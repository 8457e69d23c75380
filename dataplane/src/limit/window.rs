//! The sliding window: counts a slot of time, summed so that a sum is never too small.
//!
//! The state is the slots that hold admitted requests, oldest first. A slot counts until its *last* microsecond is `per`
//! old, so the sum at t covers every request in (t - per, t], and a request is admitted only below `requests`: **no
//! half-open window of length `per` admits more than `requests`**. A slot of one microsecond makes it an exact log, which
//! is kept while it is short; else a slot is 1/256 of `per`, and a request may count up to that much too long. Counts of
//! this process have longer slots, which take less room: 1/64.
//!
//! `lease.lua` does the same arithmetic.

use std::collections::VecDeque;

use super::rule::{Raw, Taken};

/// Slots in `per`; a log of up to so many requests is exact.
pub(super) const SLOTS: u64 = 256;
/// The same of counts of this process.
const LOCAL: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) requests: u64,
    /// Microseconds.
    pub(super) per: u64,
    /// Length of a slot in microseconds.
    pub(super) slot: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Slots {
    /// Sum of the counts.
    used: u64,
    slots: VecDeque<Slot>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// The first microsecond after it.
    end: u64,
    count: u64,
}

impl Window {
    /// None of the arguments may be 0; `per` is in microseconds.
    pub(super) fn new(requests: u64, per: u64) -> Window {
        Self::of(requests, per, SLOTS)
    }

    fn of(requests: u64, per: u64, slots: u64) -> Window {
        let slot = if requests <= slots { 1 } else { per.div_ceil(slots) };
        Window { requests, per, slot }
    }

    /// What one of `replicas` that count for themselves may admit.
    pub(super) fn share(self, replicas: u64) -> Window {
        Self::of((self.requests / replicas).max(1), self.per, LOCAL)
    }

    /// Forgets what is too old, and says what a request at `now` would find.
    pub(super) fn look(&self, slots: &mut Slots, now: u64) -> Raw {
        let end = self.end(now);
        // From the future: the clock was set back, or slots were far longer before a change. Count it as of now.
        if slots.slots.back().is_some_and(|newest| newest.end > end + self.per) {
            slots.used = slots.used.min(self.requests);
            slots.slots.clear();
            slots.slots.push_back(Slot { end, count: slots.used });
        }
        while let Some(oldest) = slots.slots.front().filter(|slot| self.gone_at(**slot) <= now).copied() {
            slots.used = slots.used.saturating_sub(oldest.count);
            slots.slots.pop_front();
        }
        self.raw(slots, now, slots.used < self.requests)
    }

    /// Takes so many; only after [`Window::look`] had room for them at the same `now`.
    pub(super) fn take(&self, slots: &mut Slots, count: u64, now: u64) -> Raw {
        let end = self.end(now);
        slots.used += count;
        match slots.slots.back_mut() {
            Some(newest) if newest.end >= end => newest.count += count,
            _ => slots.slots.push_back(Slot { end, count }),
        }
        self.raw(slots, now, true)
    }

    pub(super) fn read(&self, raw: Raw) -> Taken {
        let [used, free_in, reset_in] = raw.numbers;
        let remaining = self.requests.saturating_sub(used);
        Taken {
            admitted: raw.admitted,
            remaining,
            free_in: if remaining == 0 { free_in } else { 0 },
            reset_in,
        }
    }

    fn raw(&self, slots: &Slots, now: u64, admitted: bool) -> Raw {
        let left = |slot: Option<&Slot>| slot.map_or(0, |slot| self.gone_at(*slot).saturating_sub(now));
        Raw { admitted, numbers: [slots.used, left(slots.slots.front()), left(slots.slots.back())] }
    }

    fn end(&self, now: u64) -> u64 {
        now - now % self.slot + self.slot
    }

    fn gone_at(&self, slot: Slot) -> u64 {
        slot.end - 1 + self.per
    }
}

impl Slots {
    /// Room that is taken up, in slots.
    pub(super) fn room(&self) -> usize {
        self.slots.capacity()
    }
}
