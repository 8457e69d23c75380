//! Reads what the configuration refers to outside of the cluster. Results enter `Resources` as values.
//!
//! One task a URL: it fetches at once and then at its interval, keeps the last good document whatever happens, and tries
//! again sooner, with growing pauses, after a failure.

mod jwks_state;

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::Value;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

pub use jwks_state::JwksState;

/// The largest document that is read.
const DOCUMENT_BYTES: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(5);
/// The shortest pause between two fetches of one URL.
const SHORTEST: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(1);

type States = watch::Sender<BTreeMap<String, JwksState>>;

/// Keeps what is known of the wanted URLs up to date, until it is dropped.
pub async fn run(mut wanted: watch::Receiver<BTreeMap<String, Duration>>, states: States) {
    let client = match reqwest::Client::builder()
        .timeout(TIMEOUT)
        // A redirect could lead anywhere; the URL is what the user trusts.
        .redirect(reqwest::redirect::Policy::none())
        .build()
    {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(%error, "JWKS can't be fetched");
            return;
        }
    };
    let mut tasks: BTreeMap<String, (Duration, Task)> = BTreeMap::new();
    loop {
        let now = wanted.borrow_and_update().clone();
        tasks.retain(|url, (interval, _)| now.get(url) == Some(interval));
        states.send_if_modified(|states| {
            let before = states.len();
            states.retain(|url, _| now.contains_key(url));
            states.len() != before
        });
        for (url, interval) in now {
            let (client, states) = (client.clone(), states.clone());
            tasks.entry(url.clone()).or_insert_with(|| {
                (
                    interval,
                    Task(tokio::spawn(
                        async move { keep(&client, &url, interval.max(SHORTEST), &states).await },
                    )),
                )
            });
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// Ends with its handle.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep(client: &reqwest::Client, url: &str, interval: Duration, states: &States) {
    let mut retry = FIRST_RETRY;
    loop {
        let result = fetch(client, url).await;
        let pause = if result.is_ok() {
            retry = FIRST_RETRY;
            interval
        } else {
            retry = (2 * retry).min(interval);
            retry
        };
        states.send_modify(|states| {
            let state = states.entry(url.to_owned()).or_default();
            match result {
                Ok(document) => {
                    *state = JwksState {
                        document: Some(document),
                        fetched_at: Some(Timestamp::now()),
                        error: None,
                    };
                }
                Err(error) => state.error = Some(error),
            }
        });
        sleep(pause).await;
    }
}

/// The error is a sentence for the user.
async fn fetch(client: &reqwest::Client, url: &str) -> Result<String, String> {
    let response =
        client.get(url).send().await.map_err(|error| format!("can't be fetched: {}", chain(&error)))?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("answered {}", response.status()));
    }
    let mut document = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        document.extend_from_slice(&piece.map_err(|error| format!("broke off: {}", chain(&error)))?);
        if document.len() > DOCUMENT_BYTES {
            return Err(format!("is larger than {DOCUMENT_BYTES} bytes"));
        }
    }
    let document = String::from_utf8(document).map_err(|_| "is no text".to_owned())?;
    match serde_json::from_str::<Value>(&document) {
        Ok(value) if value.get("keys").is_some_and(Value::is_array) => Ok(document),
        Ok(_) => Err("is no JSON Web Key Set: it has no list `keys`".into()),
        Err(error) => Err(format!("is no JSON Web Key Set: {error}")),
    }
}

/// An error with its causes, which reqwest keeps to itself.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
