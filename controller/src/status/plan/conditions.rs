//! Conditions as they are written: with generation and time, within the bounds of the schemas.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self, Time};
use kube::Resource;

use super::Input;
use crate::translate::{Condition, ConditionType, conditions::reason};

/// Of a list of conditions.
const MAX_CONDITIONS: usize = 8;
/// Of a message, in characters.
const MAX_MESSAGE: usize = 32_768;

/// Whose a list of conditions is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Ours whole: in an entry under our controller's name.
    Whole,
    /// The types that we know are ours, the others are someone else's.
    OurTypes,
}

/// When, and of which generation, conditions are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    now: Timestamp,
    generation: Option<i64>,
    settling: bool,
}

/// A condition that became, or ceased to be, one that a user must act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flip {
    /// Where in the object, such as `listener https`. Empty: the object as a whole.
    pub place: String,
    pub kind: ConditionType,
    pub problem: Option<Trouble>,
}

/// What a user must act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub reason: &'static str,
    pub message: String,
}

impl Moment {
    pub(super) fn of(input: &Input<'_>, object: &impl Resource) -> Self {
        // Times are stored to the second.
        let now = Timestamp::from_second(input.now.as_second()).unwrap_or(input.now);
        Moment { now, generation: object.meta().generation, settling: input.settling }
    }
}

/// The conditions that follow `observed`, in its order, and what flips. `place` names them in a flip.
pub(super) fn settle(
    wanted: &[Condition],
    observed: &[v1::Condition],
    scope: Scope,
    place: &str,
    moment: &Moment,
) -> (Vec<v1::Condition>, Vec<Flip>) {
    let find = |kind: &str| wanted.iter().find(|one| one.kind.as_str() == kind);
    let is_ours =
        |kind: &str| scope == Scope::Whole || ConditionType::ALL.iter().any(|ours| ours.as_str() == kind);
    let kept = observed.iter().filter_map(|before| match find(&before.type_) {
        Some(wanted) => Some(next(wanted, Some(before), moment)),
        None => (!is_ours(&before.type_)).then(|| before.clone()),
    });
    let is_new = |one: &&Condition| !observed.iter().any(|before| before.type_ == one.kind.as_str());
    let new = wanted.iter().filter(is_new).map(|one| next(one, None, moment));
    let mut conditions: Vec<_> = kept.chain(new).collect();
    while conditions.len() > MAX_CONDITIONS {
        // Ours have room: they are fewer than that.
        match conditions.iter().rposition(|one| find(&one.type_).is_none()) {
            Some(foreign) => drop(conditions.remove(foreign)),
            None => conditions.truncate(MAX_CONDITIONS),
        }
    }
    (conditions, flips(wanted, observed, place, moment))
}

fn next(wanted: &Condition, before: Option<&v1::Condition>, moment: &Moment) -> v1::Condition {
    let is_programmed =
        [ConditionType::Programmed, ConditionType::GatehouseProgrammed].contains(&wanted.kind);
    if let Some(before) = before
        && moment.settling
        && is_programmed
        && wanted.reason == reason::PENDING
        && before.status == "True"
        && before.observed_generation == moment.generation
    {
        return before.clone();
    }
    let status = if wanted.status { "True" } else { "False" };
    let since =
        before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
    v1::Condition {
        type_: wanted.kind.as_str().to_owned(),
        status: status.to_owned(),
        reason: wanted.reason.to_owned(),
        message: cut(&wanted.message),
        observed_generation: moment.generation,
        last_transition_time: since.unwrap_or(Time(moment.now)),
    }
}

fn cut(message: &str) -> String {
    match message.char_indices().nth(MAX_MESSAGE) {
        None => message.to_owned(),
        Some(_) => message.chars().take(MAX_MESSAGE - 1).chain(['…']).collect(),
    }
}

fn flips(wanted: &[Condition], observed: &[v1::Condition], place: &str, moment: &Moment) -> Vec<Flip> {
    let mut flips = Vec::new();
    for kind in ConditionType::ALL {
        let now = wanted.iter().position(|one| one.kind == kind);
        let before = observed.iter().find(|one| one.type_ == kind.as_str());
        let problem = now.and_then(|index| wanted.get(index)).filter(|one| one.is_problem());
        let was_problem = before.is_some_and(|before| match before.status.as_str() {
            "True" => kind.is_problem(true, &before.reason),
            "False" => kind.is_problem(false, &before.reason),
            _ => false,
        });
        let flip = |problem| Flip { place: place.to_owned(), kind, problem };
        match (problem, before) {
            (Some(problem), before) => {
                let is_same = before.filter(|_| was_problem).is_some_and(|before| {
                    before.reason == problem.reason
                        && (before.message == problem.message
                            || before.observed_generation == moment.generation)
                });
                // One cause that makes several conditions is told once.
                let is_told = wanted.iter().take_while(|one| one.kind != kind);
                let is_told =
                    is_told.filter(|one| one.is_problem()).any(|one| one.message == problem.message);
                if !is_same && !is_told {
                    let Condition { reason, message, .. } = problem.clone();
                    flips.push(flip(Some(Trouble { reason, message })));
                }
            }
            (None, Some(_)) if was_problem => flips.push(flip(None)),
            _ => {}
        }
    }
    flips
}

#[cfg(test)]
mod tests;
