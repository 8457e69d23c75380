//! One Gateway: its latest state, the dataplanes that are connected, and the word that both pass on.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{
    acks::{Acks, DataplaneAck},
    published::{Generation, Published},
    report::Report,
    state::StateVersion,
};

#[derive(Debug)]
pub(super) struct Gateway {
    /// `None`: nothing is published, and dataplanes wait.
    state: watch::Sender<Option<Arc<Published>>>,
    acks: watch::Sender<Acks>,
    /// By dataplane, with the stream that it came on. Nobody is woken by it.
    reports: Mutex<BTreeMap<String, (u64, Report)>>,
    /// A permit a stream.
    streams: Arc<Semaphore>,
    max_streams: usize,
    publishing: Mutex<()>,
}

/// A dataplane's place in its Gateway; it leaves when this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    gateway: Arc<Gateway>,
    node: String,
    stream: u64,
    _permit: OwnedSemaphorePermit,
}

impl Gateway {
    pub(super) fn new(max_streams: usize) -> Self {
        Self {
            state: watch::Sender::default(),
            acks: watch::Sender::default(),
            reports: Mutex::default(),
            streams: Arc::new(Semaphore::new(max_streams)),
            max_streams,
            publishing: Mutex::default(),
        }
    }

    /// Takes the next of `generations` when something differs, else returns that of the present state. `next` makes a state
    /// from the present one.
    pub(super) fn publish(
        &self,
        next: impl FnOnce(Option<&Published>, Generation) -> Result<Published, Generation>,
        generations: &AtomicU64,
    ) -> Generation {
        let _one_at_a_time = self.publishing.lock();
        let previous = self.state.borrow().clone();
        let candidate = Generation(generations.fetch_add(1, Ordering::Relaxed));
        match next(previous.as_deref(), candidate) {
            Err(present) => present,
            Ok(next) => {
                self.acks.send_if_modified(|acks| {
                    let differs = acks.oversized != next.oversized;
                    if differs {
                        acks.oversized.clone_from(&next.oversized);
                    }
                    differs
                });
                self.state.send_replace(Some(Arc::new(next)));
                candidate
            }
        }
    }

    pub(super) fn unpublish(&self) {
        self.state.send_replace(None);
    }

    pub(super) fn state(&self) -> watch::Receiver<Option<Arc<Published>>> {
        let mut state = self.state.subscribe();
        state.mark_changed();
        state
    }

    pub(super) fn acks(&self) -> watch::Receiver<Acks> {
        self.acks.subscribe()
    }

    pub(super) fn reports(&self) -> BTreeMap<String, Report> {
        let reports = self.reports.lock();
        reports.iter().map(|(node, (_, report))| (node.clone(), report.clone())).collect()
    }

    /// Nothing is published and nobody is here.
    pub(super) fn is_unused(&self) -> bool {
        self.state.borrow().is_none() && !self.has_streams() && self.acks.receiver_count() == 0
    }

    pub(super) fn has_streams(&self) -> bool {
        self.streams.available_permits() < self.max_streams
    }

    /// `None` when there are too many already.
    pub(super) fn join(self: &Arc<Self>, node: String, build: String, stream: u64) -> Option<Seat> {
        let permit = self.streams.clone().try_acquire_owned().ok()?;
        let ack = DataplaneAck {
            build,
            connected_ms: jiff::Timestamp::now().as_millisecond(),
            state: None,
            generation: None,
            rejected: BTreeMap::new(),
            report: None,
            stream,
        };
        self.acks.send_modify(|acks| {
            acks.dataplanes.insert(node.clone(), ack);
        });
        Some(Seat { gateway: self.clone(), node, stream, _permit: permit })
    }
}

impl Seat {
    pub(super) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    pub(super) fn node(&self) -> &str {
        &self.node
    }

    /// The dataplane has counted so much.
    pub(super) fn counted(&self, report: Report) {
        let mut reports = self.gateway.reports.lock();
        let is_late = reports.get(&self.node).is_some_and(|(stream, _)| *stream > self.stream);
        if !is_late {
            reports.insert(self.node.clone(), (self.stream, report));
        }
    }

    /// The dataplane has this state whole, but for what is rejected.
    pub(super) fn report(
        &self,
        generation: Generation,
        state: StateVersion,
        rejected: &BTreeMap<String, String>,
    ) {
        self.gateway.acks.send_if_modified(|acks| match acks.dataplanes.get_mut(&self.node) {
            Some(ack) if ack.stream == self.stream => {
                let differs = ack.generation != Some(generation) || ack.rejected != *rejected;
                ack.generation = Some(generation);
                ack.state = Some(state);
                ack.rejected.clone_from(rejected);
                differs
            }
            _ => false,
        });
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut reports = self.gateway.reports.lock();
        if reports.get(&self.node).is_some_and(|(stream, _)| *stream == self.stream) {
            reports.remove(&self.node);
        }
        drop(reports);
        self.gateway.acks.send_if_modified(|acks| {
            let own = acks.dataplanes.get(&self.node).is_some_and(|ack| ack.stream == self.stream);
            if own {
                acks.dataplanes.remove(&self.node);
            }
            own
        });
    }
}
