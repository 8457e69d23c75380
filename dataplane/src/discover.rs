//! The client of the configuration channel: keeps what the controller sends applied, for ever.
//!
//! Whatever happens to the channel, what was applied stays in force. After a reconnect only what differs is sent. A
//! resource that could not be used is remembered under its version, so that it is not sent again until it changes.

use std::{collections::BTreeMap, time::Duration};

use gatehouse_proto::config::v1::{
    Ack, Batch, ClientMessage, Heartbeat, Held, Hello, Rejection, Resource, ServerMessage,
    client_message::Kind as FromUs, config_service_client::ConfigServiceClient,
    server_message::Kind as FromServer,
};
use tokio::{
    sync::{mpsc, watch},
    time::{interval, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};
use tracing::{info, warn};

/// A batch part is about 1 MiB; this leaves room for a single large resource.
const MESSAGE_BYTES: usize = 16 << 20;
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// The server is taken for gone after this many silent beats.
const SILENT_BEATS: u32 = 3;

/// Puts configuration into force.
pub(crate) trait Apply {
    /// Applies one batch as a whole, but for what it returns: names and reasons.
    fn apply(&mut self, upserts: Vec<Resource>, removals: Vec<String>) -> Vec<(String, String)>;
}

/// Who asks, and how often both sides show that they live.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) node: String,
    pub(crate) gateway: String,
    pub(crate) heartbeat: Duration,
}

/// How the channel stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub connected: bool,
    /// A whole state has been applied since the start.
    pub synced: bool,
    /// Resources of kinds that this version does not know.
    pub unknown: usize,
}

/// What has been applied.
#[derive(Debug, Default)]
struct Holding {
    /// Version by name.
    held: BTreeMap<String, Vec<u8>>,
    refused: BTreeMap<String, Rejection>,
    unknown: usize,
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("connect: {0}")]
    Connect(tonic::transport::Error),
    #[error("the controller refused: {0}")]
    Refused(#[from] tonic::Status),
    #[error("the controller has been silent for {0:?}")]
    Silent(Duration),
    #[error("the controller ended the stream")]
    Ended,
}

/// Runs until it is dropped.
pub(crate) async fn run<C, F>(
    connect: C,
    options: Options,
    mut apply: impl Apply,
    status: watch::Sender<Status>,
) where
    C: Fn() -> F,
    F: Future<Output = Result<Channel, tonic::transport::Error>>,
{
    let mut holding = Holding::default();
    let mut backoff = FIRST_BACKOFF;
    loop {
        let mut progressed = false;
        let result = match connect().await {
            Ok(channel) => {
                session(channel, &options, &mut holding, &mut apply, &status, &mut progressed).await
            }
            Err(error) => Err(Broken::Connect(error)),
        };
        status.send_modify(|status| status.connected = false);
        if let Err(error) = result {
            warn!(gateway = options.gateway, %error, "configuration channel");
        }
        if progressed {
            backoff = FIRST_BACKOFF;
        }
        sleep(jittered(backoff)).await;
        backoff = (2 * backoff).min(LONGEST_BACKOFF);
    }
}

/// Between half and all of it, so that many dataplanes don't come back at once.
fn jittered(backoff: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness all wait the whole time.
    if aws_lc_rs::rand::fill(&mut random).is_err() {
        return backoff;
    }
    backoff.mul_f64(0.5 + f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX) / 2.0)
}

async fn session(
    channel: Channel,
    options: &Options,
    holding: &mut Holding,
    apply: &mut impl Apply,
    status: &watch::Sender<Status>,
    progressed: &mut bool,
) -> Result<(), Broken> {
    let (to_server, messages) = mpsc::channel(16);
    let tell =
        async |kind| to_server.send(ClientMessage { kind: Some(kind) }).await.map_err(|_| Broken::Ended);
    tell(FromUs::Hello(holding.hello(options))).await?;
    let mut client = ConfigServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    let silence = SILENT_BEATS * options.heartbeat;
    let opening = timeout(silence, client.watch(ReceiverStream::new(messages)));
    let mut from_server = opening.await.map_err(|_| Broken::Silent(silence))??.into_inner();
    info!(gateway = options.gateway, "configuration channel is open");
    status.send_modify(|status| status.connected = true);

    let mut beat = interval(options.heartbeat);
    let mut parts = Batch::default();
    let mut next = Box::pin(next_message(from_server, silence));
    loop {
        let message = tokio::select! {
            received = &mut next => {
                let message;
                (message, from_server) = received?;
                next = Box::pin(next_message(from_server, silence));
                message
            }
            _ = beat.tick() => {
                tell(FromUs::Heartbeat(Heartbeat {})).await?;
                continue;
            }
        };
        let Some(FromServer::Batch(part)) = message.kind else { continue };
        parts.upserts.extend(part.upserts);
        parts.removals.extend(part.removals);
        if part.more {
            continue;
        }
        *progressed = true;
        let rejected = holding.take(std::mem::take(&mut parts), apply);
        status.send_modify(|status| {
            status.synced = true;
            status.unknown = holding.unknown;
        });
        tell(FromUs::Ack(Ack { nonce: part.nonce, rejected })).await?;
    }
}

/// Owns the stream, so that a heartbeat in between never loses a message.
async fn next_message(
    mut stream: Streaming<ServerMessage>,
    silence: Duration,
) -> Result<(ServerMessage, Streaming<ServerMessage>), Broken> {
    let message = timeout(silence, stream.message()).await.map_err(|_| Broken::Silent(silence))??;
    Ok((message.ok_or(Broken::Ended)?, stream))
}

impl Holding {
    fn hello(&self, options: &Options) -> Hello {
        let holds = self.held.iter();
        Hello {
            node: options.node.clone(),
            gateway: options.gateway.clone(),
            build: env!("CARGO_PKG_VERSION").into(),
            holds: holds
                .map(|(name, version)| Held { name: name.clone(), version: version.clone() })
                .collect(),
            rejected: self.refused.values().cloned().collect(),
        }
    }

    fn take(&mut self, batch: Batch, apply: &mut impl Apply) -> Vec<Rejection> {
        let Batch { upserts, removals, .. } = batch;
        let mut versions = BTreeMap::new();
        for resource in &upserts {
            self.unknown += usize::from(resource.kind.is_none());
            versions.insert(resource.name.clone(), resource.version.clone());
        }
        for name in &removals {
            self.held.remove(name);
            self.refused.remove(name);
        }
        let mut rejected = Vec::new();
        for (name, reason) in apply.apply(upserts, removals) {
            // What was refused need not have been in this batch: another change can make it unusable.
            let version =
                versions.remove(&name).or_else(|| self.held.get(&name).cloned()).unwrap_or_default();
            let rejection = Rejection { name: name.clone(), version, reason };
            self.refused.insert(name, rejection.clone());
            rejected.push(rejection);
        }
        for (name, version) in versions {
            self.refused.remove(&name);
            self.held.insert(name, version);
        }
        rejected
    }
}
