//! What the client does with a server that misbehaves or is newer than itself.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use gatehouse_proto::config::v1::{
    Ack, Batch, ClientMessage, Resource, ServerMessage, client_message::Kind as FromClient,
    config_service_server::ConfigService, resource::Kind, server_message::Kind as FromServer,
};
use prost::{Message as _, bytes::Bytes};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::rig::{Dataplane, Network, route, within};

type Message = Result<ServerMessage, Status>;

/// Sends what it is told to every stream, then nothing, and tells what comes back.
#[derive(Clone)]
struct Fake {
    script: Arc<Vec<Batch>>,
    heard: mpsc::UnboundedSender<FromClient>,
    /// Streams stay open.
    open: Arc<Mutex<Vec<mpsc::Sender<Message>>>>,
}

impl Fake {
    fn new(script: Vec<Batch>) -> (Self, mpsc::UnboundedReceiver<FromClient>) {
        let (heard, hearing) = mpsc::unbounded_channel();
        (Self { script: Arc::new(script), heard, open: Arc::default() }, hearing)
    }
}

#[tonic::async_trait]
impl ConfigService for Fake {
    type WatchStream = ReceiverStream<Message>;

    async fn watch(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (sender, messages) = mpsc::channel(16);
        for batch in self.script.iter().cloned() {
            sender.send(Ok(ServerMessage { kind: Some(FromServer::Batch(batch)) })).await.unwrap();
        }
        self.open.lock().unwrap().push(sender);
        let (heard, mut inbound) = (self.heard.clone(), request.into_inner());
        tokio::spawn(async move {
            while let Ok(Some(ClientMessage { kind: Some(kind) })) = inbound.message().await {
                let _ = heard.send(kind);
            }
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// Encoded.
fn resource(name: &str, kind: Option<Kind>) -> Bytes {
    Resource { name: name.into(), version: vec![1; 16], kind }.encode_to_vec().into()
}

async fn next_ack(heard: &mut mpsc::UnboundedReceiver<FromClient>) -> Ack {
    within("an ack", async {
        loop {
            if let FromClient::Ack(ack) = heard.recv().await.unwrap() {
                return ack;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_resource_of_an_unknown_kind_is_held_and_counted_and_not_applied() {
    let upserts = vec![resource("hologram/a", None), resource("route/a", Some(route("1")))];
    let (fake, mut heard) = Fake::new(vec![Batch { nonce: 5, upserts, ..Batch::default() }]);
    let network = Network::to(fake);
    let mut dataplane = Dataplane::start(&network, Duration::from_secs(5));
    assert_eq!(dataplane.next().await.0, [("route/a".into(), "1".into())]);
    assert_eq!(next_ack(&mut heard).await, Ack { nonce: 5, rejected: vec![] });
    within("a count", dataplane.status.wait_for(|status| status.unknown == 1)).await.unwrap();

    network.cut();
    let again = within("a hello", async {
        loop {
            if let FromClient::Hello(hello) = heard.recv().await.unwrap() {
                return hello;
            }
        }
    });
    let names: BTreeSet<_> = again.await.holds.into_iter().map(|held| held.name).collect();
    assert_eq!(names, ["hologram/a", "route/a"].map(String::from).into(), "it is not sent again");
}

#[tokio::test]
async fn a_silent_server_is_left_for_another_connection() {
    let (fake, _heard) = Fake::new(vec![]);
    let network = Network::to(fake);
    let dataplane = Dataplane::start(&network, Duration::from_millis(40));
    let mut status = dataplane.status.clone();
    within("a connection", status.wait_for(|status| status.connected)).await.unwrap();
    within("its end", status.wait_for(|status| !status.connected)).await.unwrap();
    within("another", status.wait_for(|status| status.connected)).await.unwrap();
    assert!(network.opened() >= 2);
    assert!(!dataplane.status.borrow().synced);
}

#[tokio::test]
async fn half_a_batch_is_never_applied() {
    let part = Batch {
        nonce: 1,
        upserts: vec![resource("route/a", Some(route("1")))],
        more: true,
        ..Batch::default()
    };
    let (fake, mut heard) = Fake::new(vec![part]);
    let network = Network::to(fake);
    let mut dataplane = Dataplane::start(&network, Duration::from_millis(40));
    // Two streams came and went.
    for _ in 0..2 {
        let hello = within("a hello", async {
            loop {
                if let FromClient::Hello(hello) = heard.recv().await.unwrap() {
                    return hello;
                }
            }
        });
        assert!(hello.await.holds.is_empty());
    }
    assert!(dataplane.applied.try_recv().is_err());
}

#[tokio::test]
async fn a_server_that_does_not_wait_for_acks_is_left() {
    let batch = |nonce, body| Batch {
        nonce,
        upserts: vec![resource("route/a", Some(route(body)))],
        ..Batch::default()
    };
    let (fake, mut heard) = Fake::new(vec![batch(1, "1"), batch(2, "2")]);
    let network = Network::to(fake);
    let mut dataplane = Dataplane::start(&network, Duration::from_secs(5));
    let gate = dataplane.gate.clone();
    let held = gate.lock().await;
    let mut status = dataplane.status.clone();
    assert_eq!(dataplane.next().await.0, [("route/a".into(), "1".into())]);
    within("the end", status.wait_for(|status| !status.connected)).await.unwrap();
    drop(held);
    // What had begun is finished, and the next stream says so.
    let second = within("a second hello", async {
        let mut hellos = 0;
        loop {
            if let FromClient::Hello(hello) = heard.recv().await.unwrap() {
                hellos += 1;
                if hellos == 2 {
                    return hello;
                }
            }
        }
    });
    assert_eq!(second.await.holds.len(), 1);
}
