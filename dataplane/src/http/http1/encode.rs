//! A response's head and the framing of its body, as bytes (RFC 9112, sections 4, 6 and 7).
//!
//! Pure. Framing fields are always made here: what a response says of its length and coding is not passed on, but for the
//! length of a body that is not sent (RFC 9110, 8.6).

use std::time::SystemTime;

use http::{
    HeaderMap, HeaderName, StatusCode, Version,
    header::{
        AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
        CONTENT_TYPE, DATE, HOST, MAX_FORWARDS, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING,
    },
    response,
};

use super::date;
use crate::{
    http::headers::words,
    message::{CHUNKED, content_length, field},
};

/// What of the request decides how it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) version: Version,
    pub(super) is_head: bool,
    /// The connection may go on behind the response.
    pub(super) keep_alive: bool,
}

/// How the client knows where the body ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// There is none.
    None,
    /// So many bytes are still to come.
    Known(u64),
    /// With the names of trailers that were announced.
    Chunked(Vec<HeaderName>),
    /// The connection closes behind it.
    UntilClose,
}

pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Fields that frame, route or modify must not come behind the body (RFC 9110, 6.5.1).
static NO_TRAILERS: [HeaderName; 13] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    HOST,
    MAX_FORWARDS,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    CONNECTION,
];

/// Appends the head to `out`. `size` is the body's, if it is known. Gives how the body is framed, and whether the
/// connection goes on.
pub(super) fn head(
    out: &mut Vec<u8>,
    asked: Asked,
    parts: &response::Parts,
    size: Option<u64>,
    now: impl FnOnce() -> SystemTime,
) -> (Length, bool) {
    let upgraded = parts.status == StatusCode::SWITCHING_PROTOCOLS;
    let bodiless = asked.is_head || parts.status == StatusCode::NOT_MODIFIED;
    let length = match size {
        _ if upgraded || bodiless || parts.status == StatusCode::NO_CONTENT => Length::None,
        Some(size) => Length::Known(size),
        None if asked.version == Version::HTTP_10 => Length::UntilClose,
        None => Length::Chunked(announced(&parts.headers)),
    };
    let close_asked = parts.headers.get(CONNECTION).is_some_and(|value| value == "close");
    let keep_alive = asked.keep_alive && !close_asked && length != Length::UntilClose;

    status_line(out, asked.version, parts.status);
    let mut dated = false;
    for (name, value) in &parts.headers {
        match *name {
            CONNECTION if !upgraded => continue,
            CONTENT_LENGTH if !bodiless => continue,
            TRANSFER_ENCODING => continue,
            DATE => dated = true,
            _ => {}
        }
        field(out, name.as_str(), value.as_bytes());
    }
    match length {
        Length::Known(size) => content_length(out, size),
        Length::Chunked(_) => out.extend_from_slice(CHUNKED),
        // What a GET would have brought.
        Length::None if asked.is_head && !parts.headers.contains_key(CONTENT_LENGTH) => {
            if let Some(size) = size.filter(|size| *size > 0) {
                content_length(out, size);
            }
        }
        Length::None | Length::UntilClose => {}
    }
    if !upgraded {
        match (keep_alive, asked.version) {
            (true, Version::HTTP_10) => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (true, _) => {}
            (false, _) => out.extend_from_slice(b"connection: close\r\n"),
        }
    }
    if !dated {
        date::append(out, now());
    }
    out.extend_from_slice(b"\r\n");
    (length, keep_alive)
}

/// Appends the last chunk and those of the trailers that were announced and may be trailers.
pub(super) fn trailers(out: &mut Vec<u8>, announced: &[HeaderName], trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        if announced.contains(name) && !NO_TRAILERS.contains(name) {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn status_line(out: &mut Vec<u8>, version: Version, status: StatusCode) {
    if status == StatusCode::OK && version == Version::HTTP_11 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(if version == Version::HTTP_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let names = words(headers, &TRAILER);
    names.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, HeaderName, HeaderValue, Response, Version};

    use super::{Asked, Length, head, trailers};

    const NOW: &str = "date: Thu, 01 Jan 1970 00:00:00 GMT";

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    /// The lines of the head, in any order behind the first, and what comes of it.
    fn encode(
        asked: Asked,
        status: u16,
        lines: &[(&'static str, &'static str)],
        size: Option<u64>,
    ) -> (Vec<String>, Length, bool) {
        let (mut parts, ()) = Response::builder().status(status).body(()).unwrap().into_parts();
        parts.headers = fields(lines);
        let mut out = Vec::new();
        let (length, keep_alive) = head(&mut out, asked, &parts, size, || SystemTime::UNIX_EPOCH);
        let text = String::from_utf8(out).unwrap();
        let mut lines: Vec<String> =
            text.strip_suffix("\r\n\r\n").unwrap().split("\r\n").map(str::to_owned).collect();
        lines[1..].sort_unstable();
        (lines, length, keep_alive)
    }

    const GET: Asked = Asked { version: Version::HTTP_11, is_head: false, keep_alive: true };
    const HEAD: Asked = Asked { is_head: true, ..GET };
    const OLD: Asked = Asked { version: Version::HTTP_10, keep_alive: false, ..GET };
    const OLD_STAYS: Asked = Asked { version: Version::HTTP_10, ..GET };
    const LAST: Asked = Asked { keep_alive: false, ..GET };

    #[test]
    fn framing_is_that_of_the_body_and_of_nothing_else() {
        let lies = &[("content-length", "99"), ("transfer-encoding", "gzip"), ("connection", "x-hop")];
        let chunked = || Length::Chunked(Vec::new());
        for (asked, status, size, line, length, stays) in [
            (GET, 200, Some(5), "content-length: 5", Length::Known(5), true),
            (GET, 200, Some(0), "content-length: 0", Length::Known(0), true),
            (GET, 200, None, "transfer-encoding: chunked", chunked(), true),
            (LAST, 200, Some(5), "content-length: 5", Length::Known(5), false),
            (LAST, 200, None, "transfer-encoding: chunked", chunked(), false),
            (OLD, 200, None, "", Length::UntilClose, false),
            (OLD_STAYS, 200, None, "", Length::UntilClose, false),
            (OLD_STAYS, 200, Some(5), "content-length: 5", Length::Known(5), true),
            (GET, 204, None, "", Length::None, true),
            (GET, 204, Some(0), "", Length::None, true),
            (HEAD, 200, Some(0), "content-length: 99", Length::None, true),
            (HEAD, 200, None, "content-length: 99", Length::None, true),
            (GET, 304, None, "content-length: 99", Length::None, true),
        ] {
            let case = format!("{asked:?} {status} {size:?}");
            let (lines, found, keep_alive) = encode(asked, status, lies, size);
            let framing: Vec<&str> = lines
                .iter()
                .map(String::as_str)
                .filter(|line| line.starts_with("content-") || line.starts_with("transfer-"))
                .collect();
            let wanted: Vec<&str> = [line].into_iter().filter(|line| !line.is_empty()).collect();
            assert_eq!((framing, found, keep_alive), (wanted, length, stays), "{case}");
            let connection = match (asked.version, stays) {
                (_, false) => Some("connection: close"),
                (Version::HTTP_10, true) => Some("connection: keep-alive"),
                _ => None,
            };
            assert_eq!(
                lines.iter().find(|line| line.starts_with("connection")).map(String::as_str),
                connection,
                "{case}"
            );
        }
    }

    #[test]
    fn heads_line_by_line() {
        for (asked, status, fields, size, wanted) in [
            (
                GET,
                200,
                &[("x-a", "1"), ("x-a", "2")][..],
                Some(2),
                &["HTTP/1.1 200 OK", "content-length: 2", NOW, "x-a: 1", "x-a: 2"][..],
            ),
            (GET, 204, &[("date", "mine")], None, &["HTTP/1.1 204 No Content", "date: mine"]),
            (GET, 499, &[], Some(0), &["HTTP/1.1 499 ", "content-length: 0", NOW]),
            (OLD, 200, &[], Some(0), &["HTTP/1.0 200 OK", "connection: close", "content-length: 0", NOW]),
            (
                GET,
                200,
                &[("connection", "close")],
                Some(0),
                &["HTTP/1.1 200 OK", "connection: close", "content-length: 0", NOW],
            ),
            (HEAD, 200, &[], Some(7), &["HTTP/1.1 200 OK", "content-length: 7", NOW]),
            (HEAD, 200, &[], None, &["HTTP/1.1 200 OK", NOW]),
            (
                GET,
                101,
                &[("connection", "Upgrade"), ("upgrade", "websocket")],
                Some(0),
                &["HTTP/1.1 101 Switching Protocols", "connection: Upgrade", NOW, "upgrade: websocket"],
            ),
        ] {
            assert_eq!(encode(asked, status, fields, size).0, wanted, "{status} {fields:?}");
        }
    }

    #[test]
    fn only_trailers_that_were_announced_and_harm_nobody_go_out() {
        let (_, length, _) =
            encode(GET, 200, &[("trailer", "X-Sum, content-length"), ("trailer", " x-end")], None);
        let Length::Chunked(announced) = length else { panic!("{length:?}") };
        let mut out = Vec::new();
        let late = fields(&[
            ("x-sum", "1"),
            ("content-length", "2"),
            ("x-other", "3"),
            ("x-end", "4"),
            ("x-sum", "5"),
        ]);
        trailers(&mut out, &announced, &late);
        assert_eq!(String::from_utf8(out).unwrap(), "0\r\nx-sum: 1\r\nx-sum: 5\r\nx-end: 4\r\n\r\n");
    }
}
