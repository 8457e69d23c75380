//! The client of the configuration channel: keeps what the controller sends applied, for ever.
//!
//! ```text
//! connect -> Hello with what is held -> batch -> apply -> ack -> ... -> broken -> backoff -> connect
//! ```
//!
//! Whatever happens to the channel, what was applied stays in force. After a reconnect only what differs is sent. A
//! resource that could not be used is remembered under its version, so that it is not sent again until it changes.

mod backoff;
mod holdings;
mod session;

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, Instant},
};

use gatehouse_proto::config::v1::Resource;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tonic::transport::Channel;
use tracing::warn;

pub use crate::compile::Refused;
use {backoff::Backoff, session::Session};

/// The server is taken for gone after this many silent beats.
const SILENT_BEATS: u32 = 3;

/// Puts configuration into force.
///
/// It is called on a thread that may block, one call at a time.
pub trait Apply: Send + 'static {
    /// Applies one batch as a whole, but for what it refuses. The first batch of a channel comes even if it is empty.
    fn apply(&mut self, changes: Changes) -> Outcome;
}

/// One batch. No name is in both lists, and every upsert is of a kind that this version knows.
#[derive(Debug, Default)]
pub struct Changes {
    pub upserts: Vec<Resource>,
    /// Names of resources to forget.
    pub removals: Vec<String>,
}

/// What could not be done.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Upserts of this batch whose content can't be used. What was in force under their names stays so.
    pub refused: Vec<Refused>,
    /// All resources, of this batch or an earlier one, that are held but can't be in force beside the rest now.
    pub unfit: Vec<Refused>,
}

/// Who asks, and how often both sides show that they live.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names this dataplane; unique within its Gateway.
    pub node: String,
    /// `namespace/name`.
    pub gateway: String,
    pub heartbeat: Duration,
    /// The longest time between two attempts to connect.
    pub longest_backoff: Duration,
    /// Version by name of what is in force already.
    pub holds: BTreeMap<String, Vec<u8>>,
}

/// How the channel stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub connected: bool,
    /// A whole state has been applied since the start.
    pub synced: bool,
    /// When the controller was last heard. Watchers are not woken for this alone.
    pub last_message: Option<Instant>,
    /// Resources that are held and of a kind that this version does not know.
    pub unknown: usize,
    /// Resources that can't be used: refused, or unfit beside the rest.
    pub rejected: usize,
}

/// Why a channel ended.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("can't connect: {0}")]
    Connect(String),
    #[error("the controller refused: {0}")]
    Refused(#[from] tonic::Status),
    #[error("the controller has been silent for {0:?}")]
    Silent(Duration),
    #[error("the controller ended the stream")]
    Ended,
    #[error("the controller sent a batch before the last one was acknowledged")]
    Overlapping,
    #[error("the controller does not take our messages")]
    Stuck,
}

impl Options {
    fn silence(&self) -> Duration {
        SILENT_BEATS * self.heartbeat
    }
}

/// Runs until it is dropped. `connect` opens a channel to the controller; it is called again whenever the last one broke.
///
/// # Panics
///
/// When `applier` does.
pub async fn run<C, F, E>(
    connect: C,
    mut options: Options,
    applier: impl Apply,
    status: watch::Sender<Status>,
) where
    C: Fn() -> F,
    F: Future<Output = Result<Channel, E>>,
    E: fmt::Display,
{
    let mut backoff = Backoff::new(options.longest_backoff);
    let holds = std::mem::take(&mut options.holds);
    let mut session = Session::new(options, holds, applier, status);
    loop {
        let silence = session.options().silence();
        let broken = match timeout(silence, connect()).await {
            Ok(Ok(channel)) => session.run(channel).await,
            Ok(Err(error)) => Broken::Connect(error.to_string()),
            Err(_) => Broken::Silent(silence),
        };
        warn!(gateway = session.options().gateway, error = %broken, "configuration channel");
        if session.take_progress() {
            backoff.reset();
        }
        sleep(backoff.next(random())).await;
    }
}

/// From 0 to 1.
fn random() -> f64 {
    let mut bytes = [0; 2];
    // Without randomness all dataplanes wait the whole time.
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        return 1.0;
    }
    f64::from(u16::from_le_bytes(bytes)) / f64::from(u16::MAX)
}
