//! The strict reading of one request head (RFC 9112, sections 2 to 6): from its bytes to a request's parts, in one pass.
//!
//! Pure. This is the only place that decides how a request is framed. What a path or a host may hold is
//! `http::target`'s. Values and the target are slices of the head's bytes, not copies.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version, request::Parts};

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
pub(super) enum Framing {
    /// This many bytes.
    Length(u64),
    Chunked,
    /// None, and what comes then depends on whether the upgrade to WebSocket that the head asks for is granted. No
    /// other upgrade is ever granted (RFC 9110, 7.8 lets a server ignore it).
    Upgrade,
}

/// A head that keeps all rules.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) parts: Parts,
    pub(super) framing: Framing,
    /// The client lets the connection go on (RFC 9112, 9.3).
    pub(super) keep_alive: bool,
    /// The client waits for 100 before it sends the body (RFC 9110, 10.1.1).
    pub(super) expects_continue: bool,
}

/// What the gateway itself adds to a request; room for it is made at once.
const OWN_FIELDS: usize = 8;

/// Which part of an oversized head is too large.
pub(super) fn too_large(head: &[u8], limits: Limits) -> Reason {
    let within_line = memchr::memchr(b'\n', head).is_none_or(|feed| feed > limits.target);
    if within_line { Reason::UriTooLong } else { Reason::HeadTooLarge }
}

/// Reads a whole head, as [`crate::message::head_end`] cut it.
pub(super) fn read(head: &Bytes, limits: Limits) -> Result<Head, Reason> {
    if head.len() > limits.head {
        return Err(too_large(head, limits));
    }
    let mut lines = Lines { bytes: head, at: 0 };
    let (mut parts, ()) = Request::new(()).into_parts();
    request_line(head, lines.next()?, limits, &mut parts)?;
    let count = memchr::memchr_iter(b'\n', &head[lines.at..]).count().saturating_sub(1);
    if count > limits.fields {
        return Err(Reason::HeadTooLarge);
    }
    let mut fields = Fields::default();
    parts.headers = HeaderMap::with_capacity(count + OWN_FIELDS);
    loop {
        let line = lines.next()?;
        if line.is_empty() {
            break;
        }
        let colon = line.start + memchr::memchr(b':', &head[line.clone()]).ok_or(Reason::BadRequest)?;
        let (name, value) = (&head[line.start..colon], &head[colon + 1..line.end]);
        fields.note(name, value)?;
        // A space before the colon, a folded line and a line without name all fail here.
        let name = HeaderName::from_bytes(name).map_err(|_| Reason::BadRequest)?;
        // Controls fail here, a carriage return among them.
        let value = HeaderValue::from_maybe_shared(head.slice(trimmed(head, colon + 1..line.end)))
            .map_err(|_| Reason::BadRequest)?;
        parts.headers.try_append(name, value).map_err(|_| Reason::HeadTooLarge)?;
    }
    let framing = fields.framing(parts.version)?;
    Ok(Head {
        framing,
        keep_alive: fields.keep_alive(parts.version),
        expects_continue: fields.expects_continue && parts.version == Version::HTTP_11,
        parts,
    })
}

/// Cuts a head into lines that end in CR LF.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The fields that the connection depends on.
#[derive(Default)]
struct Fields {
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
    /// Asked for, and whether to WebSocket.
    upgrade: Option<bool>,
    close: bool,
    stay: bool,
    expects_continue: bool,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Range<usize>, Reason> {
        let start = self.at;
        let feed = start + memchr::memchr(b'\n', &self.bytes[start..]).ok_or(Reason::BadRequest)?;
        self.at = feed + 1;
        if feed == start || self.bytes[feed - 1] != b'\r' {
            return Err(Reason::BadRequest);
        }
        Ok(start..feed - 1)
    }
}

impl Fields {
    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<(), Reason> {
        // Most names differ in length from all of these.
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.hosts += 1,
            6 if name.eq_ignore_ascii_case(b"expect") => {
                self.expects_continue = value.trim_ascii().eq_ignore_ascii_case(b"100-continue");
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                // The service looks at one line; with several it might see another upgrade than the connection.
                if self.upgrade.is_some() {
                    return Err(Reason::BadRequest);
                }
                self.upgrade = Some(value.trim_ascii().eq_ignore_ascii_case(b"websocket"));
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= token.eq_ignore_ascii_case(b"close");
                    self.stay |= token.eq_ignore_ascii_case(b"keep-alive");
                }
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

    fn framing(&self, version: Version) -> Result<Framing, Reason> {
        let host_fits = if version == Version::HTTP_11 { self.hosts == 1 } else { self.hosts <= 1 };
        if !host_fits {
            return Err(Reason::BadRequest);
        }
        match (self.chunked, self.content_length) {
            // RFC 9112, 6.1: both together is how smuggling begins; HTTP/1.0 knows no coding.
            (true, Some(_)) => Err(Reason::BadRequest),
            (true, None) if version == Version::HTTP_10 => Err(Reason::BadRequest),
            (true, None) => Ok(Framing::Chunked),
            (false, None | Some(0)) if self.upgrade == Some(true) => Ok(Framing::Upgrade),
            (false, length) => Ok(Framing::Length(length.unwrap_or(0))),
        }
    }

    fn keep_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.stay)
    }
}

/// `METHOD SP target SP HTTP/1.x`, with single spaces.
fn request_line(head: &Bytes, line: Range<usize>, limits: Limits, parts: &mut Parts) -> Result<(), Reason> {
    let space = |from: usize| {
        memchr::memchr(b' ', &head[from..line.end]).map(|at| from + at).ok_or(Reason::BadRequest)
    };
    let method = line.start..space(line.start)?;
    let target = method.end + 1..space(method.end + 1)?;
    let version = &head[target.end + 1..line.end];
    parts.method = Method::from_bytes(&head[method]).map_err(|_| Reason::BadRequest)?;
    if target.is_empty() || !head[target.clone()].iter().all(u8::is_ascii_graphic) {
        return Err(Reason::BadRequest);
    }
    if target.len() > limits.target {
        return Err(Reason::UriTooLong);
    }
    parts.version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Reason::VersionUnsupported);
        }
        _ => return Err(Reason::BadRequest),
    };
    parts.uri = Uri::from_maybe_shared(head.slice(target)).map_err(|_| Reason::BadRequest)?;
    Ok(())
}

/// Without the spaces and tabs around it.
fn trimmed(head: &[u8], mut value: Range<usize>) -> Range<usize> {
    let blank = |byte: u8| byte == b' ' || byte == b'\t';
    while !value.is_empty() && blank(head[value.start]) {
        value.start += 1;
    }
    while !value.is_empty() && blank(head[value.end - 1]) {
        value.end -= 1;
    }
    value
}

/// `true` for a field line that a head could hold (RFC 9112, 5).
pub(super) fn is_field(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    HeaderName::from_bytes(name).is_ok() && HeaderValue::from_bytes(value).is_ok()
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

#[cfg(test)]
mod tests;
