use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{self, Time};

use super::{MAX_MESSAGE, Moment, Scope, Trouble, settle};
use crate::translate::{Condition, ConditionType};

fn moment(second: i64, generation: i64) -> Moment {
    Moment { now: Timestamp::from_second(second).unwrap(), generation: Some(generation), settling: false }
}

fn accepted(status: bool, reason: &'static str, message: &str) -> Condition {
    Condition { kind: ConditionType::Accepted, status, reason, message: message.into() }
}

fn foreign(kind: &str) -> v1::Condition {
    v1::Condition {
        type_: kind.into(),
        status: "True".into(),
        reason: "Theirs".into(),
        message: String::new(),
        observed_generation: None,
        last_transition_time: Time(Timestamp::from_second(7).unwrap()),
    }
}

#[test]
fn the_time_changes_with_the_status_alone() {
    let scope = Scope::Whole;
    let (first, _) = settle(&[accepted(true, "Accepted", "")], &[], scope, "", &moment(1, 1));
    let (second, _) = settle(&[accepted(true, "Else", "more")], &first, scope, "", &moment(2, 2));
    assert_eq!(second[0].last_transition_time, first[0].last_transition_time);
    assert_eq!((second[0].observed_generation, second[0].reason.as_str()), (Some(2), "Else"));
    let (third, _) = settle(&[accepted(false, "Else", "more")], &second, scope, "", &moment(3, 2));
    assert_eq!(third[0].last_transition_time.0.as_second(), 3);
}

#[test]
fn types_of_others_stay_where_lists_are_shared() {
    let before = [foreign("Ready"), foreign("PartiallyInvalid")];
    let wanted = [accepted(true, "Accepted", "")];
    let types = |scope| {
        let (conditions, _) = settle(&wanted, &before, scope, "", &moment(1, 1));
        conditions.into_iter().map(|one| one.type_).collect::<Vec<_>>()
    };
    assert_eq!(types(Scope::OurTypes), ["Ready", "Accepted"]);
    assert_eq!(types(Scope::Whole), ["Accepted"]);
}

#[test]
fn lists_and_messages_keep_their_bounds() {
    let before: Vec<_> = (0..8).map(|index| foreign(&format!("Type{index}"))).collect();
    let long = "ä".repeat(MAX_MESSAGE + 1);
    let (conditions, _) =
        settle(&[accepted(false, "Invalid", &long)], &before, Scope::OurTypes, "", &moment(1, 1));
    assert_eq!(conditions.len(), 8);
    assert_eq!(conditions[7].message.chars().count(), MAX_MESSAGE);
    assert!(conditions[7].message.ends_with("ä…"));
}

#[test]
fn a_new_leader_does_not_take_back_what_was_programmed() {
    let programmed = |status, reason| Condition {
        kind: ConditionType::GatehouseProgrammed,
        status,
        reason,
        message: String::new(),
    };
    let (before, _) = settle(&[programmed(true, "Programmed")], &[], Scope::Whole, "", &moment(1, 1));
    let after = |wanted, generation, settling| {
        let moment = Moment { settling, ..moment(2, generation) };
        settle(&[wanted], &before, Scope::Whole, "", &moment).0[0].status.clone()
    };
    assert_eq!(after(programmed(false, "Pending"), 1, true), "True");
    assert_eq!(after(programmed(false, "Pending"), 1, false), "False");
    assert_eq!(after(programmed(false, "Pending"), 2, true), "False", "that is a new generation");
    assert_eq!(after(programmed(false, "Rejected"), 1, true), "False");
}

#[test]
fn flips_tell_what_begins_and_what_ends() {
    let problem = |flip: &super::Flip| flip.problem.as_ref().map(|trouble| trouble.message.clone());
    let run = |wanted: &[Condition], before: &[v1::Condition], generation| {
        settle(wanted, before, Scope::Whole, "on edge", &moment(1, generation))
    };
    let bad = accepted(false, "Invalid", "bad regex");
    let (first, flips) = run(std::slice::from_ref(&bad), &[], 1);
    let trouble = Trouble { reason: "Invalid", message: "bad regex".into() };
    assert_eq!((flips[0].place.as_str(), flips[0].problem.as_ref()), ("on edge", Some(&trouble)));
    assert!(run(std::slice::from_ref(&bad), &first, 1).1.is_empty(), "told already");
    assert!(run(&[bad], &first, 2).1.is_empty(), "an edit that mends nothing");
    let (_, flips) = run(&[accepted(false, "Invalid", "bad header")], &first, 2);
    assert_eq!(problem(&flips[0]).as_deref(), Some("bad header"));
    let (_, flips) = run(&[accepted(true, "Accepted", "")], &first, 2);
    assert_eq!(flips.iter().map(problem).collect::<Vec<_>>(), [None]);
    let mut unknown = first;
    unknown[0].status = "Unknown".into();
    assert!(run(&[accepted(true, "Accepted", "")], &unknown, 2).1.is_empty(), "it was no problem yet");
}

#[test]
fn one_cause_is_told_once() {
    let resolved = Condition { kind: ConditionType::ResolvedRefs, ..accepted(false, "Invalid", "no Secret") };
    let programmed = Condition { kind: ConditionType::Programmed, ..accepted(false, "Invalid", "no Secret") };
    let (_, flips) = settle(&[resolved, programmed], &[], Scope::Whole, "", &moment(1, 1));
    assert_eq!(flips.len(), 1);
}
