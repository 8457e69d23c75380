//! A finished request as an OpenTelemetry span. Names of attributes are the semantic conventions for HTTP servers; our
//! own begin with `gatehouse.`.

use std::time::SystemTime;

use http::Method;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{Span, SpanFlags, Status, span::SpanKind, status::StatusCode},
};

use super::Record;
use crate::Reason;

/// What a client can make long is cut off here, so that a batch stays far below what collectors take (4 MiB).
const VALUE_BYTES: usize = 1024;

pub(super) fn span(record: &Record) -> Span {
    let method = known(&record.method);
    let error = error(record);
    let start = nanoseconds(record.began);
    Span {
        trace_id: record.trace.trace_id.to_be_bytes().to_vec(),
        span_id: record.trace.span_id.to_be_bytes().to_vec(),
        parent_span_id: record.trace.parent.map_or_else(Vec::new, |id| id.to_be_bytes().to_vec()),
        flags: flags(record),
        name: match (&record.route, method.unwrap_or("HTTP")) {
            (Some(route), method) => format!("{method} {}", route.object()),
            (None, method) => method.to_owned(),
        },
        kind: SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start
            .saturating_add(u64::try_from(record.duration.as_nanos()).unwrap_or(u64::MAX)),
        attributes: attributes(record, method, error.as_deref()),
        status: error.map(|_| Status { code: StatusCode::Error.into(), message: String::new() }),
        ..Span::default()
    }
}

fn attributes(record: &Record, method: Option<&str>, error: Option<&str>) -> Vec<KeyValue> {
    let mut attributes = Vec::with_capacity(24);
    let mut add = |key: &str, value| {
        let value = Some(AnyValue { value: Some(value) });
        attributes.push(KeyValue { key: key.into(), value, ..KeyValue::default() });
    };
    let mut text = |key: &str, value: &str| add(key, Value::StringValue(cut(value).to_owned()));
    text("http.request.method", method.unwrap_or("_OTHER"));
    if method.is_none() {
        text("http.request.method_original", record.method.as_str());
    }
    text("url.scheme", record.scheme);
    if !record.path.is_empty() {
        text("url.path", &record.path);
    }
    if !record.host.is_empty() {
        text("server.address", &record.host);
    }
    text("client.address", &record.client.to_string());
    text("network.protocol.name", "http");
    text("network.protocol.version", record.version_number());
    if let Some(agent) = &record.user_agent {
        let bytes = agent.as_bytes();
        text("user_agent.original", &String::from_utf8_lossy(&bytes[..bytes.len().min(VALUE_BYTES)]));
    }
    if let Some(route) = &record.route {
        text("http.route", route.object());
        text("gatehouse.rule", route.rule());
    }
    if let Some(error) = error {
        text("error.type", error);
    }
    for (key, value) in [
        ("gatehouse.reason", record.reason.map(|reason| reason.as_str())),
        ("gatehouse.listener", record.listener.as_deref()),
        ("gatehouse.service", record.service.as_deref()),
        ("gatehouse.consumer", record.consumer.as_deref()),
        ("gatehouse.request_id", Some(record.request_id.as_str())),
        ("gatehouse.failed_parts", Some(&*record.failed_parts).filter(|parts| !parts.is_empty())),
    ] {
        if let Some(value) = value {
            text(key, value);
        }
    }
    if let Some(endpoint) = record.endpoint {
        text("gatehouse.endpoint", &endpoint.to_string());
    }
    let mut number = |key: &str, value: u64| {
        add(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
    };
    number("http.response.status_code", record.status.into());
    if let Some(code) = record.grpc_status {
        number("rpc.grpc.status_code", code.into());
    }
    number("http.request.body.size", record.bytes_received);
    number("http.response.body.size", record.bytes_sent);
    if record.endpoint.is_some() {
        number("gatehouse.attempts", record.attempts.into());
    }
    attributes
}

/// The server's own failures only: what clients do wrong leaves a server's span without an error.
fn error(record: &Record) -> Option<String> {
    // What was only held up may have gone well.
    let is_told = |reason: &Reason| *reason != Reason::FaultDelayed || record.status >= 500;
    match record.reason.filter(|reason| reason.status().is_server_error() && is_told(reason)) {
        Some(reason) => Some(reason.as_str().to_owned()),
        None => (record.status >= 500).then(|| record.status.to_string()),
    }
}

/// Names of spans must be few: a client can invent methods.
fn known(method: &Method) -> Option<&str> {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    KNOWN.contains(method).then(|| method.as_str())
}

/// Sampled, and whether the parent is in another process.
fn flags(record: &Record) -> u32 {
    const SAMPLED: u32 = 1;
    let remote = if record.trace.parent.is_some() { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    SAMPLED | SpanFlags::ContextHasIsRemoteMask as u32 | remote
}

fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(VALUE_BYTES)]
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::{Method, Version};
    use opentelemetry_proto::tonic::{common::v1::any_value::Value, trace::v1::Span};

    use super::{
        super::{Record, metrics::Metrics},
        span,
    };
    use crate::Reason;

    fn attributes(span: &Span) -> BTreeMap<&str, String> {
        let mut found = BTreeMap::new();
        for attribute in &span.attributes {
            let text = match attribute.value.as_ref().and_then(|value| value.value.as_ref()).unwrap() {
                Value::StringValue(text) => text.clone(),
                Value::IntValue(number) => number.to_string(),
                other => panic!("{other:?}"),
            };
            assert!(found.insert(&*attribute.key, text).is_none(), "{} comes once", attribute.key);
        }
        found
    }

    #[test]
    fn it_follows_the_conventions() {
        let metrics = Metrics::default();
        let route = Some(metrics.route("HTTPRoute/ns/shop", 0, "list"));
        let span =
            span(&Record { route, version: Version::HTTP_2, grpc_status: Some(5), ..Record::example() });
        assert_eq!(span.name, "GET HTTPRoute/ns/shop");
        assert_eq!((span.kind, span.flags), (2, 0x301));
        assert_eq!(span.trace_id, 0xabc_u128.to_be_bytes());
        assert_eq!(span.span_id, 0xdef_u64.to_be_bytes());
        assert_eq!(span.parent_span_id, 0x12_u64.to_be_bytes());
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 12_345_000);
        let expected = [
            ("client.address", "192.0.2.7"),
            ("gatehouse.attempts", "1"),
            ("gatehouse.consumer", "alice"),
            ("gatehouse.endpoint", "10.0.0.9:8080"),
            ("gatehouse.listener", "default/edge/https"),
            ("gatehouse.request_id", "r-1"),
            ("gatehouse.rule", "list"),
            ("gatehouse.service", "default/orders/80"),
            ("http.request.body.size", "0"),
            ("http.request.method", "GET"),
            ("http.response.body.size", "512"),
            ("http.response.status_code", "200"),
            ("http.route", "HTTPRoute/ns/shop"),
            ("network.protocol.name", "http"),
            ("network.protocol.version", "2"),
            ("rpc.grpc.status_code", "5"),
            ("server.address", "shop.example"),
            ("url.path", "/orders"),
            ("url.scheme", "https"),
            ("user_agent.original", "curl/8.5.0"),
        ];
        assert_eq!(attributes(&span), expected.map(|(key, value)| (key, value.to_owned())).into());
    }

    #[test]
    fn only_the_servers_failures_are_errors() {
        for (status, reason, expected) in [
            (200, None, None),
            (404, None, None),
            (500, None, Some("500")),
            (200, Some(Reason::Direct), None),
            (302, Some(Reason::Redirect), None),
            (401, Some(Reason::Unauthenticated), None),
            (499, Some(Reason::ClientGone), None),
            (503, Some(Reason::Direct), Some("503")),
            (502, Some(Reason::ConnectFailed), Some("connect_failed")),
            // A gRPC refusal, and a response that broke off.
            (200, Some(Reason::NoEndpoints), Some("no_endpoints")),
            (200, Some(Reason::UpstreamFailed), Some("upstream_failed")),
        ] {
            let span = span(&Record { status, reason, ..Record::example() });
            let attributes = attributes(&span);
            assert_eq!(attributes.get("error.type").map(String::as_str), expected, "{status} {reason:?}");
            assert_eq!(span.status.is_some(), expected.is_some(), "{status} {reason:?}");
            let told = attributes.get("gatehouse.reason").map(String::as_str);
            assert_eq!(told, reason.map(|reason| reason.as_str()));
        }
    }

    #[test]
    fn what_clients_invent_is_bounded() {
        let path = format!("/{}", "ü".repeat(5000));
        let method = Method::from_bytes(b"EXOTIC").unwrap();
        let record = Record { method, path: path.into(), host: "".into(), ..Record::example() };
        let span = span(&record);
        let attributes = attributes(&span);
        assert_eq!(span.name, "HTTP");
        assert_eq!(attributes["http.request.method"], "_OTHER");
        assert_eq!(attributes["http.request.method_original"], "EXOTIC");
        assert!(!attributes.contains_key("server.address"));
        assert_eq!(attributes["url.path"].len(), 1023, "cut between characters");
    }
}
