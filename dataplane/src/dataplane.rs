//! A dataplane as a whole: its threads, what they share, and its life from the first state to the drain.

use std::{
    fmt, io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use arc_swap::{ArcSwap, ArcSwapOption};
use gatehouse_proto::config::v1::Report;
use tokio::{
    runtime::Runtime,
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout_at},
};
use tracing::info;

use crate::{
    admin::{self, Pages},
    auth::WantedKeys,
    compile::{Refused, State},
    discover::{self, Apply, Changes, Link, Outcome, Reports, Status},
    health::Checks,
    kept::{Kept, Noted},
    listen::{Bind, Binder, Listening, TlsPorts},
    names::{Names, Unsettled},
    observe::{
        Observer,
        metrics::{Gauges, Metrics},
    },
    retire::retire,
    siblings::{self, Siblings},
    snapshot::Snapshot,
    state_file::StateFile,
    upstream::Standing,
    worker::{self, Command, Shared},
};

/// Between two attempts to reach the controller.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// How long what is left of logs and spans may take to go out at the end.
const FLUSH: Duration = Duration::from_secs(1);

/// What a dataplane is started with.
#[derive(Debug)]
pub struct Options {
    /// Names it to the controller; unique within its Gateway.
    pub node: String,
    /// `namespace/name`.
    pub gateway: String,
    /// Endpoints of which zone are near. `None`: of none.
    pub zone: Option<String>,
    /// Threads that serve requests.
    pub workers: usize,
    pub bind: Bind,
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub admin: std::net::TcpListener,
    /// How often both sides of the channel show that they live.
    pub heartbeat: Duration,
    /// Where the last good state is kept for the next start. `None`: nowhere.
    pub state_directory: Option<PathBuf>,
    /// `None`: siblings neither give nor get anything.
    pub peers: Option<Peers>,
}

/// The other dataplanes of the Gateway.
#[derive(Debug)]
pub struct Peers {
    /// Where they are found.
    pub siblings: Siblings,
    /// Where they find this one.
    pub listener: std::net::TcpListener,
}

/// Why a dataplane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("can't start a thread: {0}")]
    Thread(#[source] io::Error),
    #[error("admin address: {0}")]
    Admin(#[source] io::Error),
    #[error("sibling address: {0}")]
    Siblings(#[source] io::Error),
}

/// A running dataplane. Dropping it ends it at once; [`Dataplane::drain`] ends it gently.
#[derive(Debug)]
pub struct Dataplane {
    shared: Arc<Shared>,
    workers: Vec<(mpsc::UnboundedSender<Command>, JoinHandle<io::Result<()>>)>,
    /// Runs the channel, the admin port and the export of spans.
    control: Option<Runtime>,
    status: watch::Receiver<Status>,
    listening: watch::Receiver<Listening>,
    admin: SocketAddr,
    draining: watch::Sender<bool>,
}

impl Dataplane {
    /// `connect` opens a channel to the controller; it is called again whenever the last one broke.
    pub fn start<C, F, L, E>(options: Options, connect: C) -> Result<Self, StartError>
    where
        C: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<L, E>> + Send,
        L: Into<Link> + Send,
        E: fmt::Display + Send,
    {
        let control = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("gatehouse-control")
            .enable_all()
            .build()
            .map_err(StartError::Thread)?;
        let metrics = Arc::new(Metrics::default());
        let observer = {
            let _inside = control.enter();
            Observer::new(Arc::clone(&metrics), Box::new(io::stdout())).map_err(StartError::Thread)?
        };
        let (wanted_keys, questions) = WantedKeys::new();
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(Snapshot::default()),
            tls: TlsPorts::default(),
            observer,
            counters: Arc::default(),
            wanted_keys,
            connections: 0.into(),
            cache: OnceLock::new(),
        });
        shared.tls.attach(&shared);

        let mut workers = Vec::new();
        for index in 0..options.workers.max(1) {
            let (commands, received) = mpsc::unbounded_channel();
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new()
                .name(format!("gatehouse-{index}"))
                .spawn(move || worker::run(seed(), shared, received))
                .map_err(StartError::Thread)?;
            workers.push((commands, thread));
        }
        let binder =
            Binder::new(options.bind, workers.iter().map(|(commands, _)| commands.clone()).collect());
        let listening = binder.listening();
        let (status_sender, status) = watch::channel(Status::default());
        let (draining, _) = watch::channel(false);

        let admin = options.admin.local_addr().map_err(StartError::Admin)?;
        options.admin.set_nonblocking(true).map_err(StartError::Admin)?;
        let names = Names::new(control.handle().clone(), Arc::clone(&metrics));
        let pages = Operator {
            shared: Arc::clone(&shared),
            metrics: Arc::clone(&metrics),
            status: status.clone(),
            draining: draining.subscribe(),
            unsettled: names.unsettled(),
            was_ready: AtomicBool::new(false),
        };
        {
            let _inside = control.enter();
            let listener = tokio::net::TcpListener::from_std(options.admin).map_err(StartError::Admin)?;
            tokio::spawn(admin::serve(listener, Arc::new(pages)));
        }
        // Nobody else wants the state: it need not be kept twice.
        let kept = (options.state_directory.is_some() || options.peers.is_some()).then(Arc::<Kept>::default);
        let identity = Arc::<ArcSwapOption<siblings::Identity>>::default();
        let file = options
            .state_directory
            .map(|directory| StateFile::new(directory, options.gateway.clone(), Arc::clone(&metrics)));
        if let (Some(file), Some(kept)) = (&file, &kept) {
            control.spawn(file.clone().follow(Arc::clone(kept)));
        }
        let mut ask = None;
        if let (Some(Peers { siblings, listener }), Some(kept)) = (options.peers, &kept) {
            ask = Some(siblings);
            listener.set_nonblocking(true).map_err(StartError::Siblings)?;
            let _inside = control.enter();
            let listener = tokio::net::TcpListener::from_std(listener).map_err(StartError::Siblings)?;
            let host = siblings::Host {
                gateway: options.gateway.as_str().into(),
                kept: Arc::clone(kept),
                identity: Arc::clone(&identity),
            };
            tokio::spawn(host.serve(listener));
        }
        let (retired, replaced) = mpsc::unbounded_channel();
        control.spawn(retire(replaced));
        let (process, counted) = (seed(), Arc::clone(&metrics));
        let reports = Reports::new(move || {
            let rollouts = counted.rollouts();
            (!rollouts.is_empty()).then_some(Report { process, rollouts })
        });
        let in_force = InForce {
            state: State::new(Arc::clone(&metrics)).in_zone(options.zone),
            shared: Arc::clone(&shared),
            binder,
            metrics,
            kept,
            identity,
            unfit: Vec::new(),
            retired,
            checks: Checks::new(control.handle().clone()),
            names,
        };
        let channel = discover::Options {
            node: options.node,
            gateway: options.gateway,
            heartbeat: options.heartbeat,
            longest_backoff: LONGEST_BACKOFF,
            reports,
        };
        let recovery = discover::recover(file, ask, status.clone());
        control.spawn(async move {
            discover::run(connect, channel, in_force, status_sender, recovery, questions).await;
        });
        Ok(Dataplane { shared, workers, control: Some(control), status, listening, admin, draining })
    }

    /// Waits for the first whole state. Gives what is open then, and what could not be opened.
    pub async fn ready(&self) -> Listening {
        // An error means that the channel's task has ended, which it does only with the dataplane.
        let _ = self.status.clone().wait_for(|status| status.synced).await;
        self.listening.borrow().clone()
    }

    pub fn listening(&self) -> watch::Receiver<Listening> {
        self.listening.clone()
    }

    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Says that it is not ready, closes HTTP/1 connections behind their next answer and accepts for `delay` more, then takes no new connections and gives those that are open
    /// until `limit` (counted from the end of the delay) to finish. Never takes longer.
    pub async fn drain(mut self, delay: Duration, limit: Duration) {
        self.draining.send_replace(true);
        self.tell(|| Command::Leave);
        sleep(delay).await;
        let deadline = Instant::now() + limit;
        self.tell(|| Command::Drain);
        let connections = || self.shared.connections.load(Ordering::Relaxed);
        let all_gone = async {
            while connections() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout_at(deadline, all_gone).await.is_err() {
            info!(connections = connections(), "connections are cut off at the end of the drain");
        }
        self.tell(|| Command::Stop);
        let workers = std::mem::take(&mut self.workers);
        let observer = Arc::clone(&self.shared.observer);
        // Threads end within moments of `Stop`; waiting for them must not block the caller's runtime.
        let ended = tokio::task::spawn_blocking(move || {
            for (_, thread) in workers {
                // A worker that panicked has nothing left to write.
                let _ = thread.join();
            }
            observer.flush(FLUSH);
        });
        let _ = timeout_at(deadline + FLUSH, ended).await;
    }

    fn tell(&self, command: impl Fn() -> Command) {
        for (worker, _) in &self.workers {
            // A worker that is gone needs no telling.
            let _ = worker.send(command());
        }
    }
}

impl Drop for Dataplane {
    fn drop(&mut self) {
        self.tell(|| Command::Stop);
        if let Some(control) = self.control.take() {
            // A runtime may not be waited for within another.
            control.shutdown_background();
        }
    }
}

fn seed() -> u64 {
    let mut seed = [0; 8];
    // Without randomness the address of a local still differs between processes.
    if aws_lc_rs::rand::fill(&mut seed).is_err() {
        return std::ptr::from_ref(&seed) as u64;
    }
    u64::from_le_bytes(seed)
}

/// What the channel's batches change.
struct InForce {
    state: State,
    shared: Arc<Shared>,
    binder: Binder,
    metrics: Arc<Metrics>,
    /// For the disk and siblings.
    kept: Option<Arc<Kept>>,
    /// What siblings are served by.
    identity: Arc<ArcSwapOption<siblings::Identity>>,
    /// What could not be in force beside the rest when the tables were last assembled.
    unfit: Vec<Refused>,
    /// Where states go that were in force.
    retired: mpsc::UnboundedSender<Arc<Snapshot>>,
    checks: Checks,
    names: Names,
}

impl Apply for InForce {
    fn apply(&mut self, Changes { upserts, removals }: Changes<'_>) -> Outcome {
        let mut noted = self.kept.is_some().then(|| Noted::of(removals));
        let upserts = upserts.map(|upsert| {
            if let Some(noted) = &mut noted {
                noted.upsert(&upsert);
            }
            upsert.resource
        });
        let applied = self.state.apply(upserts, removals);
        if let (Some(kept), Some(noted)) = (&self.kept, noted) {
            kept.settle(noted, &applied.refused);
        }
        self.identity.store(self.state.siblings());
        if let Some(settings) = &applied.settings {
            self.shared.observer.configure(settings);
        }
        if applied.tables {
            let (snapshot, unfit) = self.state.assemble();
            let snapshot = Arc::new(snapshot);
            let old = self.shared.snapshot.swap(Arc::clone(&snapshot));
            // If nobody takes it any more, the dataplane ends.
            let _ = self.retired.send(old);
            let (named, options) = self.state.named();
            self.names.update(named, options);
            self.checks.update(&snapshot.watched);
            let closed = self.binder.update(&snapshot);
            self.unfit = unfit;
            self.unfit.extend(self.state.listeners_of(&closed));
        }
        self.metrics.configured(applied.refused.len(), SystemTime::now());
        Outcome { refused: applied.refused, unfit: self.unfit.clone() }
    }
}

/// Answers operators.
struct Operator {
    shared: Arc<Shared>,
    metrics: Arc<Metrics>,
    status: watch::Receiver<Status>,
    draining: watch::Receiver<bool>,
    unsettled: Unsettled,
    /// Names that come later don't take it back.
    was_ready: AtomicBool,
}

impl Pages for Operator {
    fn metrics(&self) -> String {
        let status = self.status.borrow().clone();
        let watched = Arc::clone(&self.shared.snapshot.load().watched);
        let watched: Vec<Standing> = watched.values().map(|service| service.standing()).collect();
        let gauges = Gauges {
            connections: self.shared.connections.load(Ordering::Relaxed),
            cache: self.shared.cache.get().map(|cache| (cache.held(), cache.evictions())).unwrap_or_default(),
            connected: status.connected,
            synced: status.synced,
            rejected: status.rejected,
            unknown: status.unknown,
            source: status.source,
            age: status.confirmed.map(|at| at.elapsed()),
        };
        self.metrics.render(&gauges, &watched)
    }

    fn ready(&self) -> Result<(), &'static str> {
        if *self.draining.borrow() {
            return Err("draining");
        }
        if !self.status.borrow().synced {
            return Err("no whole configuration yet");
        }
        if !self.was_ready.load(Ordering::Relaxed) && !self.unsettled.is_none() {
            return Err("names of backends are looked up");
        }
        self.was_ready.store(true, Ordering::Relaxed);
        Ok(())
    }
}
