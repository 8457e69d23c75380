//! One log line, one count and one span for every request, whatever became of it.

use std::{sync::Arc, sync::Mutex, time::Duration};

use gatehouse_tests::{
    backend::Backend,
    client::{get, raw},
    eventually,
    gateway::{EDGE, Gateway, service},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value as Any,
    trace::v1::Span,
};
use tonic::{Request, Response, Status, transport::Server};

use crate::route;

const RULES: &str = "
- name: good
  matches: [{path: {value: /good}}]
  backendRefs: [{name: echo, port: 80}]
- name: locked
  matches: [{path: {value: /locked}}]
  auth: {policyRef: {name: keys}}
  backendRefs: [{name: echo, port: 80}]
- name: limited
  matches: [{path: {value: /limited}}]
  rateLimits: [{name: none}]
  backendRefs: [{name: echo, port: 80}]
- name: closed
  matches: [{path: {value: /closed}}]
  backendRefs: [{name: closed, port: 80}]
- name: empty
  matches: [{path: {value: /empty}}]
  backendRefs: [{name: empty, port: 80}]
- name: slow
  matches: [{path: {value: /slow}}]
  timeouts: {request: 100ms}
  backendRefs: [{name: slow, port: 80}]";

const POLICIES: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: keys}
spec: {anyOf: [{apiKey: {sources: [{header: {name: X-API-Key}}, {query: {name: key}}]}}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: none}
spec: {limits: [{name: l, requests: 1, per: 24h, algorithm: SlidingWindow}]}
";

#[tokio::test]
async fn one_line_and_one_count_a_request() {
    let echo = Backend::echo("echo").await;
    let slow = Backend::serving(|_, _| std::future::pending()).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", format!("{}{POLICIES}", route(RULES)))
        .file("echo.yaml", service("echo"))
        .file("closed.yaml", service("closed"))
        .file("empty.yaml", service("empty"))
        .file("slow.yaml", service("slow"))
        .endpoint("echo", echo.address)
        .endpoint("closed", closed)
        .endpoint("slow", slow.address)
        .start()
        .await;
    get(gateway.http(), "/limited").header("x-request-id", "r-first").send().await;
    // Another worker may serve the next request, and write its line earlier.
    gateway.logged("r-first").await;
    let mut count = 1;
    for (id, path, status, rule, reason, reached) in [
        ("r-good", "/good?secret=1", 200, Some("good"), None, true),
        ("r-none", "/nowhere", 404, None, Some("no_route"), false),
        ("r-locked", "/locked?key=hidden", 401, Some("locked"), Some("unauthenticated"), false),
        ("r-limited", "/limited", 429, Some("limited"), Some("rate_limited"), false),
        ("r-closed", "/closed", 502, Some("closed"), Some("connect_failed"), true),
        ("r-empty", "/empty", 503, Some("empty"), Some("no_endpoints"), false),
        ("r-slow", "/slow", 504, Some("slow"), Some("upstream_timeout"), true),
    ] {
        let ask = get(gateway.http(), path).header("x-request-id", id).header("x-api-key", "hidden");
        let ask = ask.header("cookie", "hidden=1").header("user-agent", "a \"quoted\" agent");
        assert_eq!(ask.send().await.status, status, "{id}");
        count += 1;
        let line = gateway.logged(id).await;
        let got = (line["status"].as_u64(), line["rule"].as_str(), line["reason"].as_str());
        assert_eq!(got, (Some(status.into()), rule, reason), "{line}");
        assert_eq!(line["endpoint"].is_string(), reached, "{line}");
        assert!(
            line["duration_ms"].is_f64() && line["trace_id"].as_str().is_some_and(|id| id.len() == 32),
            "{line}"
        );
        assert_eq!(line["user_agent"], "a \"quoted\" agent");
        assert_eq!(line["host"], "test.example");
        assert_eq!(gateway.access_log().len(), count, "exactly one line: {id}");
        assert!(!line.to_string().contains("hidden") && !line.to_string().contains("secret"), "{line}");
    }
    // A request that never became one, and a client that went away.
    raw(gateway.http(), b"GET / HTTP/9.9\r\n\r\n", Duration::from_secs(3)).await;
    let gone = tokio::net::TcpStream::connect(gateway.http()).await.unwrap();
    let request = b"GET /slow HTTP/1.1\r\nHost: a\r\nX-Request-Id: r-gone\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut { gone }, request).await.unwrap();
    let line = gateway.logged("r-gone").await;
    assert!(["client_gone", "upstream_timeout"].contains(&line["reason"].as_str().unwrap()), "{line}");

    let wanted = [
        "gatehouse_requests_total{route=\"GatewayRoute/default/r\",rule=\"good\",code=\"200\"} 1",
        "gatehouse_requests_total{route=\"GatewayRoute/default/r\",rule=\"limited\",code=\"429\"} 1",
        "gatehouse_requests_total{route=\"\",rule=\"\",code=\"404\"} 1",
        "gatehouse_request_duration_seconds_count{route=\"GatewayRoute/default/r\",rule=\"good\"} 1",
        "gatehouse_gateway_responses_total{reason=\"unauthenticated\"} 1",
        "gatehouse_gateway_responses_total{reason=\"version_unsupported\"} 1",
    ];
    eventually("every count is there", async || {
        let metrics = get(gateway.admin(), "/metrics").send().await;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        wanted.iter().all(|line| text.contains(line)).then_some(())
    })
    .await;
    assert_eq!(get(gateway.admin(), "/readyz").send().await.status, 200);
    assert_eq!(get(gateway.admin(), "/livez").send().await.status, 200);
}

/// The end of the connection can be there together with the request.
#[tokio::test]
async fn a_client_that_goes_away_at_once_is_logged() {
    let slow = Backend::serving(|_, _| std::future::pending()).await;
    let rule = "- timeouts: {request: 100ms}\n  backendRefs: [{name: slow, port: 80}]";
    let gateway = Gateway::with(&route(rule), &[("slow", slow.address)]).await;
    for count in 0..200 {
        let mut gone = tokio::net::TcpStream::connect(gateway.http()).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: gone-{count}\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut gone, request.as_bytes()).await.unwrap();
    }
    eventually("every request is logged", async || (gateway.access_log().len() == 200).then_some(())).await;
}

#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let spans = request.into_inner().resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        self.0.lock().unwrap().extend(spans.flat_map(|scope| scope.spans));
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn one_span_a_request_in_the_clients_trace() {
    let collector = Collector::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service_of = TraceServiceServer::new(collector.clone());
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(Server::builder().add_service(service_of).serve_with_incoming(incoming));
    let echo = Backend::echo("echo").await;
    let config = format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: GatewayConfig\nmetadata: {{name: c}}\nspec: {{tracing: {{endpoint: \
         'http://{address}', serviceName: edge}}}}\n"
    );
    let gateway = Gateway::builder()
        .file(
            "edge.yaml",
            EDGE.replace(
                "  listeners:",
                "  infrastructure: {parametersRef: {group: gatehouse.dev, kind: GatewayConfig, name: c}}\n  listeners:",
            ),
        )
        .file("config.yaml", config)
        .file("routes.yaml", route("- name: good\n  backendRefs: [{name: echo, port: 80}]"))
        .file("echo.yaml", service("echo"))
        .endpoint("echo", echo.address)
        .start()
        .await;
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let answer =
        get(gateway.http(), "/x").header("traceparent", parent).header("tracestate", "a=b").send().await;
    let told = gatehouse_tests::backend::header(&answer.json(), "traceparent").unwrap().to_owned();
    get(gateway.http(), "/y").header("traceparent", "garbage").send().await;
    let spans = eventually("two spans", async || {
        let spans = collector.0.lock().unwrap().clone();
        (spans.len() == 2).then_some(spans)
    })
    .await;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let ours = spans.iter().find(|span| hex(&span.trace_id) == "0af7651916cd43dd8448eb211c80319c").unwrap();
    assert_eq!(hex(&ours.parent_span_id), "b7ad6b7169203331");
    assert_eq!(told, format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", hex(&ours.span_id)));
    let attribute = |name: &str| {
        ours.attributes.iter().find(|one| one.key == name).and_then(|one| one.value.clone()?.value)
    };
    assert_eq!(attribute("http.response.status_code"), Some(Any::IntValue(200)));
    assert_eq!(attribute("url.path"), Some(Any::StringValue("/x".into())));
    assert_eq!(ours.name, "GET GatewayRoute/default/r");
    assert_eq!(
        spans.iter().filter(|span| span.parent_span_id.is_empty()).count(),
        1,
        "the other began its own"
    );
}
