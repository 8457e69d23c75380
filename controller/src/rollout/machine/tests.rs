use gatehouse_crds::{Rollout, RolloutPhase as Phase, RolloutStatus};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Evidence, Facts, due, next};
use crate::rollout::{Plan, analysis::Verdict, command::Command};

/// A rollout and its clock.
struct Rig {
    plan: Plan,
    now: Timestamp,
    command: Option<Command>,
    obstacle: Option<(&'static str, &'static str)>,
    evidence: Evidence,
    status: Option<RolloutStatus>,
}

fn plan(canary: &str, steps: &[(i32, &str)]) -> Plan {
    let steps: Vec<_> = steps.iter().map(|(weight, hold)| json!({"weight": weight, "hold": hold})).collect();
    let rollout = json!({"canary": {"backendRef": {"name": canary, "port": 80}, "steps": steps}});
    let rollout: Rollout = serde_json::from_value(rollout).unwrap();
    Plan::of("shop", &rollout).unwrap()
}

impl Rig {
    fn new() -> Self {
        let plan = plan("v2", &[(5, "2m"), (25, "5m"), (50, "5m")]);
        let now = Timestamp::from_second(1_000_000).unwrap();
        Rig { plan, now, command: None, obstacle: None, evidence: Evidence::Unasked, status: None }
    }

    fn look(&mut self) -> (Phase, i32, i32) {
        let Rig { command, obstacle, now, .. } = *self;
        let facts = Facts { name: "all", command, obstacle, evidence: &self.evidence, now };
        let status = next(&self.plan, self.status.as_ref(), &facts);
        let again = next(&self.plan, Some(&status), &facts);
        assert_eq!(again, status, "a second look at once changes nothing");
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<RolloutStatus>(&text).unwrap(), status, "it reads back as it was");
        let seen = (status.phase, status.step, status.weight);
        self.status = Some(status);
        seen
    }

    fn after(&mut self, seconds: i64) -> (Phase, i32, i32) {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        self.look()
    }

    fn command(&mut self, command: Option<Command>) -> (Phase, i32, i32) {
        self.command = command;
        self.look()
    }

    fn reason(&self) -> &str {
        &self.status.as_ref().unwrap().reason
    }
}

#[test]
fn steps_follow_each_other_by_time() {
    let mut rig = Rig::new();
    assert_eq!(rig.look(), (Phase::Progressing, 1, 5));
    assert_eq!(rig.after(119), (Phase::Progressing, 1, 5));
    let begun = rig.status.clone().unwrap();
    assert_eq!(due(&rig.plan, &begun).map(|due| due.as_second()), Some(1_000_120));
    assert_eq!(rig.after(1), (Phase::Progressing, 2, 25));
    assert_eq!(rig.after(299), (Phase::Progressing, 2, 25));
    assert_eq!(rig.after(1), (Phase::Progressing, 3, 50));
    assert_eq!(rig.after(300), (Phase::Promoted, 3, 100));
    assert_eq!((rig.after(1_000_000), rig.reason()), ((Phase::Promoted, 3, 100), "Promoted"));
    assert_eq!(due(&rig.plan, rig.status.as_ref().unwrap()), None);
    assert!(rig.status.unwrap().message.contains("shop/v2:80"));
}

/// The status is all the memory there is.
#[test]
fn whoever_goes_on_goes_on_from_there() {
    let mut rig = Rig::new();
    rig.look();
    rig.after(120);
    let text = serde_json::to_string(rig.status.as_ref().unwrap()).unwrap();
    let mut other = Rig { status: Some(serde_json::from_str(&text).unwrap()), now: rig.now, ..Rig::new() };
    assert_eq!(other.after(299), (Phase::Progressing, 2, 25));
    assert_eq!(other.after(1), (Phase::Progressing, 3, 50));
}

#[test]
fn a_pause_holds_until_it_is_over_and_the_step_begins_again() {
    let mut rig = Rig::new();
    rig.look();
    rig.after(100);
    assert_eq!(rig.command(Some(Command::Pause)), (Phase::Paused, 1, 5));
    assert_eq!(rig.after(100_000), (Phase::Paused, 1, 5));
    assert_eq!(rig.command(Some(Command::Resume)), (Phase::Progressing, 1, 5));
    assert_eq!(rig.after(119), (Phase::Progressing, 1, 5));
    assert_eq!(rig.after(1), (Phase::Progressing, 2, 25));
    rig.command(Some(Command::Pause));
    assert_eq!(rig.command(None), (Phase::Progressing, 2, 25), "taking the word away is as good");
    // Before it has begun.
    let mut rig = Rig { command: Some(Command::Pause), ..Rig::new() };
    assert_eq!(rig.look(), (Phase::Paused, 0, 0));
    assert_eq!(rig.command(Some(Command::Resume)), (Phase::Progressing, 1, 5));
}

#[test]
fn commands_act_once() {
    let mut rig = Rig::new();
    rig.look();
    assert_eq!(rig.command(Some(Command::Promote)), (Phase::Promoted, 3, 100));
    assert_eq!((rig.after(10), rig.reason()), ((Phase::Promoted, 3, 100), "PromotedByUser"));
    assert_eq!(rig.command(Some(Command::Abort)), (Phase::RolledBack, 3, 0));
    assert_eq!((rig.after(10), rig.reason()), ((Phase::RolledBack, 3, 0), "Aborted"));
    assert_eq!(rig.command(Some(Command::Retry)), (Phase::Progressing, 1, 5));
    assert_eq!(rig.after(120), (Phase::Progressing, 2, 25), "and not again and again");
    // Words that stand there still are not meant for the next version.
    for word in [Command::Promote, Command::Abort, Command::Retry] {
        let mut rig = Rig::new();
        rig.look();
        rig.command(Some(word));
        rig.plan = plan("v3", &[(10, "1m")]);
        assert_eq!(rig.after(1), (Phase::Progressing, 1, 10), "{word:?}");
        assert_eq!(rig.after(60), (Phase::Promoted, 1, 100), "{word:?}");
    }
}

#[test]
fn another_version_begins_anew_and_other_steps_do_not() {
    let mut rig = Rig::new();
    rig.look();
    rig.after(120);
    rig.plan = plan("v2", &[(5, "2m"), (30, "5m")]);
    assert_eq!(rig.after(1), (Phase::Progressing, 2, 30), "the weight follows its step");
    rig.plan = plan("v2", &[(7, "1m")]);
    assert_eq!(rig.after(1), (Phase::Progressing, 1, 7), "there is no such step any more: the last");
    rig.plan = plan("v3", &[(5, "2m")]);
    assert_eq!(rig.after(1), (Phase::Progressing, 1, 5));
    for command in [Command::Promote, Command::Abort] {
        let mut rig = Rig::new();
        rig.look();
        rig.command(Some(command));
        rig.plan = plan("v3", &[(5, "2m")]);
        assert_eq!(rig.look(), (Phase::Progressing, 1, 5), "after {command:?}");
    }
}

#[test]
fn nothing_goes_on_against_an_obstacle() {
    let obstacle = Some(("NotServed", "Service shop/v2 does not exist"));
    let mut rig = Rig { obstacle, ..Rig::new() };
    assert_eq!((rig.look(), rig.reason()), ((Phase::Waiting, 0, 0), "NotServed"));
    assert_eq!(rig.after(1000), (Phase::Waiting, 0, 0));
    rig.obstacle = None;
    assert_eq!(rig.look(), (Phase::Progressing, 1, 5));
    rig.obstacle = obstacle;
    assert_eq!(rig.after(60), (Phase::Waiting, 1, 5));
    assert_eq!(rig.after(600), (Phase::Waiting, 1, 5));
    rig.obstacle = None;
    assert_eq!(rig.look(), (Phase::Progressing, 2, 25));
    rig.obstacle = obstacle;
    assert_eq!(rig.command(Some(Command::Abort)), (Phase::RolledBack, 2, 0), "a user may always");
}

fn verdict(rig: &mut Rig, seconds: i64, verdict: Verdict) -> (Phase, i32, i32) {
    rig.evidence = Evidence::Verdict(verdict);
    rig.after(seconds)
}

#[test]
fn analysis_decides_whether_a_step_follows() {
    let mut rig = Rig { evidence: Evidence::Pending, ..Rig::new() };
    rig.look();
    assert_eq!(rig.after(1000), (Phase::Progressing, 1, 5), "nothing has been said");
    let little = || Verdict::TooLittle("12 requests".into());
    assert_eq!(verdict(&mut rig, 30, little()), (Phase::Waiting, 1, 5));
    assert_eq!(rig.reason(), "TooLittleTraffic");
    assert_eq!(verdict(&mut rig, 100_000, little()), (Phase::Waiting, 1, 5), "however long it takes");
    rig.evidence = Evidence::Pending;
    assert_eq!(rig.after(1), (Phase::Waiting, 1, 5));
    assert_eq!(verdict(&mut rig, 30, Verdict::Healthy), (Phase::Progressing, 2, 25));
    assert_eq!(verdict(&mut rig, 299, Verdict::Healthy), (Phase::Progressing, 2, 25), "not before its time");
    assert_eq!(verdict(&mut rig, 1, Verdict::Healthy), (Phase::Progressing, 3, 50));
    assert_eq!(verdict(&mut rig, 300, Verdict::Healthy), (Phase::Promoted, 3, 100));
    let worse = || Verdict::Worse("ErrorRatio", "5 of 100 failed".into());
    assert_eq!(verdict(&mut rig, 300, worse()), (Phase::Promoted, 3, 100), "it is over");
}

#[test]
fn what_is_worse_is_rolled_back_at_once() {
    let worse = || Verdict::Worse("ErrorRatio", "5 of 100 failed".into());
    for prepare in [None, Some(Command::Pause)] {
        let mut rig = Rig { evidence: Evidence::Pending, ..Rig::new() };
        rig.look();
        rig.command(prepare);
        assert_eq!(verdict(&mut rig, 30, worse()), (Phase::RolledBack, 1, 0), "after {prepare:?}");
        assert_eq!(rig.reason(), "ErrorRatio");
        assert!(rig.status.as_ref().unwrap().message.ends_with("gets nothing any more: 5 of 100 failed"));
        assert_eq!(verdict(&mut rig, 30, Verdict::Healthy), (Phase::RolledBack, 1, 0), "and stays so");
        rig.evidence = Evidence::Pending;
        assert_eq!(rig.command(Some(Command::Retry)), (Phase::Progressing, 1, 5));
    }
    let mut rig = Rig { evidence: Evidence::Pending, ..Rig::new() };
    rig.look();
    rig.command = Some(Command::Promote);
    assert_eq!(verdict(&mut rig, 30, worse()), (Phase::Promoted, 3, 100), "a user may always");
}

#[test]
fn blue_gives_way_to_green_when_somebody_says_so_or_after_its_time() {
    let green = |after: serde_json::Value| {
        let mut rollout = json!({"blueGreen": {"backendRef": {"name": "green", "port": 80}}});
        if after.is_string() {
            rollout["blueGreen"]["switchAfter"] = after;
        }
        let rollout: Rollout = serde_json::from_value(rollout).unwrap();
        Rig { plan: Plan::of("shop", &rollout).unwrap(), ..Rig::new() }
    };
    let mut rig = green(json!(null));
    assert_eq!((rig.look(), rig.reason()), ((Phase::Waiting, 1, 0), "AwaitsPromotion"));
    assert_eq!(rig.after(1_000_000), (Phase::Waiting, 1, 0));
    assert_eq!(rig.command(Some(Command::Promote)), (Phase::Promoted, 1, 100));
    assert_eq!(rig.command(Some(Command::Abort)), (Phase::RolledBack, 1, 0));
    let mut rig = green(json!("1h"));
    assert_eq!(rig.look(), (Phase::Progressing, 1, 0));
    assert_eq!(rig.after(3599), (Phase::Progressing, 1, 0));
    assert_eq!(rig.after(1), (Phase::Promoted, 1, 100));
}
