//! Reads what the configuration refers to outside of the cluster. Results enter `Resources` as values.
//!
//! ```text
//! wanted URLs -> Schedule -> get -> document -> JwksState
//! ```
//!
//! The last good document stays whatever happens. URLs are written by tenants: one can make neither this process nor a
//! third party work more than its pace allows, and what an error says of an answer is not what the answer said.

mod document;
mod get;
mod jwks_state;
mod schedule;
mod wanted;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use futures_util::{StreamExt, future::OptionFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use {get::Getter, schedule::Schedule};

pub use get::ClientError;
pub use jwks_state::JwksState;
pub use wanted::Wanted;

/// Fetches at one time.
const CONCURRENT: usize = 16;
/// Requests to refresh that wait; more are dropped, for they will be made again.
const REQUESTS: usize = 64;

/// How URLs are treated.
#[derive(Debug, Clone)]
pub struct Options {
    /// For one fetch, from the connection to the last byte.
    pub timeout: Duration,
    /// The shortest time from a fetch of a URL to the next that somebody asks for, by its interval, an edit or a refresh.
    pub shortest_gap: Duration,
    /// From a first failure to the next attempt; it doubles with each further failure.
    pub first_retry: Duration,
    /// The longest time until the next attempt after a failure; the URL's interval bounds it too.
    pub longest_backoff: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            timeout: Duration::from_secs(5),
            shortest_gap: Duration::from_secs(10),
            first_retry: Duration::from_secs(1),
            longest_backoff: Duration::from_secs(300),
        }
    }
}

/// Keeps JWKS documents up to date.
#[derive(Debug)]
pub struct Fetcher {
    getter: Getter,
    schedule: Schedule,
    asked: mpsc::Receiver<String>,
    ask: mpsc::Sender<String>,
}

/// Asks for a document before its time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Refresh(mpsc::Sender<String>);

impl Refresh {
    /// Fetches what is wanted under this id as soon as its last fetch is long enough ago; for a token that names an unknown
    /// key.
    pub fn refresh_now(&self, id: &str) {
        // A full queue means that enough is asked for already.
        let _ = self.0.try_send(id.to_owned());
    }
}

impl Fetcher {
    /// # Errors
    ///
    /// When the HTTP client can't be made.
    pub fn new(options: &Options) -> Result<Self, ClientError> {
        let (ask, asked) = mpsc::channel(REQUESTS);
        Ok(Fetcher { getter: Getter::new(options.timeout)?, schedule: Schedule::new(options), asked, ask })
    }

    pub fn refresh(&self) -> Refresh {
        Refresh(self.ask.clone())
    }

    /// Runs until the sender of `wanted` (by id) is dropped. What is wanted has no entry in `states` until its first fetch has
    /// ended.
    pub async fn run(
        mut self,
        mut wanted: watch::Receiver<BTreeMap<String, Wanted>>,
        states: watch::Sender<BTreeMap<String, JwksState>>,
    ) {
        let mut running = FuturesUnordered::new();
        wanted.mark_changed();
        loop {
            while running.len() < CONCURRENT
                && let Some(id) = self.schedule.take_due(Instant::now())
            {
                let one = wanted.borrow().get(&id).cloned().unwrap_or_default();
                running.push(fetched(&self.getter, id, one));
            }
            let free = running.len() < CONCURRENT;
            let due: OptionFuture<_> = self.schedule.next_due().filter(|_| free).map(sleep_until).into();
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let wanted = wanted.borrow_and_update();
                    let intervals = wanted.iter().map(|(id, one)| (id.clone(), one.interval)).collect();
                    self.schedule.want(&intervals, Instant::now());
                    states.send_if_modified(|states| {
                        let before = states.len();
                        states.retain(|url, _| wanted.contains_key(url));
                        states.len() != before
                    });
                }
                Some((url, result)) = running.next() => {
                    if self.schedule.done(&url, result.is_ok(), Instant::now(), random()) {
                        states.send_modify(|states| record(states.entry(url).or_default(), result));
                    }
                }
                Some(url) = self.asked.recv() => self.schedule.refresh(&url, Instant::now()),
                Some(()) = due => {}
            }
        }
    }
}

async fn fetched(getter: &Getter, id: String, wanted: Wanted) -> (String, Result<String, String>) {
    let result = getter.get(&wanted).await.and_then(document::check);
    (id, result)
}

fn record(state: &mut JwksState, result: Result<String, String>) {
    match result {
        Ok(document) => {
            *state = JwksState { document: Some(document), fetched_at: Some(Timestamp::now()), error: None };
        }
        Err(error) => state.error = Some(error),
    }
}

/// From 0 to 1; nobody gains by guessing it.
fn random() -> f64 {
    let hash = RandomState::new().hash_one(());
    // The cast loses bits that don't matter.
    hash as f64 / u64::MAX as f64
}
