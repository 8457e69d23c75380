//! What is compared: the requests of one step since it began, and those since the last look, so that what goes bad late is
//! seen as soon as what was bad from the first.

use std::time::Duration;

use gatehouse_crds::{RolloutObserved, RolloutStatus};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    analysis::{Analysis, Verdict, judge},
    counts::Counts,
    samples::Both,
};

#[derive(Debug)]
pub(super) struct Window {
    /// Of which version and step.
    of: (String, i32, MicroTime),
    began: Both,
    looked: Both,
    next: Timestamp,
    /// It was looked at when the time of the step was over.
    ended: bool,
}

impl Window {
    pub(super) fn new(status: &RolloutStatus, now: Both, analysis: &Analysis, at: Timestamp) -> Self {
        Window {
            of: of(status),
            began: now.clone(),
            looked: now,
            next: later(at, analysis.interval),
            ended: false,
        }
    }

    /// It is of what the status speaks of.
    pub(super) fn is_of(&self, status: &RolloutStatus) -> bool {
        self.of == of(status)
    }

    /// When it is to be looked at next.
    pub(super) fn due(&self, step_ends: Option<Timestamp>) -> Timestamp {
        step_ends.filter(|end| !self.ended && *end < self.next).unwrap_or(self.next)
    }

    /// `None`: it is too early. Gives what was seen in the step as well.
    pub(super) fn look(
        &mut self,
        sum: &Both,
        analysis: &Analysis,
        step_ends: Option<Timestamp>,
        at: Timestamp,
    ) -> Option<(Verdict, Both)> {
        if at < self.due(step_ends) {
            return None;
        }
        let whole = sum.since(&self.began).unwrap_or_default();
        let last = sum.since(&self.looked).unwrap_or_default();
        self.looked = sum.clone();
        self.next = later(at, analysis.interval);
        self.ended |= step_ends.is_some_and(|end| end <= at);
        let verdict = judge(analysis, &whole.canary, &whole.stable);
        let verdict = match judge(analysis, &last.canary, &last.stable) {
            worse @ Verdict::Worse(..) if !matches!(verdict, Verdict::Worse(..)) => worse,
            _ => verdict,
        };
        Some((verdict, whole))
    }
}

/// As a status tells it.
pub(super) fn observed(counts: &Counts, analysis: &Analysis) -> RolloutObserved {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let micros = counts.quantile(analysis.quantile).filter(|_| counts.requests > 0);
    RolloutObserved {
        requests: number(counts.requests),
        errors: number(counts.errors),
        latency_millis: micros.map(|micros| (micros / 1000.0).ceil() as i64),
    }
}

fn of(status: &RolloutStatus) -> (String, i32, MicroTime) {
    (status.hash.clone(), status.step, status.since.clone())
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
