use std::cell::Cell;

use gatehouse_proto::config::v1::{Header, Rollout as Wire, RolloutForce, rollout_force::Kind};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Rollout, Version};
use crate::{
    filter::{HeaderChanges, Rewrite},
    observe::metrics::Metrics,
    snapshot::{Backend, Forward},
};

fn forward(weights: &[u64]) -> Forward {
    let mut sum = 0;
    let backends = weights.iter().map(|weight| {
        sum += weight;
        Backend {
            weight_until: sum,
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
        }
    });
    let backends = backends.collect();
    Forward { backends, total_weight: sum, rewrite: Rewrite::default(), repeats: None, rollout: None }
}

fn compile(wire: &Wire, backends: usize) -> Result<Rollout, String> {
    Rollout::compile(wire, backends, &Metrics::default())
}

fn wire(sticky_seed: &str) -> Wire {
    let pair = |name: &str| Header { name: name.into(), value: "always".into() };
    let forces = [Kind::Header(pair("x-canary")), Kind::Cookie(pair("canary"))];
    let forces = forces.map(|kind| RolloutForce { kind: Some(kind) });
    Wire { canary: 1, forces: forces.into(), sticky_seed: sticky_seed.into(), counts: String::new() }
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let pairs =
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(name, value);
    }
    headers
}

#[test]
fn what_a_request_says_comes_first() {
    let rollout = compile(&wire(""), 2).unwrap();
    for (fields, wanted) in [
        (&[][..], 0),
        (&[("x-canary", "always")], 1),
        (&[("x-canary", "Always")], 0),
        (&[("x-canary", "never"), ("x-canary", "always")], 1),
        (&[("cookie", "a=b; canary=always")], 1),
        (&[("cookie", "canary=alwaysnot; always=canary")], 0),
        (&[("cookie", "a=b"), ("cookie", "canary=always")], 1),
    ] {
        let chosen = rollout.choose(&forward(&[100, 0]), &headers(fields), None, || 99).unwrap();
        assert_eq!(chosen.backend, wanted, "{fields:?}");
    }
    assert_eq!(rollout.choose(&forward(&[0, 0]), &headers(&[]), None, || 0), None);
}

#[test]
fn consumers_keep_the_new_version_while_its_share_grows() {
    let rollout = compile(&wire("GatewayRoute/shop/orders/all"), 2).unwrap();
    let consumers: Vec<String> = (0..4000).map(|number| format!("shop/c{number}")).collect();
    let asked = Cell::new(false);
    let share = |rollout: &Rollout, weight: u64| -> Vec<bool> {
        let forward = forward(&[100 - weight, weight]);
        let random = || {
            asked.set(true);
            0
        };
        let chosen = consumers.iter().map(|one| rollout.choose(&forward, &headers(&[]), Some(one), random));
        chosen.map(|chosen| chosen.unwrap().backend == 1).collect()
    };
    let mut before = vec![false; consumers.len()];
    for weight in [0, 5, 25, 50, 100] {
        let now = share(&rollout, weight);
        assert!(before.iter().zip(&now).all(|(before, now)| !before || *now), "at {weight} %");
        let count = now.iter().filter(|canary| **canary).count() as f64;
        let (n, p) = (consumers.len() as f64, weight as f64 / 100.0);
        assert!((count - n * p).abs() <= 4.0 * (n * p * (1.0 - p)).sqrt(), "{count} at {weight} %");
        before = now;
    }
    assert!(!asked.get(), "chance decides nothing");
    assert_eq!(share(&rollout, 25), share(&rollout.clone(), 25));
    let other = compile(&wire("GatewayRoute/shop/users/all"), 2).unwrap();
    assert_ne!(share(&rollout, 25), share(&other, 25), "not always the same consumers are the first");
}

#[test]
fn who_has_no_identity_is_decided_by_chance() {
    let rollout = compile(&wire("seed"), 2).unwrap();
    let nobody = headers(&[]);
    for (random, wanted) in [(10, 0), (60, 1)] {
        assert_eq!(rollout.choose(&forward(&[50, 50]), &nobody, None, || random).unwrap().backend, wanted);
    }
}

#[test]
fn what_was_demanded_counts_for_neither_version() {
    let rollout = compile(&Wire { counts: "a".into(), ..wire("") }, 2).unwrap();
    let as_what = |fields: &[(&'static str, &'static str)], random: u64| {
        let choice = rollout.choose(&forward(&[50, 50]), &headers(fields), None, || random).unwrap();
        rollout.counts(choice).map(|(_, version)| version)
    };
    assert_eq!(as_what(&[], 10), Some(Version::Stable));
    assert_eq!(as_what(&[], 60), Some(Version::Canary));
    assert_eq!(as_what(&[("x-canary", "always")], 60), None);
    let uncounted = compile(&wire(""), 2).unwrap();
    let choice = uncounted.choose(&forward(&[50, 50]), &headers(&[]), None, || 10).unwrap();
    assert!(uncounted.counts(choice).is_none());
}

#[test]
fn what_can_not_be_understood_is_refused() {
    assert!(compile(&wire(""), 3).is_err(), "the new version is the last");
    let unknown = Wire { forces: vec![RolloutForce { kind: None }], ..wire("") };
    assert!(compile(&unknown, 2).is_err());
    let bad = Header { name: "a b".into(), value: String::new() };
    let bad = Wire { forces: vec![RolloutForce { kind: Some(Kind::Header(bad)) }], ..wire("") };
    assert!(compile(&bad, 2).is_err());
}
