//! The server of the configuration channel: brings the state of each Gateway to its dataplanes, as differences.
//!
//! ```text
//! publish(gateway, resources), change(gateway, some) -> Published -> one session a stream: delta -> batch -> ack -> Acks
//! ```
//!
//! A dataplane has one batch under way. What changes meanwhile goes into the next, so a slow dataplane gets fewer and
//! larger batches and never a queue. A Gateway that has not been published yet is waited for: its dataplanes keep what
//! they have. Who may ask for which Gateway is decided by the [`Admission`] that a request brings.

mod acks;
mod admission;
mod content;
mod gateway;
mod parts;
mod peer;
mod published;
mod report;
mod service;
mod session;
mod state;
mod table;
mod version;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gatehouse_proto::config::v1::config_service_server::ConfigServiceServer;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::fetch::Refresh;
use gateway::{Gateway, Seat};
use published::Published;

pub use acks::{Acks, DataplaneAck};
pub use admission::Admission;
pub use content::Content;
pub use published::{Change, Generation};
pub use report::{Report, VersionCounts};
pub use state::{InvalidVersion, State, StateVersion};

/// A `Hello` lists what its dataplane holds: about 100 bytes a resource.
const MESSAGE_BYTES: usize = 64 << 20;

/// How the server treats its dataplanes.
#[derive(Debug, Clone)]
pub struct Options {
    /// How often both sides show that they live. A dataplane that is silent for three beats is dropped.
    pub heartbeat: Duration,
    /// A dataplane that neither takes nor acknowledges a batch for so long is dropped: it had better start anew.
    pub ack_deadline: Duration,
    /// Streams of one Gateway.
    pub max_streams: usize,
    /// Who fetches keys anew that dataplanes ask for. `None`: nobody.
    pub refresh: Option<Refresh>,
    /// Requests without an [`Admission`] are refused. False where nobody but this process can reach the server.
    pub guarded: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            heartbeat: Duration::from_secs(5),
            ack_deadline: Duration::from_secs(60),
            max_streams: 1024,
            refresh: None,
            guarded: true,
        }
    }
}

/// Cheap to clone; all clones serve the same.
#[derive(Debug, Clone)]
pub struct ConfigServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Options,
    gateways: Mutex<BTreeMap<String, Arc<Gateway>>>,
    next_generation: AtomicU64,
    next_stream: AtomicU64,
}

impl ConfigServer {
    pub fn new(options: Options) -> Self {
        ConfigServer {
            inner: Arc::new(Inner {
                options,
                gateways: Mutex::default(),
                next_generation: AtomicU64::new(1),
                next_stream: AtomicU64::new(1),
            }),
        }
    }

    pub fn into_service(self) -> ConfigServiceServer<Self> {
        ConfigServiceServer::new(self).max_decoding_message_size(MESSAGE_BYTES)
    }

    /// Replaces the whole state of a Gateway (`namespace/name`). Each resource has another name. Gives the generation that
    /// dataplanes acknowledge; it is a new one only if something differs.
    pub fn publish<Name: Into<Arc<str>>>(
        &self,
        gateway: &str,
        resources: impl IntoIterator<Item = (Name, impl Into<Content>)>,
    ) -> Generation {
        let resources = resources.into_iter().map(|(name, content)| (name.into(), content));
        let next =
            |previous: Option<&Published>, generation| Published::after(previous, resources, generation);
        self.gateway(gateway).publish(next, &self.inner.next_generation)
    }

    /// Changes some resources of a Gateway's state, each named once, at the cost of these alone.
    pub fn change(&self, gateway: &str, changes: Vec<Change>) -> Generation {
        let next =
            |previous: Option<&Published>, generation| Published::changed(previous, changes, generation);
        self.gateway(gateway).publish(next, &self.inner.next_generation)
    }

    /// The present state of a Gateway. `None`: it is not published.
    pub fn published(&self, gateway: &str) -> Option<State> {
        let found = self.inner.gateways.lock().get(gateway).cloned()?;
        let published = found.state().borrow().clone();
        published.map(State::new)
    }

    /// Forgets a Gateway. Dataplanes that are still connected keep what they have, as if it had never been published.
    pub fn remove(&self, gateway: &str) {
        let mut gateways = self.inner.gateways.lock();
        if let Some(found) = gateways.get(gateway) {
            found.unpublish();
            if !found.has_streams() {
                gateways.remove(gateway);
            }
        }
    }

    /// What each connected dataplane of a Gateway has in force, and what it refused. Closes when the Gateway is removed
    /// and its last dataplane has left.
    pub fn acks(&self, gateway: &str) -> watch::Receiver<Acks> {
        // Under the lock, so that the Gateway is not forgotten in between.
        let mut gateways = self.inner.gateways.lock();
        self.inner.entry(&mut gateways, gateway).acks()
    }

    /// The latest report of each dataplane that is connected and has made one.
    pub fn reports(&self, gateway: &str) -> BTreeMap<String, Report> {
        let found = self.inner.gateways.lock().get(gateway).cloned();
        found.map_or_else(BTreeMap::new, |gateway| gateway.reports())
    }

    fn gateway(&self, name: &str) -> Arc<Gateway> {
        Arc::clone(self.inner.entry(&mut self.inner.gateways.lock(), name))
    }

    /// `None` when the Gateway has too many already.
    fn join(&self, gateway: &str, node: String, build: String) -> Option<Seat> {
        let stream = self.inner.next_stream.fetch_add(1, Ordering::Relaxed);
        let mut gateways = self.inner.gateways.lock();
        self.inner.entry(&mut gateways, gateway).join(node, build, stream)
    }

    /// A client can name any Gateway; what nobody publishes or watches must not stay when it leaves.
    fn leave(&self, gateway: &str, seat: Seat) {
        let mut gateways = self.inner.gateways.lock();
        drop(seat);
        if gateways.get(gateway).is_some_and(|found| found.is_unused()) {
            gateways.remove(gateway);
        }
    }
}

impl Inner {
    fn entry<'a>(&self, gateways: &'a mut BTreeMap<String, Arc<Gateway>>, name: &str) -> &'a Arc<Gateway> {
        gateways.entry(name.to_owned()).or_insert_with(|| Arc::new(Gateway::new(self.options.max_streams)))
    }
}
