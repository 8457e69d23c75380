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
mod plans;
mod referenced;
mod rollouts;
mod told;
mod update;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use gatehouse_proto::config::v1::resource::Kind;
use tokio::{
    sync::{mpsc, watch},
    task::spawn_blocking,
    time::sleep_until,
};
use tracing::{error, info};

use crate::{
    channel::{self, Authority, ServiceAccountKeys},
    fetch::{JwksState, Wanted},
    latest::tell,
    metrics::Metrics,
    provision::{self, Failures, Plans},
    replicas::{AcksByGateway, Replica, SharedAcks},
    resources::{ObjectKey, Resources},
    rollout::{Look, Rollouts},
    serve::ConfigServer,
    status::{Affected, Planned, Tracker, Write},
    translate::{self, ObjectId, Settings, Translator, names},
    watch::{Effect, Watches},
};
use {acks::AllAcks, referenced::Referenced, told::Told};

/// How long a new leader waits for dataplanes to speak to it before it says that they don't.
const SETTLING: Duration = Duration::from_secs(15);

/// So many times as long as everything took to translate, its statuses wait for the dataplanes to acknowledge it: it may take
/// them as long to bring into force, and one write can tell of both.
const STATUSES_WAIT: u32 = 10;

/// How often the reports of dataplanes are collected. They come once a second.
const REPORTS: Duration = Duration::from_secs(1);

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
    /// JWKS documents, by id.
    pub jwks_wanted: watch::Sender<BTreeMap<String, Wanted>>,
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
    referenced: Referenced,
    tracker: Tracker,
    acks: AllAcks,
    told: Told,
    leads_since: Option<Instant>,
    /// Statuses wait for dataplanes until then.
    statuses_wait: Option<Instant>,
    rollouts: Rollouts,
    /// How the rollouts should be; the leader's own.
    look: Look,
    /// When reports were last collected. `None`: nobody wants them.
    collected: Option<Instant>,
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
            referenced: Referenced::default(),
            tracker: Tracker::default(),
            acks: AllAcks::default(),
            told: Told::default(),
            leads_since: None,
            statuses_wait: None,
            rollouts: Rollouts::default(),
            look: Look::default(),
            collected: None,
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
                self.look_at_rollouts();
                self.plan_statuses();
            }
        }
    }

    async fn wait(&mut self) {
        let deadline = self.referenced.deadline(Instant::now()).filter(|_| self.todo.anew);
        let settled = self.settling_ends();
        let due = self.rollout_due();
        let waiting = self.statuses_wait.filter(|_| !self.todo.anew);
        let collecting = self.collected.map(|last| last + REPORTS);
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
                self.tell_replicas();
                self.todo.acks = true;
            }
            () = until(deadline) => {}
            () = until(due) => {}
            () = until(waiting) => {}
            () = until(collecting) => self.collect_reports(),
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
            Effect::Observed(id) => {
                self.note_rollouts(&id);
                self.todo.affected.extend([id]);
            }
            Effect::Endpoints(service) => {
                self.todo.endpoints.insert(service);
            }
            Effect::Content(id) => {
                self.referenced.know(id);
                self.todo.anew = true;
            }
            Effect::Route(id) => {
                self.note_rollouts(&id);
                self.todo.routes.insert(id);
            }
            Effect::Service(service) => {
                self.todo.services.insert(service);
            }
            Effect::Configuration => {
                self.rollouts.rescan(&self.view);
                self.todo.anew = true;
            }
        }
    }

    fn gateways(&self) -> impl Iterator<Item = &ObjectKey> {
        self.translator.iter().flat_map(|translator| translator.configs().keys())
    }

    async fn translate(&mut self) {
        let wanted = translate::wanted(&self.view);
        self.inputs.watches.want(wanted.clone());
        let started = Instant::now();
        self.referenced.want(wanted, started);
        if self.referenced.deadline(started).is_some() {
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
        let took = started.elapsed();
        self.outputs.metrics.translated(took);
        self.publish(translator);
        self.statuses_wait.get_or_insert(Instant::now() + STATUSES_WAIT * took);
        self.todo = Todo { plan_pods: true, affected: Affected::Everything, ..Todo::default() };
    }

    fn publish(&mut self, mut translator: Translator) {
        self.add_siblings(&mut translator);
        let gateways = translator.configs();
        for gone in self.published.iter().filter(|gateway| !gateways.contains_key(*gateway)) {
            info!(gateway = %gone, "no longer served");
            self.outputs.server.remove(&gone.to_string());
        }
        self.published = gateways.keys().cloned().collect();
        for (gateway, config) in gateways {
            let config = config.iter().map(|(name, content)| (Arc::clone(name), content.clone()));
            self.outputs.server.publish(&gateway.to_string(), config);
        }
        let jwks = translator.translation().jwks.clone();
        self.translator = Some(translator);
        for gateway in self.published.clone() {
            self.track(&gateway);
        }
        self.tracker.retain(|gateway| self.published.contains(gateway));
        self.acks.follow(&self.outputs.server, self.published.iter());
        tell(&self.outputs.jwks_wanted, jwks);
        // A list may have brought other addresses without a word about Services.
        self.find_replicas();
        self.outputs.ready.send_replace(true);
    }

    /// By what the dataplanes of each Gateway trust each other.
    fn add_siblings(&self, translator: &mut Translator) {
        let authority = self.inputs.authority.borrow().clone();
        let keys = self.inputs.account_keys.borrow().clone();
        let (Some(authority), Some(keys)) = (authority, keys) else { return };
        let gateways: Vec<ObjectKey> = translator.configs().keys().cloned().collect();
        for gateway in gateways {
            match channel::siblings(&gateway, &authority, &keys) {
                Ok(siblings) => translator.put(&gateway, names::SIBLINGS, Kind::Siblings(siblings)),
                Err(error) => error!(%gateway, %error, "dataplanes can't help each other"),
            }
        }
    }

    fn find_replicas(&self) {
        tell(&self.outputs.replicas, self.replica.others(&self.view));
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
