//! What a part's failure does, and what is one.

use std::sync::atomic::{AtomicUsize, Ordering};

use gatehouse_tests::{
    backend::{Backend, Body, full, status},
    client::get,
    gateway::{EDGE, Gateway, service},
};
use http::{HeaderValue, Response};
use serde_json::{Value, json};

use super::json as json_answer;
use crate::route;

/// `x` is asked for what the request's last segment says.
const RULES: &str = r#"
- matches: [{path: {value: /fail}}]
  aggregate: {maxPartBytes: 100, parts: [{name: x, backendRef: {name: odd, port: 80}, path: "/{segment.2}"}, {name: ok, backendRef: {name: odd, port: 80}, path: /ok}]}
- matches: [{path: {value: /null}}]
  aggregate: {maxPartBytes: 100, parts: [{name: x, backendRef: {name: odd, port: 80}, path: "/{segment.2}", onFailure: "Null"}, {name: ok, backendRef: {name: odd, port: 80}, path: /ok}]}
- matches: [{path: {value: /omit}}]
  responseHeaders: {set: [{name: Cache-Control, value: max-age=60}]}
  aggregate:
    maxPartBytes: 100
    errorsMember: errors
    parts: [{name: x, backendRef: {name: odd, port: 80}, path: "/{segment.2}", onFailure: Omit}, {name: ok, backendRef: {name: odd, port: 80}, path: /ok}]
- matches: [{path: {value: /alone}}]
  aggregate: {parts: [{name: x, backendRef: {name: odd, port: 80}, path: "/{segment.2}", onFailure: Omit}]}
"#;

fn with(name: &'static str, value: &'static str, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
    response
}

async fn odd() -> Backend {
    Backend::answering(|seen| match &*seen.path {
        "/ok" => json_answer("1"),
        "/text" => full_text("plain"),
        "/untyped" => full_text("{\"a\":\"é\"}"),
        "/204" => status(204),
        "/205" => status(205),
        "/201" => {
            let mut response = json_answer("2");
            *response.status_mut() = http::StatusCode::CREATED;
            response
        }
        "/206" => with("content-range", "bytes 0-0/2", {
            let mut response = json_answer("1");
            *response.status_mut() = http::StatusCode::PARTIAL_CONTENT;
            response
        }),
        "/302" => with("location", "/ok", status(302)),
        "/404" => status(404),
        "/503" => status(503),
        "/empty" => status(200),
        "/two" => json_answer("1,\"admin\":true"),
        "/closed" => json_answer("1}{"),
        "/cut" => json_answer("{\"a\":"),
        "/bytes" => json_answer(&b"\"\xff\""[..]),
        "/gzip" => with("content-encoding", "gzip", json_answer("1")),
        "/identity" => with("content-encoding", "identity", json_answer("3")),
        "/most" => json_answer(format!("\"{}\"", "x".repeat(98))),
        "/more" => json_answer(format!("\"{}\"", "x".repeat(99))),
        other => unreachable!("{other}"),
    })
    .await
}

fn full_text(text: &'static str) -> Response<Body> {
    Response::new(full(text))
}

#[tokio::test]
async fn a_failure_does_what_the_part_says() {
    let odd = odd().await;
    let gateway = Gateway::with(&route(RULES), &[("odd", odd.address)]).await;
    let most = json!("x".repeat(98));
    for (what, wanted) in [
        ("ok", Ok(json!(1))),
        ("untyped", Ok(json!({"a": "é"}))),
        ("201", Ok(json!(2))),
        ("204", Ok(Value::Null)),
        ("205", Ok(Value::Null)),
        ("identity", Ok(json!(3))),
        ("most", Ok(most)),
        ("206", Err(("upstream_status", Some(206)))),
        ("302", Err(("upstream_status", Some(302)))),
        ("404", Err(("upstream_status", Some(404)))),
        ("503", Err(("upstream_status", Some(503)))),
        ("text", Err(("upstream_not_json", None))),
        ("empty", Err(("upstream_not_json", None))),
        ("two", Err(("upstream_not_json", None))),
        ("closed", Err(("upstream_not_json", None))),
        ("cut", Err(("upstream_not_json", None))),
        ("bytes", Err(("upstream_not_json", None))),
        ("gzip", Err(("upstream_not_json", None))),
        ("more", Err(("upstream_too_large", None))),
    ] {
        let ask = |rule: &str| {
            get(gateway.http(), &format!("/{rule}/{what}")).header("x-request-id", &format!("{rule}-{what}"))
        };
        let answers = [ask("fail").send().await, ask("null").send().await, ask("omit").send().await];
        let [fail, null, omit] = &answers;
        if let Ok(value) = &wanted {
            for answer in &answers {
                assert_eq!((answer.status, answer.header("x-gatehouse-partial")), (200, None), "{what}");
                assert_eq!(answer.json(), json!({"x": value, "ok": 1}), "{what}");
            }
            assert_eq!(omit.header("cache-control"), Some("max-age=60"));
            continue;
        }
        let (reason, code) = wanted.unwrap_err();
        assert_eq!(fail.status, 502, "{what}");
        assert_eq!(fail.header("content-type"), Some("application/problem+json"));
        let problem = fail.json();
        assert_eq!((&problem["reason"], &problem["part"]), (&reason.into(), &"x".into()), "{what}");
        assert_eq!(problem["partStatus"], code.map_or(Value::Null, Value::from), "{what}");

        let mut error = json!([{"part": "x", "reason": reason}]);
        if let Some(code) = code {
            error[0]["status"] = code.into();
        }
        for answer in [null, omit] {
            assert_eq!((answer.status, answer.header("x-gatehouse-partial")), (200, Some("x")), "{what}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "what lacks something is not kept");
        }
        assert_eq!(null.json(), json!({"x": null, "ok": 1}), "{what}");
        assert_eq!(omit.json(), json!({"ok": 1, "errors": error}), "{what}");
        let log = gateway.logged(&format!("omit-{what}")).await;
        assert_eq!(
            (&log["status"], &log["reason"], &log["failed_parts"]),
            (&200.into(), &Value::Null, &error)
        );
        let log = gateway.logged(&format!("fail-{what}")).await;
        assert_eq!(
            (&log["status"], &log["reason"], &log["failed_parts"]),
            (&502.into(), &reason.into(), &error)
        );
    }
    let nothing = get(gateway.http(), "/alone/404").send().await;
    assert_eq!((nothing.status, &*nothing.body), (200, &b"{}"[..]));
    // The pool's connections are good for more.
    assert_eq!(get(gateway.http(), "/fail/ok").send().await.status, 200);
}

/// Too much is known from a Content-Length, and else as soon as it has come.
#[tokio::test]
async fn too_much_is_refused_before_it_is_read() {
    let rules = r#"- aggregate: {maxPartBytes: 1000, parts: [{name: x, backendRef: {name: long, port: 80}, path: /}]}"#;
    for endless in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n\""[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    ] {
        let long = Backend::accepting(move |mut stream, _| async move {
            use tokio::io::AsyncWriteExt;
            let _ = stream.write_all(endless).await;
            // Until the gateway has had enough.
            while stream.write_all(&[b'x'; 1000]).await.is_ok() {}
        })
        .await;
        let gateway = Gateway::with(&route(rules), &[("long", long.address)]).await;
        let answer = get(gateway.http(), "/").send().await;
        assert_eq!((answer.status, &answer.json()["reason"]), (502, &"upstream_too_large".into()));
    }
}

#[tokio::test]
async fn what_is_not_there_has_failed() {
    let odd = odd().await;
    let rules = r#"
- matches: [{path: {value: /all}}]
  aggregate:
    errorsMember: errors
    parts:
    - {name: missing, backendRef: {name: missing, port: 80}, path: /, onFailure: Omit}
    - {name: nobody, backendRef: {name: nobody, port: 80}, path: /, onFailure: "Null"}
    - {name: closed, backendRef: {name: closed, port: 80}, path: /, onFailure: Omit}
    - {name: breaking, backendRef: {name: breaking, port: 80}, path: /, onFailure: Omit}
    - {name: valueless, backendRef: {name: odd, port: 80}, path: "/{query.q}", onFailure: Omit}
    - {name: ok, backendRef: {name: odd, port: 80}, path: /ok}
- {matches: [{path: {value: /missing}}], aggregate: {parts: [{name: a, backendRef: {name: missing, port: 80}, path: /}]}}
- {matches: [{path: {value: /nobody}}], aggregate: {parts: [{name: a, backendRef: {name: nobody, port: 80}, path: /}]}}
- {matches: [{path: {value: /valueless}}], aggregate: {parts: [{name: a, backendRef: {name: odd, port: 80}, path: "/{query.q}"}]}}
"#;
    let breaking = Backend::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n{").await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", route(rules))
        .file("nobody.yaml", service("nobody"))
        .file("odd.yaml", service("odd"))
        .file("closed.yaml", service("closed"))
        .file("breaking.yaml", service("breaking"))
        .endpoint("odd", odd.address)
        .endpoint("closed", closed)
        .endpoint("breaking", breaking.address)
        .start()
        .await;
    let answer = get(gateway.http(), "/all").send().await;
    assert_eq!(answer.header("x-gatehouse-partial"), Some("missing, nobody, closed, breaking, valueless"));
    let errors: Vec<_> = [
        ("missing", "broken_route"),
        ("nobody", "no_endpoints"),
        ("closed", "connect_failed"),
        ("breaking", "upstream_failed"),
        ("valueless", "value_missing"),
    ]
    .iter()
    .map(|(part, reason)| json!({"part": part, "reason": reason}))
    .collect();
    assert_eq!((answer.status, answer.json()), (200, json!({"nobody": null, "ok": 1, "errors": errors})));
    for (path, status, reason) in [
        ("/missing", 500, "broken_route"),
        ("/nobody", 503, "no_endpoints"),
        ("/valueless", 400, "value_missing"),
    ] {
        let answer = get(gateway.http(), path).send().await;
        assert_eq!((answer.status, &answer.json()["reason"]), (status, &reason.into()), "{path}");
        assert_eq!(answer.json()["part"], "a");
    }
}

#[tokio::test]
async fn a_part_is_retried_as_the_rule_says() {
    let count = AtomicUsize::new(0);
    let flaky = Backend::answering(move |_| {
        if count.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) { status(503) } else { json_answer("1") }
    })
    .await;
    let rules = r#"
- retry: {codes: [503], attempts: 1, backoff: 1ms}
  aggregate:
    parts:
    - {name: a, backendRef: {name: flaky, port: 80}, path: /}
    - {name: b, backendRef: {name: flaky, port: 80}, path: /}
"#;
    let gateway = Gateway::with(&route(rules), &[("flaky", flaky.address)]).await;
    let answer = get(gateway.http(), "/").send().await;
    assert_eq!((answer.status, answer.json()), (200, json!({"a": 1, "b": 1})));
    assert_eq!(flaky.seen().len(), 3);
}
