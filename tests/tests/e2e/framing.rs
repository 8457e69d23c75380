//! Requests that could be read in two ways (security catalogue F1 to F14): refused, the connection closed, and the backend
//! sees nothing of them.

use std::time::Duration;

use gatehouse_tests::{
    backend::{Backend, status},
    client::{raw, read_raw},
    gateway::Gateway,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{route, to_echo};

const QUIET: Duration = Duration::from_secs(3);

#[tokio::test]
async fn ambiguous_requests_are_refused_and_no_backend_sees_them() {
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let long_extension = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(1 << 20));
    let long_target = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(70_000));
    let cases: Vec<(&str, String, &[u16])> = vec![
        ("F1 CL, TE", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), &[400]),
        ("F1 TE, CL", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), &[400]),
        ("F2 equal", post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), &[400]),
        ("F2 different", post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"), &[400]),
        ("F2 list", post("Content-Length: 5, 5\r\n", "hello"), &[400]),
        ("F2 empty", post("Content-Length:\r\n", "hello"), &[400]),
        ("F2 empty first", post("Content-Length:\r\nContent-Length: 5\r\n", "hello"), &[400]),
        ("F3 plus", post("Content-Length: +5\r\n", "hello"), &[400]),
        ("F3 minus", post("Content-Length: -1\r\n", ""), &[400]),
        ("F3 hex", post("Content-Length: 0x10\r\n", ""), &[400]),
        ("F3 underscore", post("Content-Length: 1_0\r\n", ""), &[400]),
        ("F3 trailing space", post("Content-Length: 5 \r\n", "hello"), &[400]),
        ("F3 huge", post("Content-Length: 99999999999999999999\r\n", ""), &[400]),
        ("F4 comma first", post("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n"), &[400, 501]),
        ("F4 twice in one", post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n"), &[400, 501]),
        (
            "F4 two lines",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            &[400, 501],
        ),
        ("F4 unknown", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"), &[400, 501]),
        ("F4 identity", post("Transfer-Encoding: identity\r\n", ""), &[400, 501]),
        ("F4 gzip", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), &[400, 501]),
        ("F4 parameter", post("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n"), &[400, 501]),
        ("F4 vertical tab", post("Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n"), &[400, 501]),
        (
            "F4 HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".into(),
            &[400, 501],
        ),
        ("F5 prefix", chunked("0x3\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("F5 plus", chunked("+3\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("F5 minus zero", chunked("-0\r\n\r\n"), &[400]),
        ("F5 space", chunked(" 3\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("F5 underscore", chunked("3_\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("F5 no size", chunked("\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("F5 overflow", chunked("fffffffffffffffff\r\nabc\r\n0\r\n\r\n"), &[400]),
        ("F5 carriage returns", chunked("3\r\r\n;a"), &[400]),
        ("F5 bare line feed", chunked("3\nabc\n0\n\n"), &[400]),
        ("F5 extension with line feed", chunked("3;a\nabc\r\n0\r\n\r\n"), &[400]),
        ("F6 bare line feeds", "GET / HTTP/1.1\nHost: a\n\n".into(), &[400]),
        ("F6 bare carriage return", post("X: a\rb\r\n", ""), &[400]),
        ("F6 NUL", post("X: a\0b\r\n", ""), &[400]),
        ("F6 folded", post("X: a\r\n b\r\n", ""), &[400]),
        ("F6 space before colon", post("X : a\r\n", ""), &[400]),
        ("F6 no name", post(": a\r\n", ""), &[400]),
        ("F6 leading space", "GET / HTTP/1.1\r\n Host: a\r\n\r\n".into(), &[400]),
        ("F6 no colon", post("nothing\r\n", ""), &[400]),
        ("F12 HTTP/0.9", "GET /\r\n\r\n".into(), &[400]),
        ("F12 HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n".into(), &[400, 505]),
        ("F12 HTTP/2.0 in text", "GET / HTTP/2.0\r\nHost: a\r\n\r\n".into(), &[400, 505]),
        ("F12 method", "G@T / HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400]),
        ("F12 long target", long_target, &[414]),
        ("no Host", "GET / HTTP/1.1\r\n\r\n".into(), &[400]),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into(), &[400]),
        ("another Host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400]),
        ("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n".into(), &[400, 405, 501]),
        ("too many fields", post(&"X: a\r\n".repeat(200), ""), &[431]),
        ("too large a head", post(&format!("X: {}\r\n", "a".repeat(70_000)), ""), &[431]),
    ];
    for (name, request, allowed) in cases {
        // What follows would be the smuggled request.
        let bytes = format!("{request}GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
        let answer = raw(gateway.http(), bytes.as_bytes(), QUIET).await;
        assert!(answer.closed, "{name}: the connection stays open: {answer:?}");
        let statuses = answer.statuses();
        assert!(statuses.len() == 1 && allowed.contains(&statuses[0]), "{name}: {answer:?}");
        assert!(answer.text.contains("\"reason\":"), "{name}: every refusal says why: {answer:?}");
        backend.assert_untouched(name);
    }
    // Too large to arrive at once: the body has begun when it breaks. The backend must not see a whole request.
    let answer = raw(gateway.http(), chunked(&long_extension).as_bytes(), QUIET).await;
    assert!(answer.closed && answer.statuses().first().is_none_or(|status| *status == 400), "{answer:?}");
    let whole = backend.seen().into_iter().filter(|seen| seen.body == "abc").count();
    assert_eq!(whole, 0, "a broken body never ends cleanly");
}

#[tokio::test]
async fn bodies_are_framed_exactly_whatever_the_method() {
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    // F7: the body must never be read as the next request.
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for method in ["GET", "HEAD", "DELETE", "TRACE"] {
        let request = format!(
            "{method} /one HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}GET /two HTTP/1.1\r\nHost: \
             a\r\nConnection: close\r\n\r\n",
            smuggled.len()
        );
        let answer = raw(gateway.http(), request.as_bytes(), QUIET).await;
        assert_eq!(answer.statuses(), [200, 200], "{method}: {answer:?}");
    }
    let paths: Vec<String> = backend.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/one", "/two"].repeat(4));
    assert!(backend.seen().iter().filter(|seen| seen.path == "/one").all(|seen| seen.body == smuggled));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_request() {
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    // F8: shorter than said.
    let mut stream = TcpStream::connect(gateway.http()).await.unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    stream.shutdown().await.unwrap();
    let answer = read_raw(&mut stream, QUIET).await;
    assert!(!answer.statuses().contains(&200), "{answer:?}");
    assert!(backend.seen().iter().all(|seen| seen.body != "half"), "a broken body never ends cleanly");
}

#[tokio::test]
async fn an_early_answer_leaves_no_bytes_behind_it() {
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(
        &route("- matches: [{path: {value: /there}}]\n  backendRefs: [{name: echo, port: 80}]"),
        &[("echo", backend.address)],
    )
    .await;
    // F9: 404 while a body is still to come, made to look like a request.
    let smuggled = "GET /there HTTP/1.1\r\nHost: a\r\n\r\n";
    for rest in [smuggled.to_owned(), smuggled.repeat(40_000)] {
        let request = format!(
            "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{rest}",
            rest.len() + 100
        );
        let answer = raw(gateway.http(), request.as_bytes(), QUIET).await;
        assert_eq!(answer.statuses(), [404], "{answer:?}");
        assert!(answer.closed);
        backend.assert_untouched("the body of a refused request");
    }
}

#[tokio::test]
async fn expectations() {
    let backend = Backend::echo("echo").await;
    let refusing = Backend::answering(|_| status(417)).await;
    let rules = "
- matches: [{path: {value: /refuses}}]
  backendRefs: [{name: refusing, port: 80}]
- backendRefs: [{name: echo, port: 80}]";
    let gateway =
        Gateway::with(&route(rules), &[("echo", backend.address), ("refusing", refusing.address)]).await;
    let ask = |path: &str, expect: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: a\r\nExpect: {expect}\r\nContent-Length: {}\r\n\r\n{body}GET /next HTTP/1.1\r\nHost: \
             a\r\nConnection: close\r\n\r\n",
            body.len()
        )
    };
    // F13: one final answer, and the connection goes on.
    let answer = raw(gateway.http(), ask("/", "100-continue", "hello").as_bytes(), QUIET).await;
    assert_eq!(
        answer.statuses().into_iter().filter(|status| *status != 100).collect::<Vec<_>>(),
        [200, 200],
        "{answer:?}"
    );
    let answer = raw(gateway.http(), ask("/refuses", "100-continue", "hello").as_bytes(), QUIET).await;
    assert_eq!(answer.statuses().into_iter().find(|status| *status != 100), Some(417), "{answer:?}");
    let answer = raw(gateway.http(), ask("/", "magic", "hello").as_bytes(), QUIET).await;
    // The body is read and dropped, or the connection closed: it is never taken for a request.
    assert!([&[417][..], &[417, 200]].contains(&&*answer.statuses()), "{answer:?}");
    assert!(backend.seen().iter().all(|seen| seen.path == "/" || seen.path == "/next"));
}

#[tokio::test]
async fn of_three_pipelined_requests_the_bad_one_ends_the_connection() {
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    // F14.
    let request = "GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost : a\r\n\r\nGET /three HTTP/1.1\r\nHost: \
                   a\r\n\r\n";
    let answer = raw(gateway.http(), request.as_bytes(), QUIET).await;
    assert_eq!(answer.statuses(), [200, 400], "{answer:?}");
    assert!(answer.closed);
    let paths: Vec<String> = backend.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/one"]);
}

#[tokio::test]
async fn a_backend_that_lies_about_its_framing_harms_nobody() {
    // F10: each connection must be thrown away, and the client sees an error or a broken body, never other bytes.
    for response in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nhello",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: upgrade\r\n\r\nhello",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret",
    ] {
        let backend = Backend::raw(response).await;
        let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
        let request = "GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let answer = raw(gateway.http(), request.as_bytes(), QUIET).await;
        assert!(!answer.text.contains("secret"), "{answer:?}");
        assert!(answer.statuses().iter().all(|status| [200, 204, 502].contains(status)), "{answer:?}");
        assert!(!answer.statuses().is_empty(), "{answer:?}");
    }
}
