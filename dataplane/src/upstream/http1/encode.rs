//! The head of a request, as bytes (RFC 9112, sections 2, 3 and 6).
//!
//! Pure. Framing is decided here and nowhere else: whatever the fields say of length and coding is left out.

use http::{
    Method, Request,
    header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING},
};

use crate::message::{CHUNKED, content_length, field};

/// How the backend knows where the request's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    None,
    Length(u64),
    Chunked,
}

/// Appends the head to `out`.
pub(super) fn encode<T>(request: &Request<T>, framing: Framing, out: &mut Vec<u8>) {
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(host) = request.headers().get(HOST) {
        field(out, "host", host.as_bytes());
    }
    for (name, value) in request.headers() {
        if *name != HOST && *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    match framing {
        // RFC 9110, 8.6: methods that are about a body say that there is none.
        Framing::None if [Method::POST, Method::PUT, Method::PATCH].contains(request.method()) => {
            content_length(out, 0);
        }
        Framing::None => {}
        Framing::Length(length) => content_length(out, length),
        Framing::Chunked => out.extend_from_slice(CHUNKED),
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::{Framing, encode};

    #[test]
    fn heads_are_written_host_first_and_framed_once() {
        for (method, target, framing, expected) in [
            ("GET", "/a?b=%20", Framing::None, "GET /a?b=%20 HTTP/1.1\r\nhost: h:1\r\nx: 1\r\nx: 2\r\n\r\n"),
            ("OPTIONS", "*", Framing::None, "OPTIONS * HTTP/1.1\r\nhost: h:1\r\nx: 1\r\nx: 2\r\n\r\n"),
            (
                "POST",
                "/",
                Framing::None,
                "POST / HTTP/1.1\r\nhost: h:1\r\nx: 1\r\nx: 2\r\ncontent-length: 0\r\n\r\n",
            ),
            (
                "GET",
                "/",
                Framing::Length(17),
                "GET / HTTP/1.1\r\nhost: h:1\r\nx: 1\r\nx: 2\r\ncontent-length: 17\r\n\r\n",
            ),
            (
                "PUT",
                "/",
                Framing::Chunked,
                "PUT / HTTP/1.1\r\nhost: h:1\r\nx: 1\r\nx: 2\r\ntransfer-encoding: chunked\r\n\r\n",
            ),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(target)
                .header("x", "1")
                .header("transfer-encoding", "gzip")
                .header("host", "h:1")
                .header("content-length", "5")
                .header("x", "2")
                .body(())
                .unwrap();
            let mut out = Vec::new();
            encode(&request, framing, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
