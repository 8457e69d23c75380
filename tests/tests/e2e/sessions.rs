//! Requests of a client that a rule keeps at one backend and endpoint.

use std::collections::BTreeSet;

use gatehouse_tests::{
    backend::{Backend, full},
    client::{Ask, get},
    gateway::Gateway,
};
use http::{HeaderValue, Response};
use serde_json::json;

use super::route;

/// Tells its name, and keeps no connection that would go on after its end.
async fn named(name: &'static str) -> Backend {
    Backend::answering(move |_| {
        let mut answer = Response::new(full(json!({ "name": name }).to_string()));
        answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
        answer
    })
    .await
}

/// A gateway whose rule has this affinity, before two Services that have two endpoints each.
async fn before(affinity: &str) -> (Gateway, Vec<(&'static str, Backend)>) {
    let mut backends = Vec::new();
    for name in ["a-1", "a-2", "b-1", "b-2"] {
        backends.push((name, named(name).await));
    }
    let endpoints: Vec<_> = backends.iter().map(|(name, one)| (&name[..1], one.address)).collect();
    (Gateway::with(&rule(affinity), &endpoints).await, backends)
}

fn rule(affinity: &str) -> String {
    route(&format!(
        "- {{sessionAffinity: {{{affinity}}}, backendRefs: [{{name: a, port: 80}}, {{name: b, port: 80, weight: 3}}]}}"
    ))
}

async fn taker(ask: Ask) -> String {
    let answer = ask.send().await;
    assert_eq!(answer.status, 200);
    answer.json()["name"].as_str().unwrap().to_owned()
}

/// Requests with the same value go to the same endpoint; those of others are spread over all, by the weights.
#[tokio::test]
async fn by_a_header() {
    let (gateway, _backends) = before("header: {name: X-Session}").await;
    let ask = |name: usize| get(gateway.http(), "/").header("x-session", &name.to_string());
    let mut of_b = 0;
    let mut takers = BTreeSet::new();
    for name in 0..100 {
        let first = taker(ask(name)).await;
        for _ in 0..2 {
            assert_eq!(taker(ask(name)).await, first, "session {name}");
        }
        of_b += usize::from(first.starts_with('b'));
        takers.insert(first);
    }
    assert_eq!(takers.len(), 4);
    // 75, give or take five standard deviations.
    assert!((54..96).contains(&of_b), "{of_b}");
    // Who has none is not kept anywhere: that 40 go to one has a chance of 4 in 4^40.
    let mut takers = BTreeSet::new();
    for _ in 0..40 {
        takers.insert(taker(get(gateway.http(), "/")).await);
    }
    assert!(takers.len() > 1);
}

#[tokio::test]
async fn by_a_cookie_of_the_gateways_making() {
    let (gateway, mut backends) = before("cookie: {name: session, ttl: 1h}").await;
    let mut sessions = Vec::new();
    for _ in 0..30 {
        let first = get(gateway.http(), "/").send().await;
        let (cookie, attributes) = first.header("set-cookie").unwrap().split_once("; ").unwrap();
        assert_eq!(attributes, "Max-Age=3600; Path=/; HttpOnly; SameSite=Lax");
        sessions.push((cookie.to_owned(), first.json()["name"].as_str().unwrap().to_owned()));
    }
    let ask = |cookie: &str| get(gateway.http(), "/").header("cookie", cookie);
    for (cookie, first) in &sessions {
        let next = ask(cookie).send().await;
        assert_eq!(next.json()["name"], first.as_str());
        assert!(next.header("set-cookie").is_none());
    }

    // The endpoint that goes is replaced by the other of its Service, for good and without a loss, and no other session moves.
    let gone = sessions.iter().map(|(_, name)| name.clone()).next().unwrap();
    backends.retain(|(name, _)| *name != gone);
    for (cookie, first) in &sessions {
        let next = taker(ask(cookie)).await;
        if *first == gone {
            assert_eq!(next[..1], first[..1]);
            assert_ne!(next, gone);
        } else {
            assert_eq!(next, *first);
        }
        assert_eq!(taker(ask(cookie)).await, next);
    }
}

/// Whatever the TrafficPolicy of a Service says of load balancing, the rule's word goes before it, in every process.
#[tokio::test]
async fn a_rule_goes_before_a_policy() {
    let (gateway, backends) = before("header: {name: X-Session}").await;
    let endpoints: Vec<_> = backends.iter().map(|(name, one)| (&name[..1], one.address)).collect();
    let ask =
        |gateway: &Gateway, name: usize| get(gateway.http(), "/").header("x-session", &name.to_string());
    let mut first = Vec::new();
    for name in 0..10 {
        first.push(taker(ask(&gateway, name)).await);
    }
    for kind in ["type: RoundRobin", "type: Random", "slowStart: {window: 1h}"] {
        let policy = format!(
            "---\napiVersion: gatehouse.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: p}}\nspec:\n  targetRefs: [{{name: \
             a}}, {{name: b}}]\n  loadBalancing: {{{kind}}}\n"
        );
        let gateway = Gateway::with(&(rule("header: {name: X-Session}") + &policy), &endpoints).await;
        for (name, first) in first.iter().enumerate() {
            for _ in 0..3 {
                assert_eq!(&taker(ask(&gateway, name)).await, first, "{kind}");
            }
        }
    }
}
