//! One dataplane's stream.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gatehouse_proto::config::v1::{
    Ack, Batch, ClientMessage, Heartbeat, Hello, Rejection, Resource, ServerMessage,
    client_message::Kind as FromClient, server_message::Kind as FromUs,
};
use prost::Message;
use tokio::{
    sync::mpsc,
    time::{Instant, interval, timeout_at},
};
use tonic::{Status, Streaming};
use tracing::{info, warn};

use super::state::{Gateway, Generation, Published};

/// Upserts of one message; a single resource may be larger.
const PART_BYTES: usize = 1 << 20;
/// A dataplane that is connected but does not apply what it gets is better reconnected.
const ACK_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Session {
    gateway: Arc<Gateway>,
    node: String,
    heartbeat: Duration,
    to_client: mpsc::Sender<Result<ServerMessage, Status>>,
    /// Version by name of what the dataplane has, or has been sent and refused.
    has: BTreeMap<String, Vec<u8>>,
    rejected: BTreeMap<String, Rejection>,
    nonce: u64,
    in_flight: Option<InFlight>,
    sent: Generation,
}

struct InFlight {
    nonce: u64,
    generation: Generation,
    deadline: Instant,
}

/// The stream can't go on.
enum End {
    ClientGone,
    Silent,
    NoAck,
}

impl Session {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        hello: Hello,
        heartbeat: Duration,
        to_client: mpsc::Sender<Result<ServerMessage, Status>>,
    ) -> Self {
        let rejected: BTreeMap<_, _> =
            hello.rejected.into_iter().map(|rejection| (rejection.name.clone(), rejection)).collect();
        let mut has: BTreeMap<_, _> = hello.holds.into_iter().map(|held| (held.name, held.version)).collect();
        has.extend(rejected.iter().map(|(name, rejection)| (name.clone(), rejection.version.clone())));
        Session {
            gateway,
            node: hello.node,
            heartbeat,
            to_client,
            has,
            rejected,
            nonce: 0,
            in_flight: None,
            sent: 0,
        }
    }

    pub(super) async fn run(mut self, from_client: Streaming<ClientMessage>) {
        info!(node = self.node, "dataplane connected");
        let end = self.serve(from_client).await;
        self.gateway.forget(&self.node);
        let status = match end {
            End::ClientGone => {
                info!(node = self.node, "dataplane disconnected");
                return;
            }
            End::Silent => Status::deadline_exceeded("no heartbeat"),
            End::NoAck => Status::deadline_exceeded("no acknowledgement"),
        };
        warn!(node = self.node, %status, "dataplane dropped");
        // It is gone either way.
        let _ = self.to_client.try_send(Err(status));
    }

    async fn serve(&mut self, mut from_client: Streaming<ClientMessage>) -> End {
        let mut published = self.gateway.published();
        let mut beat = interval(self.heartbeat);
        let mut silent_since = Instant::now();
        loop {
            if self.in_flight.is_none() {
                let newest = published.borrow_and_update().clone();
                if newest.generation > self.sent && self.send(&newest).await.is_err() {
                    return End::ClientGone;
                }
            }
            tokio::select! {
                message = timeout_at(silent_since + 3 * self.heartbeat, from_client.message()) => match message {
                    Err(_) => return End::Silent,
                    Ok(Err(_) | Ok(None)) => return End::ClientGone,
                    Ok(Ok(Some(message))) => {
                        silent_since = Instant::now();
                        if let Some(FromClient::Ack(ack)) = message.kind {
                            self.acknowledged(ack);
                        }
                    }
                },
                // The sender lives in the gateway, which this session holds.
                _ = published.changed(), if self.in_flight.is_none() => {}
                _ = beat.tick() => {
                    if self.in_flight.as_ref().is_some_and(|waiting| Instant::now() > waiting.deadline) {
                        return End::NoAck;
                    }
                    if self.tell(FromUs::Heartbeat(Heartbeat {})).await.is_err() {
                        return End::ClientGone;
                    }
                }
            }
        }
    }

    /// Sends what differs, in parts. The first batch of a stream goes out even if it is empty.
    async fn send(&mut self, newest: &Published) -> Result<(), ()> {
        let (upserts, removals) = self.difference(newest);
        let first = self.sent == 0;
        self.sent = newest.generation;
        if upserts.is_empty() && removals.is_empty() && !first {
            self.gateway.acknowledge(&self.node, newest.generation, &self.rejected);
            return Ok(());
        }
        self.nonce += 1;
        let mut part = Batch { nonce: self.nonce, removals, ..Batch::default() };
        let mut size = 0;
        for resource in upserts {
            let length = resource.encoded_len();
            if size > 0 && size + length > PART_BYTES {
                let full = std::mem::replace(&mut part, Batch { nonce: self.nonce, ..Batch::default() });
                self.tell(FromUs::Batch(Batch { more: true, ..full })).await?;
                size = 0;
            }
            size += length;
            part.upserts.push(Resource::clone(&resource));
        }
        self.tell(FromUs::Batch(part)).await?;
        self.in_flight = Some(InFlight {
            nonce: self.nonce,
            generation: newest.generation,
            deadline: Instant::now() + ACK_TIMEOUT,
        });
        Ok(())
    }

    /// What the dataplane lacks and what it should forget. Afterwards it counts as having it.
    fn difference(&mut self, newest: &Published) -> (Vec<Arc<Resource>>, Vec<String>) {
        let wanted = &newest.resources;
        let removals: Vec<String> =
            self.has.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in &removals {
            self.has.remove(name);
            self.rejected.remove(name);
        }
        let mut upserts = Vec::new();
        for (name, resource) in wanted.iter() {
            if self.has.get(name) != Some(&resource.version) {
                self.has.insert(name.clone(), resource.version.clone());
                upserts.push(Arc::clone(resource));
            }
        }
        (upserts, removals)
    }

    fn acknowledged(&mut self, ack: Ack) {
        let Some(batch) = self.in_flight.take_if(|batch| batch.nonce == ack.nonce) else { return };
        // Names that the batch replaced and that were not refused again have healed.
        self.rejected.retain(|name, old| self.has.get(name) == Some(&old.version));
        self.rejected.extend(ack.rejected.into_iter().map(|rejection| (rejection.name.clone(), rejection)));
        self.gateway.acknowledge(&self.node, batch.generation, &self.rejected);
    }

    async fn tell(&self, kind: FromUs) -> Result<(), ()> {
        self.to_client.send(Ok(ServerMessage { kind: Some(kind) })).await.map_err(|_| ())
    }
}
