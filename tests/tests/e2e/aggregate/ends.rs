//! When the time is up, when a part can't be spared, and when the client goes: what is under way ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use gatehouse_tests::{backend::Backend, client::get, eventually, gateway::Gateway};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::json as json_answer;
use crate::route;

/// Says so much and then nothing, and counts who has asked and who has gone.
struct Hung {
    backend: Backend,
    asked: Arc<AtomicUsize>,
    gone: Arc<AtomicUsize>,
}

impl Hung {
    async fn after(said: &'static [u8]) -> Hung {
        let (asked, gone) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let counts = (Arc::clone(&asked), Arc::clone(&gone));
        let backend = Backend::accepting(move |mut stream, _| {
            let (asked, gone) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
            async move {
                let mut piece = [0; 4096];
                if stream.read(&mut piece).await.is_ok_and(|count| count > 0) {
                    asked.fetch_add(1, Ordering::SeqCst);
                }
                let _ = stream.write_all(said).await;
                while stream.read(&mut piece).await.is_ok_and(|count| count > 0) {}
                gone.fetch_add(1, Ordering::SeqCst);
            }
        })
        .await;
        Hung { backend, asked, gone }
    }

    async fn all_gone(&self) {
        eventually("whoever asked has gone", async || {
            let asked = self.asked.load(Ordering::SeqCst);
            (asked > 0 && self.gone.load(Ordering::SeqCst) >= asked).then_some(())
        })
        .await;
    }
}

const HALF: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"a\":";

#[tokio::test]
async fn the_time_is_up_for_what_hangs_and_for_nothing_else() {
    let ok = Backend::answering(|_| json_answer("1")).await;
    let (silent, half) = (Hung::after(b"").await, Hung::after(HALF).await);
    let rules = r#"
- matches: [{path: {value: /whole}}]
  aggregate:
    timeout: 300ms
    errorsMember: errors
    parts:
    - {name: ok, backendRef: {name: ok, port: 80}, path: /}
    - {name: silent, backendRef: {name: silent, port: 80}, path: /, onFailure: "Null"}
    - {name: half, backendRef: {name: half, port: 80}, path: /, onFailure: Omit}
- matches: [{path: {value: /part}}]
  aggregate:
    timeout: 1m
    parts:
    - {name: half, backendRef: {name: half, port: 80}, path: /, onFailure: "Null", timeout: 200ms}
    - {name: ok, backendRef: {name: ok, port: 80}, path: /}
- matches: [{path: {value: /required}}]
  aggregate:
    timeout: 300ms
    parts:
    - {name: ok, backendRef: {name: ok, port: 80}, path: /}
    - {name: silent, backendRef: {name: silent, port: 80}, path: /}
- matches: [{path: {value: /early}}]
  aggregate:
    timeout: 1m
    parts:
    - {name: silent, backendRef: {name: silent, port: 80}, path: /}
    - {name: half, backendRef: {name: half, port: 80}, path: /, timeout: 200ms}
"#;
    let backends = [("ok", ok.address), ("silent", silent.backend.address), ("half", half.backend.address)];
    let gateway = Gateway::with(&route(rules), &backends).await;
    let ask = async |path: &str, least: u64| {
        let began = Instant::now();
        let answer = get(gateway.http(), path).send().await;
        let took = began.elapsed();
        assert!((Duration::from_millis(least)..Duration::from_secs(10)).contains(&took), "{path}: {took:?}");
        answer
    };
    let late = |part: &str| json!({"part": part, "reason": "upstream_timeout"});
    let whole = ask("/whole", 300).await;
    assert_eq!((whole.status, whole.header("x-gatehouse-partial")), (200, Some("silent, half")));
    assert_eq!(whole.json(), json!({"ok": 1, "silent": null, "errors": [late("silent"), late("half")]}));
    let part = ask("/part", 200).await;
    assert_eq!((part.status, part.json()), (200, json!({"half": null, "ok": 1})));
    let required = ask("/required", 300).await;
    assert_eq!((required.status, &required.json()["part"]), (504, &"silent".into()));
    assert_eq!(required.json()["reason"], "upstream_timeout");
    // Whoever can't be spared ends it for all, long before the time is up.
    let early = ask("/early", 200).await;
    assert_eq!((early.status, &early.json()["part"]), (504, &"half".into()));
    silent.all_gone().await;
    half.all_gone().await;
}

#[tokio::test]
async fn a_client_that_goes_takes_its_parts_with_it() {
    let (silent, half) = (Hung::after(b"").await, Hung::after(HALF).await);
    let rules = r#"
- aggregate:
    timeout: 5m
    parts:
    - {name: silent, backendRef: {name: silent, port: 80}, path: /}
    - {name: half, backendRef: {name: half, port: 80}, path: /}
"#;
    let backends = [("silent", silent.backend.address), ("half", half.backend.address)];
    let gateway = Gateway::with(&route(rules), &backends).await;
    let mut client = TcpStream::connect(gateway.http()).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: left\r\n\r\n").await.unwrap();
    for hung in [&silent, &half] {
        eventually("it is asked", async || (hung.asked.load(Ordering::SeqCst) > 0).then_some(())).await;
    }
    drop(client);
    silent.all_gone().await;
    half.all_gone().await;
    let log = gateway.logged("left").await;
    assert_eq!((&log["status"], &log["reason"]), (&499.into(), &"client_gone".into()));
}
