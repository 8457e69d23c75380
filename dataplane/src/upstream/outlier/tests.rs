use gatehouse_proto::config::v1;
use http::{HeaderMap, StatusCode};

use super::{Outcome, Passive, Tally};

fn passive(change: impl FnOnce(&mut v1::PassiveCheck)) -> Passive {
    let mut wire = v1::PassiveCheck {
        base_ejection_ms: 1000,
        max_ejection_percent: 50,
        interval_ms: 10_000,
        ..v1::PassiveCheck::default()
    };
    change(&mut wire);
    Passive::compile(&wire)
}

/// At which of the outcomes it is to be ejected.
fn ejected_at(passive: &Passive, outcomes: &[Outcome], now: impl Fn(usize) -> u64) -> Option<usize> {
    let tally = Tally::default();
    outcomes.iter().enumerate().position(|(at, outcome)| passive.note(&tally, *outcome, || now(at)))
}

#[test]
fn heads_tell_how_a_backend_does() {
    let plain = HeaderMap::new();
    for (code, wanted) in [
        (200, Outcome::Success),
        (404, Outcome::Success),
        (500, Outcome::Error),
        (501, Outcome::Error),
        (502, Outcome::GatewayError),
        (503, Outcome::GatewayError),
        (504, Outcome::GatewayError),
        (599, Outcome::Error),
    ] {
        assert_eq!(Outcome::of(StatusCode::from_u16(code).unwrap(), &plain, false), wanted, "{code}");
    }
    let mut call = HeaderMap::new();
    call.insert("grpc-status", "14".parse().unwrap());
    assert_eq!(Outcome::of(StatusCode::OK, &call, true), Outcome::GatewayError);
    assert_eq!(Outcome::of(StatusCode::OK, &call, false), Outcome::Success);
}

#[test]
fn only_failures_one_after_the_other_count_together() {
    use Outcome::{Error, GatewayError, Success};
    let errors = passive(|wire| wire.consecutive_errors = 3);
    assert_eq!(ejected_at(&errors, &[Error, GatewayError, Error], |_| 1), Some(2));
    assert_eq!(ejected_at(&errors, &[Error, Error, Success, Error, Error], |_| 1), None);
    let gateway = passive(|wire| wire.consecutive_gateway_errors = 2);
    assert_eq!(ejected_at(&gateway, &[GatewayError, GatewayError], |_| 1), Some(1));
    assert_eq!(ejected_at(&gateway, &[GatewayError, Error, GatewayError, Error], |_| 1), None);
    assert_eq!(ejected_at(&gateway, &[Error; 100], |_| 1), None);
}

#[test]
fn a_share_counts_within_its_window() {
    use Outcome::{Error, Success};
    let half = passive(|wire| {
        wire.failure_percent = 50;
        wire.minimum_requests = 10;
    });
    let mixed: Vec<Outcome> = [Success, Error].repeat(10);
    assert_eq!(ejected_at(&half, &mixed, |_| 1), Some(9), "not before the tenth");
    let fewer: Vec<Outcome> = [Success, Success, Error].repeat(10);
    assert_eq!(ejected_at(&half, &fewer, |_| 1), None);
    // Windows of 10 s, with 5 requests in each.
    assert_eq!(ejected_at(&half, &mixed, |at| 10_001 + 2_000 * u64::try_from(at).unwrap()), None);
    // A success is never what an endpoint is ejected for.
    let late: Vec<Outcome> = [vec![Error; 9], vec![Success; 1]].concat();
    assert_eq!(ejected_at(&half, &late, |_| 1), None);
}

#[test]
fn ejections_grow_while_it_does_not_keep_well() {
    let (passive, tally) = (passive(|wire| wire.consecutive_errors = 1), Tally::default());
    let mut now = 1;
    for time in [1000, 2000, 3000] {
        assert_eq!(tally.eject(&passive, now), time);
        assert!(tally.is_ejected(now + time - 1) && !tally.is_ejected(now + time));
        now += time + 10;
    }
    for _ in 0..20 {
        now += tally.eject(&passive, now) + 10;
    }
    assert_eq!(tally.eject(&passive, now), 10_000, "ten times at most");
    // It has kept well for as long as it was ejected.
    now += 20_000;
    assert_eq!(tally.eject(&passive, now), 1000);
}
