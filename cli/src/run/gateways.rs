//! The Gateways that are served: a dataplane each, in this process.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use gatehouse_controller::{
    resources::ObjectKey,
    serve::{ConfigServer, Report},
    translate::Config,
};
use gatehouse_dataplane::{Bind, Dataplane, ListenPort, Options, Ports};
use tokio::sync::Notify;

use super::{HEARTBEAT, RunError, local::Connect};
use crate::args::Common;

pub(super) struct Gateways<'a> {
    common: &'a Common,
    server: ConfigServer,
    connect: Connect,
    running: BTreeMap<ObjectKey, Running>,
    /// Told when a dataplane has opened or closed something, or has refused or taken something.
    news: Arc<Notify>,
}

struct Running {
    dataplane: Dataplane,
    /// What the user was told is open.
    told: Option<BTreeMap<ListenPort, SocketAddr>>,
}

/// A Gateway whose open ports are not what was told last.
pub(super) struct Opened {
    pub(super) gateway: ObjectKey,
    pub(super) open: BTreeMap<ListenPort, SocketAddr>,
    pub(super) admin: SocketAddr,
}

impl<'a> Gateways<'a> {
    pub(super) fn new(common: &'a Common, server: ConfigServer, connect: Connect) -> Self {
        Gateways { common, server, connect, running: BTreeMap::new(), news: Arc::default() }
    }

    /// Serves these and no others. Returns when the fresh ones listen.
    ///
    /// # Errors
    /// A Gateway can't be served at all, or one of its ports can't be opened. The others are served.
    pub(super) async fn update(&mut self, configs: BTreeMap<ObjectKey, Config>) -> Result<(), RunError> {
        let limit = Duration::from_secs(self.common.drain_seconds);
        let gone = self.running.extract_if(.., |gateway, _| !configs.contains_key(gateway));
        for (gateway, running) in gone {
            self.server.remove(&gateway.to_string());
            tokio::spawn(running.dataplane.drain(Duration::ZERO, limit));
        }
        let mut fresh = Vec::new();
        let mut result = Ok(());
        for (gateway, config) in configs {
            self.server.publish(&gateway.to_string(), config);
            if self.running.contains_key(&gateway) {
                continue;
            }
            match self.start(&gateway) {
                Ok(dataplane) => {
                    self.follow(&gateway, &dataplane);
                    self.running.insert(gateway.clone(), Running { dataplane, told: None });
                    fresh.push(gateway);
                }
                Err(error) => result = Err(error),
            }
        }
        for gateway in fresh {
            let Some(running) = self.running.get(&gateway) else { continue };
            let listening = running.dataplane.ready().await;
            if let Some(failed) = listening.failed.into_values().next() {
                result = Err(RunError::Port(failed));
            }
        }
        result
    }

    /// Waits until a dataplane has something to tell. Cancel safe.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// What has been opened or closed since the last call.
    pub(super) fn opened(&mut self) -> Vec<Opened> {
        let mut opened = Vec::new();
        for (gateway, running) in &mut self.running {
            let open = running.dataplane.listening().borrow().open.clone();
            if running.told.as_ref() != Some(&open) {
                running.told = Some(open.clone());
                opened.push(Opened { gateway: gateway.clone(), open, admin: running.dataplane.admin() });
            }
        }
        opened
    }

    /// Resources that can't be served as they are, and why.
    pub(super) fn refused(&self) -> BTreeMap<String, String> {
        let mut refused = BTreeMap::new();
        for gateway in self.running.keys() {
            let acks = self.server.acks(&gateway.to_string());
            let acks = acks.borrow();
            refused.extend(acks.oversized.clone());
            refused.extend(acks.dataplanes.values().flat_map(|dataplane| dataplane.rejected.clone()));
        }
        refused
    }

    /// What the dataplanes have counted for rollouts, by names that each has alone.
    pub(super) fn reports(&self) -> Vec<(String, Report)> {
        let of = |gateway: &ObjectKey| {
            let reports = self.server.reports(&gateway.to_string());
            reports
                .into_iter()
                .map(move |(node, report)| (format!("{gateway}/{node}"), report))
                .collect::<Vec<_>>()
        };
        self.running.keys().flat_map(of).collect()
    }

    /// Ends all of them.
    pub(super) async fn drain(self) {
        let limit = Duration::from_secs(self.common.drain_seconds);
        let all = self.running.into_values().map(|running| running.dataplane.drain(Duration::ZERO, limit));
        futures_util::future::join_all(all).await;
    }

    fn start(&self, gateway: &ObjectKey) -> Result<Dataplane, RunError> {
        let common = self.common;
        // Of several Gateways, one has the address that was asked for.
        let port = if self.running.is_empty() { common.admin.port() } else { 0 };
        let address = SocketAddr::new(common.admin.ip(), port);
        let admin =
            std::net::TcpListener::bind(address).map_err(|error| RunError::Admin { address, error })?;
        let workers = match common.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        };
        let options = Options {
            node: "local".into(),
            gateway: gateway.to_string(),
            zone: common.zone.clone(),
            workers,
            bind: Bind {
                address: common.bind,
                ports: if common.free_ports { Ports::Free } else { Ports::AsWritten },
            },
            admin,
            heartbeat: HEARTBEAT,
            state_directory: None,
            peers: None,
        };
        let connect = self.connect.clone();
        Ok(Dataplane::start(options, move || connect.connect())?)
    }

    /// Passes on when the dataplane has news, as long as there is one.
    fn follow(&self, gateway: &ObjectKey, dataplane: &Dataplane) {
        let mut listening = dataplane.listening();
        let mut acks = self.server.acks(&gateway.to_string());
        let news = Arc::clone(&self.news);
        tokio::spawn(async move {
            loop {
                let changed = tokio::select! {
                    changed = listening.changed() => changed,
                    changed = acks.changed() => changed,
                };
                if changed.is_err() {
                    break;
                }
                news.notify_one();
            }
        });
    }
}
