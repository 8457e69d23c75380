//! Writes one access-log line: a JSON object, by hand, without an allocation in the usual case. Order and names of the
//! fields are those of `docs/observability.md`.

use std::{
    fmt::Display,
    io::Write as _,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::super::{CacheResult, Record, StreamRecord, metrics::RouteMetrics};
use crate::Reason;

const USER_AGENT_BYTES: usize = 256;

/// Remembers the text of the current second: formatting a date costs more than the rest of a line.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    /// `2026-11-25T04:59:04`; empty before the first use.
    text: String,
}

/// Appends the line and its newline.
pub(super) fn write(out: &mut Vec<u8>, clock: &mut Clock, record: &Record) {
    out.extend_from_slice(b"{\"time\":\"");
    clock.write(out, record.began);
    out.push(b'"');
    text(out, "method", record.method.as_str());
    text(out, "scheme", record.scheme);
    if !record.host.is_empty() {
        text(out, "host", &record.host);
    }
    if !record.path.is_empty() {
        text(out, "path", &record.path);
    }
    name(out, "protocol");
    out.extend_from_slice(b"\"HTTP/");
    out.extend_from_slice(record.version_number().as_bytes());
    out.push(b'"');
    name(out, "status");
    integer(out, record.status.into());
    if let Some(code) = record.grpc_status {
        name(out, "grpc_status");
        integer(out, code.into());
    }
    if let Some(reason) = record.reason {
        text(out, "reason", reason.as_str());
    }
    optional(out, "cache", record.cache.map(CacheResult::as_str));
    if !record.failed_parts.is_empty() {
        name(out, "failed_parts");
        out.extend_from_slice(record.failed_parts.as_bytes());
    }
    name(out, "duration_ms");
    milliseconds(out, record.duration);
    if let Some(head_after) = record.head_after.filter(|_| record.attempts > 0 || record.cache.is_none()) {
        name(out, "upstream_ms");
        milliseconds(out, head_after);
    }
    name(out, "bytes_received");
    integer(out, record.bytes_received);
    name(out, "bytes_sent");
    integer(out, record.bytes_sent);
    shown(out, "client", record.client);
    optional(out, "listener", record.listener.as_deref());
    way(out, record.route.as_ref(), record.service.as_deref(), record.endpoint, record.attempts);
    optional(out, "consumer", record.consumer.as_deref());
    if let Some(agent) = &record.user_agent {
        name(out, "user_agent");
        out.push(b'"');
        escape_bytes(out, &agent.as_bytes()[..agent.len().min(USER_AGENT_BYTES)]);
        out.push(b'"');
    }
    text(out, "request_id", record.request_id.as_str());
    out.extend_from_slice(b",\"trace_id\":\"");
    out.extend_from_slice(&record.trace.trace_id_hex());
    out.extend_from_slice(b"\",\"span_id\":\"");
    out.extend_from_slice(&record.trace.span_id_hex());
    out.extend_from_slice(b"\"}\n");
}

/// The same for a stream.
pub(super) fn write_stream(out: &mut Vec<u8>, clock: &mut Clock, record: &StreamRecord) {
    out.extend_from_slice(b"{\"time\":\"");
    clock.write(out, record.began);
    out.push(b'"');
    text(out, "protocol", record.protocol);
    if !record.host.is_empty() {
        text(out, "host", &record.host);
    }
    optional(out, "reason", record.reason.map(Reason::as_str));
    name(out, "duration_ms");
    milliseconds(out, record.duration);
    name(out, "bytes_received");
    integer(out, record.bytes_received);
    name(out, "bytes_sent");
    integer(out, record.bytes_sent);
    shown(out, "client", record.client);
    optional(out, "listener", record.listener.as_deref());
    way(out, record.route.as_ref(), record.service.as_deref(), record.endpoint, record.attempts);
    out.extend_from_slice(b"}\n");
}

/// Where it was sent.
fn way(
    out: &mut Vec<u8>,
    route: Option<&Arc<RouteMetrics>>,
    service: Option<&str>,
    endpoint: Option<SocketAddr>,
    attempts: u32,
) {
    if let Some(route) = route {
        text(out, "route", route.object());
        text(out, "rule", route.rule());
    }
    optional(out, "service", service);
    if let Some(endpoint) = endpoint {
        shown(out, "endpoint", endpoint);
        name(out, "attempts");
        integer(out, attempts.into());
    }
}

impl Clock {
    /// RFC 3339, UTC, with microseconds.
    fn write(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if self.second != since.as_secs() || self.text.is_empty() {
            self.second = since.as_secs();
            let second = i64::try_from(self.second).ok();
            let stamp = second.and_then(|second| jiff::Timestamp::from_second(second).ok());
            self.text = format!("{:.0}", stamp.unwrap_or_default());
            self.text.truncate(self.text.len() - "Z".len());
        }
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'.');
        digits::<6>(out, since.subsec_micros().into());
        out.push(b'Z');
    }
}

fn optional(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, key, value);
    }
}

fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    name(out, key);
    out.push(b'"');
    escape(out, value);
    out.push(b'"');
}

/// For values whose text needs no escape.
fn shown(out: &mut Vec<u8>, key: &str, value: impl Display) {
    name(out, key);
    // Writing to a vector never fails.
    let _ = write!(out, "\"{value}\"");
}

fn name(out: &mut Vec<u8>, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn integer(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = digit(value);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// The last `WIDTH` digits.
fn digits<const WIDTH: usize>(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [0; WIDTH];
    for place in text.iter_mut().rev() {
        *place = digit(value);
        value /= 10;
    }
    out.extend_from_slice(&text);
}

fn digit(value: u64) -> u8 {
    b"0123456789"[(value % 10) as usize]
}

fn milliseconds(out: &mut Vec<u8>, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    integer(out, micros / 1000);
    out.push(b'.');
    digits::<3>(out, micros);
}

/// What is no UTF-8 becomes U+FFFD.
pub(super) fn escape_bytes(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        escape(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// RFC 8259, 7.
pub(super) fn escape(out: &mut Vec<u8>, value: &str) {
    let bytes = value.as_bytes();
    // Without a branch in the loop this looks at many bytes at once.
    if !bytes.iter().fold(false, |found, byte| found | needs_escape(*byte)) {
        out.extend_from_slice(bytes);
        return;
    }
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            byte if needs_escape(byte) => {
                let digits: [u8; 2] = super::super::trace::hex([byte]);
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
            byte => out.push(byte),
        }
    }
}

fn needs_escape(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}
