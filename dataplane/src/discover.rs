//! The client of the configuration channel: keeps what the controller sends applied, for ever.
//!
//! ```text
//! connect -> Hello with what is held -> batch -> apply -> ack -> ... -> broken -> backoff -> connect
//! ```
//!
//! Whatever happens to the channel, what was applied stays in force. After a reconnect only what differs is sent. A
//! resource that could not be used is remembered under its version, so that it is not sent again until it changes.

mod backoff;
mod connect;
mod holdings;
mod recovery;
mod session;
mod upserts;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use gatehouse_proto::config::v1::Report;
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tracing::warn;

pub use crate::compile::Refused;
pub(crate) use recovery::recover;
use {backoff::Backoff, session::Session};
pub use {
    connect::{ConnectError, Credentials, InvalidTarget, Link, Target},
    recovery::{Recovered, Source},
    upserts::{Upsert, Upserts},
};

/// The server is taken for gone after this many silent beats.
const SILENT_BEATS: u32 = 3;

/// Puts configuration into force.
///
/// It is called on a thread that may block, one call at a time.
pub trait Apply: Send + 'static {
    /// Applies one batch as a whole, but for what it refuses. The first batch of a channel comes even if it is empty.
    fn apply(&mut self, changes: Changes<'_>) -> Outcome;
}

/// One batch. No name is in both lists.
#[derive(Debug)]
pub struct Changes<'a> {
    /// Those of kinds that this version knows. What is not taken does not count as given.
    pub upserts: &'a mut Upserts,
    /// Names of resources to forget.
    pub removals: &'a [String],
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
    pub reports: Reports,
}

/// Makes what is reported once a second, if there is anything.
#[derive(Clone)]
pub struct Reports(Arc<dyn Fn() -> Option<Report> + Send + Sync>);

impl Reports {
    pub fn new(make: impl Fn() -> Option<Report> + Send + Sync + 'static) -> Self {
        Reports(Arc::new(make))
    }

    fn make(&self) -> Option<Report> {
        (self.0)()
    }
}

/// Nothing is ever reported.
impl Default for Reports {
    fn default() -> Self {
        Reports::new(|| None)
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").finish_non_exhaustive()
    }
}

/// How the channel stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    pub connected: bool,
    /// A whole state has been applied since the start.
    pub synced: bool,
    /// Where that came from first.
    pub source: Option<Source>,
    /// When the controller last confirmed the state in force, be it before it was recovered. Watchers are not woken for
    /// this alone.
    pub confirmed: Option<Instant>,
    /// Attempts to open a channel that failed since the last that did not.
    pub failures: u32,
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
/// What `recovery` gives is applied if the controller has brought no state until then. `questions` name sources of keys that
/// the controller is to fetch anew.
///
/// # Panics
///
/// When `applier` does.
pub async fn run<C, F, L, E>(
    connect: C,
    options: Options,
    applier: impl Apply,
    status: watch::Sender<Status>,
    recovery: impl Future<Output = Recovered>,
    questions: mpsc::Receiver<String>,
) where
    C: Fn() -> F,
    F: Future<Output = Result<L, E>>,
    L: Into<Link>,
    E: fmt::Display,
{
    let mut session = Session::new(options, applier, status, questions);
    let mut backoff = Backoff::new(session.options().longest_backoff);
    let recovered = {
        let trying = keep_trying(&connect, &mut session, &mut backoff);
        tokio::select! {
            biased;
            () = trying => return,
            recovered = recovery => recovered,
        }
    };
    // The controller does not know what is held now: it must be told by a new `Hello`.
    session.recover(recovered).await;
    backoff.reset();
    keep_trying(&connect, &mut session, &mut backoff).await;
}

/// Never ends.
async fn keep_trying<C, F, L, E>(connect: &C, session: &mut Session<impl Apply>, backoff: &mut Backoff)
where
    C: Fn() -> F,
    F: Future<Output = Result<L, E>>,
    L: Into<Link>,
    E: fmt::Display,
{
    loop {
        let silence = session.options().silence();
        let broken = match timeout(silence, connect()).await {
            Ok(Ok(link)) => session.run(link.into()).await,
            Ok(Err(error)) => Broken::Connect(error.to_string()),
            Err(_) => Broken::Silent(silence),
        };
        warn!(gateway = session.options().gateway, error = %broken, "configuration channel");
        session.failed();
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
