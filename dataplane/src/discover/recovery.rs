//! Where the first state comes from while the controller is silent: from disk, else from a sibling.
//!
//! It is decided once, at the start. Everything is under way at the same time: the controller is asked, the disk is
//! read, and what comes first from the controller makes the rest needless.

use std::{fmt, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tracing::{info, warn};

use super::{Status, backoff::Backoff, random};
use crate::{
    siblings::Siblings,
    state_file::{Loaded, StateFile},
};

/// The controller is taken for silent when its whole state has not come in this time.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two rounds over the siblings.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where the first whole state came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Controller,
    Disk,
    Sibling,
}

/// A whole state from elsewhere than the controller.
pub struct Recovered {
    pub source: Source,
    /// Each a `Resource`, encoded.
    pub resources: Vec<Bytes>,
    /// The controller need not send again what has not changed since. `false` when another version of this program kept
    /// the state: it may have left out fields that this one knows.
    pub exact: bool,
    /// How old it is.
    pub age: Duration,
}

/// What is encoded may hold secrets.
impl fmt::Debug for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovered")
            .field("source", &self.source)
            .field("resources", &self.resources.len())
            .field("exact", &self.exact)
            .field("age", &self.age)
            .finish()
    }
}

impl Source {
    pub(crate) const ALL: [Source; 3] = [Source::Controller, Source::Disk, Source::Sibling];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Source::Controller => "controller",
            Source::Disk => "disk",
            Source::Sibling => "sibling",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Gives a state when the controller has not. Never ends if there is none to be had, or none is needed any more.
pub(crate) async fn recover(
    file: Option<StateFile>,
    siblings: Option<Siblings>,
    mut status: watch::Receiver<Status>,
) -> Recovered {
    let mut synced = status.clone();
    tokio::select! {
        biased;
        // An error means that everything has ended.
        _ = async { synced.wait_for(|status| status.synced).await.is_ok() } => {}
        recovered = find(file, siblings, &mut status) => return recovered,
    }
    std::future::pending().await
}

async fn find(
    file: Option<StateFile>,
    siblings: Option<Siblings>,
    status: &mut watch::Receiver<Status>,
) -> Recovered {
    let silent = Instant::now() + PATIENCE;
    let loaded = match file {
        Some(file) => file.load().await,
        None => None,
    };
    // Silent or unreachable, whichever is known first.
    let unreachable = async { status.wait_for(|status| status.failures > 0).await.is_ok() };
    let _ = timeout_at(silent, unreachable).await;
    if let Some(Loaded { resources, exact, age }) = loaded {
        return Recovered { source: Source::Disk, resources, exact, age };
    }
    let Some(siblings) = siblings else { return std::future::pending().await };
    // One that is merely restarted gets its time: it knows more than the siblings.
    sleep_until(silent).await;
    let mut backoff = Backoff::new(LONGEST_PAUSE);
    loop {
        match siblings.fetch().await {
            Ok(resources) => {
                info!(resources = resources.len(), "a sibling has given its state");
                return Recovered { source: Source::Sibling, resources, exact: false, age: Duration::ZERO };
            }
            Err(error) => warn!(%error, "no sibling gives its state"),
        }
        sleep(backoff.next(random())).await;
    }
}
