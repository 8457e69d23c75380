//! One JSON object a request, one a line. `docs/observability.md` lists the fields.
//!
//! Lines are written by hand into a buffer of the worker's, which goes to one writer thread when it is full or old. The
//! way there is bounded: when the output is slower than the requests, lines are lost and counted.

use std::{
    fmt::Write as _,
    io,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread,
};

use http::Version;

use super::Record;

/// A buffer is handed over at this size.
const BUFFER_BYTES: usize = 32 << 10;
/// Buffers that may wait for the writer: about 8 MiB.
const QUEUE: usize = 256;
const USER_AGENT_BYTES: usize = 256;

#[derive(Debug)]
pub(super) struct LogWriter {
    queue: SyncSender<Message>,
}

#[derive(Debug)]
enum Message {
    Lines(Vec<u8>),
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

/// Lines of one worker that wait to be handed over.
#[derive(Debug)]
pub(super) struct LogBuffer {
    queue: SyncSender<Message>,
    lines: String,
    count: u64,
}

impl LogWriter {
    pub(super) fn start(output: Box<dyn io::Write + Send>) -> Self {
        let (queue, messages) = sync_channel(QUEUE);
        thread::spawn(move || write_all(&messages, output));
        LogWriter { queue }
    }

    pub(super) fn buffer(&self) -> LogBuffer {
        LogBuffer { queue: self.queue.clone(), lines: String::with_capacity(BUFFER_BYTES), count: 0 }
    }

    /// Waits until all that was handed over is written.
    pub(super) fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.send(Message::Flush(done)).is_ok() {
            // An error means that the writer has ended: nothing is left to write.
            let _ = written.recv();
        }
    }
}

fn write_all(messages: &Receiver<Message>, mut output: Box<dyn io::Write + Send>) {
    for message in messages {
        match message {
            // A reader that went away must not end the gateway.
            Message::Lines(lines) => {
                let _ = output.write_all(&lines).and_then(|()| output.flush());
            }
            Message::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

impl LogBuffer {
    /// Gives how many lines were lost.
    pub(super) fn write(&mut self, record: &Record) -> u64 {
        line(&mut self.lines, record);
        self.count += 1;
        if self.lines.len() < BUFFER_BYTES { 0 } else { self.hand_over() }
    }

    /// Gives how many lines were lost.
    pub(super) fn hand_over(&mut self) -> u64 {
        if self.lines.is_empty() {
            return 0;
        }
        let lines = std::mem::replace(&mut self.lines, String::with_capacity(BUFFER_BYTES)).into_bytes();
        let count = std::mem::take(&mut self.count);
        match self.queue.try_send(Message::Lines(lines)) {
            Ok(()) => 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => count,
        }
    }
}

impl Drop for LogBuffer {
    fn drop(&mut self) {
        self.hand_over();
    }
}

fn line(out: &mut String, record: &Record) {
    out.push_str("{\"time\":\"");
    let began = jiff::Timestamp::try_from(record.began).unwrap_or_default();
    // Writing to a string never fails.
    let _ = write!(out, "{began:.6}\"");
    text(out, "method", record.method.as_str());
    text(out, "scheme", record.scheme);
    text(out, "host", &record.host);
    text(out, "path", &record.path);
    text(out, "protocol", protocol(record.version));
    let _ = write!(out, ",\"status\":{}", record.status);
    if let Some(reason) = record.reason {
        text(out, "reason", reason.as_str());
    }
    let _ = write!(out, ",\"duration_ms\":{:.3}", millis(record.duration));
    if let Some(head_after) = record.head_after {
        let _ = write!(out, ",\"upstream_ms\":{:.3}", millis(head_after));
    }
    let _ = write!(
        out,
        ",\"bytes_received\":{},\"bytes_sent\":{},\"client\":\"{}\"",
        record.bytes_received, record.bytes_sent, record.client
    );
    optional(out, "listener", record.listener.as_deref());
    if let Some(route) = &record.route {
        text(out, "route", route.object());
        text(out, "rule", route.rule());
    }
    optional(out, "service", record.service.as_deref());
    if let Some(endpoint) = record.endpoint {
        let _ = write!(out, ",\"endpoint\":\"{endpoint}\",\"attempts\":{}", record.attempts);
    }
    optional(out, "consumer", record.consumer.as_deref());
    if let Some(agent) = &record.user_agent {
        let bytes = &agent.as_bytes()[..agent.len().min(USER_AGENT_BYTES)];
        text(out, "user_agent", &String::from_utf8_lossy(bytes));
    }
    text(out, "request_id", record.request_id.as_str());
    let _ = write!(
        out,
        ",\"trace_id\":\"{:032x}\",\"span_id\":\"{:016x}\"}}",
        record.trace.trace_id, record.trace.span_id
    );
    out.push('\n');
}

fn optional(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, name, value);
    }
}

fn text(out: &mut String, name: &str, value: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":\"");
    escape(out, value);
    out.push('"');
}

/// RFC 8259, 7.
fn escape(out: &mut String, value: &str) {
    let mut plain = 0;
    for (at, byte) in value.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&value[plain..at]);
        plain = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            _ => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
    out.push_str(&value[plain..]);
}

fn millis(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert_eq, proptest};

    use super::escape;

    proptest! {
        #[test]
        fn any_text_reads_back(value in ".*") {
            let mut line = String::from("\"");
            escape(&mut line, &value);
            line.push('"');
            prop_assert_eq!(serde_json::from_str::<String>(&line).unwrap(), value);
        }
    }
}
