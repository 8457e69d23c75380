//! GRPCRoute with a real server and real clients: calls, streams both ways, our own errors, and the end of a gateway.

use std::net::SocketAddr;

use gatehouse_proto::config::v1::{
    Ack, Batch, ClientMessage, ServerMessage, StateRequest,
    client_message::Kind as FromClient,
    config_service_client::ConfigServiceClient,
    config_service_server::{ConfigService, ConfigServiceServer},
    server_message::Kind as FromServer,
    sibling_service_client::SiblingServiceClient,
};
use gatehouse_tests::{
    PATIENCE,
    backend::Backend,
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_client::TraceServiceClient,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    metadata::MetadataValue,
    transport::{Channel, Server},
};

/// Answers each `Ack` with a `Batch` of the same nonce, as it comes.
struct Echo;

#[tonic::async_trait]
impl ConfigService for Echo {
    type WatchStream = ReceiverStream<Result<ServerMessage, Status>>;

    async fn watch(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (answers, stream) = mpsc::channel(1);
        let mut incoming = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(message)) = incoming.message().await {
                let Some(FromClient::Ack(Ack { nonce, .. })) = message.kind else { continue };
                let batch = FromServer::Batch(Batch { nonce, ..Batch::default() });
                let _ = answers.send(Ok(ServerMessage { kind: Some(batch) })).await;
            }
            let _ = answers.send(Err(Status::already_exists("that was all"))).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tonic::async_trait]
impl TraceService for Echo {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if request.metadata().contains_key("x-fail") {
            return Err(Status::with_details(Code::NotFound, "no such thing", "details".into()));
        }
        let mut response = Response::new(ExportTraceServiceResponse::default());
        if let Some(added) = request.metadata().get("x-added") {
            response.metadata_mut().insert("x-seen", added.clone());
        }
        Ok(response)
    }
}

/// Of the services that tests call.
pub(crate) async fn server() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(ConfigServiceServer::new(Echo))
        .add_service(TraceServiceServer::new(Echo));
    tokio::spawn(server.serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener)));
    address
}

/// A GRPCRoute `calls` with these rules (YAML, a list).
pub(crate) fn grpc_route(rules: &str) -> String {
    crate::route(rules)
        .replace("gatehouse.dev/v1alpha1", "gateway.networking.k8s.io/v1")
        .replace("GatewayRoute", "GRPCRoute")
        .replace("{name: r}", "{name: calls}")
}

async fn gateway() -> Gateway {
    let rules = "
- name: traces
  matches: [{method: {service: opentelemetry.proto.collector.trace.v1.TraceService, method: Export}}]
  filters:
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-added, value: here}]}}
  - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-back, value: there}]}}
  backendRefs: [{name: echo, port: 80}]
- name: broken
  matches: [{headers: [{name: x-to, value: broken}]}]
  backendRefs: [{name: missing, port: 80}]
- name: empty
  matches: [{headers: [{name: x-to, value: empty}]}]
  backendRefs: [{name: empty, port: 80}]
- name: watches
  matches: [{method: {service: gatehouse.config.v1.ConfigService}}]
  backendRefs: [{name: echo, port: 80}]";
    Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", grpc_route(rules))
        .file("echo.yaml", service("echo"))
        .file("empty.yaml", service("empty"))
        .endpoint("echo", server().await)
        .start()
        .await
}

pub(crate) async fn connect(gateway: &Gateway) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{}", gateway.http())).unwrap();
    endpoint.connect().await.unwrap()
}

#[tokio::test]
async fn calls_reach_the_service_and_our_own_errors_are_statuses() {
    let gateway = gateway().await;
    let channel = connect(&gateway).await;
    let mut traces = TraceServiceClient::new(channel.clone());
    let call = |to: &'static str, value: &'static str| {
        let mut request = Request::new(ExportTraceServiceRequest::default());
        if !to.is_empty() {
            request.metadata_mut().insert(to, MetadataValue::from_static(value));
        }
        request
    };
    let answer = traces.export(call("", "")).await.unwrap();
    let told = |name: &str| answer.metadata().get(name).and_then(|value| value.to_str().ok());
    assert_eq!((told("x-seen"), told("x-back")), (Some("here"), Some("there")));

    let failed = traces.export(call("x-fail", "1")).await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::NotFound, "no such thing"));
    assert_eq!(failed.details(), b"details");

    let nowhere =
        SiblingServiceClient::new(channel.clone()).state(StateRequest::default()).await.unwrap_err();
    assert_eq!(nowhere.code(), Code::Unimplemented, "{nowhere:?}");
    for to in ["broken", "empty"] {
        let mut request = Request::new(StateRequest::default());
        request.metadata_mut().insert("x-to", MetadataValue::from_static(to));
        let refused = SiblingServiceClient::new(channel.clone()).state(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{to}: {refused:?}");
    }
    let lines = eventually("every call is logged", async || {
        let lines = gateway.access_log();
        (lines.len() == 5).then_some(lines)
    })
    .await;
    let statuses: Vec<_> =
        lines.iter().map(|line| (line["status"].as_u64(), line["grpc_status"].as_u64())).collect();
    assert_eq!(statuses, [0, 5, 12, 14, 14].map(|code| (Some(200), Some(code))), "{lines:?}");
}

/// When its rule's time is over or its client's, whichever is shorter: the gateway does not go on for nobody.
#[tokio::test]
async fn a_call_ends_when_its_time_is_over() {
    let silent = Backend::h2c(|_, _| std::future::pending()).await;
    let rules = "
- matches: [{path: {value: /a.Bounded}}]
  timeouts: {request: 50ms}
  backendRefs: [{name: silent, port: 80}]
- backendRefs: [{name: silent, port: 80}]";
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", crate::route(rules))
        .file(
            "silent.yaml",
            service("silent").replace("{port: 80}", "{port: 80, appProtocol: kubernetes.io/h2c}"),
        )
        .endpoint("silent", silent.address)
        .start()
        .await;
    for (path, own) in [("/a.B/C", "50m"), ("/a.Bounded/C", "1H")] {
        let call = get(gateway.http(), path).method("POST").header("content-type", "application/grpc");
        let answer = call.header("grpc-timeout", own).send_h2c().await;
        assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("4")), "{path}: {answer:?}");
    }
}

/// What one sends in a stream, and what comes back.
pub(crate) struct Talk {
    send: mpsc::Sender<ClientMessage>,
    receive: Streaming<ServerMessage>,
    nonce: u64,
}

impl Talk {
    pub(crate) async fn open(channel: Channel) -> Talk {
        let (send, messages) = mpsc::channel(1);
        let opening = ConfigServiceClient::new(channel).watch(ReceiverStream::new(messages)).await;
        Talk { send, receive: opening.unwrap().into_inner(), nonce: 0 }
    }

    /// The next message is not sent before the answer to this one has come.
    pub(crate) async fn go_on(&mut self) {
        self.nonce += 1;
        let ack = FromClient::Ack(Ack { nonce: self.nonce, rejected: Vec::new() });
        self.send.send(ClientMessage { kind: Some(ack) }).await.unwrap();
        let answer = timeout(PATIENCE, self.receive.message()).await.unwrap().unwrap().unwrap();
        let Some(FromServer::Batch(batch)) = answer.kind else { unreachable!("{answer:?}") };
        assert_eq!(batch.nonce, self.nonce);
    }

    /// The client ends first; the status that the server ends with is what comes last.
    pub(crate) async fn end(self) {
        let Talk { send, mut receive, .. } = self;
        drop(send);
        let end = timeout(PATIENCE, receive.message()).await.unwrap().unwrap_err();
        assert_eq!((end.code(), end.message()), (Code::AlreadyExists, "that was all"));
    }
}

#[tokio::test]
async fn messages_flow_both_ways_and_a_drain_waits_for_open_streams() {
    let mut gateway = gateway().await;
    let mut talks = Vec::new();
    for _ in 0..3 {
        let mut talk = Talk::open(connect(&gateway).await).await;
        talk.go_on().await;
        talks.push(talk);
    }
    let mut first = talks.remove(0);
    first.go_on().await;
    first.end().await;

    let http = gateway.http();
    gateway.interrupt();
    eventually("no new connections", async || TcpStream::connect(http).await.err()).await;
    for talk in &mut talks {
        talk.go_on().await;
    }
    for mut talk in talks {
        talk.go_on().await;
        talk.end().await;
    }
    assert_eq!(gateway.ended().await, Some(0));
}
