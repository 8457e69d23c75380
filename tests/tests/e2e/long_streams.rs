//! Streams that stay open while everything beside them changes: WebSockets, server-sent events, gRPC.

use std::{convert::Infallible, pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use gatehouse_tests::{
    PATIENCE,
    backend::{Backend, Body, seen},
    certs::Authority,
    client::{get, http2},
    eventually,
    gateway::{EDGE, Gateway, service},
};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::{
    grpc::{self, Talk},
    route,
};

/// WebSockets, listeners to events, calls.
const MANY: [usize; 3] = [200, 50, 50];
const CHANGES: u64 = 100;
/// Longer than the limits of time that peers have by default. Nothing but time can tell.
const SILENCE: Duration = Duration::from_secs(31);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Sends back what it is told.
async fn sockets() -> Backend {
    Backend::accepting(|stream, _| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// Each number that is given, as an event.
fn told(numbers: watch::Receiver<u64>, content_type: &'static str) -> Response<Body> {
    let told = stream::unfold(numbers, async |mut numbers| {
        numbers.changed().await.ok()?;
        let event = format!("data: {}\n\n", *numbers.borrow_and_update());
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(event))), numbers))
    });
    let told: Pin<Box<dyn stream::Stream<Item = _> + Send + Sync>> = Box::pin(told);
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(told)));
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    response
}

async fn events(numbers: watch::Receiver<u64>) -> Backend {
    Backend::serving(move |parts, _| {
        let response = told(numbers.clone(), "text/event-stream");
        async move { (seen(&parts, Bytes::new()), response) }
    })
    .await
}

/// A gRPC service that has not said all when its client has.
async fn late(numbers: watch::Receiver<u64>) -> Backend {
    Backend::h2c(move |_, body| {
        let numbers = numbers.clone();
        async move {
            let _ = body.collect().await;
            told(numbers, "application/grpc")
        }
    })
    .await
}

async fn listen(gateway: &Gateway) -> Incoming {
    let stream = TcpStream::connect(gateway.http()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/events").header("host", "a").body(Empty::<Bytes>::new()).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

/// All that is open.
struct Streams {
    sockets: Vec<Socket>,
    listeners: Vec<Incoming>,
    calls: Vec<Talk>,
    numbers: watch::Sender<u64>,
}

impl Streams {
    async fn open(
        gateway: &Gateway,
        numbers: watch::Sender<u64>,
        [sockets, listeners, calls]: [usize; 3],
    ) -> Streams {
        let mut streams = Streams { sockets: Vec::new(), listeners: Vec::new(), calls: Vec::new(), numbers };
        for _ in 0..sockets {
            let (socket, _) =
                tokio_tungstenite::connect_async(format!("ws://{}/sockets", gateway.http())).await.unwrap();
            streams.sockets.push(socket);
        }
        for _ in 0..listeners {
            streams.listeners.push(listen(gateway).await);
        }
        let mut channel = grpc::connect(gateway).await;
        for index in 1..=calls {
            streams.calls.push(Talk::open(channel.clone()).await);
            if index.is_multiple_of(10) {
                channel = grpc::connect(gateway).await;
            }
        }
        streams
    }

    /// Something goes through each of them.
    async fn go_on(&mut self, number: u64) {
        let text = number.to_string();
        for (index, socket) in self.sockets.iter_mut().enumerate() {
            socket.send(Message::text(&*text)).await.unwrap();
            let back = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
            assert_eq!(back, Message::text(&*text), "WebSocket {index}, {number}");
        }
        self.numbers.send_replace(number);
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let frame = timeout(PATIENCE, listener.frame()).await.unwrap().unwrap().unwrap();
            let event = frame.into_data().unwrap();
            assert_eq!(event, format!("data: {number}\n\n"), "listener {index}, {number}");
        }
        for call in &mut self.calls {
            call.go_on().await;
        }
    }
}

/// A route that does not concern them. A request for its path tells that everything up to this change is in force.
fn beside(number: u64) -> String {
    let rules = format!("- matches: [{{path: {{value: /change-{number}}}}}]\n  respond: {{status: 204}}");
    route(&rules).replace("{name: r}", "{name: beside}")
}

fn slice(port: u64) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: other, labels: \
         {{kubernetes.io/service-name: other}}}}\naddressType: IPv4\nports: [{{port: {port}}}]\nendpoints: [{{addresses: \
         [127.0.0.1]}}]\n"
    )
}

const OTHER: &str = "- matches: [{path: {value: /other}}]\n  backendRefs: [{name: other, port: 80}]";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_is_dropped_by_what_does_not_concern_it() {
    let authority = Authority::default();
    let certificate = || authority.issue(&["localhost"]).secret("pair");
    let edge = EDGE.replace(
        "  - {name: http,",
        "  - {name: https, protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: pair}]}}\n  - {name: http,",
    );
    let own = "
- matches: [{path: {value: /sockets}}]
  backendRefs: [{name: sockets, port: 80}]
- matches: [{path: {value: /events}}]
  backendRefs: [{name: events, port: 80}]";
    let (numbers, told) = watch::channel(0);
    let (sockets, events) = (sockets().await, events(told).await);
    let gateway = Gateway::builder()
        .file("edge.yaml", edge)
        .file("pair.yaml", certificate())
        .file("own.yaml", route(own))
        .file("calls.yaml", grpc::grpc_route("- backendRefs: [{name: calls, port: 80}]"))
        .file(
            "other.yaml",
            format!("{}{}", service("other"), route(OTHER).replace("{name: r}", "{name: other}")),
        )
        .file("other-endpoints.yaml", slice(9))
        .file("sockets.yaml", service("sockets"))
        .file("events.yaml", service("events"))
        .file("calls-service.yaml", service("calls"))
        .endpoint("sockets", sockets.address)
        .endpoint("events", events.address)
        .endpoint("calls", grpc::server().await)
        .start()
        .await;
    let mut streams = Streams::open(&gateway, numbers, MANY).await;
    streams.go_on(1000).await;
    for change in 0..CHANGES {
        match change % 3 {
            0 => gateway.write("pair.yaml", &certificate()),
            1 => gateway.write("other-endpoints.yaml", &slice(change)),
            _ => gateway.write("new.yaml", &service(&format!("new-{change}"))),
        }
        gateway.write("beside.yaml", &beside(change));
        let path = format!("/change-{change}");
        eventually("the change is in force", async || {
            (get(gateway.http(), &path).send().await.status == 204).then_some(())
        })
        .await;
        if change % 10 == 9 {
            streams.go_on(change).await;
        }
    }

    // Their own routes go: what is open stays, as it does when a route is edited.
    gateway.remove("own.yaml");
    gateway.remove("calls.yaml");
    eventually("their routes are gone", async || {
        // Without an upgrade the backend closes.
        (get(gateway.http(), "/sockets").send().await.status == 404).then_some(())
    })
    .await;
    streams.go_on(2000).await;
    for call in streams.calls {
        call.end().await;
    }
}

#[tokio::test]
async fn no_stream_is_dropped_because_it_is_silent() {
    let (numbers, told) = watch::channel(0);
    let (sockets, events, late) = (sockets().await, events(told.clone()).await, late(told).await);
    let own = "
- matches: [{path: {value: /late}}]
  backendRefs: [{name: late, port: 80}]
- matches: [{path: {value: /sockets}}]
  backendRefs: [{name: sockets, port: 80}]
- matches: [{path: {value: /events}}]
  backendRefs: [{name: events, port: 80}]";
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("own.yaml", route(own))
        .file("calls.yaml", grpc::grpc_route("- backendRefs: [{name: calls, port: 80}]"))
        .file("sockets.yaml", service("sockets"))
        .file("events.yaml", service("events"))
        .file("calls-service.yaml", service("calls"))
        .file(
            "late.yaml",
            service("late").replace("{port: 80}", "{port: 80, appProtocol: kubernetes.io/h2c}"),
        )
        .endpoint("sockets", sockets.address)
        .endpoint("events", events.address)
        .endpoint("calls", grpc::server().await)
        .endpoint("late", late.address)
        .start()
        .await;
    let mut streams = Streams::open(&gateway, numbers, [1, 1, 1]).await;
    streams.go_on(1).await;
    let mut connection = http2(TcpStream::connect(gateway.http()).await.unwrap()).await;
    let call = Request::post("http://a/late").header("content-type", "application/grpc");
    let call = call.body(Full::new(Bytes::from_static(b"\0\0\0\0\0"))).unwrap();
    let mut late = timeout(PATIENCE, connection.send_request(call)).await.unwrap().unwrap().into_body();
    for number in [1, 2] {
        if number == 2 {
            tokio::time::sleep(SILENCE).await;
            streams.go_on(2).await;
        }
        let message = timeout(PATIENCE, late.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(message.into_data().unwrap(), format!("data: {number}\n\n"));
    }
}
