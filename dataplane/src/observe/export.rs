//! Exports spans by OTLP over gRPC, in batches.
//!
//! The queue is bounded: while the collector is slow or away, a batch is tried again for a while, spans pile up behind
//! it, and what finds no room is lost and counted.

use std::{sync::Arc, time::Duration};

use gatehouse_proto::config::v1;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, trace_service_client::TraceServiceClient},
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use parking_lot::Mutex;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout, timeout_at},
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tracing::{info, warn};

use super::{Record, metrics::Metrics, span::span};

const QUEUE: usize = 8192;
const BATCH: usize = 512;
/// How long a span waits for others.
const BATCH_TIME: Duration = Duration::from_secs(1);
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// How long one batch is tried.
const RETRY_TIME: Duration = Duration::from_secs(30);

/// Why spans can't be exported.
#[derive(Debug, thiserror::Error)]
pub(super) enum EndpointError {
    #[error("tracing.endpoint {endpoint:?} is no URL: {source}")]
    Syntax { endpoint: String, source: tonic::transport::Error },
    #[error("tracing.endpoint {endpoint:?} must begin with http://")]
    Scheme { endpoint: String },
}

/// The way to an exporting task, which ends when this is dropped and what is queued has gone out.
#[derive(Debug)]
pub(super) struct SpanExporter {
    config: v1::Tracing,
    queue: mpsc::Sender<Span>,
    closing: watch::Sender<bool>,
    /// Fails when the task has ended; nothing is ever sent.
    ended: Mutex<std::sync::mpsc::Receiver<()>>,
    metrics: Arc<Metrics>,
}

struct Exporter {
    client: TraceServiceClient<Channel>,
    resource: Resource,
    queue: mpsc::Receiver<Span>,
    /// True, or gone: export what is left and end.
    closing: watch::Receiver<bool>,
    closed: bool,
    /// The last export failed: say so once.
    failing: bool,
    metrics: Arc<Metrics>,
    _ended: std::sync::mpsc::Sender<()>,
}

impl SpanExporter {
    /// Must be called within a runtime.
    pub(super) fn start(config: &v1::Tracing, metrics: Arc<Metrics>) -> Result<Self, EndpointError> {
        let endpoint = Endpoint::from_shared(config.endpoint.clone())
            .map_err(|source| EndpointError::Syntax { endpoint: config.endpoint.clone(), source })?;
        if endpoint.uri().scheme_str() != Some("http") {
            return Err(EndpointError::Scheme { endpoint: config.endpoint.clone() });
        }
        let (queue, spans) = mpsc::channel(QUEUE);
        let (closing, closing_seen) = watch::channel(false);
        let (ended, ended_seen) = std::sync::mpsc::channel();
        let exporter = Exporter {
            client: TraceServiceClient::new(endpoint.connect_timeout(EXPORT_TIMEOUT).connect_lazy()),
            resource: resource(&config.service_name),
            queue: spans,
            closing: closing_seen,
            closed: false,
            failing: false,
            metrics: Arc::clone(&metrics),
            _ended: ended,
        };
        tokio::spawn(exporter.run());
        Ok(SpanExporter { config: config.clone(), queue, closing, ended: Mutex::new(ended_seen), metrics })
    }

    /// It exports to the same place under the same name.
    pub(super) fn serves(&self, config: &v1::Tracing) -> bool {
        self.config.endpoint == config.endpoint && self.config.service_name == config.service_name
    }

    pub(super) fn push(&self, record: &Record) {
        match self.queue.try_reserve() {
            Ok(place) => place.send(span(record)),
            Err(_) => self.metrics.spans_dropped.add(1),
        }
    }

    /// Waits until what is queued has gone out, or for the limit; takes nothing more. Blocks.
    pub(super) fn finish(&self, limit: Duration) {
        self.closing.send_replace(true);
        // Ends with an error either way: the task has ended, or the time.
        let _ = self.ended.lock().recv_timeout(limit);
    }
}

impl Exporter {
    async fn run(mut self) {
        while let Some(first) = self.next().await {
            let mut spans = vec![first];
            let until = Instant::now() + BATCH_TIME;
            while spans.len() < BATCH {
                match timeout_at(until, self.next()).await {
                    Ok(Some(span)) => spans.push(span),
                    Ok(None) | Err(_) => break,
                }
            }
            self.deliver(spans).await;
        }
    }

    async fn next(&mut self) -> Option<Span> {
        if !self.closed {
            tokio::select! {
                biased;
                span = self.queue.recv() => return span,
                _ = self.closing.wait_for(|closing| *closing) => {}
            }
            self.closed = true;
            self.queue.close();
        }
        self.queue.recv().await
    }

    /// Ends with the spans at the collector or counted as lost.
    async fn deliver(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let request = self.request(spans);
        let until = Instant::now() + RETRY_TIME;
        let mut backoff = FIRST_BACKOFF;
        let failure = loop {
            let failure = match timeout(EXPORT_TIMEOUT, self.client.export(request.clone())).await {
                Ok(Ok(response)) => {
                    let refused = response.into_inner().partial_success.map_or(0, |part| part.rejected_spans);
                    self.metrics.spans_dropped.add(u64::try_from(refused).unwrap_or(0).min(count));
                    if std::mem::take(&mut self.failing) {
                        info!("spans are exported again");
                    }
                    return;
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer in time"),
            };
            if !is_passing(failure.code()) || self.closed || Instant::now() + backoff > until {
                break failure;
            }
            self.warn(&failure);
            // Whoever wants to end waits for this: try once more at once.
            if timeout(backoff, self.closing.wait_for(|closing| *closing)).await.is_ok() {
                self.closed = true;
                self.queue.close();
            }
            backoff = (2 * backoff).min(LONGEST_BACKOFF);
        };
        self.warn(&failure);
        self.metrics.spans_dropped.add(count);
    }

    fn warn(&mut self, failure: &Status) {
        if !std::mem::replace(&mut self.failing, true) {
            warn!(code = ?failure.code(), message = failure.message(), "spans can't be exported");
        }
    }

    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope = InstrumentationScope {
            name: "gatehouse".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..InstrumentationScope::default()
        };
        let scope_spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![scope_spans],
                ..ResourceSpans::default()
            }],
        }
    }
}

fn resource(service_name: &str) -> Resource {
    let service_name = if service_name.is_empty() { "gatehouse" } else { service_name };
    let attribute = |key: &str, value: &str| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
        ..KeyValue::default()
    };
    let attributes = vec![
        attribute("service.name", service_name),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
    ];
    Resource { attributes, ..Resource::default() }
}

/// The same request may succeed later (OTLP specification, "Failures").
fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss
    )
}

#[cfg(test)]
mod tests;
