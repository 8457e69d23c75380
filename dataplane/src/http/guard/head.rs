//! The strict reading of one request head (RFC 9112, sections 2 to 6).
//!
//! Pure. It decides only what framing and smuggling depend on; what a path or host may hold is `http::target`'s.

use crate::Reason;

/// What a client can make grow. Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) head: usize,
    pub(crate) target: usize,
    pub(crate) fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { head: 64 << 10, target: 8 << 10, fields: 100 }
    }
}

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// This many bytes.
    Length(u64),
    Chunked,
    /// None, and what comes then depends on whether the upgrade to WebSocket that the head asks for is granted. No
    /// other upgrade is ever granted (RFC 9110, 7.8 lets a server ignore it).
    Upgrade,
}

/// Length of the head with its last line end, once it is whole. `from` bytes are known not to hold the end.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at).find_map(|at| match bytes.get(at + 1..) {
        // Bare line feeds end a head too here, so that they are seen and refused and not waited behind.
        Some([b'\r', b'\n', ..]) => Some(at + 3),
        Some([b'\n', ..]) => Some(at + 2),
        _ => None,
    })
}

/// Judges a whole head, as [`end`] cut it.
pub(super) fn judge(head: &[u8], limits: Limits) -> Result<Body, Reason> {
    if head.len() > limits.head {
        return Err(Reason::HeadTooLarge);
    }
    let mut rest = head;
    let version = request_line(line(&mut rest)?, limits)?;
    let mut fields = Fields::default();
    let mut count = 0;
    loop {
        let field = line(&mut rest)?;
        if field.is_empty() {
            break;
        }
        count += 1;
        if count > limits.fields {
            return Err(Reason::HeadTooLarge);
        }
        let (name, value) = split(field)?;
        fields.note(name, value)?;
    }
    fields.body(version)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

/// The fields that framing depends on.
#[derive(Default)]
struct Fields {
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
    /// Asked for, and whether to WebSocket.
    upgrade: Option<bool>,
}

impl Fields {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Reason> {
        // Most names differ in length from all of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                // The service looks at one line; with several it might see another upgrade than the guard.
                if self.upgrade.is_some() {
                    return Err(Reason::BadRequest);
                }
                self.upgrade = Some(value.trim_ascii().eq_ignore_ascii_case(b"websocket"));
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                if self.content_length.is_some() {
                    return Err(Reason::BadRequest);
                }
                self.content_length = Some(content_length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(Reason::BadRequest);
                }
                transfer_encoding(value)?;
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    fn body(&self, version: Version) -> Result<Body, Reason> {
        let host_fits = match version {
            Version::Http11 => self.hosts == 1,
            Version::Http10 => self.hosts <= 1,
        };
        if !host_fits {
            return Err(Reason::BadRequest);
        }
        match (self.chunked, self.content_length) {
            // RFC 9112, 6.1: both together is how smuggling begins; HTTP/1.0 knows no coding.
            (true, Some(_)) => Err(Reason::BadRequest),
            (true, None) if version == Version::Http10 => Err(Reason::BadRequest),
            (true, None) => Ok(Body::Chunked),
            (false, None | Some(0)) if self.upgrade == Some(true) => Ok(Body::Upgrade),
            (false, length) => Ok(Body::Length(length.unwrap_or(0))),
        }
    }
}

/// Takes one line that ends in CR LF and holds no other CR or LF.
fn line<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Reason> {
    let feed = memchr::memchr(b'\n', rest).ok_or(Reason::BadRequest)?;
    let line = rest[..feed].strip_suffix(b"\r").ok_or(Reason::BadRequest)?;
    *rest = &rest[feed + 1..];
    Ok(line)
}

/// `METHOD SP target SP HTTP/1.x`, with single spaces.
fn request_line(line: &[u8], limits: Limits) -> Result<Version, Reason> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Reason::BadRequest);
    };
    if method.is_empty() || !method.iter().all(|byte| is_token(*byte)) {
        return Err(Reason::BadRequest);
    }
    if target.is_empty() || !target.iter().all(|byte| byte.is_ascii_graphic()) {
        return Err(Reason::BadRequest);
    }
    if target.len() > limits.target {
        return Err(Reason::UriTooLong);
    }
    match version {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Reason::VersionUnsupported)
        }
        _ => Err(Reason::BadRequest),
    }
}

/// A field line as name and value with the white space around the value cut off.
pub(super) fn split(line: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let colon = memchr::memchr(b':', line).ok_or(Reason::BadRequest)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // A space before the colon, a folded line and a line without name all fail here.
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Reason::BadRequest);
    }
    let allowed = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if !value.iter().all(allowed) {
        return Err(Reason::BadRequest);
    }
    Ok((name, value))
}

/// Digits alone after at most white space; white space behind them has fooled parsers before.
fn content_length(value: &[u8]) -> Result<u64, Reason> {
    let digits = value.trim_ascii_start();
    // 18 digits always fit.
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Reason::BadRequest);
    }
    Ok(digits.iter().fold(0, |sum, digit| 10 * sum + u64::from(digit - b'0')))
}

/// Only `chunked` alone. Other codings are not implemented; what is no coding at all is an attack.
fn transfer_encoding(value: &[u8]) -> Result<(), Reason> {
    let value = value.strip_prefix(b" ").unwrap_or(value);
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let known = |coding: &[u8]| {
        [&b"gzip"[..], b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity"]
            .iter()
            .any(|known| coding.eq_ignore_ascii_case(known))
    };
    match codings.next() {
        Some(first) if known(first) => Err(Reason::CodingUnsupported),
        _ => Err(Reason::BadRequest),
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::{Body, Limits, end, judge};
    use crate::Reason;

    fn read(head: &str) -> Result<Body, Reason> {
        let bytes = head.as_bytes();
        assert_eq!(end(bytes, 0), Some(bytes.len()), "{head:?}");
        judge(bytes, Limits::default())
    }

    fn with(fields: &str) -> Result<Body, Reason> {
        read(&format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    #[test]
    fn plain_heads_pass() {
        assert_eq!(with(""), Ok(Body::Length(0)));
        assert_eq!(with("Content-Length: 5\r\n"), Ok(Body::Length(5)));
        assert_eq!(with("content-length:5\r\n"), Ok(Body::Length(5)));
        assert_eq!(with("Transfer-Encoding: Chunked\r\n"), Ok(Body::Chunked));
        assert_eq!(with("X: caf\u{e9}\ttab\r\n"), Ok(Body::Length(0)));
        assert_eq!(with("Upgrade: websocket\r\nConnection: upgrade\r\n"), Ok(Body::Upgrade));
        assert_eq!(with("Upgrade: h2c\r\nConnection: upgrade\r\n"), Ok(Body::Length(0)));
        assert_eq!(read("GET / HTTP/1.0\r\n\r\n"), Ok(Body::Length(0)));
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
        assert_eq!(with(&"X: a\r\n".repeat(98)), Ok(Body::Length(0)));
        assert_eq!(with(&"X: a\r\n".repeat(100)), Err(Reason::HeadTooLarge));
        assert_eq!(with(&format!("X: {}\r\n", "a".repeat(70_000))), Err(Reason::HeadTooLarge));
    }

    #[test]
    fn the_end_is_found_wherever_reading_resumes() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for from in 0..head.len() - 6 {
            assert_eq!(end(head, from), Some(head.len() - 4), "{from}");
        }
        assert_eq!(end(b"GET / HTTP/1.1\r\nHost: a\r\n\r", 0), None);
        assert_eq!(end(b"GET / HTTP/1.1\n\nrest", 0), Some(16));
    }
}
