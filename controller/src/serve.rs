//! The server of the configuration channel: brings the state of each Gateway to its dataplanes, as differences.
//!
//! ```text
//! publish(gateway, resources) -> State -> one session a stream: diff -> batch -> ack -> Acks
//! ```
//!
//! A dataplane has one batch under way. What changes meanwhile goes into the next, so a slow dataplane gets fewer and
//! larger batches and never a queue. A Gateway that has not been published yet is waited for: its dataplanes keep what
//! they have.

mod session;
mod state;

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use gatehouse_proto::config::v1::{
    ClientMessage, ServerMessage,
    client_message::Kind as FromClient,
    config_service_server::{ConfigService, ConfigServiceServer},
    resource::Kind,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

pub use state::{Acks, DataplaneAck, Generation};
use {session::Session, state::Gateway};

/// A `Hello` lists what its dataplane holds: about 100 bytes a resource.
const MESSAGE_BYTES: usize = 64 << 20;

/// Cheap to clone; all clones serve the same.
#[derive(Debug, Clone)]
pub struct ConfigServer {
    gateways: Arc<Mutex<BTreeMap<String, Arc<Gateway>>>>,
    heartbeat: Duration,
}

impl ConfigServer {
    /// `heartbeat`: how often both sides show that they live.
    pub fn new(heartbeat: Duration) -> Self {
        ConfigServer { gateways: Arc::default(), heartbeat }
    }

    pub fn into_service(self) -> ConfigServiceServer<Self> {
        ConfigServiceServer::new(self).max_decoding_message_size(MESSAGE_BYTES)
    }

    /// Replaces the whole state of a Gateway (`namespace/name`). Resources are keyed by name. Gives the generation that
    /// dataplanes acknowledge.
    pub fn publish(&self, gateway: &str, resources: BTreeMap<String, Kind>) -> Generation {
        self.gateway(gateway).publish(resources)
    }

    /// What each connected dataplane of a Gateway has in force, and what it refused.
    pub fn acks(&self, gateway: &str) -> watch::Receiver<Acks> {
        self.gateway(gateway).acks()
    }

    fn gateway(&self, name: &str) -> Arc<Gateway> {
        Arc::clone(self.gateways.lock().entry(name.to_owned()).or_default())
    }
}

#[tonic::async_trait]
impl ConfigService for ConfigServer {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<ServerMessage, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let mut from_client = request.into_inner();
        let first = tokio::time::timeout(3 * self.heartbeat, from_client.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no Hello in time"))??;
        let Some(FromClient::Hello(hello)) = first.and_then(|message| message.kind) else {
            return Err(Status::invalid_argument("the first message must be Hello"));
        };
        let gateway = self.gateway(&hello.gateway);
        let (to_client, messages) = tokio::sync::mpsc::channel(16);
        tokio::spawn(Session::new(gateway, hello, self.heartbeat, to_client).run(from_client));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}
