//! `gatehouse run`: the same translation, channel and dataplane as in a cluster, with a folder in place of the API server.

mod gateways;
mod local;
pub(crate) mod report;
mod rollouts;
mod world;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use gatehouse_controller::{
    fetch::{self, Fetcher},
    latest,
    resources::ObjectKey,
    serve::{self, ConfigServer},
    translate::{self, Config, Translation},
};
use gatehouse_dataplane::{StartError, StopSignals};
use gatehouse_proto::config::v1::{self, resource::Kind};
use tokio::sync::watch;

use crate::{
    args::{Common, EndpointArg, Output, RunOptions},
    manifests::watch::Watch,
    offline,
};
use gateways::Gateways;
use report::Report;
use rollouts::Rollouts;
use world::World;

const HEARTBEAT: Duration = Duration::from_secs(5);
/// From one fetch of a JWKS URL to the next. Whoever develops has changed keys and wants to see it.
const JWKS_GAP: Duration = Duration::from_secs(1);

/// Why nothing is served. Each is one line for the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("{folder}: {error}")]
    Folder { folder: String, error: io::Error },
    #[error("{0}: there are no .yaml, .yml or .json files in it")]
    Empty(String),
    #[error("{0}: there is no Gateway or Ingress of class gatehouse in it")]
    NoGateway(String),
    #[error("Gateway {0}, listener {1}: {2}")]
    Listener(ObjectKey, String, String),
    #[error("{0}")]
    Port(String),
    #[error("can't watch {folder}: {error}")]
    Watch { folder: String, error: notify::Error },
    #[error("admin address {address}: {error}")]
    Admin { address: SocketAddr, error: io::Error },
    #[error("can't start: {0}")]
    Start(#[from] StartError),
    #[error("can't start a thread: {0}")]
    Thread(io::Error),
    #[error("can't receive signals: {0}")]
    Signals(io::Error),
    #[error("can't fetch JWKS documents: {0}")]
    Fetch(#[from] fetch::ClientError),
    #[error("{file}: {error}")]
    Lines { file: String, error: io::Error },
    #[error("the cluster: {0}")]
    Cluster(String),
    #[error("standard output: {0}")]
    Output(io::Error),
    #[error("the request: {0}")]
    Request(String),
    #[error("{0}")]
    Demo(String),
    #[error("{0}")]
    Convert(String),
}

/// What is served, and what to tell when it is.
pub(crate) struct Session<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) endpoints: &'a [EndpointArg],
    pub(crate) common: &'a Common,
    /// Called when everything of a Gateway listens, and again when that changes.
    pub(crate) serving: &'a mut dyn FnMut(&Serving<'_>),
}

/// Where a Gateway is served.
pub(crate) struct Serving<'a> {
    pub(crate) gateway: &'a ObjectKey,
    /// By the listener's name.
    pub(crate) listeners: BTreeMap<String, SocketAddr>,
    pub(crate) admin: SocketAddr,
    /// How many route objects it has.
    pub(crate) routes: usize,
    pub(crate) world: &'a World,
}

impl Serving<'_> {
    /// By the listener's name. Encrypted ones are on `localhost` if that is what they are bound to, since that is the name
    /// in their certificate.
    pub(crate) fn urls(&self) -> BTreeMap<String, String> {
        let url = |(name, address): (&String, &SocketAddr)| {
            let url = match self.world.protocol(self.gateway, name) {
                Some("HTTPS") if address.ip().is_loopback() => {
                    format!("https://localhost:{}", address.port())
                }
                Some("HTTPS") => format!("https://{address}"),
                Some(stream @ ("TLS" | "TCP" | "UDP")) => {
                    format!("{}://{address}", stream.to_ascii_lowercase())
                }
                _ => format!("http://{address}"),
            };
            (name.clone(), url)
        };
        self.listeners.iter().map(url).collect()
    }
}

pub(crate) fn run(options: &RunOptions) -> Result<(), RunError> {
    let json = options.common.output == Output::Json;
    let mut tell = |serving: &Serving<'_>| report::serving(serving, json);
    block_on(Session {
        folder: &options.folder,
        endpoints: &options.endpoints,
        common: &options.common,
        serving: &mut tell,
    })
}

/// Serves until the process is told to stop.
pub(crate) fn block_on(session: Session<'_>) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(RunError::Thread)?;
    let result = runtime.block_on(serve(session));
    runtime.shutdown_background();
    result
}

async fn serve(session: Session<'_>) -> Result<(), RunError> {
    // First of all: whoever is told that something is served may stop it at once.
    let mut stop = StopSignals::register().map_err(RunError::Signals)?;
    let name = session.folder.display().to_string();
    let unreadable = |error| RunError::Folder { folder: name.clone(), error };
    // Watched before it is read: no change falls between.
    session.folder.read_dir().map_err(unreadable)?;
    let mut changes =
        Watch::new(session.folder).map_err(|error| RunError::Watch { folder: name.clone(), error })?;
    let mut folder = offline::folder(session.folder)?;
    let (wanted, wanted_jwks) = watch::channel(BTreeMap::new());
    let (states, mut jwks) = watch::channel(BTreeMap::new());
    let fetcher = Fetcher::new(&fetch::Options { shortest_gap: JWKS_GAP, ..fetch::Options::default() })?;
    let refresh = fetcher.refresh();
    tokio::spawn(fetcher.run(wanted_jwks, states));

    let server = ConfigServer::new(serve::Options {
        heartbeat: HEARTBEAT,
        // The pipe is within this process.
        guarded: false,
        refresh: Some(refresh),
        ..serve::Options::default()
    });
    let connect = local::serve(server.clone());
    let mut world = World::new(session.endpoints);
    let mut report = Report::default();
    let mut gateways = Gateways::new(session.common, server, connect);
    let mut rollouts = Rollouts::default();
    let (mut started, mut reread) = (false, false);
    loop {
        world.build(&folder, jwks.borrow_and_update().clone());
        rollouts.enter(&mut world);
        let mut translation = translate::translate(world.resources(), &offline::settings());
        override_redis(&mut translation, session.common.redis.as_deref());
        world.join(std::mem::take(&mut translation.joined));
        let configs = std::mem::take(&mut translation.gateways);
        let routes: BTreeMap<_, _> =
            configs.iter().map(|(gateway, config)| (gateway.clone(), count_routes(config))).collect();
        if !started && configs.is_empty() {
            report.update(&folder, &world, &translation.statuses, &BTreeMap::new());
            return Err(RunError::NoGateway(name));
        }
        if !started && let Some(error) = unusable_certificate(&configs, &translation, &world) {
            return Err(error);
        }
        latest::tell(&wanted, std::mem::take(&mut translation.jwks));
        match gateways.update(configs).await {
            Err(error) if !started => return Err(error),
            // A port is told of by the dataplane that can't open it.
            Ok(()) | Err(RunError::Port(_)) => {}
            Err(error) => eprintln!("{error}"),
        }
        if std::mem::take(&mut reread) {
            report::reread(&name, routes.values().sum());
        }
        started = true;
        loop {
            if rollouts.look(&world, &translation.statuses, &gateways.reports()) {
                break;
            }
            report.update(&folder, &world, &translation.statuses, &gateways.refused());
            for opened in gateways.opened() {
                (session.serving)(&Serving {
                    listeners: world.listener_addresses(&opened.gateway, &opened.open),
                    admin: opened.admin,
                    routes: routes.get(&opened.gateway).copied().unwrap_or_default(),
                    gateway: &opened.gateway,
                    world: &world,
                });
            }
            tokio::select! {
                () = changes.changed() => match folder.read() {
                    Ok(true) => {
                        reread = true;
                        break;
                    }
                    Ok(false) => {}
                    // The folder went away: what is served stays.
                    Err(error) => eprintln!("{name}: {error}; what was read before is served"),
                },
                _ = jwks.changed() => break,
                () = gateways.news() => {}
                () = rollouts.due() => {}
                () = stop.received() => {
                    eprintln!("draining; press Ctrl-C again to stop at once");
                    tokio::select! {
                        () = gateways.drain() => {}
                        () = stop.received() => {}
                    }
                    return Ok(());
                }
            }
        }
    }
}

/// A certificate that must be mended before anything is served: later it would only be reported.
fn unusable_certificate(
    configs: &BTreeMap<ObjectKey, Config>,
    translation: &Translation,
    world: &World,
) -> Option<RunError> {
    configs.keys().find_map(|gateway| {
        let (listener, message) = world.unusable_certificate(gateway, translation)?;
        Some(RunError::Listener(gateway.clone(), listener, message))
    })
}

/// Route objects, of which each rule is a resource.
fn count_routes(config: &Config) -> usize {
    let objects = config.values().filter_map(|kind| match &**kind {
        Kind::Route(route) => Some(route.object.as_str()),
        _ => None,
    });
    objects.collect::<BTreeSet<_>>().len()
}

fn override_redis(translation: &mut Translation, url: Option<&str>) {
    let Some(url) = url else { return };
    for kind in translation.gateways.values_mut().flat_map(BTreeMap::values_mut) {
        if let Kind::Settings(settings) = Arc::make_mut(kind) {
            let timeout_ms = settings.redis.as_ref().map_or(20, |redis| redis.timeout_ms);
            settings.redis = Some(v1::Redis { url: url.to_owned(), timeout_ms, ..v1::Redis::default() });
        }
    }
}
