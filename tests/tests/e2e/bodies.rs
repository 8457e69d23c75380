//! How large a request's body may be.

use std::time::Duration;

use gatehouse_tests::{
    backend::Backend,
    client::{get, raw},
    gateway::Gateway,
};

use crate::route;

async fn gateway(backend: &Backend) -> Gateway {
    let rules = "
- matches: [{path: {value: /small}}]
  maxRequestBodyBytes: 1000
  backendRefs: [{name: app, port: 80}]
- matches: [{path: {value: /any}}]
  backendRefs: [{name: app, port: 80}]
";
    Gateway::with(&route(rules), &[("app", backend.address)]).await
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let backend = Backend::echo("app").await;
    let gateway = gateway(&backend).await;
    for (path, length, wanted) in
        [("/small", 0, 200), ("/small", 1000, 200), ("/small", 1001, 413), ("/any", 1_000_000, 200)]
    {
        let ask = get(gateway.http(), path).method("POST").body(vec![b'a'; length]);
        for (protocol, answer) in [("HTTP/1", ask.clone().send().await), ("HTTP/2", ask.send_h2c().await)] {
            assert_eq!(answer.status, wanted, "{length} bytes to {path} over {protocol}");
            if wanted == 413 {
                assert_eq!(answer.json()["reason"], "body_too_large");
            }
        }
    }
    assert!(backend.seen().iter().all(|seen| seen.path == "/any" || seen.body.len() <= 1000));
}

/// Nobody knows how long it is until it has come.
#[tokio::test]
async fn a_body_of_unknown_length_is_cut_off() {
    let backend = Backend::echo("app").await;
    let gateway = gateway(&backend).await;
    let chunk = format!("190\r\n{}\r\n", "a".repeat(0x190));
    for (chunks, wanted) in [(2, 200), (3, 413)] {
        let text = format!(
            "POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{}0\r\n\r\n",
            chunk.repeat(chunks)
        );
        let answer = raw(gateway.http(), text.as_bytes(), Duration::from_secs(10)).await;
        assert_eq!(answer.statuses(), [wanted], "{}", answer.text);
    }
    assert!(backend.seen().iter().all(|seen| seen.body.len() <= 1000));
}

#[tokio::test]
async fn who_asks_first_is_not_told_to_go_on() {
    let backend = Backend::echo("app").await;
    let gateway = gateway(&backend).await;
    let head = "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n";
    let answer = raw(gateway.http(), head.as_bytes(), Duration::from_secs(10)).await;
    assert_eq!(answer.statuses(), [413], "{}", answer.text);
}
