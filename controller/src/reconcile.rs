//! The loop that owns the view: what the watches tell becomes configuration for the dataplanes, plans for the
//! provisioner and statuses for the objects.
//!
//! ```text
//! changes -> view -> translate -> publish -> acks -> statuses
//!                              -> plans
//! ```
//!
//! Nothing is published before every kind has listed. Changes are gathered only while a translation runs: an idle
//! controller reacts at once, a busy one takes what has come meanwhile in one go. What routes, Services and addresses
//! change costs only that; anything else translates everything anew.

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
    status::{self, Affected, GatewayFacts, Planned, Tracker, Write},
    translate::{self, ObjectId, Provisioning, Settings, Translation, Translator, Update, names},
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
    /// Its reader does nothing but take them, so that they never pile up.
    pub statuses: mpsc::UnboundedSender<Planned>,
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
    /// `None`: translation has not begun, or has to begin anew.
    translator: Option<Translator>,
    /// Gateways that are served.
    published: BTreeSet<ObjectKey>,
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
    /// Translate everything.
    anew: bool,
    /// Routes that changed.
    routes: BTreeSet<ObjectId>,
    /// Services that changed in what routes see of them.
    services: BTreeSet<ObjectKey>,
    /// Services whose addresses changed.
    endpoints: BTreeSet<ObjectKey>,
    plan_pods: bool,
    /// What dataplanes said, or which of them are ready.
    acks: bool,
    /// Statuses to plan.
    affected: Affected,
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
            translator: None,
            published: BTreeSet::new(),
            secrets: Secrets::default(),
            tracker: Tracker::default(),
            acks: AllAcks::default(),
            told: Told::default(),
            leads_since: None,
            todo: Todo { anew: true, ..Todo::default() },
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        loop {
            self.wait().await;
            if !self.inputs.watches.synced() {
                continue;
            }
            self.update();
            if self.todo.anew {
                self.translate().await;
            }
            // Statuses belong to the objects that they were translated from.
            if !self.todo.anew {
                if std::mem::take(&mut self.todo.plan_pods) {
                    self.plan_pods();
                }
                self.plan_statuses();
            }
        }
    }

    async fn wait(&mut self) {
        let deadline = self.secrets.deadline(Instant::now()).filter(|_| self.todo.anew);
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
                self.todo.anew = true;
            }
            Ok(()) = inputs.authority.changed() => self.todo.anew = true,
            Ok(()) = inputs.account_keys.changed() => self.todo.anew = true,
            Ok(()) = inputs.leading.changed() => {
                self.leads_since = inputs.leading.borrow_and_update().then(Instant::now);
                self.todo.affected = Affected::Everything;
            }
            Ok(()) = inputs.failures.changed() => self.todo.affected = Affected::Everything,
            Ok(()) = inputs.elsewhere.changed() => self.todo.acks = true,
            () = self.acks.changed() => {
                self.outputs.acks.send_replace(Arc::new(self.acks.by_gateway()));
                self.todo.acks = true;
            }
            () = until(deadline) => {}
            () = until(settled) => self.todo.affected = Affected::Everything,
        }
    }

    /// While this is to come, dataplanes may not have spoken to this leader yet.
    fn settling_ends(&self) -> Option<Instant> {
        self.leads_since.map(|since| since + SETTLING).filter(|end| *end > Instant::now())
    }

    fn note(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            // Its addresses are those of a Gateway, and of its Ingresses.
            Effect::Observed(id) if id.kind == "Service" => {
                if self.gateways().any(|gateway| own_service(gateway) == id.key) {
                    self.todo.affected = Affected::Everything;
                }
            }
            Effect::Observed(id) => self.todo.affected.extend([id]),
            Effect::Endpoints(service) => {
                self.todo.endpoints.insert(service);
            }
            Effect::Secret(secret) => {
                self.secrets.know(secret);
                self.todo.anew = true;
            }
            Effect::Route(id) => {
                self.todo.routes.insert(id);
            }
            Effect::Service(service) => {
                self.todo.services.insert(service);
            }
            Effect::Configuration => self.todo.anew = true,
        }
    }

    fn gateways(&self) -> impl Iterator<Item = &ObjectKey> {
        self.translator.iter().flat_map(|translator| translator.translation().gateways.keys())
    }

    /// What needs no translation of everything.
    fn update(&mut self) {
        let endpoints = std::mem::take(&mut self.todo.endpoints);
        if !endpoints.is_empty() {
            self.look_at_pods(&endpoints);
            if let Some(translator) = &mut self.translator {
                let update = translator.endpoints(&self.view, &endpoints);
                self.change(update);
            }
        }
        if self.todo.anew {
            return;
        }
        let started = Instant::now();
        let services = std::mem::take(&mut self.todo.services);
        let routes = std::mem::take(&mut self.todo.routes);
        if services.is_empty() && routes.is_empty() {
            return;
        }
        let Some(mut translator) = self.translator.take() else {
            self.todo.anew = true;
            return;
        };
        // Where an update can't tell what follows, the translator is of no use any more.
        self.todo.anew = true;
        let Some(first) = translator.services(&self.view, &self.settings, &services) else { return };
        let Some(second) = translator.routes(&self.view, &self.settings, &routes) else { return };
        self.todo.anew = false;
        self.translator = Some(translator);
        self.outputs.metrics.translated(started.elapsed());
        self.change(first);
        self.change(second);
    }

    /// Publishes what an update changed.
    fn change(&mut self, update: Update) {
        self.todo.affected.extend(update.statuses);
        for (gateway, changes) in update.changes {
            self.outputs.server.change(&gateway.to_string(), changes);
            self.track(&gateway);
        }
    }

    /// Tells the tracker of the state that a Gateway is published in.
    fn track(&mut self, gateway: &ObjectKey) {
        if let Some(state) = self.outputs.server.published(&gateway.to_string()) {
            self.todo.affected += self.tracker.published(gateway, state);
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
            let translator = Translator::new(&view, &settings);
            (view, translator)
        });
        let translator = match work.await {
            Ok((view, translator)) => {
                self.view = view;
                translator
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
        self.publish(translator);
        self.todo = Todo { plan_pods: true, affected: Affected::Everything, ..Todo::default() };
    }

    fn publish(&mut self, mut translator: Translator) {
        self.add_siblings(&mut translator);
        let gateways = &translator.translation().gateways;
        for gone in self.published.iter().filter(|gateway| !gateways.contains_key(*gateway)) {
            info!(gateway = %gone, "no longer served");
            self.outputs.server.remove(&gone.to_string());
        }
        self.published = gateways.keys().cloned().collect();
        for (gateway, config) in gateways {
            let config = config.iter().map(|(name, kind)| (Arc::clone(name), Arc::clone(kind)));
            self.outputs.server.publish(&gateway.to_string(), config);
        }
        let jwks_urls = translator.translation().jwks_urls.clone();
        self.translator = Some(translator);
        for gateway in self.published.clone() {
            self.track(&gateway);
        }
        self.tracker.retain(|gateway| self.published.contains(gateway));
        self.acks.follow(&self.outputs.server, self.published.iter());
        tell(&self.outputs.jwks_wanted, jwks_urls);
        // A list may have brought other addresses without a word about Services.
        self.find_replicas();
        self.outputs.ready.send_replace(true);
    }

    /// By what the dataplanes of each Gateway trust each other.
    fn add_siblings(&self, translator: &mut Translator) {
        let authority = self.inputs.authority.borrow().clone();
        let keys = self.inputs.account_keys.borrow().clone();
        let (Some(authority), Some(keys)) = (authority, keys) else { return };
        let gateways: Vec<ObjectKey> = translator.translation().gateways.keys().cloned().collect();
        for gateway in gateways {
            match channel::siblings(&gateway, &authority, &keys) {
                Ok(siblings) => translator.put(&gateway, names::SIBLINGS, Kind::Siblings(siblings)),
                Err(error) => error!(%gateway, %error, "dataplanes can't help each other"),
            }
        }
    }

    /// Pods behind these Services came or went: those of the controller itself, and dataplanes, whom statuses ask and who
    /// share the local counts.
    fn look_at_pods(&mut self, services: &BTreeSet<ObjectKey>) {
        if services.contains(&self.replica.service) {
            self.find_replicas();
        }
        let gateways: Vec<ObjectKey> =
            self.gateways().filter(|gateway| services.contains(&own_service(gateway))).cloned().collect();
        for gateway in gateways {
            self.todo.acks = true;
            let ready = status::ready(&self.view, &own_service(&gateway)).len();
            let replicas = u32::try_from(ready.max(1)).unwrap_or(u32::MAX);
            if self.settings.replicas.insert(gateway, replicas) != Some(replicas) {
                self.todo.anew = true;
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
        let Some(translator) = &self.translator else { return };
        let Translation { provisioning, implied_gateways, .. } = translator.translation();
        let mut plans = Plans::new();
        for (key, provisioning) in provisioning {
            let Provisioning::Wanted(config) = provisioning else { continue };
            let implied = implied_gateways.get(key).map(|(gateway, _)| gateway);
            let Some(gateway) = implied.or_else(|| self.view.gateways.get(key)) else { continue };
            if gateway.metadata.deletion_timestamp.is_none() {
                plans.insert(key.clone(), provision::plan(gateway, config.as_deref(), &self.pods));
            }
        }
        tell(&self.outputs.plans, Arc::new(plans));
    }

    fn plan_statuses(&mut self) {
        let acks = std::mem::take(&mut self.todo.acks);
        let affected = std::mem::take(&mut self.todo.affected);
        if affected.is_nothing() && !acks {
            return;
        }
        let (affected, facts) = self.facts(affected);
        let Some(translator) = self.translator.as_ref().filter(|_| self.leads_since.is_some()) else {
            return;
        };
        let statuses = &translator.translation().statuses;
        let input = status::Input {
            resources: &self.view,
            statuses,
            tracker: &self.tracker,
            facts: &facts,
            settling: self.settling_ends().is_some(),
            now: Timestamp::now(),
        };
        let planned = match affected {
            Affected::Nothing => return,
            Affected::Objects(objects) => {
                let plan = |id: ObjectId| {
                    let write = status::plan_of(&input, &id);
                    (id, write)
                };
                Planned::Objects(objects.into_iter().map(plan).collect())
            }
            Affected::Everything => {
                for news in self.told.news(statuses, &self.view) {
                    // When there is no room, there are events enough.
                    let _ = self.outputs.events.try_send(news);
                }
                Planned::Everything(status::plan(&input))
            }
        };
        // The writer ends with the process.
        let _ = self.outputs.statuses.send(planned);
    }

    /// What is known of each Gateway beside its objects, and whose status that affects besides.
    fn facts(&mut self, mut affected: Affected) -> (Affected, BTreeMap<ObjectKey, GatewayFacts>) {
        let elsewhere = self.inputs.elsewhere.borrow();
        let failures = self.inputs.failures.borrow();
        let mut facts = BTreeMap::new();
        for gateway in &self.published {
            let service = own_service(gateway);
            let ready = status::ready(&self.view, &service);
            affected += self.tracker.acknowledged(gateway, &self.acks.of(gateway, &elsewhere), &ready);
            let addresses = self.view.services.get(&service).map(status::addresses).unwrap_or_default();
            let errors = failures.get(gateway).cloned().unwrap_or_default();
            facts.insert(gateway.clone(), GatewayFacts { addresses, errors });
        }
        (affected, facts)
    }
}

/// The Service in front of a Gateway's pods.
fn own_service(gateway: &ObjectKey) -> ObjectKey {
    ObjectKey::new(&gateway.namespace, provision::object_name(&gateway.name))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
