//! The loop that owns the view: what the watches tell becomes configuration for the dataplanes, plans for the
//! provisioner and statuses for the objects.
//!
//! ```text
//! changes -> view -> translate -> publish -> acks -> statuses
//!                              -> plans
//! ```
//!
//! Nothing is published before every kind has listed. Changes are gathered only while a translation runs: an idle
//! controller reacts at once, a busy one takes what has come meanwhile in one go. Addresses of pods never cause a
//! translation.

mod acks;
mod secrets;
mod told;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use gatehouse_proto::config::v1::resource::Kind;
use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::sleep_until,
};
use tracing::{error, info};

use crate::{
    channel::{self, Authority, ServiceAccountKeys},
    fetch::JwksState,
    latest::tell,
    metrics::Metrics,
    provision::{self, Failures, Plans},
    replicas::{AcksByGateway, Replica, SharedAcks},
    resources::{ObjectKey, Resources},
    serve::ConfigServer,
    status::{self, GatewayFacts, Tracker, Write},
    translate::{self, Config, ImpliedGateways, Provisioning, Settings, Statuses, Translation, names},
    watch::{Effect, Watches},
};
use {acks::AllAcks, secrets::Secrets, told::Told};

/// How long a new leader waits for dataplanes to speak to it before it says that they don't.
const SETTLING: Duration = Duration::from_secs(15);

/// What comes in.
#[derive(Debug)]
pub struct Inputs {
    pub watches: Watches,
    pub jwks: watch::Receiver<BTreeMap<String, JwksState>>,
    pub authority: watch::Receiver<Option<Arc<Authority>>>,
    pub account_keys: watch::Receiver<Option<ServiceAccountKeys>>,
    pub leading: watch::Receiver<bool>,
    pub failures: watch::Receiver<Failures>,
    /// What dataplanes say to the other replicas.
    pub elsewhere: watch::Receiver<AcksByGateway>,
}

/// Where results go.
#[derive(Debug)]
pub struct Outputs {
    pub server: ConfigServer,
    /// Refresh interval by JWKS URL.
    pub jwks_wanted: watch::Sender<BTreeMap<String, Duration>>,
    pub plans: watch::Sender<Arc<Plans>>,
    pub statuses: watch::Sender<Arc<Vec<Write>>>,
    /// Of kinds that have no conditions.
    pub events: mpsc::Sender<Write>,
    /// Where the other replicas are.
    pub replicas: watch::Sender<BTreeSet<SocketAddr>>,
    /// What dataplanes say to this replica.
    pub acks: watch::Sender<SharedAcks>,
    /// True once the first state has been published.
    pub ready: watch::Sender<bool>,
    pub metrics: Arc<Metrics>,
}

/// Owns the view.
#[derive(Debug)]
pub struct Reconciler {
    inputs: Inputs,
    outputs: Outputs,
    /// Of the dataplanes; the CA is added when it is known.
    pods: provision::Settings,
    settings: Settings,
    replica: Replica,
    view: Resources,
    /// The last translation's, with endpoints as they are now.
    configs: BTreeMap<ObjectKey, Config>,
    statuses: Statuses,
    provisioning: BTreeMap<ObjectKey, Provisioning>,
    implied: ImpliedGateways,
    secrets: Secrets,
    tracker: Tracker,
    acks: AllAcks,
    told: Told,
    leads_since: Option<Instant>,
    todo: Todo,
}

/// What has changed since it was last acted upon.
#[derive(Debug, Default)]
struct Todo {
    translate: bool,
    /// Services whose addresses changed.
    endpoints: BTreeSet<ObjectKey>,
    plan_pods: bool,
    plan_statuses: bool,
}

impl Reconciler {
    /// `pods`: what every Gateway's pods have in common.
    pub fn new(inputs: Inputs, outputs: Outputs, replica: Replica, pods: provision::Settings) -> Self {
        Reconciler {
            inputs,
            outputs,
            pods,
            settings: Settings { namespace: replica.service.namespace.clone(), ..Settings::default() },
            replica,
            view: Resources::default(),
            configs: BTreeMap::new(),
            statuses: Statuses::default(),
            provisioning: BTreeMap::new(),
            implied: ImpliedGateways::new(),
            secrets: Secrets::default(),
            tracker: Tracker::default(),
            acks: AllAcks::default(),
            told: Told::default(),
            leads_since: None,
            todo: Todo { translate: true, ..Todo::default() },
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        loop {
            self.wait().await;
            if !self.inputs.watches.synced() {
                continue;
            }
            if !self.todo.endpoints.is_empty() {
                self.refresh_endpoints();
            }
            if self.todo.translate {
                self.translate().await;
            }
            // Statuses belong to the objects that they were translated from.
            if !self.todo.translate {
                if std::mem::take(&mut self.todo.plan_pods) {
                    self.plan_pods();
                }
                if std::mem::take(&mut self.todo.plan_statuses) {
                    self.plan_statuses();
                }
            }
        }
    }

    async fn wait(&mut self) {
        let deadline = self.secrets.deadline(Instant::now()).filter(|_| self.todo.translate);
        let settled = self.settling_ends();
        let inputs = &mut self.inputs;
        tokio::select! {
            changes = inputs.watches.next() => {
                self.outputs.metrics.changes.inc_by(changes.len() as u64);
                for change in changes {
                    let effect = change.apply(&mut self.view);
                    self.note(effect);
                }
            }
            Ok(()) = inputs.jwks.changed() => {
                self.view.jwks = inputs.jwks.borrow_and_update().clone();
                self.todo.translate = true;
            }
            Ok(()) = inputs.authority.changed() => self.todo.translate = true,
            Ok(()) = inputs.account_keys.changed() => self.todo.translate = true,
            Ok(()) = inputs.leading.changed() => {
                self.leads_since = inputs.leading.borrow_and_update().then(Instant::now);
                self.todo.plan_statuses = true;
            }
            Ok(()) = inputs.failures.changed() => self.todo.plan_statuses = true,
            Ok(()) = inputs.elsewhere.changed() => self.todo.plan_statuses = true,
            () = self.acks.changed() => {
                self.outputs.acks.send_replace(Arc::new(self.acks.by_gateway()));
                self.todo.plan_statuses = true;
            }
            () = until(deadline) => {}
            () = until(settled) => self.todo.plan_statuses = true,
        }
    }

    /// While this is to come, dataplanes may not have spoken to this leader yet.
    fn settling_ends(&self) -> Option<Instant> {
        self.leads_since.map(|since| since + SETTLING).filter(|end| *end > Instant::now())
    }

    fn note(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Observed => self.todo.plan_statuses = true,
            Effect::Endpoints(service) => {
                self.todo.endpoints.insert(service);
            }
            Effect::Secret(secret) => {
                self.secrets.know(secret);
                self.todo.translate = true;
            }
            Effect::Configuration => self.todo.translate = true,
        }
    }

    async fn translate(&mut self) {
        let wanted = translate::wanted_secrets(&self.view);
        self.inputs.watches.want_secrets(wanted.clone());
        let started = Instant::now();
        self.secrets.want(wanted, started);
        if self.secrets.deadline(started).is_some() {
            return;
        }
        let view = std::mem::take(&mut self.view);
        let settings = self.settings.clone();
        let work = spawn_blocking(move || {
            let translation = translate::translate(&view, &settings);
            (view, translation)
        });
        let translation = match work.await {
            Ok((view, translation)) => {
                self.view = view;
                translation
            }
            Err(error) => {
                if let Ok(panic) = error.try_into_panic() {
                    std::panic::resume_unwind(panic);
                }
                // The runtime ends.
                return std::future::pending().await;
            }
        };
        self.outputs.metrics.translated(started.elapsed());
        self.publish(translation);
        self.todo = Todo { plan_pods: true, plan_statuses: true, ..Todo::default() };
    }

    fn publish(&mut self, translation: Translation) {
        let Translation { gateways, statuses, provisioning, implied_gateways, jwks_urls } = translation;
        for gone in self.configs.keys().filter(|gateway| !gateways.contains_key(*gateway)) {
            info!(gateway = %gone, "no longer served");
            self.outputs.server.remove(&gone.to_string());
        }
        self.configs = gateways;
        self.add_siblings();
        for (gateway, config) in &self.configs {
            publish(&self.outputs.server, &mut self.tracker, gateway, config);
        }
        self.tracker.retain(|gateway| self.configs.contains_key(gateway));
        self.acks.follow(&self.outputs.server, self.configs.keys());
        tell(&self.outputs.jwks_wanted, jwks_urls);
        self.statuses = statuses;
        self.provisioning = provisioning;
        self.implied = implied_gateways;
        // A list may have brought other addresses without a word about Services.
        self.find_replicas();
        self.outputs.ready.send_replace(true);
    }

    /// By what the dataplanes of each Gateway trust each other.
    fn add_siblings(&mut self) {
        let authority = self.inputs.authority.borrow().clone();
        let keys = self.inputs.account_keys.borrow().clone();
        let (Some(authority), Some(keys)) = (authority, keys) else { return };
        for (gateway, config) in &mut self.configs {
            match channel::siblings(gateway, &authority, &keys) {
                Ok(siblings) => {
                    config.insert(names::SIBLINGS.to_owned(), Kind::Siblings(siblings));
                }
                Err(error) => error!(%gateway, %error, "dataplanes can't help each other"),
            }
        }
    }

    /// Only the addresses of some Services.
    fn refresh_endpoints(&mut self) {
        let services = std::mem::take(&mut self.todo.endpoints);
        if services.contains(&self.replica.service) {
            self.find_replicas();
        }
        for (gateway, config) in &mut self.configs {
            let backends: Vec<String> =
                services.iter().flat_map(|service| translate::backends_of(config, service)).collect();
            let mut differs = false;
            for backend in backends {
                let Some((name, endpoints)) = translate::endpoints(&self.view, &backend) else { continue };
                let endpoints = Kind::Endpoints(endpoints);
                if config.get(&name) != Some(&endpoints) {
                    config.insert(name, endpoints);
                    differs = true;
                }
            }
            if differs {
                publish(&self.outputs.server, &mut self.tracker, gateway, config);
                self.todo.plan_statuses = true;
            }
            // Its dataplanes: statuses ask them all, and they share the local counts.
            let own = own_service(gateway);
            if services.contains(&own) {
                self.todo.plan_statuses = true;
                let ready = status::ready(&self.view, &own).len();
                let replicas = u32::try_from(ready.max(1)).unwrap_or(u32::MAX);
                if self.settings.replicas.insert(gateway.clone(), replicas) != Some(replicas) {
                    self.todo.translate = true;
                }
            }
        }
    }

    fn find_replicas(&self) {
        tell(&self.outputs.replicas, self.replica.others(&self.view));
    }

    fn plan_pods(&mut self) {
        let Some(authority) = self.inputs.authority.borrow().clone() else {
            // It wakes the loop when it comes.
            self.todo.plan_pods = true;
            return;
        };
        self.pods.ca_pem = authority.bundle();
        let mut plans = Plans::new();
        for (key, provisioning) in &self.provisioning {
            let Provisioning::Wanted(config) = provisioning else { continue };
            let implied = self.implied.get(key).map(|(gateway, _)| gateway);
            let Some(gateway) = implied.or_else(|| self.view.gateways.get(key)) else { continue };
            if gateway.metadata.deletion_timestamp.is_none() {
                plans.insert(key.clone(), provision::plan(gateway, config.as_deref(), &self.pods));
            }
        }
        tell(&self.outputs.plans, Arc::new(plans));
    }

    fn plan_statuses(&mut self) {
        let elsewhere = self.inputs.elsewhere.borrow().clone();
        let failures = self.inputs.failures.borrow().clone();
        let mut facts = BTreeMap::new();
        for gateway in self.configs.keys() {
            let service = own_service(gateway);
            let ready = status::ready(&self.view, &service);
            let acks = self.acks.of(gateway, &elsewhere);
            self.tracker.acknowledged(gateway, &acks, &ready);
            let addresses = self.view.services.get(&service).map(status::addresses).unwrap_or_default();
            let errors = failures.get(gateway).cloned().unwrap_or_default();
            facts.insert(gateway.clone(), GatewayFacts { addresses, errors });
        }
        if self.leads_since.is_none() {
            return;
        }
        let writes = status::plan(&status::Input {
            resources: &self.view,
            statuses: &self.statuses,
            tracker: &self.tracker,
            facts: &facts,
            settling: self.settling_ends().is_some(),
            now: Timestamp::now(),
        });
        self.outputs.statuses.send_replace(Arc::new(writes));
        for news in self.told.news(&self.statuses, &self.view) {
            // When there is no room, there are events enough.
            let _ = self.outputs.events.try_send(news);
        }
    }
}

/// The Service in front of a Gateway's pods.
fn own_service(gateway: &ObjectKey) -> ObjectKey {
    ObjectKey::new(&gateway.namespace, provision::object_name(&gateway.name))
}

fn publish(server: &ConfigServer, tracker: &mut Tracker, gateway: &ObjectKey, config: &Config) {
    let name = gateway.to_string();
    server.publish(&name, config.clone());
    if let Some(state) = server.published(&name) {
        tracker.published(gateway, state);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
