//! Exports spans by OTLP over gRPC, in batches. Names of attributes are OpenTelemetry's semantic conventions for HTTP
//! servers; our own begin with `gatehouse.`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use gatehouse_proto::config::v1;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span::SpanKind, status::StatusCode},
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tonic::transport::{Channel, Endpoint};
use tracing::warn;

use super::{Record, metrics::Metrics};

const QUEUE: usize = 8192;
const BATCH: usize = 512;
const BATCH_TIME: Duration = Duration::from_secs(1);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct SpanExporter {
    config: v1::Tracing,
    queue: mpsc::Sender<Span>,
    metrics: Arc<Metrics>,
}

impl SpanExporter {
    /// Must be called within a runtime.
    pub(super) fn start(config: &v1::Tracing, metrics: Arc<Metrics>) -> Self {
        let (queue, spans) = mpsc::channel(QUEUE);
        match Endpoint::from_shared(config.endpoint.clone()) {
            Ok(endpoint) => {
                let channel = endpoint.timeout(EXPORT_TIMEOUT).connect_timeout(EXPORT_TIMEOUT).connect_lazy();
                tokio::spawn(export(channel, config.service_name.clone(), spans, Arc::clone(&metrics)));
            }
            Err(error) => warn!(endpoint = config.endpoint, %error, "tracing endpoint can't be used"),
        }
        SpanExporter { config: config.clone(), queue, metrics }
    }

    /// It exports to the same place under the same name.
    pub(super) fn serves(&self, config: &v1::Tracing) -> bool {
        self.config.endpoint == config.endpoint && self.config.service_name == config.service_name
    }

    pub(super) fn push(&self, record: &Record) {
        if self.queue.try_send(span(record)).is_err() {
            self.metrics.spans_dropped.add(1);
        }
    }

    /// What is queued is still exported; nothing more is taken.
    pub(super) fn finish(self) {
        drop(self.queue);
    }
}

/// Runs until the exporter is dropped and the queue is empty.
async fn export(
    channel: Channel,
    service_name: String,
    mut queue: mpsc::Receiver<Span>,
    metrics: Arc<Metrics>,
) {
    let mut client = TraceServiceClient::new(channel);
    let service_name = if service_name.is_empty() { "gatehouse".to_owned() } else { service_name };
    while let Some(first) = queue.recv().await {
        let mut spans = vec![first];
        let until = Instant::now() + BATCH_TIME;
        while spans.len() < BATCH {
            match timeout_at(until, queue.recv()).await {
                Ok(Some(span)) => spans.push(span),
                Ok(None) | Err(_) => break,
            }
        }
        let count = spans.len() as u64;
        let request = request(&service_name, spans);
        match timeout(EXPORT_TIMEOUT, client.export(request)).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => {
                metrics.spans_dropped.add(count);
                warn!(%status, "spans could not be exported");
            }
            Err(_) => metrics.spans_dropped.add(count),
        }
    }
}

fn request(service_name: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource {
        attributes: vec![attribute("service.name", Value::StringValue(service_name.into()))],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "gatehouse".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let scope_spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource),
            scope_spans: vec![scope_spans],
            ..ResourceSpans::default()
        }],
    }
}

fn span(record: &Record) -> Span {
    let text = |value: &str| Value::StringValue(value.to_owned());
    let number = |value: u64| Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX));
    let mut attributes = vec![
        attribute("http.request.method", text(record.method.as_str())),
        attribute("url.scheme", text(record.scheme)),
        attribute("url.path", text(&record.path)),
        attribute("server.address", text(&record.host)),
        attribute("client.address", text(&record.client.to_string())),
        attribute("http.response.status_code", number(record.status.into())),
        attribute("http.response.body.size", number(record.bytes_sent)),
    ];
    if let Some(reason) = record.reason {
        attributes.push(attribute("error.type", text(reason.as_str())));
    }
    if let Some(service) = &record.service {
        attributes.push(attribute("gatehouse.service", text(service)));
    }
    if let Some(consumer) = &record.consumer {
        attributes.push(attribute("gatehouse.consumer", text(consumer)));
    }
    let mut name = record.method.to_string();
    if let Some(route) = &record.route {
        name = format!("{name} {}", route.object());
        attributes.push(attribute("http.route", text(route.object())));
        attributes.push(attribute("gatehouse.rule", text(route.rule())));
    }
    let start = nanoseconds(record.began);
    let code = if record.status >= 500 { StatusCode::Error } else { StatusCode::Unset };
    Span {
        trace_id: record.trace.trace_id.to_be_bytes().to_vec(),
        span_id: record.trace.span_id.to_be_bytes().to_vec(),
        parent_span_id: record.trace.parent.map_or_else(Vec::new, |id| id.to_be_bytes().to_vec()),
        name,
        kind: SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start + u64::try_from(record.duration.as_nanos()).unwrap_or(0),
        attributes,
        status: Some(Status { code: code.into(), message: String::new() }),
        ..Span::default()
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn nanoseconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
}
