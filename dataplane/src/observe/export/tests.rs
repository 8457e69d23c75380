use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use gatehouse_proto::config::v1;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{ResourceSpans, Span},
};
use tonic::{Request, Response, Status, transport::Server};

use super::{
    super::{Record, metrics::Metrics},
    BATCH, EndpointError, QUEUE, SpanExporter,
};

const LIMIT: Duration = Duration::from_secs(20);

/// A collector that gives the prepared answers first, and takes everything after them.
#[derive(Clone, Default)]
struct Collector(Arc<State>);

#[derive(Default)]
struct State {
    prepared: Mutex<Vec<Result<ExportTraceServiceResponse, Status>>>,
    taken: Mutex<Vec<ResourceSpans>>,
    calls: Mutex<Vec<usize>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans;
        let count = resources.iter().flat_map(|one| &one.scope_spans).map(|one| one.spans.len()).sum();
        self.0.calls.lock().unwrap().push(count);
        let response = self.0.prepared.lock().unwrap().pop().unwrap_or_else(|| Ok(Default::default()))?;
        self.0.taken.lock().unwrap().extend(resources);
        Ok(Response::new(response))
    }
}

impl Collector {
    async fn start(prepared: Vec<Result<ExportTraceServiceResponse, Status>>) -> (Self, SocketAddr) {
        let collector = Collector::default();
        *collector.0.prepared.lock().unwrap() = prepared;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tonic::transport::server::TcpIncoming::from(listener);
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        (collector, address)
    }

    fn spans(&self) -> Vec<Span> {
        let taken = self.0.taken.lock().unwrap();
        taken.iter().flat_map(|one| &one.scope_spans).flat_map(|one| one.spans.clone()).collect()
    }
}

fn exporter(address: SocketAddr) -> (Arc<SpanExporter>, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let exporter = SpanExporter::start(&config(&format!("http://{address}")), Arc::clone(&metrics)).unwrap();
    (Arc::new(exporter), metrics)
}

fn config(endpoint: &str) -> v1::Tracing {
    v1::Tracing { endpoint: endpoint.into(), sampling_ppm: 0, service_name: "edge".into() }
}

fn nowhere() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn record(span_id: u64) -> Record {
    let mut record = Record::example();
    record.trace.span_id = span_id;
    record
}

async fn finish(exporter: &Arc<SpanExporter>) {
    let exporter = Arc::clone(exporter);
    tokio::task::spawn_blocking(move || exporter.finish(LIMIT)).await.unwrap();
}

#[tokio::test]
async fn every_span_arrives_once_in_bounded_batches() {
    let (collector, address) = Collector::start(Vec::new()).await;
    let (exporter, metrics) = exporter(address);
    for id in 1..=2000 {
        exporter.push(&record(id));
    }
    finish(&exporter).await;
    let spans = collector.spans();
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span_id.clone()).collect();
    assert_eq!((spans.len(), ids.len(), metrics.spans_dropped.get()), (2000, 2000, 0));
    assert!(collector.0.calls.lock().unwrap().iter().all(|count| *count <= BATCH));
    let taken = collector.0.taken.lock().unwrap();
    let name = &taken[0].resource.as_ref().unwrap().attributes[0];
    assert_eq!(name.key, "service.name");
    assert_eq!(name.value.as_ref().unwrap().value, Some(Value::StringValue("edge".into())));
}

#[tokio::test]
async fn a_span_does_not_wait_for_a_full_batch() {
    let (collector, address) = Collector::start(Vec::new()).await;
    let (exporter, _) = exporter(address);
    exporter.push(&record(1));
    let arrived = async {
        while collector.spans().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, arrived).await.unwrap();
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let unavailable = || Err(Status::unavailable("later"));
    let (collector, address) = Collector::start(vec![unavailable(), unavailable()]).await;
    let (exporter, metrics) = exporter(address);
    exporter.push(&record(1));
    let arrived = async {
        while collector.spans().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, arrived).await.unwrap();
    assert_eq!(*collector.0.calls.lock().unwrap(), [1, 1, 1]);
    assert_eq!(metrics.spans_dropped.get(), 0);
}

#[tokio::test]
async fn what_is_refused_for_good_is_counted() {
    let partial = ExportTracePartialSuccess { rejected_spans: 2, ..Default::default() };
    let partly = ExportTraceServiceResponse { partial_success: Some(partial) };
    for (answer, expected) in [(Err(Status::invalid_argument("no")), 3), (Ok(partly), 2)] {
        let (collector, address) = Collector::start(vec![answer]).await;
        let (exporter, metrics) = exporter(address);
        for id in 1..=3 {
            exporter.push(&record(id));
        }
        finish(&exporter).await;
        assert_eq!((collector.0.calls.lock().unwrap().len(), metrics.spans_dropped.get()), (1, expected));
    }
}

#[tokio::test]
async fn without_a_collector_spans_are_lost_and_counted_and_the_end_comes() {
    let (exporter, metrics) = exporter(nowhere());
    let began = Instant::now();
    for id in 1..=3 {
        exporter.push(&record(id));
    }
    finish(&exporter).await;
    assert!(began.elapsed() < LIMIT, "it ended by itself");
    assert_eq!(metrics.spans_dropped.get(), 3);
    exporter.push(&record(4));
    assert_eq!(metrics.spans_dropped.get(), 4, "nothing is taken after the end");
}

// One thread: the exporting task can't run while this does not await.
#[tokio::test]
async fn the_queue_is_bounded() {
    let (exporter, metrics) = exporter(nowhere());
    for id in 0..QUEUE as u64 + 10 {
        exporter.push(&record(id + 1));
    }
    assert_eq!(metrics.spans_dropped.get(), 10);
}

#[tokio::test]
async fn only_http_endpoints_are_taken() {
    let start = |endpoint| SpanExporter::start(&config(endpoint), Arc::default()).map(|_| ());
    assert!(matches!(start("https://collector:4317"), Err(EndpointError::Scheme { .. })));
    assert!(matches!(start("collector"), Err(EndpointError::Scheme { .. })));
    assert!(matches!(start("http://a b"), Err(EndpointError::Syntax { .. })));
}
