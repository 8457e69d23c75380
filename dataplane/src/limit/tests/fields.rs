//! What of a request a limit looks at, what it takes, and what it tells.

use std::net::IpAddr;
use std::time::Instant;

use ::http::{HeaderMap, HeaderValue};
use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::limit_condition::Kind as When;
use gatehouse_proto::config::v1::limit_key::Kind;
use gatehouse_proto::config::v1::{Algorithm, LimitStore, StoreFailure};
use serde_json::{Value, json};

use super::super::condition::Condition;
use super::super::{Counters, Facts, Outcome, Phase, Policy, Stores, Verdict};
use super::harness::{admitted, check, config, facts, free_port, key, limit, policy, stores, target};
use crate::observe::metrics::{Gauges, Metrics};

fn texts(of: &[&str]) -> v1::Texts {
    v1::Texts { of: of.iter().map(|text| (*text).to_owned()).collect() }
}

fn header(name: &str, value: Option<&str>) -> When {
    When::Header(v1::LimitHeader { name: name.into(), value: value.map(str::to_owned) })
}

#[test]
fn each_condition_holds_for_what_it_names_and_not_turns_it_round() {
    let mut headers = HeaderMap::new();
    headers.append("x-kind", HeaderValue::from_static("large"));
    headers.append("x-kind", HeaderValue::from_static("red"));
    let (partner, client): ([Box<str>; 1], IpAddr) =
        (["partners".into()], "::ffff:10.1.2.3".parse().unwrap());
    let nobody = Facts { client, method: "POST", path: "/reports/1", ..facts(&headers) };
    let partner = Facts { consumer: Some("a/b"), tier: Some("gold"), groups: &partner, ..nobody };
    for (kind, expected) in [
        (When::Methods(texts(&["PUT", "POST"])), [true, true]),
        (When::Methods(texts(&["post"])), [false, false]),
        (When::PathPrefix("/".into()), [true, true]),
        (When::PathPrefix("/reports/".into()), [true, true]),
        (When::PathPrefix("/reports/1".into()), [true, true]),
        (When::PathPrefix("/report".into()), [false, false]),
        (header("x-kind", None), [true, true]),
        (header("x-kind", Some("large, red")), [true, true]),
        (header("x-kind", Some("large")), [false, false]),
        (header("x-absent", Some("")), [false, false]),
        (When::ClientRanges(texts(&["192.0.2.1", "10.0.0.0/8"])), [true, true]),
        (When::ClientRanges(texts(&["10.1.2.4"])), [false, false]),
        (When::Tiers(texts(&["gold"])), [false, true]),
        (When::Groups(texts(&["staff", "partners"])), [false, true]),
        (When::Groups(texts(&["staff"])), [false, false]),
        (When::Anonymous(v1::Empty {}), [true, false]),
    ] {
        for not in [false, true] {
            let condition = v1::LimitCondition { not, kind: Some(kind.clone()) };
            let compiled = Condition::compile(&condition).unwrap();
            assert_eq!([&nobody, &partner].map(|facts| compiled.holds(facts) != not), expected, "{kind:?}");
        }
    }
}

#[tokio::test]
async fn what_a_condition_leaves_out_is_not_counted_nor_told() {
    let when = |kind| v1::LimitCondition { not: false, kind: Some(kind) };
    let one = limit("a", Algorithm::TokenBucket, 1, 3_600_000);
    let posts = v1::Limit { when: vec![when(When::Methods(texts(&["POST"])))], ..one.clone() };
    let anonymous = v1::Limit { name: "b".into(), when: vec![when(When::Anonymous(v1::Empty {}))], ..one };
    let (policy, stores) = (policy(&config(LimitStore::Local, vec![posts, anonymous])), stores(None));
    let headers = HeaderMap::new();
    let ask = async |phase, facts: Facts<'_>| policy.check(phase, &facts, &stores, Instant::now()).await;
    let post = Facts { method: "POST", ..facts(&headers) };
    for _ in 0..3 {
        let outcome = ask(Phase::BeforeIdentity, facts(&headers)).await;
        assert!(matches!(outcome.verdict, Verdict::Admit(None)), "{outcome:?}");
    }
    assert!(admitted(&ask(Phase::BeforeIdentity, post).await));
    assert!(!admitted(&ask(Phase::BeforeIdentity, post).await));
    // Who is known is only known after authentication.
    let known = Facts { credential: Some("key"), ..post };
    assert!(
        admitted(&ask(Phase::WithIdentity, post).await) && !admitted(&ask(Phase::WithIdentity, post).await)
    );
    assert!(admitted(&ask(Phase::WithIdentity, known).await));
}

#[tokio::test]
async fn each_part_of_a_request_can_be_a_key() {
    let one = |kind| {
        policy(&config(
            LimitStore::Local,
            vec![v1::Limit { key: vec![key(kind)], ..limit("a", Algorithm::TokenBucket, 1, 3_600_000) }],
        ))
    };
    let cookies =
        |text: &'static str| HeaderMap::from_iter([(::http::header::COOKIE, HeaderValue::from_static(text))]);
    let [a, b, c] = ["x=1; tenant=a; y=2", "tenant=b", "tenant2=a"].map(cookies);
    let base = facts(&a);
    let cases: [(Kind, [Facts<'_>; 2], Facts<'_>); 5] = [
        (
            Kind::Cookie("tenant".into()),
            [base, Facts { headers: &b, ..base }],
            Facts { path: "/other", ..base },
        ),
        (
            Kind::Query("tenant".into()),
            [Facts { query: Some("tenant=a%20b&x=1"), ..base }, Facts { query: Some("tenant=b"), ..base }],
            Facts { query: Some("x=2&tenant=a+b&tenant=b"), ..base },
        ),
        (
            Kind::Path(v1::Empty {}),
            [base, Facts { path: "/other", ..base }],
            Facts { query: Some("a"), ..base },
        ),
        (Kind::Host(v1::Empty {}), [base, Facts { host: "other", ..base }], Facts { path: "/other", ..base }),
        (
            Kind::Method(v1::Empty {}),
            [base, Facts { method: "PUT", ..base }],
            Facts { path: "/other", ..base },
        ),
    ];
    for (kind, apart, same) in cases {
        let (policy, stores) = (one(kind.clone()), stores(None));
        let ask = async |facts: &Facts<'_>| {
            admitted(&policy.check(Phase::BeforeIdentity, facts, &stores, Instant::now()).await)
        };
        assert!(ask(&apart[0]).await && ask(&apart[1]).await, "{kind:?}: two values share a count");
        assert!(!ask(&same).await, "{kind:?}: one value has two counts");
    }
    // Those without it share one.
    let (policy, stores) = (one(Kind::Cookie("tenant".into())), stores(None));
    let none = HeaderMap::new();
    for (headers, expected) in [(&c, true), (&none, false)] {
        let facts = Facts { headers, ..base };
        let outcome = policy.check(Phase::BeforeIdentity, &facts, &stores, Instant::now()).await;
        assert_eq!(admitted(&outcome), expected);
    }
}

#[tokio::test]
async fn a_claim_can_be_a_key_once_the_identity_is_known() {
    let by_claim = v1::Limit {
        key: vec![key(Kind::Claim("org.id".into()))],
        ..limit("a", Algorithm::TokenBucket, 1, 3_600_000)
    };
    let (policy, stores) = (policy(&config(LimitStore::Local, vec![by_claim])), stores(None));
    assert!(!policy.has(Phase::BeforeIdentity) && policy.has(Phase::WithIdentity));
    let headers = HeaderMap::new();
    let ask = async |claims: Option<Value>| {
        let claims = claims.as_ref().and_then(Value::as_object);
        let facts = Facts { claims, ..facts(&headers) };
        admitted(&policy.check(Phase::WithIdentity, &facts, &stores, Instant::now()).await)
    };
    let org = |id: Value| Some(json!({"org": {"id": id}, "sub": "a"}));
    assert!(ask(org(json!("x"))).await && ask(org(json!("y"))).await && ask(org(json!(7))).await);
    assert!(!ask(org(json!("x"))).await && !ask(org(json!("7"))).await, "one value has two counts");
    // Who lacks it, or has what is no plain value, shares one count.
    assert!(ask(None).await);
    assert!(!ask(org(json!(["x"]))).await && !ask(Some(json!({"sub": "b"}))).await);
}

fn told(outcome: &Outcome) -> String {
    let mut headers = HeaderMap::new();
    match &outcome.verdict {
        Verdict::Admit(Some(quota)) | Verdict::Refuse(quota) => quota.write(&mut headers),
        verdict => panic!("{verdict:?}"),
    }
    headers["ratelimit"].to_str().unwrap().split(";t=").next().unwrap().to_owned()
}

#[tokio::test]
async fn a_request_takes_what_it_costs() {
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        let dear = v1::Limit { cost: 3, ..limit("a", algorithm, 10, 3_600_000) };
        let (policy, stores) = (policy(&config(LimitStore::Local, vec![dear])), stores(None));
        for left in ["6", "3", "0"] {
            let outcome = check(&policy, &stores).await;
            assert!(admitted(&outcome));
            assert_eq!(told(&outcome), format!("\"a\";r={left}"), "{algorithm:?}");
        }
        let outcome = check(&policy, &stores).await;
        assert!(!admitted(&outcome), "{algorithm:?}: {outcome:?}");
        let Verdict::Refuse(quota) = outcome.verdict else { panic!("{outcome:?}") };
        // Of a bucket three tokens come back in 18 minutes; a window is whole after an hour.
        let wait = if algorithm == Algorithm::TokenBucket { 18 * 60 } else { 3600 };
        let after = quota.retry_after().unwrap().as_secs();
        assert!((wait - 1..=wait + 60).contains(&after), "{algorithm:?}: {after}");
    }
    let impossible = v1::Limit { cost: 11, ..limit("a", Algorithm::SlidingWindow, 10, 1000) };
    let error =
        Policy::compile("ratelimit/a/b", &config(LimitStore::Local, vec![impossible]), &Metrics::default());
    assert!(error.unwrap_err().to_string().contains("`cost` of limit `a`"));
}

fn counted(metrics: &Metrics, limit: &str) -> [u64; 4] {
    let text = metrics.render(&Gauges::default(), &[]);
    ["allowed", "limited", "shadow_limited", "fell_back"].map(|outcome| {
        let name = format!(
            "gatehouse_rate_limit_decisions_total{{policy=\"shop/orders\",limit=\"{limit}\",outcome=\"{outcome}\"}} "
        );
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    })
}

fn compiled(metrics: &Metrics, config: &v1::RateLimit) -> Policy {
    Policy::compile("ratelimit/shop/orders", config, metrics).unwrap()
}

#[tokio::test]
async fn a_shadow_counts_and_never_refuses() {
    let metrics = Metrics::default();
    let shadow = v1::Limit { shadow: true, ..limit("tried", Algorithm::TokenBucket, 2, 3_600_000) };
    let config = config(LimitStore::Local, vec![shadow, limit("real", Algorithm::TokenBucket, 4, 3_600_000)]);
    let (policy, stores) = (compiled(&metrics, &config), stores(None));
    for n in 0..6 {
        let outcome = check(&policy, &stores).await;
        assert_eq!(admitted(&outcome), n < 4);
        assert!(told(&outcome).starts_with("\"real\""));
    }
    // What the other refused is not counted.
    assert_eq!(counted(&metrics, "tried"), [2, 0, 2, 0]);
    assert_eq!(counted(&metrics, "real"), [4, 2, 0, 0]);
    // A changed policy goes on counting.
    let _changed = compiled(&metrics, &config);
    assert_eq!(counted(&metrics, "real"), [4, 2, 0, 0]);
}

#[tokio::test]
async fn decisions_without_the_store_are_counted_besides() {
    let away = |on_failure: StoreFailure| {
        let metrics = Metrics::default();
        let config = v1::RateLimit {
            on_store_failure: on_failure.into(),
            ..config(LimitStore::Redis, vec![limit("a", Algorithm::TokenBucket, 2, 3_600_000)])
        };
        let policy = compiled(&metrics, &config);
        (
            metrics,
            policy,
            Stores::new(
                std::sync::Arc::default(),
                Some(&target(&format!("redis://127.0.0.1:{}", free_port()), 5)),
            ),
        )
    };
    for (on_failure, expected) in [
        (StoreFailure::FallbackLocal, [2, 1, 0, 3]),
        (StoreFailure::Allow, [3, 0, 0, 3]),
        (StoreFailure::Deny, [0, 0, 0, 3]),
    ] {
        let (metrics, policy, stores) = away(on_failure);
        for _ in 0..3 {
            check(&policy, &stores).await;
        }
        assert_eq!(counted(&metrics, "a"), expected, "{on_failure:?}");
    }
}

#[test]
fn as_many_as_may_be_are_under_way_at_once() {
    let metrics = Metrics::default();
    let at_once = |name: &str, requests, shadow| v1::ConcurrencyLimit {
        name: name.into(),
        key: vec![key(Kind::Host(v1::Empty {}))],
        requests,
        shadow,
        ..v1::ConcurrencyLimit::default()
    };
    let config = v1::RateLimit {
        concurrency: vec![at_once("tried", 1, true), at_once("real", 2, false)],
        ..config(LimitStore::Local, Vec::new())
    };
    let counters = std::sync::Arc::new(Counters::default());
    let (policy, stores) = (compiled(&metrics, &config), Stores::new(std::sync::Arc::clone(&counters), None));
    assert!(policy.has(Phase::BeforeIdentity) && !policy.has(Phase::WithIdentity));
    let headers = HeaderMap::new();
    let enter = |host| policy.enter(Phase::BeforeIdentity, &Facts { host, ..facts(&headers) }, &stores);
    let (first, second) = (enter("a").unwrap(), enter("a").unwrap());
    assert!(enter("a").is_none() && enter("a").is_none());
    let other = enter("b").unwrap();
    drop(first);
    let third = enter("a").unwrap();
    assert!(enter("a").is_none());
    assert_eq!(counted(&metrics, "real"), [4, 3, 0, 0]);
    // The first and, after it had gone, the third; and of the other host.
    assert_eq!(counted(&metrics, "tried"), [3, 0, 4, 0]);
    drop((second, third, other));
    assert_eq!(counters.flights().counts(), 0, "counts of nothing stay behind");
}
