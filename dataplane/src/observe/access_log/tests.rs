use std::{
    io,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderValue, Method, Version};
use proptest::{prop_assert_eq, proptest};
use serde_json::{Value, json};

use super::{
    super::{Record, metrics::Metrics},
    BUFFER_BYTES, LogWriter, QUEUE, line,
};
use crate::Reason;

fn parsed(record: &Record) -> Value {
    let mut out = Vec::new();
    line::write(&mut out, &mut line::Clock::default(), record);
    assert_eq!(out.pop(), Some(b'\n'));
    assert!(!out.contains(&b'\n'), "one line");
    serde_json::from_slice(&out).unwrap()
}

#[test]
fn a_line_holds_all_that_is_known() {
    let metrics = Metrics::default();
    let route = Some(metrics.route("HTTPRoute/ns/shop", 3, ""));
    let record = Record { route, grpc_status: Some(0), ..Record::example() };
    let expected = json!({
        "time": "2025-11-25T04:59:04.000042Z", "method": "GET", "scheme": "https", "host": "shop.example",
        "path": "/orders", "protocol": "HTTP/1.1", "status": 200, "grpc_status": 0, "duration_ms": 12.345,
        "upstream_ms": 10.001, "bytes_received": 0, "bytes_sent": 512, "client": "192.0.2.7", "listener": "default/edge/https",
        "route": "HTTPRoute/ns/shop", "rule": "3", "service": "default/orders/80", "endpoint": "10.0.0.9:8080",
        "attempts": 1, "consumer": "alice", "user_agent": "curl/8.5.0", "request_id": "r-1",
        "trace_id": "00000000000000000000000000000abc", "span_id": "0000000000000def",
    });
    assert_eq!(parsed(&record), expected);
}

#[test]
fn what_is_not_known_is_left_out() {
    let record = Record {
        head_after: None,
        host: "".into(),
        path: "".into(),
        version: Version::HTTP_2,
        listener: None,
        service: None,
        endpoint: None,
        consumer: None,
        status: 400,
        reason: Some(Reason::BadRequest),
        user_agent: None,
        duration: Duration::from_nanos(999),
        bytes_sent: u64::MAX,
        client: "2001:db8::1".parse().unwrap(),
        ..Record::example()
    };
    let expected = json!({
        "time": "2025-11-25T04:59:04.000042Z", "method": "GET", "scheme": "https", "protocol": "HTTP/2",
        "status": 400, "reason": "bad_request", "duration_ms": 0.0, "bytes_received": 0, "bytes_sent": u64::MAX,
        "client": "2001:db8::1", "request_id": "r-1", "trace_id": "00000000000000000000000000000abc",
        "span_id": "0000000000000def",
    });
    assert_eq!(parsed(&record), expected);
}

#[test]
fn the_time_goes_on_within_and_between_seconds() {
    let mut clock = line::Clock::default();
    let epoch = SystemTime::UNIX_EPOCH;
    for (micros, expected) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (999_999, "1970-01-01T00:00:00.999999Z"),
        (1_000_000, "1970-01-01T00:00:01.000000Z"),
        (1_709_164_800_123_456, "2024-02-29T00:00:00.123456Z"),
        (5, "1970-01-01T00:00:00.000005Z"),
    ] {
        let mut out = Vec::new();
        let record = Record { began: epoch + Duration::from_micros(micros), ..Record::example() };
        line::write(&mut out, &mut clock, &record);
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(value["time"], expected);
    }
    let before = Record { began: epoch - Duration::from_secs(1), ..Record::example() };
    assert_eq!(parsed(&before)["time"], "1970-01-01T00:00:00.000000Z");
}

proptest! {
    #[test]
    fn any_text_reads_back(path in "\\PC*|[\\x00-\\x7f]*|(.|\n)*", host in ".{1,9}") {
        let path = format!("/{path}");
        let line = parsed(&Record { path: path.as_str().into(), host: host.as_str().into(), ..Record::example() });
        prop_assert_eq!(line["path"].as_str(), Some(path.as_str()));
        prop_assert_eq!(line["host"].as_str(), Some(host.as_str()));
    }

    #[test]
    fn any_user_agent_reads_back_bounded(bytes in proptest::collection::vec(32..=255_u8, 1..600)) {
        // 127 is not allowed in a field's value.
        let bytes: Vec<u8> = bytes.into_iter().map(|byte| if byte == 127 { b'"' } else { byte }).collect();
        let agent = HeaderValue::from_bytes(&bytes).unwrap();
        let line = parsed(&Record { user_agent: Some(agent), ..Record::example() });
        let expected = String::from_utf8_lossy(&bytes[..bytes.len().min(256)]);
        prop_assert_eq!(line["user_agent"].as_str(), Some(&*expected));
    }

    #[test]
    fn any_method_reads_back(method in "[A-Za-z!#$%&'*+.^_`|~-]{1,20}") {
        let record = Record { method: Method::from_bytes(method.as_bytes()).unwrap(), ..Record::example() };
        let line = parsed(&record);
        prop_assert_eq!(line["method"].as_str(), Some(method.as_str()));
    }
}

/// An output that can be held up, and that can fail.
#[derive(Clone, Default)]
struct Output(Arc<Inner>);

#[derive(Default)]
struct Inner {
    written: Mutex<Vec<u8>>,
    held: Mutex<bool>,
    released: Condvar,
    broken: AtomicBool,
}

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        drop(self.0.released.wait_while(self.0.held.lock().unwrap(), |held| *held).unwrap());
        if self.0.broken.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0.written.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn hold(&self, held: bool) {
        *self.0.held.lock().unwrap() = held;
        self.0.released.notify_all();
    }

    fn lines(&self) -> u64 {
        let written = self.0.written.lock().unwrap();
        let text = std::str::from_utf8(&written).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "whole lines");
        text.lines().filter(|line| serde_json::from_str::<Value>(line).unwrap().is_object()).count() as u64
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn writer() -> (LogWriter, Output, Arc<Metrics>) {
    let (output, metrics) = (Output::default(), Arc::new(Metrics::default()));
    let writer = LogWriter::start(Box::new(output.clone()), Arc::clone(&metrics)).unwrap();
    (writer, output, metrics)
}

#[test]
fn every_line_of_every_worker_is_written() {
    let (writer, output, metrics) = writer();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut buffer = writer.buffer();
            scope.spawn(move || {
                for _ in 0..1000 {
                    buffer.write(&Record::example());
                }
            });
        }
    });
    writer.flush(soon());
    assert_eq!((output.lines(), metrics.log_dropped.get()), (4000, 0));
}

#[test]
fn a_slow_output_loses_lines_and_counts_them_but_holds_nobody_up() {
    let (writer, output, metrics) = writer();
    output.hold(true);
    let mut buffer = writer.buffer();
    let mut written = 0;
    let most = (QUEUE + 2) * (BUFFER_BYTES / 100);
    while metrics.log_dropped.get() == 0 {
        buffer.write(&Record::example());
        written += 1;
        assert!(written < most, "lines wait without bound");
    }
    let began = Instant::now();
    writer.flush(began + Duration::from_millis(50));
    assert!(began.elapsed() < Duration::from_secs(10), "a flush has an end");
    output.hold(false);
    drop(buffer);
    writer.flush(soon());
    assert_eq!(output.lines() + metrics.log_dropped.get(), written as u64);
}

#[test]
fn a_broken_output_is_counted() {
    let (writer, output, metrics) = writer();
    output.0.broken.store(true, Ordering::Relaxed);
    let mut buffer = writer.buffer();
    for _ in 0..3 {
        buffer.write(&Record::example());
    }
    buffer.hand_over();
    writer.flush(soon());
    assert_eq!(metrics.log_dropped.get(), 3);
}
