//! Faults on purpose: what clients get, how long they wait, and what the backend sees of it.

use std::time::{Duration, Instant};

use gatehouse_tests::{
    backend::Backend,
    client::{Ask, get},
    eventually,
    gateway::Gateway,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::route;

const RULES: &str = "
- name: aborted
  matches: [{path: {value: /aborted}}]
  fault: {abort: {}}
  backendRefs: [{name: echo, port: 80}]
- name: asked
  matches: [{path: {value: /asked}}]
  fault: {header: {name: X-Fault, value: 'on'}, abort: {status: 429, grpcStatus: 10}}
  backendRefs: [{name: echo, port: 80}]
- name: half
  matches: [{path: {value: /half}}]
  fault: {abort: {percent: 50}}
  backendRefs: [{name: echo, port: 80}]
- name: guarded
  matches: [{path: {value: /guarded}}]
  auth: {policyRef: {name: keys}}
  fault: {abort: {}}
  backendRefs: [{name: echo, port: 80}]
- name: delayed
  matches: [{path: {value: /delayed}}]
  fault: {delay: {duration: 300ms}}
  backendRefs: [{name: echo, port: 80}]
- name: both
  matches: [{path: {value: /both}}]
  fault: {delay: {duration: 300ms}, abort: {status: 500}}
  backendRefs: [{name: echo, port: 80}]
- name: late
  matches: [{path: {value: /late}}]
  timeouts: {request: 200ms}
  fault: {delay: {duration: 1m}}
  backendRefs: [{name: echo, port: 80}]
- name: whole
  matches: [{path: {value: /whole}}]
  fault: {delay: {duration: 1m}}
  aggregate: {timeout: 200ms, parts: [{name: one, path: /, backendRef: {name: echo, port: 80}}]}
- name: long
  matches: [{path: {value: /long}}]
  fault: {delay: {duration: 1m}}
  backendRefs: [{name: echo, port: 80}]";

const POLICY: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: keys}
spec: {anyOf: [{apiKey: {sources: [{header: {name: X-API-Key}}]}}]}
";

async fn start() -> (Gateway, Backend) {
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(&[&route(RULES), POLICY].concat(), &[("echo", backend.address)]).await;
    (gateway, backend)
}

/// The answer, and what the log says of it.
async fn ask(gateway: &Gateway, ask: Ask, id: &str) -> (u16, Option<String>, Duration) {
    let began = Instant::now();
    let answer = ask.header("x-request-id", id).send().await;
    let took = began.elapsed();
    let line = gateway.logged(id).await;
    assert_eq!(line["status"], answer.status);
    (answer.status, line["reason"].as_str().map(str::to_owned), took)
}

#[tokio::test]
async fn some_are_answered_in_place_of_the_backend() {
    let (gateway, backend) = start().await;
    let to = |path| get(gateway.http(), path);
    let (status, reason, _) = ask(&gateway, to("/aborted"), "a").await;
    assert_eq!((status, reason.as_deref()), (503, Some("fault_aborted")));
    let (status, reason, _) = ask(&gateway, to("/guarded"), "b").await;
    assert_eq!((status, reason.as_deref()), (401, Some("unauthenticated")), "policies come first");
    let (status, reason, _) = ask(&gateway, to("/asked").header("x-fault", "on"), "c").await;
    assert_eq!((status, reason.as_deref()), (429, Some("fault_aborted")));
    let problem = to("/asked").header("x-fault", "on").send().await.json();
    assert_eq!((&problem["status"], &problem["title"]), (&429.into(), &"Too Many Requests".into()));
    backend.assert_untouched("the gateway answers");
    let (status, reason, _) = ask(&gateway, to("/asked").header("x-fault", "off"), "d").await;
    assert_eq!((status, reason), (200, None));

    let call =
        |path| to(path).method("POST").header("content-type", "application/grpc").header("x-fault", "on");
    for (path, code) in [("/aborted", "14"), ("/asked", "10")] {
        let answer = call(path).send_h2c().await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some(code)), "{path}");
    }

    let mut aborted = 0;
    for _ in 0..400 {
        aborted += u32::from(to("/half").send().await.status == 503);
    }
    // Five sigma.
    assert!((150..=250).contains(&aborted), "{aborted} of 400");
    eventually("all are counted", async || {
        let metrics = get(gateway.admin(), "/metrics").send().await;
        let wanted =
            format!("gatehouse_gateway_responses_total{{reason=\"fault_aborted\"}} {}\n", aborted + 5);
        String::from_utf8_lossy(&metrics.body).contains(&wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn some_wait_for_as_long_as_they_may() {
    let (gateway, backend) = start().await;
    let to = |path| get(gateway.http(), path);
    let (status, reason, took) = ask(&gateway, to("/delayed"), "a").await;
    assert_eq!((status, reason.as_deref()), (200, Some("fault_delayed")));
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert_eq!(backend.seen().len(), 1);
    let (status, reason, took) = ask(&gateway, to("/both"), "b").await;
    assert_eq!((status, reason.as_deref()), (500, Some("fault_aborted")));
    assert!(took >= Duration::from_millis(300), "{took:?}");
    // Whose time is over gets no more of it.
    for (path, id) in [("/late", "c"), ("/whole", "d")] {
        let (status, reason, took) = ask(&gateway, to(path), id).await;
        assert_eq!((status, reason.as_deref()), (504, Some("fault_delayed")), "{path}");
        assert!(took >= Duration::from_millis(200), "{took:?}");
    }
    let call =
        to("/long").method("POST").header("content-type", "application/grpc").header("grpc-timeout", "200m");
    let answer = call.send_h2c().await;
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("4")));
    assert_eq!(backend.seen().len(), 1);
}

#[tokio::test]
async fn a_client_that_goes_is_not_waited_for() {
    let (gateway, backend) = start().await;
    let mut client = TcpStream::connect(gateway.http()).await.unwrap();
    client.write_all(b"GET /long HTTP/1.1\r\nHost: a\r\nX-Request-Id: gone\r\n\r\n").await.unwrap();
    eventually("it has come", async || {
        let metrics = get(gateway.admin(), "/metrics").send().await;
        String::from_utf8_lossy(&metrics.body).contains("gatehouse_requests_active 1\n").then_some(())
    })
    .await;
    drop(client);
    let line = gateway.logged("gone").await;
    assert_eq!((&line["status"], &line["reason"]), (&499.into(), &"client_gone".into()));
    backend.assert_untouched("nobody waits");
}
