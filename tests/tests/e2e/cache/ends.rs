//! Answers at their end: stale, too long, or in the way of others.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use futures_util::future::join_all;
use gatehouse_tests::{
    backend::{Backend, full, seen, status as only},
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
};
use http::{HeaderValue, Response};

use super::{asked_until_hit, start, status, text};
use crate::route;

const WHOLE: usize = 0;
const BROKEN: usize = 1;
const SILENT: usize = 2;

/// Answers with its number, or with 503 while it is broken, or not at all.
async fn numbered(said: &'static str) -> (Backend, Arc<AtomicUsize>) {
    let (state, count) = (Arc::new(AtomicUsize::new(WHOLE)), Arc::new(AtomicUsize::new(0)));
    let is = Arc::clone(&state);
    let backend = Backend::serving(move |parts, _| {
        let (is, count) = (is.load(Ordering::SeqCst), Arc::clone(&count));
        async move {
            if is == SILENT {
                std::future::pending::<()>().await;
            }
            let mut response = only(503);
            if is == WHOLE {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                response = Response::new(full(format!("answer {number}")));
                response.headers_mut().insert("cache-control", HeaderValue::from_static(said));
            }
            (seen(&parts, Bytes::new()), response)
        }
    })
    .await;
    (backend, state)
}

async fn keeping(fields: &str, backend: &Backend) -> Gateway {
    let rules = format!(
        "- cache: {{{fields}}}\n  timeouts: {{request: 500ms}}\n  backendRefs: [{{name: echo, port: 80}}]"
    );
    Gateway::with(&route(&rules), &[("echo", backend.address)]).await
}

#[tokio::test]
async fn a_stale_answer_is_given_while_another_is_fetched() {
    for (said, fields) in
        [("max-age=1, stale-while-revalidate=600", ""), ("max-age=1", "staleWhileRevalidate: 10m")]
    {
        let (backend, _) = numbered(said).await;
        let gateway = keeping(fields, &backend).await;
        let ask = || get(gateway.http(), "/");
        assert_eq!(text(&ask().send().await), "answer 1");
        let stale = eventually("it is stale", async || {
            let answer = ask().send().await;
            assert_eq!(text(&answer), "answer 1", "nobody waits");
            let ttl: i64 = status(&answer).strip_prefix("gatehouse; hit; ttl=").unwrap().parse().unwrap();
            (ttl <= 0).then_some(answer)
        })
        .await;
        assert_eq!(stale.status, 200);
        eventually("the other one is there", async || {
            let answers = join_all((0..10).map(|_| ask().send())).await;
            assert!(answers.iter().all(|answer| answer.status == 200));
            answers.iter().all(|answer| text(answer) != "answer 1").then_some(())
        })
        .await;
        assert!(backend.seen().len() <= 3, "one at a time: {}", backend.seen().len());
    }
}

#[tokio::test]
async fn a_stale_answer_is_given_in_place_of_an_error() {
    let (backend, state) = numbered("max-age=1, stale-if-error=600").await;
    let gateway = keeping("", &backend).await;
    let ask = || get(gateway.http(), "/");
    assert_eq!(text(&ask().send().await), "answer 1");
    state.store(BROKEN, Ordering::SeqCst);
    let stale = eventually("it is stale", async || {
        let answer = ask().header("x-request-id", "stale").send().await;
        (answer.status == 200 && status(&answer).contains("fwd=stale")).then_some(answer)
    })
    .await;
    assert_eq!(text(&stale), "answer 1");
    assert!(status(&stale).starts_with("gatehouse; fwd=stale; fwd-status=503; ttl="), "{}", status(&stale));
    eventually("it is logged", async || {
        gateway
            .access_log()
            .into_iter()
            .find(|line| line["request_id"] == "stale" && line["cache"] == "stale")
    })
    .await;
    assert_eq!(get(gateway.http(), "/other").send().await.status, 503);
    // Nor does it matter why there is no answer.
    state.store(SILENT, Ordering::SeqCst);
    let stale = eventually("it is given all the same", async || {
        let answer = ask().send().await;
        (status(&answer) == "gatehouse; fwd=stale").then_some(answer)
    })
    .await;
    assert_eq!((stale.status, &*text(&stale)), (200, "answer 1"));
}

#[tokio::test]
async fn what_is_longer_passes_and_is_not_kept() {
    let (gateway, backend) = start("maxBodyBytes: 1000").await;
    let ask = |bytes: usize| get(gateway.http(), &format!("/?cache-control=max-age=60&body={bytes}"));
    ask(1000).send().await;
    assert_eq!(asked_until_hit(|| ask(1000)).await.body.len(), 1000);
    for _ in 0..3 {
        let answer = ask(1001).send().await;
        assert_eq!((answer.status, answer.body.len()), (200, 1001));
        assert!(status(&answer).starts_with("gatehouse; fwd="), "{}", status(&answer));
    }
    assert_eq!(backend.seen().len(), 4);
}

/// A backend that died in the middle looks the same.
#[tokio::test]
async fn what_ends_with_its_connection_is_not_kept() {
    let backend = Backend::raw(b"HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n\r\nall of it?").await;
    let gateway = keeping("", &backend).await;
    for _ in 0..3 {
        let answer = get(gateway.http(), "/").send().await;
        assert_eq!((&*text(&answer), status(&answer)), ("all of it?", "gatehouse; fwd=uri-miss"));
    }
    assert_eq!(backend.seen().len(), 3);
}

#[tokio::test]
async fn no_more_is_kept_than_there_is_room_for() {
    const CONFIG: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayConfig
metadata: {name: small}
spec: {cache: {maxBytes: 1048576}}
";
    let backend = super::backend().await;
    let edge = EDGE.replace(
        "spec:\n",
        "spec:\n  infrastructure: {parametersRef: {group: gatehouse.dev, kind: GatewayConfig, name: small}}\n",
    );
    let gateway = Gateway::builder()
        .file("edge.yaml", format!("{edge}{CONFIG}"))
        .file("routes.yaml", route("- cache: {}\n  backendRefs: [{name: echo, port: 80}]"))
        .file("service.yaml", service("echo"))
        .endpoint("echo", backend.address)
        .start()
        .await;
    for number in 0..100 {
        let answer =
            get(gateway.http(), &format!("/{number}?cache-control=max-age=60&body=20000")).send().await;
        assert_eq!((answer.status, answer.body.len()), (200, 20_000));
    }
    let metrics = text(&get(gateway.admin(), "/metrics").send().await);
    let value = |name: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap().parse::<u64>().unwrap()
    };
    let held = value("gatehouse_cache_bytes");
    assert!((500_000..=1 << 20).contains(&held), "{held}");
    assert!(value("gatehouse_cache_evictions_total") > 50);
}
