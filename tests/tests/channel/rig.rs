//! Both ends of the channel over a pipe, an applier that tells what it was given, and a client that is only a wire.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gatehouse_controller::serve::{self, ConfigServer};
use gatehouse_dataplane::discover::{self, Apply, Changes, Outcome, Recovered, Refused, Status};
use gatehouse_proto::config::v1::{
    Ack, Batch, ClientMessage, Heartbeat, Held, Hello, Resource, Respond, Route, ServerMessage,
    client_message::Kind as FromClient,
    config_service_client::ConfigServiceClient,
    config_service_server::{ConfigService, ConfigServiceServer},
    resource::Kind,
    route,
    server_message::Kind as FromServer,
};
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::{
    io::{DuplexStream, copy_bidirectional, duplex},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Status as GrpcStatus, Streaming,
    transport::{Channel, Endpoint, Server},
};
use tower::service_fn;

pub(crate) const GATEWAY: &str = "shop/edge";
/// Long enough that reaching it means a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Ends with its handle.
pub(crate) struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Routes that answer with a body.
pub(crate) fn state(bodies: &[(&str, &str)]) -> BTreeMap<String, Kind> {
    bodies.iter().map(|(name, body)| ((*name).to_owned(), route(body))).collect()
}

pub(crate) fn route(body: &str) -> Kind {
    let respond = Respond { status: 200, body: body.into(), ..Respond::default() };
    Kind::Route(Route { action: Some(route::Action::Respond(respond)), ..Route::default() })
}

/// A server with beats that no test waits for.
pub(crate) fn server() -> ConfigServer {
    ConfigServer::new(serve::Options { guarded: false, ..serve::Options::default() })
}

type Serve = Box<dyn Fn(DuplexStream) + Send>;

/// Where clients connect to; the server behind it can be replaced and its connections cut.
#[derive(Clone)]
pub(crate) struct Network(Arc<Inner>);

struct Inner {
    serve: Mutex<Serve>,
    connections: Mutex<Vec<Task>>,
    opened: AtomicUsize,
}

impl Network {
    pub(crate) fn to<S: ConfigService + Clone>(service: S) -> Self {
        Self(Arc::new(Inner {
            serve: Mutex::new(serving(service)),
            connections: Mutex::default(),
            opened: AtomicUsize::new(0),
        }))
    }

    /// New connections go to another server; the present ones are cut.
    pub(crate) fn move_to<S: ConfigService + Clone>(&self, service: S) {
        *self.0.serve.lock().unwrap() = serving(service);
        self.cut();
    }

    pub(crate) fn cut(&self) {
        self.0.connections.lock().unwrap().clear();
    }

    /// How many connections were opened.
    pub(crate) fn opened(&self) -> usize {
        self.0.opened.load(Ordering::SeqCst)
    }

    pub(crate) async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        let network = self.clone();
        let connector = service_fn(move |_| {
            let (client, mut near) = duplex(64 << 10);
            let (mut far, server) = duplex(64 << 10);
            (network.0.serve.lock().unwrap())(server);
            let cable = async move {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            };
            network.0.connections.lock().unwrap().push(Task(tokio::spawn(cable)));
            network.0.opened.fetch_add(1, Ordering::SeqCst);
            async move { Ok::<_, io::Error>(TokioIo::new(client)) }
        });
        Endpoint::from_static("http://controller.local").connect_with_connector(connector).await
    }
}

fn serving<S: ConfigService + Clone>(service: S) -> Serve {
    Box::new(move |pipe| {
        let service = ConfigServiceServer::new(service.clone()).max_decoding_message_size(64 << 20);
        tokio::spawn(async move {
            // A server that is given one connection and then the end serves that connection to its end.
            let incoming = tokio_stream::once(Ok::<_, io::Error>(pipe));
            let _ = Server::builder().add_service(service).serve_with_incoming(incoming).await;
        });
    })
}

type Gate = tokio::sync::Mutex<()>;

/// What the applier of a [`Dataplane`] answers.
#[derive(Default)]
pub(crate) struct Verdict {
    /// Names that are refused whenever they come.
    pub(crate) refuse: Vec<&'static str>,
    /// Names that are held but unfit.
    pub(crate) unfit: Vec<&'static str>,
}

/// A batch that was applied.
pub(crate) struct Came {
    pub(crate) upserts: Vec<Resource>,
    pub(crate) removals: Vec<String>,
}

struct Recorder {
    applied: mpsc::UnboundedSender<Came>,
    verdict: Arc<Mutex<Verdict>>,
    /// Held by a test that wants application to take its time.
    gate: Arc<Gate>,
}

impl Apply for Recorder {
    fn apply(&mut self, changes: Changes<'_>) -> Outcome {
        let upserts = changes.upserts.map(|upsert| upsert.resource).collect();
        let changes = Came { upserts, removals: changes.removals.to_vec() };
        let verdict = self.verdict.lock().unwrap();
        let because = |name: &str| Refused { name: name.into(), reason: format!("{name} is bad") };
        let came = |name: &&str| changes.upserts.iter().any(|upsert| upsert.name == *name);
        let outcome = Outcome {
            refused: verdict.refuse.iter().copied().filter(came).map(because).collect(),
            unfit: verdict.unfit.iter().copied().map(because).collect(),
        };
        drop(verdict);
        let _ = self.applied.send(changes);
        drop(self.gate.blocking_lock());
        outcome
    }
}

/// The real client with a recording applier.
pub(crate) struct Dataplane {
    pub(crate) applied: mpsc::UnboundedReceiver<Came>,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) verdict: Arc<Mutex<Verdict>>,
    pub(crate) gate: Arc<Gate>,
    _task: Task,
}

impl Dataplane {
    pub(crate) fn start(network: &Network, heartbeat: Duration) -> Self {
        Self::start_with(network, heartbeat, std::future::pending())
    }

    pub(crate) fn start_with(
        network: &Network,
        heartbeat: Duration,
        recovery: impl Future<Output = Recovered> + Send + 'static,
    ) -> Self {
        let (sender, applied) = mpsc::unbounded_channel();
        let (status_sender, status) = watch::channel(Status::default());
        let (verdict, gate) = (Arc::default(), Arc::default());
        let recorder = Recorder { applied: sender, verdict: Arc::clone(&verdict), gate: Arc::clone(&gate) };
        let options = discover::Options {
            node: "node-1".into(),
            gateway: GATEWAY.into(),
            heartbeat,
            longest_backoff: Duration::from_millis(50),
            reports: discover::Reports::default(),
        };
        let network = network.clone();
        let task = tokio::spawn(async move {
            let connect = || {
                let network = network.clone();
                async move { network.connect().await }
            };
            let (_ask, questions) = mpsc::channel(1);
            discover::run(connect, options, recorder, status_sender, recovery, questions).await;
        });
        Self { applied, status, verdict, gate, _task: Task(task) }
    }

    /// The next batch: names with the bodies of upserts, and removals.
    pub(crate) async fn next(&mut self) -> (Vec<(String, String)>, Vec<String>) {
        let changes = within("a batch", self.applied.recv()).await.unwrap();
        let upserts = changes.upserts.into_iter().map(|upsert| (upsert.name, body(upsert.kind))).collect();
        (upserts, changes.removals)
    }
}

/// The resources of a part of a batch.
pub(crate) fn upserts(part: Batch) -> Vec<Resource> {
    part.upserts.into_iter().map(|encoded| Resource::decode(encoded).unwrap()).collect()
}

fn body(kind: Option<Kind>) -> String {
    match kind {
        Some(Kind::Route(Route { action: Some(route::Action::Respond(respond)), .. })) => respond.body,
        other => panic!("tests send routes that respond, not {other:?}"),
    }
}

/// A client that does only what a test says.
pub(crate) struct Wire {
    pub(crate) outbound: mpsc::Sender<ClientMessage>,
    pub(crate) inbound: Streaming<ServerMessage>,
}

impl Wire {
    /// Opens a stream with one message.
    pub(crate) async fn open(network: &Network, first: FromClient) -> Result<Self, GrpcStatus> {
        let channel = network.connect().await.unwrap();
        let (outbound, messages) = mpsc::channel(16);
        outbound.send(ClientMessage { kind: Some(first) }).await.unwrap();
        let opening = ConfigServiceClient::new(channel).watch(ReceiverStream::new(messages)).await;
        opening.map(|response| Self { outbound, inbound: response.into_inner() })
    }

    pub(crate) async fn hello(network: &Network, node: &str, holds: Vec<Held>) -> Self {
        Self::open(network, FromClient::Hello(hello(node, GATEWAY, holds))).await.unwrap()
    }

    pub(crate) async fn say(&self, kind: FromClient) {
        self.outbound.send(ClientMessage { kind: Some(kind) }).await.unwrap();
    }

    pub(crate) async fn ack(&self, nonce: u64) {
        self.say(FromClient::Ack(Ack { nonce, rejected: vec![] })).await;
    }

    /// The next message, heartbeats included, or how the stream ended.
    pub(crate) async fn message(&mut self) -> Result<FromServer, GrpcStatus> {
        match within("a message", self.inbound.message()).await? {
            Some(message) => Ok(message.kind.unwrap()),
            None => Err(GrpcStatus::ok("ended")),
        }
    }

    /// The next part of a batch.
    pub(crate) async fn batch(&mut self) -> Batch {
        loop {
            if let FromServer::Batch(batch) = self.message().await.unwrap() {
                return batch;
            }
        }
    }

    /// How the stream ends.
    pub(crate) async fn end(&mut self) -> GrpcStatus {
        loop {
            if let Err(end) = self.message().await {
                return end;
            }
        }
    }

    /// Shows life until it is dropped.
    pub(crate) fn beating(&self, every: Duration) -> Task {
        let outbound = self.outbound.clone();
        Task(tokio::spawn(async move {
            let beat = || ClientMessage { kind: Some(FromClient::Heartbeat(Heartbeat {})) };
            while outbound.send(beat()).await.is_ok() {
                tokio::time::sleep(every).await;
            }
        }))
    }
}

pub(crate) fn hello(node: &str, gateway: &str, holds: Vec<Held>) -> Hello {
    Hello { node: node.into(), gateway: gateway.into(), build: "test".into(), holds, rejected: vec![] }
}
