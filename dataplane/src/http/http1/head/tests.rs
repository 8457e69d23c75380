use bytes::Bytes;
use http::Version;

use super::{Framing, Head, Limits, is_field, read as read_head};
use crate::{Reason, message::head_end};

fn whole(head: &str) -> Result<Head, Reason> {
    let bytes = Bytes::copy_from_slice(head.as_bytes());
    assert_eq!(head_end(&bytes, 0), Some(bytes.len()), "{head:?}");
    read_head(&bytes, Limits::default())
}

fn read(head: &str) -> Result<Framing, Reason> {
    whole(head).map(|head| head.framing)
}

fn with(fields: &str) -> Result<Framing, Reason> {
    read(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
}

#[test]
fn plain_heads_pass() {
    assert_eq!(with(""), Ok(Framing::Length(0)));
    assert_eq!(with("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
    assert_eq!(with("content-length:5\r\n"), Ok(Framing::Length(5)));
    assert_eq!(with("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
    assert_eq!(with("X: caf\u{e9}\ttab\r\n"), Ok(Framing::Length(0)));
    assert_eq!(with("Upgrade: websocket\r\nConnection: upgrade\r\n"), Ok(Framing::Upgrade));
    assert_eq!(with("Upgrade: h2c\r\nConnection: upgrade\r\n"), Ok(Framing::Length(0)));
    assert_eq!(read("GET / HTTP/1.0\r\n\r\n"), Ok(Framing::Length(0)));
}

#[test]
fn ambiguous_framing_is_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length:\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: \r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 0x10\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: 5 \r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n",
        "Transfer-Encoding: chunked\u{85}\r\n",
        "Transfer-Encoding: \u{a0}chunked\r\n",
    ] {
        assert_eq!(with(fields), Err(Reason::BadRequest), "{fields:?}");
    }
    for coding in ["identity", "gzip, chunked", "deflate"] {
        let fields = format!("Transfer-Encoding: {coding}\r\n");
        assert_eq!(with(&fields), Err(Reason::CodingUnsupported), "{coding}");
    }
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(read(old), Err(Reason::BadRequest));
}

#[test]
fn broken_lines_are_refused() {
    for fields in [
        "X: a\n",
        "X: a\rb\r\n",
        "X: a\0b\r\n",
        "X: a\r\n folded\r\n",
        " X: a\r\n",
        "X : a\r\n",
        ": a\r\n",
        "no colon\r\n",
        "Host: b\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n",
    ] {
        assert_eq!(with(fields), Err(Reason::BadRequest), "{fields:?}");
    }
}

#[test]
fn broken_request_lines_are_refused() {
    for (line, reason) in [
        ("GET /", Reason::BadRequest),
        ("GET  / HTTP/1.1", Reason::BadRequest),
        ("GET / HTTP/1.1 ", Reason::BadRequest),
        (" GET / HTTP/1.1", Reason::BadRequest),
        ("G@T / HTTP/1.1", Reason::BadRequest),
        ("GET /\u{e9} HTTP/1.1", Reason::BadRequest),
        ("GET / http/1.1", Reason::BadRequest),
        ("GET / HTTP/1.2", Reason::VersionUnsupported),
        ("GET / HTTP/2.0", Reason::VersionUnsupported),
    ] {
        assert_eq!(read(&format!("{line}\r\nHost: a\r\n\r\n")), Err(reason), "{line:?}");
    }
    assert_eq!(read("GET / HTTP/1.1\r\n\r\n"), Err(Reason::BadRequest), "no Host");
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9000));
    assert_eq!(read(&long), Err(Reason::UriTooLong));
}

#[test]
fn sizes_are_bounded() {
    assert_eq!(with(&"X: a\r\n".repeat(98)), Ok(Framing::Length(0)));
    assert_eq!(with(&"X: a\r\n".repeat(100)), Err(Reason::HeadTooLarge));
    assert_eq!(with(&format!("X: {}\r\n", "a".repeat(70_000))), Err(Reason::HeadTooLarge));
}

#[test]
fn a_head_becomes_a_request() {
    let head = whole(
        "PATCH /a%20b/c?d=e&f HTTP/1.1\r\nhost: a.example:8080\r\nX-Two:one \r\nX-Empty:\r\nX-two: \t two\t words\t\r\n\r\n",
    )
    .unwrap();
    let parts = head.parts;
    assert_eq!((parts.method.as_str(), parts.version), ("PATCH", Version::HTTP_11));
    assert_eq!((parts.uri.path(), parts.uri.query()), ("/a%20b/c", Some("d=e&f")));
    let all = |name| parts.headers.get_all(name).iter().map(|value| value.as_bytes()).collect::<Vec<_>>();
    assert_eq!(all("host"), [b"a.example:8080"]);
    assert_eq!(all("x-two"), [&b"one"[..], b"two\t words"]);
    assert_eq!(all("x-empty"), [b""]);
    assert!(head.keep_alive && !head.expects_continue);
}

#[test]
fn targets_of_every_form() {
    for (target, host, path) in
        [("/", None, "/"), ("*", None, "*"), ("http://b:1/x?y", Some("b:1"), "/x"), ("//x", None, "//x")]
    {
        let uri = whole(&format!("OPTIONS {target} HTTP/1.1\r\nHost: a\r\n\r\n")).unwrap().parts.uri;
        assert_eq!((uri.authority().map(|name| name.as_str()), uri.path()), (host, path), "{target}");
    }
    assert_eq!(read("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Reason::BadRequest));
}

#[test]
fn who_stays_and_who_waits() {
    for (version, fields, stays) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: x, CLOSE ,y\r\n", false),
        ("1.1", "Connection: x\r\nConnection: close\r\n", false),
        ("1.1", "Connection: keep-alive, close\r\n", false),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = whole(&format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n")).unwrap();
        assert_eq!(head.keep_alive, stays, "{version} {fields:?}");
    }
    for (version, value, waits) in [
        ("1.1", "100-continue", true),
        ("1.1", "100-Continue", true),
        ("1.0", "100-continue", false),
        ("1.1", "x", false),
    ] {
        let head = whole(&format!("PUT / HTTP/{version}\r\nHost: a\r\nExpect: {value}\r\n\r\n")).unwrap();
        assert_eq!(head.expects_continue, waits, "{version} {value}");
    }
}

#[test]
fn fields_of_trailers_are_held_to_the_same_rules() {
    for (line, good) in
        [("X: a", true), ("X:", true), ("X : a", false), (": a", false), ("none", false), ("X: \u{1}", false)]
    {
        assert_eq!(is_field(line.as_bytes()), good, "{line:?}");
    }
}
