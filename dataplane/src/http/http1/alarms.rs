//! What ends a connection that waits: time, and the gateway's own leaving.
//!
//! A request on a kept connection costs no operation on a timer: the one timer is left to fire when it was due at first,
//! and only then, or for an earlier end, is it set anew.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::time::{Instant, Sleep, sleep_until};

/// Waits for a drain and for one point in time.
pub(super) struct Alarms<'a, D> {
    draining: Pin<&'a mut D>,
    drained: bool,
    timer: Option<Pin<Box<Sleep>>>,
    /// Both have been polled for this one.
    waker: Option<Waker>,
}

impl<'a, D: Future<Output = ()>> Alarms<'a, D> {
    pub(super) fn new(draining: Pin<&'a mut D>) -> Self {
        Alarms { draining, drained: false, timer: None, waker: None }
    }

    /// Makes sure that the beginning of a drain wakes this task. `true` if it has begun.
    pub(super) fn is_drained(&mut self, cx: &mut Context<'_>, known: bool) -> bool {
        let watched = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if !self.drained && !watched {
            self.drained = self.draining.as_mut().poll(cx).is_ready();
            if let Some(timer) = &mut self.timer {
                let _ = timer.as_mut().poll(cx);
            }
            self.waker = Some(cx.waker().clone());
        }
        self.drained || known
    }

    /// Ready when it is `end`. Call [`Alarms::is_drained`] first.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, end: Instant, now: Instant) -> Poll<()> {
        if now >= end {
            return Poll::Ready(());
        }
        match &mut self.timer {
            Some(timer) if now < timer.deadline() && timer.deadline() <= end => return Poll::Pending,
            Some(timer) => timer.as_mut().reset(end),
            None => self.timer = Some(Box::pin(sleep_until(end))),
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
