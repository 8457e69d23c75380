//! TrafficPolicy: which of a Service's endpoints gets a request.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use gatehouse_tests::{
    backend::{Backend, Seen, full, status},
    client::{Ask, get},
    gateway::{EDGE, Gateway, service},
};
use http::{HeaderValue, Response};
use serde_json::json;
use tokio::io::AsyncReadExt;

use super::route;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// A TrafficPolicy `p` for the Service `app`, with these fields.
fn policy(fields: &str) -> String {
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: p}}\nspec:\n  targetRefs: [{{name: app}}]\n  \
         {fields}\n"
    )
}

/// A gateway before these backends of the Service `app`. The policy and the rule have these fields.
async fn before(backends: &[Backend], policed: &str, rule: &str) -> Gateway {
    let builder = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("route.yaml", route(&format!("- {{{rule}backendRefs: [{{name: app, port: 80}}]}}")))
        .file("service.yaml", service("app"))
        .file("policy.yaml", policy(policed));
    backends.iter().fold(builder, |builder, one| builder.endpoint("app", one.address)).start().await
}

/// A gateway before three backends that tell their names.
async fn three(policed: &str) -> (Gateway, Vec<Backend>) {
    let mut backends = Vec::new();
    for name in NAMES {
        backends.push(Backend::echo(name).await);
    }
    (before(&backends, policed, "").await, backends)
}

async fn taker(ask: Ask) -> String {
    let answer = ask.send().await;
    assert_eq!(answer.status, 200);
    answer.json()["name"].as_str().unwrap().to_owned()
}

/// Who took each of these requests, and how many.
async fn counts(asks: impl Iterator<Item = Ask>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for ask in asks {
        *counts.entry(taker(ask).await).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn one_after_the_other() {
    let (gateway, _backends) = three("loadBalancing: {type: RoundRobin}").await;
    let counts = counts((0..30).map(|_| get(gateway.http(), "/"))).await;
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [10, 10, 10], "whatever the worker");
}

#[tokio::test]
async fn requests_that_share_a_key_share_an_endpoint() {
    let (gateway, backends) =
        three("loadBalancing: {type: ConsistentHash, consistentHash: {header: {name: x-cart}}}").await;
    let asks = |name: usize| get(gateway.http(), "/").header("x-cart", &format!("cart-{name}"));
    let mut takers = BTreeMap::new();
    for name in 0..20 {
        let first = taker(asks(name)).await;
        for _ in 0..3 {
            assert_eq!(taker(asks(name)).await, first, "cart {name}");
        }
        takers.insert(name, first);
    }
    // That all 20 belong to one has a chance of 3 in 3^20.
    assert!(takers.values().collect::<BTreeSet<_>>().len() > 1, "{takers:?}");
    // Those without a key stick nowhere: that 60 go to one has a chance of 3 in 3^60.
    let without = counts((0..60).map(|_| get(gateway.http(), "/"))).await;
    assert!(without.len() > 1, "{without:?}");

    // By another process too, whatever the order.
    let turned: Vec<Backend> = backends.into_iter().rev().collect();
    let fields = "loadBalancing: {type: ConsistentHash, consistentHash: {header: {name: x-cart}}}";
    let again = before(&turned, fields, "").await;
    for (name, first) in &takers {
        let ask = get(again.http(), "/").header("x-cart", &format!("cart-{name}"));
        assert_eq!(&taker(ask).await, first, "cart {name}");
    }
}

#[tokio::test]
async fn by_address_and_by_cookie() {
    let (gateway, _backends) =
        three("loadBalancing: {type: ConsistentHash, consistentHash: {clientIP: {}}}").await;
    assert_eq!(counts((0..30).map(|_| get(gateway.http(), "/"))).await.len(), 1);
    // A change of the policy takes effect on what serves.
    gateway.write(
        "policy.yaml",
        &policy("loadBalancing: {type: ConsistentHash, consistentHash: {cookie: {name: cart}}}"),
    );
    gatehouse_tests::eventually("addresses do not count any more", async || {
        (counts((0..10).map(|_| get(gateway.http(), "/"))).await.len() > 1).then_some(())
    })
    .await;
    let ask = || get(gateway.http(), "/").header("cookie", "other=1; cart=17");
    assert_eq!(counts((0..30).map(|_| ask())).await.len(), 1);
}

/// A key's endpoint that is not there is passed over before anything is sent, and its keys alone move.
#[tokio::test]
async fn who_is_gone_is_passed_over() {
    let mut backends = Vec::new();
    for name in NAMES {
        // Nothing is kept that would go on after its end.
        let once = move || {
            let mut answer = Response::new(full(json!({"name": name}).to_string()));
            answer.headers_mut().insert("connection", HeaderValue::from_static("close"));
            answer
        };
        backends.push(Backend::answering(move |_| once()).await);
    }
    let fields = "loadBalancing: {type: ConsistentHash, consistentHash: {header: {name: x-cart}}}";
    let gateway = before(&backends, fields, "").await;
    let ask = |name: usize| get(gateway.http(), "/").header("x-cart", &format!("cart-{name}"));
    let mut takers = Vec::new();
    for name in 0..20 {
        takers.push(taker(ask(name)).await);
    }
    drop(backends.remove(0));
    for (name, before) in takers.iter().enumerate() {
        let now = taker(ask(name).method("POST")).await;
        assert!(now != "a" && (before == "a" || *before == now), "cart {name}: {before}, then {now}");
    }
}

/// As [`three`], but the first answers 500 for as long as it is told to.
async fn one_fails(fields: &str) -> (Gateway, Vec<Backend>, Arc<AtomicBool>) {
    let failing = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&failing);
    let bad = Backend::answering(move |_| status(if fails.load(Ordering::SeqCst) { 500 } else { 200 })).await;
    let backends = vec![bad, Backend::echo("b").await, Backend::echo("c").await];
    (before(&backends, fields, "").await, backends, failing)
}

/// How many of so many requests, one after the other, get this status.
async fn answered(gateway: &Gateway, count: usize, status: u16) -> usize {
    let mut with = 0;
    for _ in 0..count {
        with += usize::from(get(gateway.http(), "/").send().await.status == status);
    }
    with
}

#[tokio::test]
async fn who_answers_badly_again_and_again_is_ejected() {
    let (gateway, backends, _) = one_fails(
        "loadBalancing: {type: RoundRobin}\n  healthCheck: {passive: {consecutive5xxErrors: 3, baseEjectionTime: 1h}}",
    )
    .await;
    assert_eq!(answered(&gateway, 40, 500).await, 3);
    assert_eq!(backends[0].seen().len(), 3);
    let metrics = get(gateway.admin(), "/metrics").send().await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for line in [
        "gatehouse_service_endpoints{service=\"default/app/80\",state=\"ready\"} 2",
        "gatehouse_service_endpoints{service=\"default/app/80\",state=\"ejected\"} 1",
        "gatehouse_service_ejections_total{service=\"default/app/80\"} 1",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line} is not in {metrics}");
    }
    gateway.said("endpoint ejected").await;

    // Another object's change lets nobody in again.
    gateway.write("other.yaml", &service("other"));
    gateway.write("route.yaml", &route("- {name: again, backendRefs: [{name: app, port: 80}]}"));
    gatehouse_tests::eventually("the route is another", async || {
        let id = "probe";
        assert_eq!(get(gateway.http(), "/").header("x-request-id", id).send().await.status, 200);
        gateway.access_log().iter().any(|line| line["rule"] == "again").then_some(())
    })
    .await;
    assert_eq!(answered(&gateway, 10, 200).await, 10);
}

#[tokio::test]
async fn who_has_recovered_gets_requests_again() {
    let (gateway, backends, failing) = one_fails(
        "loadBalancing: {type: RoundRobin}\n  healthCheck: {passive: {consecutive5xxErrors: 1, baseEjectionTime: 100ms}}",
    )
    .await;
    assert!(answered(&gateway, 3, 500).await >= 1);
    failing.store(false, Ordering::SeqCst);
    let before = backends[0].seen().len();
    gatehouse_tests::eventually("it is asked again", async || {
        assert_eq!(get(gateway.http(), "/").send().await.status, 200);
        (backends[0].seen().len() > before + 3).then_some(())
    })
    .await;
}

/// A share of failures, none of which come one after the other on the connection's side.
#[tokio::test]
async fn a_share_of_failures_is_enough() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let half = Backend::answering(move |_| {
        status(if counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) { 500 } else { 200 })
    })
    .await;
    let backends = vec![half, Backend::echo("b").await];
    let gateway = before(
        &backends,
        "loadBalancing: {type: RoundRobin}\n  healthCheck: {passive: {failurePercent: {threshold: 40, minimumRequests: 10, \
         interval: 1h}, baseEjectionTime: 1h}}",
        "",
    )
    .await;
    // Its eleventh is the sixth failure of eleven; the tenth is no failure.
    assert_eq!(answered(&gateway, 60, 500).await, 6);
    assert_eq!(count.load(Ordering::SeqCst), 11);
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_ejected() {
    let late = async |limit: &str| {
        let hanging = Backend::accepting(|mut stream, _| async move {
            // Until the gateway gives up.
            while !matches!(stream.read(&mut [0; 1024]).await, Ok(0) | Err(_)) {}
        })
        .await;
        let backends = vec![hanging, Backend::echo("b").await, Backend::echo("c").await];
        let gateway = before(
            &backends,
            "loadBalancing: {type: RoundRobin}\n  healthCheck: {passive: {consecutiveGatewayErrors: 2, baseEjectionTime: 1h}}",
            &format!("timeouts: {{{limit}: 1s}}, "),
        )
        .await;
        answered(&gateway, 20, 504).await
    };
    assert_eq!(tokio::join!(late("request"), late("backendRequest")), (2, 2));
}

#[tokio::test]
async fn who_can_not_be_connected_to_is_not_tried_again() {
    let mut backends = Vec::new();
    for name in NAMES {
        backends.push(Backend::echo(name).await);
    }
    let gateway = before(
        &backends,
        "loadBalancing: {type: RoundRobin}\n  healthCheck: {passive: {consecutiveGatewayErrors: 2, baseEjectionTime: 1h}}",
        "",
    )
    .await;
    drop(backends.remove(0));
    let mut attempts = Vec::new();
    for count in 0..20 {
        let id = format!("try-{count}");
        assert_eq!(
            get(gateway.http(), "/").method("POST").header("x-request-id", &id).send().await.status,
            200
        );
        attempts.push(gateway.logged(&id).await["attempts"].as_u64().unwrap());
    }
    assert_eq!(attempts.iter().filter(|count| **count == 2).count(), 2, "{attempts:?}");
    assert_eq!(attempts.iter().filter(|count| **count == 1).count(), 18, "{attempts:?}");
}

/// When all fail, it is better to ask one of them than nobody.
#[tokio::test]
async fn the_last_one_is_not_ejected() {
    let mut backends = Vec::new();
    for _ in 0..3 {
        backends.push(Backend::answering(|_| status(500)).await);
    }
    let gateway = before(
        &backends,
        "healthCheck: {passive: {consecutive5xxErrors: 1, maxEjectionPercent: 99, baseEjectionTime: 1h}}",
        "",
    )
    .await;
    assert_eq!(answered(&gateway, 30, 500).await, 30);
    let seen: Vec<usize> = backends.iter().map(|one| one.seen().len()).collect();
    assert_eq!(seen.iter().filter(|count| **count == 1).count(), 2, "{seen:?}");
    assert_eq!(seen.iter().sum::<usize>(), 30);
}

#[tokio::test]
async fn a_cookie_of_the_gateways_making_keeps_a_client_at_its_endpoint() {
    let (gateway, _backends) =
        three("loadBalancing: {type: ConsistentHash, consistentHash: {cookie: {name: cart, ttl: 1h}}}").await;
    let mut takers = BTreeSet::new();
    for _ in 0..20 {
        let first = get(gateway.http(), "/").send().await;
        let set = first.header("set-cookie").unwrap();
        let (cookie, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Max-Age=3600; Path=/; HttpOnly; SameSite=Lax");
        for _ in 0..3 {
            let next = get(gateway.http(), "/").header("cookie", cookie).send().await;
            assert_eq!(next.json()["name"], first.json()["name"]);
            assert!(next.header("set-cookie").is_none());
        }
        takers.insert(first.json()["name"].as_str().unwrap().to_owned());
    }
    // That all 20 belong to one has a chance of 3 in 3^20.
    assert!(takers.len() > 1, "{takers:?}");
}

/// A backend that answers when it is let go.
async fn held(release: &Arc<tokio::sync::Semaphore>) -> Backend {
    let release = Arc::clone(release);
    Backend::serving(move |parts, _| {
        let release = Arc::clone(&release);
        async move {
            release.acquire().await.unwrap().forget();
            let seen = Seen {
                method: parts.method.to_string(),
                path: parts.uri.path().into(),
                headers: parts.headers,
                body: bytes::Bytes::new(),
            };
            (seen, status(200))
        }
    })
    .await
}

#[tokio::test]
async fn what_is_too_much_for_a_backend_is_refused_at_once() {
    for (bounds, fit) in [("maxRequests: 3", 3), ("maxRequestsPerEndpoint: 2", 4)] {
        let release = Arc::new(tokio::sync::Semaphore::new(0));
        let backends = vec![held(&release).await, held(&release).await];
        let gateway = before(&backends, &format!("circuitBreaker: {{{bounds}}}"), "").await;
        let ask = || get(gateway.http(), "/").send();
        let waiting: Vec<_> = (0..8).map(|_| tokio::spawn(ask())).collect();
        let mut refused = 0;
        let (told, mut answers) = tokio::sync::mpsc::unbounded_channel();
        for one in waiting {
            let told = told.clone();
            tokio::spawn(async move { told.send(one.await.unwrap()) });
        }
        // Exactly so many are turned away before anybody is answered.
        while refused < 8 - fit {
            let answer = answers.recv().await.unwrap();
            assert_eq!((answer.status, &answer.json()["reason"]), (503, &"upstream_full".into()), "{bounds}");
            refused += 1;
        }
        release.add_permits(100);
        for _ in 0..fit {
            assert_eq!(answers.recv().await.unwrap().status, 200, "{bounds}");
        }
        // There is room again.
        assert_eq!(ask().await.status, 200, "{bounds}");
    }
}
