//! Brings planned statuses to the API server, while this replica leads.
//!
//! What was planned last of each object is all that is wanted. When an object is written is
//! decided by the [queue]; here is what waits, counts and does the I/O. The task ends when the plans or the leadership can't
//! change any more.

mod api;
mod queue;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, warn};

use super::plan::Write;
use crate::translate::ObjectId;
use queue::{Outcome, Queue};

pub use api::KubeStatusApi;

/// How statuses are written.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// Writes under way.
    pub concurrent: usize,
    /// How long an object that was quiet is waited for, so that one write says what was found out and what dataplanes
    /// answer to it. They take some milliseconds.
    pub settle: Duration,
    /// Between two writes of one object.
    pub spacing: Duration,
    /// Of one write.
    pub timeout: Duration,
    /// After the first failure; it doubles with each.
    pub backoff: Duration,
    pub max_backoff: Duration,
}

impl Default for WriterOptions {
    fn default() -> Self {
        WriterOptions {
            concurrent: 16,
            settle: Duration::from_millis(30),
            spacing: Duration::from_millis(800),
            timeout: Duration::from_secs(10),
            backoff: Duration::from_millis(500),
            max_backoff: Duration::from_secs(30),
        }
    }
}

/// What is to be written.
#[derive(Debug)]
pub enum Planned {
    /// These, and nothing else.
    Everything(Vec<Write>),
    /// Of these objects; of the others, what was planned before. `None`: nothing.
    Objects(Vec<(ObjectId, Option<Write>)>),
}

/// Since the process began, for metrics.
#[derive(Debug, Default)]
pub struct WriterCounters {
    /// Statuses that were written.
    pub writes: AtomicU64,
    /// Writes that came too late: the object had changed, or was gone.
    pub conflicts: AtomicU64,
    /// Writes that failed and are tried again.
    pub errors: AtomicU64,
}

/// Where statuses are written to.
pub trait StatusApi: Send + Sync {
    /// Replaces the fields of the object's status, if it still has the resourceVersion. Gives the new one.
    fn write(&self, write: &Write) -> impl Future<Output = Result<String, WriteError>> + Send;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the object has changed")]
    Conflict,
    #[error("the object is gone")]
    NotFound,
    #[error("{0}")]
    Failed(String),
}

/// Writes what is planned while `leading`; who begins to lead is to plan everything. What was written goes to `written`, for events; when there is no room, it
/// does not.
pub async fn write_statuses(
    api: impl StatusApi,
    mut plans: mpsc::UnboundedReceiver<Planned>,
    mut leading: watch::Receiver<bool>,
    written: mpsc::Sender<Write>,
    counters: Arc<WriterCounters>,
    options: WriterOptions,
) {
    let mut queue = Queue::new(options.clone());
    let mut under_way = FuturesUnordered::new();
    let one = async |write: Write| {
        let result = match timeout(options.timeout, api.write(&write)).await {
            Ok(result) => result,
            Err(_) => Err(WriteError::Failed("no answer in time".into())),
        };
        (write, result)
    };
    loop {
        while under_way.len() < options.concurrent
            && let Some(write) = queue.next(Instant::now())
        {
            under_way.push(one(write));
        }
        let due = queue.due().filter(|_| under_way.len() < options.concurrent);
        tokio::select! {
            planned = plans.recv() => {
                let Some(planned) = planned else { break };
                if *leading.borrow() {
                    take(&mut queue, planned, Instant::now());
                }
            }
            changed = leading.changed() => {
                if changed.is_err() {
                    break;
                }
                if !*leading.borrow_and_update() {
                    queue.take(Vec::new(), Instant::now());
                }
            }
            Some((write, result)) = under_way.next(), if !under_way.is_empty() => {
                let outcome = count(&write, result, &counters);
                if matches!(outcome, Outcome::Written { .. }) && !(write.flips.is_empty() && write.news.is_empty()) {
                    let _ = written.try_send(write.clone());
                }
                queue.done(&write, outcome, Instant::now());
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }
}

fn take(queue: &mut Queue, planned: Planned, now: Instant) {
    match planned {
        Planned::Everything(plan) => queue.take(plan, now),
        Planned::Objects(objects) => {
            for (id, write) in objects {
                match write {
                    Some(write) => queue.want(write, now),
                    None => queue.unwant(&id, now),
                }
            }
        }
    }
}

fn count(write: &Write, result: Result<String, WriteError>, counters: &WriterCounters) -> Outcome {
    let (kind, object) = (write.id.kind, &write.id.key);
    match result {
        Ok(resource_version) => {
            counters.writes.fetch_add(1, Ordering::Relaxed);
            debug!(kind, %object, "status written");
            Outcome::Written { resource_version }
        }
        Err(error @ (WriteError::Conflict | WriteError::NotFound)) => {
            counters.conflicts.fetch_add(1, Ordering::Relaxed);
            debug!(kind, %object, %error, "status not written");
            Outcome::Outdated
        }
        Err(error) => {
            counters.errors.fetch_add(1, Ordering::Relaxed);
            warn!(kind, %object, %error, "status could not be written");
            Outcome::Failed
        }
    }
}

#[cfg(test)]
mod tests;
