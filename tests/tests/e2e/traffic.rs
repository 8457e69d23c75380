//! What the gateway changes about requests and responses, and how it stands by its limits of time.

use std::time::{Duration, Instant};

use gatehouse_tests::{
    backend::{Backend, full, header, status},
    client::get,
    gateway::Gateway,
};
use http::HeaderValue;

use crate::{route, to_echo};

#[tokio::test]
async fn header_changes_on_both_ways() {
    let backend = Backend::answering(|seen| {
        let mut response = status(200);
        response
            .headers_mut()
            .insert("x-seen", seen.headers.get("x-set").cloned().unwrap_or(HeaderValue::from_static("-")));
        response.headers_mut().insert("x-added", seen.headers.get_all("x-add").iter().count().into());
        response
            .headers_mut()
            .insert("x-gone", seen.headers.contains_key("x-remove").to_string().parse().unwrap());
        response.headers_mut().insert("server", HeaderValue::from_static("secret"));
        response.headers_mut().insert("connection", HeaderValue::from_static("x-hop"));
        response.headers_mut().insert("x-hop", HeaderValue::from_static("1"));
        response
    })
    .await;
    let rules = "
- requestHeaders: {set: [{name: X-Set, value: gateway}], add: [{name: X-Add, value: b}], remove: [X-Remove]}
  responseHeaders: {set: [{name: X-Out, value: gateway}], remove: [Server]}
  backendRefs: [{name: echo, port: 80}]";
    let gateway = Gateway::with(&route(rules), &[("echo", backend.address)]).await;
    let ask = get(gateway.http(), "/").header("x-set", "client").header("x-add", "a").header("x-remove", "1");
    let answer = ask.send().await;
    let values = ["x-seen", "x-added", "x-gone", "x-out", "server", "x-hop"].map(|name| answer.header(name));
    assert_eq!(values, [Some("gateway"), Some("2"), Some("false"), Some("gateway"), None, None]);
}

#[tokio::test]
async fn clients_decide_nothing_that_is_the_gateways() {
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    let mut ask = get(gateway.http(), "/").header("x-foo", "own").header(
        "connection",
        "close, X-Forwarded-For, X-Forwarded-Host, X-Real-IP, X-Consumer-Id, X-Request-Id, X-Foo",
    );
    for name in [
        "x-forwarded-for",
        "x-forwarded-host",
        "x-real-ip",
        "x-consumer-id",
        "x-consumer-username",
        "x_consumer_username",
        "X_Forwarded_For",
        "forwarded",
        "proxy-connection",
        "keep-alive",
    ] {
        ask = ask.header(name, "spoofed");
    }
    let echo = ask.header("upgrade", "h2c").header("http2-settings", "AAMAAABkAAQAAP__").send().await.json();
    assert!(!echo["headers"].to_string().contains("spoofed"), "{echo}");
    assert_eq!(header(&echo, "x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(header(&echo, "x-forwarded-host"), Some("test.example"));
    for name in ["x-foo", "connection", "upgrade", "http2-settings", "te"] {
        assert_eq!(header(&echo, name), None, "{name}");
    }
    assert!(header(&echo, "x-request-id").is_some_and(|id| id.len() == 32));
}

#[tokio::test]
async fn a_trusted_proxy_is_believed() {
    let backend = Backend::echo("echo").await;
    let config = "apiVersion: gatehouse.dev/v1alpha1\nkind: GatewayConfig\nmetadata: {name: c}\nspec: {trustedProxies: \
                  [127.0.0.0/8]}\n---\n";
    let manifests = format!("{config}{}", to_echo());
    let gateway = Gateway::builder()
        .file(
            "edge.yaml",
            gatehouse_tests::gateway::EDGE.replace(
                "  listeners:",
                "  infrastructure: {parametersRef: {group: gatehouse.dev, kind: GatewayConfig, name: c}}\n  listeners:",
            ),
        )
        .file("routes.yaml", manifests)
        .file("service.yaml", gatehouse_tests::gateway::service("echo"))
        .endpoint("echo", backend.address)
        .start()
        .await;
    let ask = get(gateway.http(), "/")
        .header("x-forwarded-for", "6.6.6.6, 9.9.9.9")
        .header("x-request-id", "client-1");
    let echo = ask.send().await.json();
    assert_eq!(header(&echo, "x-forwarded-for"), Some("6.6.6.6, 9.9.9.9, 127.0.0.1"));
    assert_eq!(gateway.logged("client-1").await["client"], "9.9.9.9");
}

#[tokio::test]
async fn redirects() {
    let rules = "
- matches: [{path: {value: /secure}}]
  redirect: {scheme: https}
- matches: [{path: {value: /old}}]
  redirect: {hostname: new.example, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}, statusCode: 308}
- matches: [{path: {value: /port}}]
  redirect: {scheme: https, port: 8443, path: {type: ReplaceFullPath, replaceFullPath: /x}}
- matches: [{path: {value: /moved}}]
  redirect: {statusCode: 301, port: 80}
- matches: [{path: {value: /see-other}}]
  redirect: {statusCode: 303}
- matches: [{path: {value: /temporary}}]
  redirect: {statusCode: 307}";
    let gateway = Gateway::with(&route(rules), &[]).await;
    for (path, status, location) in [
        ("/secure/a?b=c", 302, "https://test.example/secure/a?b=c"),
        ("/old/a//b", 308, "http://new.example:8080/new/a//b"),
        ("/port", 302, "https://test.example:8443/x"),
        ("/moved", 301, "http://test.example/moved"),
        ("/see-other", 303, "http://test.example:8080/see-other"),
        ("/temporary?a", 307, "http://test.example:8080/temporary?a"),
    ] {
        let answer = get(gateway.http(), path).send().await;
        assert_eq!((answer.status, answer.header("location")), (status, Some(location)), "{path}");
    }
}

#[tokio::test]
async fn timeouts_and_failing_backends() {
    let slow = Backend::serving(|_, _| async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        unreachable!("the gateway gives up first")
    })
    .await;
    let reset = Backend::accepting(|stream, _| async move { drop(stream) }).await;
    let garbage = Backend::raw(b"this is no HTTP\r\n\r\n").await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rules = "
- matches: [{path: {value: /request}}]
  timeouts: {request: 200ms}
  backendRefs: [{name: slow, port: 80}]
- matches: [{path: {value: /attempt}}]
  timeouts: {backendRequest: 200ms}
  backendRefs: [{name: slow, port: 80}]
- matches: [{path: {value: /reset}}]
  backendRefs: [{name: reset, port: 80}]
- matches: [{path: {value: /garbage}}]
  backendRefs: [{name: garbage, port: 80}]
- matches: [{path: {value: /closed}}]
  backendRefs: [{name: closed, port: 80}]";
    let backends =
        [("slow", slow.address), ("reset", reset.address), ("garbage", garbage.address), ("closed", closed)];
    let gateway = Gateway::with(&route(rules), &backends).await;
    for (path, status, reason) in [
        ("/request", 504, "upstream_timeout"),
        ("/attempt", 504, "upstream_timeout"),
        ("/reset", 502, "upstream_failed"),
        ("/garbage", 502, "upstream_failed"),
        ("/closed", 502, "connect_failed"),
    ] {
        let began = Instant::now();
        let answer = get(gateway.http(), path).send().await;
        assert_eq!((answer.status, answer.json()["reason"].as_str()), (status, Some(reason)), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert!(began.elapsed() < Duration::from_secs(2), "{path} took {:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_connection_that_the_backend_closed_meanwhile_is_not_noticed() {
    // Answers one request a connection and closes it without saying so, as servers do that time out.
    let backend = Backend::accepting(|mut stream, seen| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut piece = [0; 4096];
        let _ = stream.read(&mut piece).await;
        seen.lock().unwrap().push(gatehouse_tests::backend::Seen {
            method: String::new(),
            path: String::new(),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
        });
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    })
    .await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    for _ in 0..200 {
        assert_eq!(get(gateway.http(), "/").send().await.status, 200);
    }
    assert_eq!(backend.seen().len(), 200);
}

#[tokio::test]
async fn bodies_and_lengths() {
    let backend = Backend::answering(|seen| {
        let mut response = http::Response::new(full(seen.body.clone()));
        response.headers_mut().insert("x-length", HeaderValue::from(seen.body.len()));
        response
    })
    .await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    for size in [0, 1, 5000, 3_000_000] {
        let body = vec![b'x'; size];
        let answer = get(gateway.http(), "/").method("POST").body(body.clone()).send().await;
        assert_eq!((answer.status, answer.body.len()), (200, size));
        let answer = get(gateway.http(), "/").method("POST").body(body).send_h2c().await;
        assert_eq!((answer.status, answer.body.len()), (200, size));
    }
    let head = get(gateway.http(), "/").method("HEAD").send().await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}
