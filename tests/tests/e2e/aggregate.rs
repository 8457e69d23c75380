//! Aggregates: one request in, several backends asked at once, one JSON object out.

mod ends;
mod failures;
mod policies;

use gatehouse_tests::{
    backend::{Backend, Body, full, header},
    client::get,
    gateway::{EDGE, Gateway, service},
};
use http::{HeaderValue, Response};

use crate::route;

/// With this type, whatever it is.
fn json(text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
    response
}

#[tokio::test]
async fn answers_are_joined_in_the_order_of_the_rule() {
    let users = Backend::answering(|seen| json(format!("{{\"path\":\"{}\"}}\n", seen.path))).await;
    let orders = Backend::h2c(|_, _| async { json("[1, 2]") }).await;
    let echo = Backend::echo("echo").await;
    let rules = r#"
- matches: [{path: {value: /dashboard}}]
  requestHeaders: {set: [{name: X-Rule, value: rule}, {name: X-Part, value: rule}], remove: [X-Remove]}
  responseHeaders: {set: [{name: X-Answer, value: "yes"}], remove: [X-Nothing]}
  aggregate:
    parts:
    - {name: user, backendRef: {name: users, port: 80}, path: "/users/{segment.2}?lang={query.lang}&page={query.page}"}
    - {name: orders, backendRef: {name: orders, port: 80}, path: /orders}
    - name: echo
      backendRef: {name: echo, port: 80}
      path: "/echo/{segment.3}"
      requestHeaders: {set: [{name: X-Part, value: part}]}
    - {name: more, backendRef: {name: users, port: 80}, path: /none}
"#;
    let h2c = service("orders").replace("port: 80", "port: 80, appProtocol: kubernetes.io/h2c");
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", route(rules))
        .file("users.yaml", service("users"))
        .file("echo.yaml", service("echo"))
        .file("orders.yaml", h2c)
        .endpoint("users", users.address)
        .endpoint("orders", orders.address)
        .endpoint("echo", echo.address)
        .start()
        .await;
    let ask = || {
        get(gateway.http(), "/dashboard/a%2Fb/x?page=2&other=1")
            .header("x-request-id", "the-one")
            .header("cookie", "a=b")
            .header("x-remove", "1")
            .header("accept", "text/html")
            .header("accept-encoding", "gzip")
            .header("range", "bytes=0-1")
            .header("if-none-match", "\"a\"")
            .header("content-type", "text/plain")
            .header("x-consumer-username", "root")
    };
    let answer = ask().send().await;
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert_eq!(answer.status, 200, "{text}");
    let begins = "{\"user\":{\"path\":\"/users/a%2Fb?page=2\"}\n,\"orders\":[1, 2],\"echo\":{";
    assert!(text.starts_with(begins) && text.ends_with(",\"more\":{\"path\":\"/none\"}\n}"), "{text}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-length"), Some(&*text.len().to_string()));
    assert_eq!(answer.header("x-answer"), Some("yes"));
    assert_eq!(answer.header("x-gatehouse-partial"), None);

    let seen = &answer.json()["echo"];
    assert_eq!(
        (&seen["method"], &seen["path"], &seen["body"]),
        (&"GET".into(), &"/echo/x".into(), &"".into())
    );
    for (name, wanted) in [
        ("host", Some("test.example")),
        ("x-request-id", Some("the-one")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("cookie", Some("a=b")),
        ("accept", Some("application/json")),
        ("accept-encoding", Some("identity")),
        ("x-rule", Some("rule")),
        ("x-part", Some("part")),
        ("x-remove", None),
        ("range", None),
        ("if-none-match", None),
        ("content-type", None),
        ("x-consumer-username", None),
    ] {
        assert_eq!(header(seen, name), wanted, "{name}");
    }
    let traceparent = header(seen, "traceparent").unwrap();
    assert_eq!(users.seen()[0].headers["traceparent"], traceparent);
    let log = gateway.logged("the-one").await;
    assert_eq!(
        (&log["status"], &log["bytes_sent"], &log["failed_parts"]),
        (&200.into(), &text.len().into(), &().into())
    );

    assert_eq!(ask().send_h2c().await.json()["user"], answer.json()["user"]);
    for head in [ask().method("HEAD").send().await, ask().method("HEAD").send_h2c().await] {
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), Some(&*text.len().to_string()));
        assert_eq!(head.header("content-type"), Some("application/json"));
    }
    assert!(
        users.seen().iter().all(|seen| seen.method == "GET"),
        "a part is asked for what is to be checked"
    );
}

#[tokio::test]
async fn other_methods_are_refused_and_ask_nobody() {
    let echo = Backend::echo("echo").await;
    let rules = "- aggregate: {parts: [{name: a, backendRef: {name: echo, port: 80}, path: /}]}";
    let gateway = Gateway::with(&route(rules), &[("echo", echo.address)]).await;
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"] {
        let answer = get(gateway.http(), "/").method(method).body("the body").send().await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{method}");
        assert_eq!(answer.json()["reason"], "method_not_allowed");
    }
    echo.assert_untouched("the method is refused");
    // A GET may have a body, which no part sees.
    let answer = get(gateway.http(), "/").body("the body").send().await;
    assert_eq!((answer.status, &answer.json()["a"]["body"]), (200, &"".into()));
}

/// Some pieces are written from where they are, others together.
#[tokio::test]
async fn large_answers_arrive_whole() {
    let sized = Backend::answering(|seen| {
        let size = seen.path[1..].parse().unwrap();
        json(format!("\"{}\"", "x".repeat(size)))
    })
    .await;
    let parts: String = ["a", "b", "c", "d"]
        .iter()
        .zip(1..)
        .map(|(name, segment)| {
            format!("\n    - {{name: {name}, backendRef: {{name: sized, port: 80}}, path: '/{{segment.{segment}}}'}}")
        })
        .collect();
    let gateway =
        Gateway::with(&route(&format!("- aggregate:\n    parts:{parts}")), &[("sized", sized.address)]).await;
    for sizes in [[300_000, 10, 700_000, 0], [0, 3000, 9000, 40_000], [1_000_000; 4], [1000; 4]] {
        let path = format!("/{}/{}/{}/{}", sizes[0], sizes[1], sizes[2], sizes[3]);
        for answer in [get(gateway.http(), &path).send().await, get(gateway.http(), &path).send_h2c().await] {
            assert_eq!(answer.status, 200, "{path}");
            let whole = answer.json();
            for (name, size) in ["a", "b", "c", "d"].iter().zip(sizes) {
                assert_eq!(whole[name].as_str().map(str::len), Some(size), "{path} {name}");
            }
        }
    }
}
