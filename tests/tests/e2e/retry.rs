//! Requests that are sent again: when, how often, after how long, and which are not.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use gatehouse_tests::{
    backend::{Backend, full, status},
    client::{Ask, get},
    gateway::{EDGE, Gateway, service},
};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Fails as `/?CODE-TIMES-ID` says: so many times with this status, then answers what was sent.
async fn flaky() -> Backend {
    let counts: Mutex<HashMap<String, u32>> = Mutex::default();
    Backend::answering(move |seen| {
        let (_, plan) = seen.path.split_once('?').unwrap();
        let mut words = plan.split('-').map(|word| word.parse::<u16>().unwrap());
        let (code, times) = (words.next().unwrap(), words.next().unwrap());
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(plan.to_owned()).or_default();
        *count += 1;
        if *count <= times.into() { status(code) } else { http::Response::new(full(seen.body.clone())) }
    })
    .await
}

/// Closes the first connection of each after a request's head, and answers on the next. An odd number of connections has
/// failed.
async fn breaking() -> Backend {
    let connections = std::sync::Arc::new(AtomicUsize::new(0));
    Backend::accepting(move |mut stream, _| {
        let fails = connections.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => return,
                }
            }
            if !fails {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                    .await;
            }
        }
    })
    .await
}

fn rules(list: &[(&str, &str, &str)]) -> String {
    let rules = list.iter().map(|(path, fields, backend)| {
        format!("  - matches: [{{path: {{value: {path}}}}}]\n    {fields}\n    backendRefs: [{{name: {backend}, port: 80}}]\n")
    });
    let rules: String = rules.collect();
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec:\n  parentRefs: [{{name: \
         edge}}]\n  rules:\n{rules}"
    )
}

/// The cases of the Gateway API's conformance test, and more methods.
#[tokio::test]
async fn statuses_are_retried_as_listed() {
    let backend = flaky().await;
    let routes = rules(&[
        ("/500", "retry: {codes: [500], attempts: 3, backoff: 1ms}", "flaky"),
        ("/all", "retry: {codes: [500, 502, 503, 504], attempts: 2, backoff: 1ms}", "flaky"),
        ("/none", "timeouts: {}", "flaky"),
    ]);
    let gateway = Gateway::with(&routes, &[("flaky", backend.address)]).await;
    for (path, wanted, attempts) in [
        ("/500?500-2-1", 200, 3),
        ("/500?500-4-2", 500, 4),
        ("/500?503-2-3", 503, 1),
        ("/all?500-1-4", 200, 2),
        ("/all?500-3-5", 500, 3),
        ("/all?502-1-6", 200, 2),
        ("/all?502-3-7", 502, 3),
        ("/all?503-2-8", 200, 3),
        ("/all?504-3-9", 504, 3),
        ("/none?503-1-10", 503, 1),
    ] {
        for method in ["GET", "POST"] {
            let path = format!("{path}{}", u8::from(method == "POST"));
            let answer = get(gateway.http(), &path).method(method).send().await;
            assert_eq!(answer.status, wanted, "{method} {path}");
            assert_eq!(
                backend.seen().iter().filter(|seen| seen.path == path).count(),
                attempts,
                "{method} {path}"
            );
        }
    }
    let answer = get(gateway.http(), "/all?503-1-11").header("x-request-id", "the-one").send().await;
    assert_eq!((answer.status, &gateway.logged("the-one").await["attempts"]), (200, &2.into()));
}

/// Whichever comes first, two retries get past two that fail: no endpoint is asked twice while another is left.
#[tokio::test]
async fn a_retry_avoids_all_that_the_request_has_tried() {
    let (first, second) =
        (Backend::answering(|_| status(503)).await, Backend::answering(|_| status(503)).await);
    let good = Backend::echo("good").await;
    let routes = rules(&[("/", "retry: {codes: [503], attempts: 2, backoff: 1ms}", "app")]);
    let endpoints = [("app", first.address), ("app", second.address), ("app", good.address)];
    let gateway = Gateway::with(&routes, &endpoints).await;
    for _ in 0..40 {
        assert_eq!(get(gateway.http(), "/").send().await.status, 200);
    }
    // Without a bound on attempts that ends it, they are asked again, by turns.
    let routes = rules(&[("/", "retry: {codes: [503], attempts: 5, backoff: 1ms}", "app")]);
    let gateway = Gateway::with(&routes, &endpoints[..2]).await;
    let counts = || (first.seen().len(), second.seen().len());
    let before = counts();
    assert_eq!(get(gateway.http(), "/").send().await.status, 503);
    let after = counts();
    assert_eq!((after.0 - before.0, after.1 - before.1), (3, 3));
}

#[tokio::test]
async fn a_short_body_goes_along_and_a_long_one_goes_out_once() {
    let backend = flaky().await;
    let routes = rules(&[("/", "retry: {codes: [503], attempts: 2, backoff: 1ms}", "flaky")]);
    let gateway = Gateway::with(&routes, &[("flaky", backend.address)]).await;
    let short = "x".repeat(60 << 10);
    let ask = |path: &str, body: &str| get(gateway.http(), path).method("POST").body(body.to_owned());
    for answer in [ask("/?503-2-1", &short).send().await, ask("/?503-2-2", &short).send_h2c().await] {
        assert_eq!((answer.status, answer.body.len()), (200, short.len()));
    }
    assert!(backend.seen().iter().all(|seen| seen.body.len() == short.len()));
    assert_eq!(backend.seen().len(), 6);
    let long = "x".repeat(70 << 10);
    assert_eq!(ask("/?503-1-3", &long).send().await.status, 503);
    assert_eq!(ask("/?503-0-4", &long).send().await.body.len(), long.len());
    assert_eq!(backend.seen().len(), 8);
}

/// HTTP/2 to the backend takes all of the request, and reads its body in a task of its own.
#[tokio::test]
async fn over_http2_too() {
    let failed = std::sync::Arc::new(AtomicUsize::new(0));
    let backend = Backend::h2c(move |_, body| {
        let fails = failed.fetch_add(1, Ordering::SeqCst) < 2;
        async move {
            let body = body.collect().await.unwrap().to_bytes();
            if fails { status(503) } else { http::Response::new(full(body)) }
        }
    })
    .await;
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", rules(&[("/", "retry: {codes: [503], attempts: 2, backoff: 1ms}", "h2c")]))
        .file(
            "service.yaml",
            service("h2c").replace("{port: 80}", "{port: 80, appProtocol: kubernetes.io/h2c}"),
        )
        .endpoint("h2c", backend.address)
        .start()
        .await;
    let body = "x".repeat(60 << 10);
    let answer = get(gateway.http(), "/").method("POST").header("x-a", "b").body(body.clone()).send().await;
    assert_eq!((answer.status, answer.body.len()), (200, body.len()));
    let seen = backend.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.method == "POST" && seen.headers["x-a"] == "b"), "{seen:?}");
}

/// A request that may have done its work is not sent again unless the rule says so.
#[tokio::test]
async fn broken_connections() {
    let routes = rules(&[
        ("/bare", "retry: {}", "breaking"),
        ("/listed", "retry: {codes: [502], backoff: 1ms}", "breaking"),
        ("/none", "timeouts: {}", "breaking"),
    ]);
    for (method, path, wanted) in [
        ("GET", "/bare", 200),
        ("PUT", "/bare", 200),
        ("POST", "/bare", 502),
        ("POST", "/listed", 200),
        ("GET", "/none", 502),
    ] {
        let backend = breaking().await;
        let gateway = Gateway::with(&routes, &[("breaking", backend.address)]).await;
        let answer = get(gateway.http(), path).method(method).send().await;
        assert_eq!(answer.status, wanted, "{method} {path}");
    }
}

#[tokio::test]
async fn backends_that_are_too_slow() {
    let slow_once = || async {
        let asked = std::sync::Arc::new(AtomicUsize::new(0));
        Backend::accepting(move |mut stream, _| {
            let first = asked.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                if first {
                    // Until the gateway gives up.
                    let _ = stream.read(&mut head).await;
                    return;
                }
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                    .await;
            }
        })
        .await
    };
    let routes = rules(&[
        ("/bare", "timeouts: {backendRequest: 200ms}\n    retry: {}", "slow"),
        ("/listed", "timeouts: {backendRequest: 200ms}\n    retry: {codes: [504]}", "slow"),
        ("/whole", "timeouts: {request: 200ms}\n    retry: {codes: [504]}", "slow"),
    ]);
    for (method, path, wanted) in
        [("GET", "/bare", 200), ("POST", "/bare", 504), ("POST", "/listed", 200), ("GET", "/whole", 504)]
    {
        let backend = slow_once().await;
        let gateway = Gateway::with(&routes, &[("slow", backend.address)]).await;
        let answer = get(gateway.http(), path).method(method).send().await;
        assert_eq!(answer.status, wanted, "{method} {path}");
    }
}

#[tokio::test]
async fn waits_are_kept_and_the_request_timeout_covers_them() {
    let backend = flaky().await;
    let routes = rules(&[
        ("/wait", "retry: {codes: [503], attempts: 2, backoff: 100ms}", "flaky"),
        (
            "/until",
            "timeouts: {request: 300ms}\n    retry: {codes: [503], attempts: 10, backoff: 100ms}",
            "flaky",
        ),
    ]);
    let gateway = Gateway::with(&routes, &[("flaky", backend.address)]).await;
    let timed = async |ask: Ask| {
        let began = Instant::now();
        (ask.send().await.status, began.elapsed())
    };
    let (status, took) = timed(get(gateway.http(), "/wait?503-2-1")).await;
    assert_eq!(status, 200);
    assert!(took >= Duration::from_millis(300), "{took:?}");
    let (status, took) = timed(get(gateway.http(), "/until?503-50-2")).await;
    assert_eq!(status, 504);
    assert!((Duration::from_millis(300)..Duration::from_secs(2)).contains(&took), "{took:?}");
}
