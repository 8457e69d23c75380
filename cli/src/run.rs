//! `gatehouse run`: the same translation, channel and dataplane as in a cluster, with a folder in place of the API server.

mod local;
mod report;
mod world;

use std::{collections::BTreeMap, io, net::SocketAddr, path::Path, time::Duration};

use gatehouse_controller::{
    fetch,
    resources::ObjectKey,
    serve::{self, ConfigServer},
    translate::{self, Settings, Translation},
};
use gatehouse_dataplane::{Bind, Dataplane, Options, Ports, StartError};
use gatehouse_proto::config::v1::{self, resource::Kind};
use tokio::sync::watch;

use crate::{
    args::{Common, EndpointArg, Output, RunOptions},
    manifests::{Folder, watch::Watch},
};
use report::Report;
use world::World;

const HEARTBEAT: Duration = Duration::from_secs(5);

/// Why nothing is served. Each is one line for the user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error("{folder}: {error}")]
    Folder { folder: String, error: io::Error },
    #[error("{0}: there are no .yaml, .yml or .json files in it")]
    Empty(String),
    #[error("{0}: there is no Gateway of class gatehouse in it")]
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
    #[error("{0}")]
    Demo(String),
}

/// What is served, and what to tell when it is.
pub(crate) struct Session<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) endpoints: &'a [EndpointArg],
    pub(crate) common: &'a Common,
    /// Called once, when everything listens.
    pub(crate) serving: &'a mut dyn FnMut(&Serving<'_>),
}

/// Where a Gateway is served.
pub(crate) struct Serving<'a> {
    pub(crate) gateway: &'a ObjectKey,
    /// By the listener's name.
    pub(crate) listeners: BTreeMap<String, SocketAddr>,
    pub(crate) admin: SocketAddr,
    pub(crate) world: &'a World,
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
    let name = session.folder.display().to_string();
    let unreadable = |error| RunError::Folder { folder: name.clone(), error };
    let mut folder = Folder::new(session.folder);
    // Watched before it is read: no change falls between.
    session.folder.read_dir().map_err(unreadable)?;
    let mut changes =
        Watch::new(session.folder).map_err(|error| RunError::Watch { folder: name.clone(), error })?;
    folder.read().map_err(unreadable)?;
    if !folder.has_files() {
        return Err(RunError::Empty(name));
    }
    let (wanted, wanted_urls) = watch::channel(BTreeMap::new());
    let (states, mut jwks) = watch::channel(BTreeMap::new());
    tokio::spawn(fetch::run(wanted_urls, states));

    let server = ConfigServer::new(serve::Options { heartbeat: HEARTBEAT, ..serve::Options::default() });
    let connect = local::serve(server.clone());
    let mut world = World::new(session.endpoints);
    let mut report = Report::default();
    let mut dataplanes: BTreeMap<ObjectKey, Dataplane> = BTreeMap::new();
    let mut stop = std::pin::pin!(stopped());
    loop {
        world.build(&folder, jwks.borrow_and_update().clone());
        let mut translation = translate::translate(world.resources(), &Settings { replicas: 1 });
        override_redis(&mut translation, session.common.redis.as_deref());
        report.update(&folder, &world, &translation);
        wanted.send_if_modified(|urls| {
            let changed = *urls != translation.jwks_urls;
            urls.clone_from(&translation.jwks_urls);
            changed
        });
        let first = dataplanes.is_empty();
        if first {
            check_start(&translation, &world, &name)?;
        }
        dataplanes.retain(|key, _| translation.gateways.contains_key(key));
        for (key, config) in translation.gateways {
            server.publish(&key.to_string(), config);
            if dataplanes.contains_key(&key) {
                continue;
            }
            let dataplane = start(&key, session.common, first && dataplanes.is_empty(), connect.clone())?;
            let listening = dataplane.ready().await;
            if let Some(failed) = listening.failed.into_values().next() {
                return Err(RunError::Port(failed));
            }
            let listeners = world.listener_addresses(&key, &listening.open);
            (session.serving)(&Serving { gateway: &key, listeners, admin: dataplane.admin(), world: &world });
            dataplanes.insert(key, dataplane);
        }
        tokio::select! {
            () = changes.changed() => {
                // The folder went away: what is served stays.
                if let Err(error) = folder.read() {
                    eprintln!("{name}: {error}");
                }
            }
            _ = jwks.changed() => {}
            () = &mut stop => break,
        }
    }
    drain(dataplanes, Duration::from_secs(session.common.drain_seconds)).await;
    Ok(())
}

fn start(
    gateway: &ObjectKey,
    common: &Common,
    is_first: bool,
    connect: local::Connect,
) -> Result<Dataplane, RunError> {
    // Of several Gateways, one has the address that was asked for.
    let address = if is_first { common.admin } else { SocketAddr::new(common.admin.ip(), 0) };
    let admin = std::net::TcpListener::bind(address).map_err(|error| RunError::Admin { address, error })?;
    let workers = match common.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        workers => workers,
    };
    let options = Options {
        node: "local".into(),
        gateway: gateway.to_string(),
        workers,
        bind: Bind {
            address: common.bind,
            ports: if common.free_ports { Ports::Free } else { Ports::AsWritten },
        },
        admin,
        heartbeat: HEARTBEAT,
    };
    Ok(Dataplane::start(options, move || connect.connect())?)
}

/// What must be mended before anything is served: later it would only be reported.
fn check_start(translation: &Translation, world: &World, folder: &str) -> Result<(), RunError> {
    if translation.gateways.is_empty() {
        return Err(RunError::NoGateway(folder.to_owned()));
    }
    for key in translation.gateways.keys() {
        if let Some((listener, message)) = world.unusable_certificate(key, translation) {
            return Err(RunError::Listener(key.clone(), listener, message));
        }
    }
    Ok(())
}

fn override_redis(translation: &mut Translation, url: Option<&str>) {
    let Some(url) = url else { return };
    for kind in translation.gateways.values_mut().flat_map(BTreeMap::values_mut) {
        if let Kind::Settings(settings) = kind {
            let timeout_ms = settings.redis.as_ref().map_or(20, |redis| redis.timeout_ms);
            settings.redis = Some(v1::Redis { url: url.to_owned(), timeout_ms });
        }
    }
}

/// Ctrl-C or SIGTERM.
async fn stopped() {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// A second Ctrl-C ends it at once.
async fn drain(dataplanes: BTreeMap<ObjectKey, Dataplane>, limit: Duration) {
    eprintln!("draining; press Ctrl-C again to stop at once");
    let all = dataplanes.into_values().map(|dataplane| dataplane.drain(Duration::ZERO, limit));
    tokio::select! {
        _ = futures_util::future::join_all(all) => {}
        () = stopped() => {}
    }
}
