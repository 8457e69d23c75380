//! What follows: the next status of one rollout. Pure.
//!
//! `pause` holds for as long as it stands in the annotation; every other command acts once, when it appears there. A status
//! of another new version is as none.

use std::time::Duration;

use gatehouse_crds::{RolloutPhase as Phase, RolloutStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    analysis::Verdict,
    command::Command,
    plan::{Plan, Step},
};

/// What decides, besides the plan and the status.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The rule's.
    pub(super) name: &'a str,
    /// What the annotation says now.
    pub(super) command: Option<Command>,
    /// Why nothing may go on: a reason and a sentence.
    pub(super) obstacle: Option<(&'static str, &'a str)>,
    /// What an analysis says now.
    pub(super) evidence: &'a Evidence,
    pub(super) now: Timestamp,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Evidence {
    /// Nobody asked: time decides.
    Unasked,
    /// Nothing new.
    Pending,
    Verdict(Verdict),
}

pub(super) fn next(plan: &Plan, before: Option<&RolloutStatus>, facts: &Facts<'_>) -> RolloutStatus {
    let Some(known) = before.filter(|status| status.hash == plan.hash) else {
        // What was commanded before is not meant for this one.
        return begin(plan, facts, facts.command);
    };
    let fresh = facts.command.filter(|command| Some(command.as_str()) != known.command.as_deref());
    let over = [Phase::Promoted, Phase::RolledBack].contains(&known.phase);
    let mut status = match fresh {
        Some(Command::Promote) if known.phase != Phase::Promoted => {
            promoted(plan, known, facts, "PromotedByUser")
        }
        Some(Command::Abort) if known.phase != Phase::RolledBack => {
            rolled_back(plan, known, facts, "Aborted", "by the annotation")
        }
        Some(Command::Retry) => begin(plan, facts, fresh),
        _ if over => known.clone(),
        _ => match facts.evidence {
            Evidence::Verdict(Verdict::Worse(reason, why)) => rolled_back(plan, known, facts, reason, why),
            _ => go_on(plan, known, facts),
        },
    };
    status.command = facts.command.map(|command| command.as_str().to_owned());
    status
}

/// When the time of the step that is under way is over.
pub(super) fn due(plan: &Plan, status: &RolloutStatus) -> Option<Timestamp> {
    let step = step(plan, status).filter(|_| status.phase == Phase::Progressing)?;
    ends(status, step.hold?)
}

fn begin(plan: &Plan, facts: &Facts<'_>, command: Option<Command>) -> RolloutStatus {
    let none = RolloutStatus {
        name: facts.name.to_owned(),
        hash: plan.hash.clone(),
        phase: Phase::Waiting,
        step: 0,
        weight: 0,
        since: time(facts.now),
        reason: String::new(),
        message: String::new(),
        command: command.map(|command| command.as_str().to_owned()),
        canary: None,
        stable: None,
    };
    match (facts.obstacle, command) {
        (_, Some(Command::Pause)) => RolloutStatus { phase: Phase::Paused, reason: "Paused".into(), ..none }
            .says(plan, "has not begun"),
        (Some((reason, message)), _) => waits(&none, reason, message.to_owned()),
        (None, _) => enter(plan, &none, 1, facts),
    }
}

/// A rollout that is under way.
fn go_on(plan: &Plan, known: &RolloutStatus, facts: &Facts<'_>) -> RolloutStatus {
    if facts.command == Some(Command::Pause) {
        if known.phase == Phase::Paused {
            return known.clone();
        }
        let paused = RolloutStatus {
            phase: Phase::Paused,
            reason: "Paused".into(),
            since: time(facts.now),
            ..known.clone()
        };
        return paused.says(plan, &format!("keeps {} %", known.weight));
    }
    if let Some((reason, message)) = facts.obstacle {
        return waits(known, reason, message.to_owned());
    }
    let Some(step) = step(plan, known).filter(|_| known.phase != Phase::Paused) else {
        // It has not begun, or its steps have become fewer, or the pause is over: the present step begins now.
        let last = i32::try_from(plan.steps.len()).unwrap_or(i32::MAX);
        return enter(plan, known, known.step.clamp(1, last), facts);
    };
    if step.weight != known.weight {
        return enter(plan, known, known.step, facts);
    }
    let Some(hold) = step.hold else { return under_way(plan, known.clone(), step) };
    if ends(known, hold).is_some_and(|end| end > facts.now) {
        return match known.phase {
            Phase::Progressing => known.clone(),
            _ => under_way(plan, known.clone(), step),
        };
    }
    match facts.evidence {
        Evidence::Unasked | Evidence::Verdict(Verdict::Healthy) => {}
        Evidence::Verdict(Verdict::TooLittle(what)) => return waits(known, "TooLittleTraffic", what.clone()),
        Evidence::Pending | Evidence::Verdict(Verdict::Worse(..)) => return known.clone(),
    }
    match usize::try_from(known.step).ok().and_then(|at| plan.steps.get(at)) {
        Some(_) => enter(plan, known, known.step + 1, facts),
        None => promoted(plan, known, facts, "Promoted"),
    }
}

fn enter(plan: &Plan, known: &RolloutStatus, number: i32, facts: &Facts<'_>) -> RolloutStatus {
    let since = time(facts.now);
    let entered = RolloutStatus { step: number, since, canary: None, stable: None, ..known.clone() };
    match step(plan, &entered) {
        Some(step) => under_way(plan, entered, step),
        None => entered,
    }
}

fn under_way(plan: &Plan, status: RolloutStatus, step: Step) -> RolloutStatus {
    let (phase, reason, what) = match step.hold {
        Some(hold) => {
            let what = format!("gets {} % for at least {}", step.weight, words(hold));
            (Phase::Progressing, "Step", what)
        }
        None => {
            let what = "gets only what is sent to it on purpose, until the annotation says promote";
            (Phase::Waiting, "AwaitsPromotion", what.to_owned())
        }
    };
    let status = RolloutStatus { phase, weight: step.weight, reason: reason.into(), ..status };
    status.says(plan, &what)
}

fn waits(known: &RolloutStatus, reason: &str, message: String) -> RolloutStatus {
    RolloutStatus { phase: Phase::Waiting, reason: reason.into(), message, ..known.clone() }
}

fn promoted(plan: &Plan, known: &RolloutStatus, facts: &Facts<'_>, reason: &str) -> RolloutStatus {
    let last = i32::try_from(plan.steps.len()).unwrap_or(i32::MAX);
    let status = RolloutStatus {
        phase: Phase::Promoted,
        step: last,
        weight: 100,
        since: time(facts.now),
        reason: reason.into(),
        ..known.clone()
    };
    status.says(plan, "gets everything: name it in backendRefs and remove the rollout")
}

fn rolled_back(
    plan: &Plan,
    known: &RolloutStatus,
    facts: &Facts<'_>,
    reason: &str,
    why: &str,
) -> RolloutStatus {
    let status = RolloutStatus {
        phase: Phase::RolledBack,
        weight: 0,
        since: time(facts.now),
        reason: reason.into(),
        ..known.clone()
    };
    status.says(plan, &format!("gets nothing any more: {why}"))
}

trait Says {
    fn says(self, plan: &Plan, what: &str) -> Self;
}

impl Says for RolloutStatus {
    /// A sentence about the new version.
    fn says(mut self, plan: &Plan, what: &str) -> Self {
        let step = match self.step {
            0 => String::new(),
            step => format!("step {step} of {}: ", plan.steps.len()),
        };
        self.message = format!("{step}{} {what}", plan.version);
        self
    }
}

fn step(plan: &Plan, status: &RolloutStatus) -> Option<Step> {
    let index = usize::try_from(status.step).ok()?.checked_sub(1)?;
    plan.steps.get(index).copied()
}

fn ends(status: &RolloutStatus, hold: Duration) -> Option<Timestamp> {
    status.since.0.checked_add(jiff::SignedDuration::try_from(hold).ok()?).ok()
}

/// Statuses tell milliseconds, and must read back as they were written.
fn time(now: Timestamp) -> MicroTime {
    MicroTime(Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now))
}

fn words(hold: Duration) -> String {
    match (hold.as_secs(), hold.subsec_millis()) {
        (0, millis) => format!("{millis}ms"),
        (seconds, 0) if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds, 0) if seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, 0) => format!("{seconds}s"),
        (seconds, millis) => format!("{}ms", seconds * 1000 + u64::from(millis)),
    }
}

#[cfg(test)]
mod tests;
