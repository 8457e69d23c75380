//! Puts the parts together and runs them until the process is told to stop.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use gatehouse_controller::{
    admin::{self, Pages},
    channel::{self, Identities, Identity, Keeper, ServiceAccountKeys},
    election::Candidate,
    fetch::{self, Fetcher},
    metrics::Metrics,
    provision::{self, Applier},
    reconcile::{Inputs, Outputs, Reconciler},
    replicas::{self, Peers, Replica, ReplicaServer},
    resources::ObjectKey,
    serve::{self, Admission, ConfigServer},
    status::{KubeStatusApi, WriterOptions, send_events, write_statuses},
    watch::Watches,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tonic::service::Routes;
use tower::ServiceExt;
use tracing::info;

use crate::args::Options;

/// How long the lease may take to be given back.
const HANDOVER: Duration = Duration::from_secs(3);

/// Events that wait to be sent; more are dropped.
const EVENTS: usize = 1024;

/// Why it can't run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("can't start: {0}")]
    Start(#[from] io::Error),
    #[error("{address}: {error}")]
    Listen { address: SocketAddr, error: io::Error },
    #[error("no way to the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    #[error("no way to the API server: {0}")]
    Client(#[from] kube::Error),
    #[error("can't fetch JWKS documents: {0}")]
    Fetch(#[from] fetch::ClientError),
    #[error("a part has ended")]
    Ended,
}

pub(crate) fn run(options: Options) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(options));
    runtime.shutdown_background();
    result
}

async fn serve(options: Options) -> Result<(), StartError> {
    // Before anything else: a signal that comes early must not be the end of the process.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let channel_port = listen(options.channel_address).await?;
    let admin_port = listen(options.admin_address).await?;
    let client = kube::Client::try_from(kube::Config::infer().await?)?;

    let mut parts = JoinSet::new();
    let (jwks_wanted, wanted_jwks) = watch::channel(BTreeMap::new());
    let (states, jwks) = watch::channel(BTreeMap::new());
    let mut metrics = Metrics::default();
    metrics.show_jwks(jwks.clone());
    let metrics = Arc::new(metrics);
    let (ready, is_ready) = watch::channel(false);
    let pages = Pages { metrics: Arc::clone(&metrics), ready: is_ready };
    parts.spawn(admin::serve(admin_port, Arc::new(pages)));

    let (stop, stopping) = watch::channel(false);
    let (leads, leading) = watch::channel(false);
    let candidate = Candidate::new(client.clone(), &options.namespace, &options.pod_name);
    let election = tokio::spawn(candidate.run(leads, stopping));
    parts.spawn(show_leading(leading.clone(), Arc::clone(&metrics)));

    let fetcher = Fetcher::new(&fetch::Options {
        shortest_gap: options.jwks_shortest_gap,
        ..fetch::Options::default()
    })?;
    let refresh = fetcher.refresh();
    parts.spawn(fetcher.run(wanted_jwks, states));

    let (authority, authorities) = watch::channel(None);
    parts.spawn(Keeper::new(client.clone(), &options.namespace).run(authority));
    let (account_keys, keys) = watch::channel(None);
    parts.spawn(ServiceAccountKeys::follow(client.clone(), account_keys));
    let server = ConfigServer::new(serve::Options { refresh: Some(refresh), ..serve::Options::default() });
    let identities = Identities::new(client.clone());
    let (acks, own_acks) = watch::channel(Arc::default());
    let (account, own_account) = watch::channel(None);
    let token = options.token.clone();
    parts.spawn(replicas::own_account(identities.clone(), token.clone(), account));
    let replica_server = ReplicaServer::new(own_acks, own_account);
    let service = Routes::new(server.clone().into_service())
        .add_service(replica_server.into_service())
        .prepare()
        .map_request(admitted);
    let names = channel_names(&options);
    parts.spawn(channel::serve(channel_port, names, authorities.clone(), identities, service));

    let (plans, planned) = watch::channel(Arc::default());
    let (failed, failures) = watch::channel(BTreeMap::new());
    parts.spawn(provision::provision(Applier::new(client.clone()), planned, leading.clone(), failed));
    let (statuses, planned) = mpsc::unbounded_channel();
    let (written, events) = mpsc::channel(EVENTS);
    parts.spawn(write_statuses(
        KubeStatusApi::new(client.clone()),
        planned,
        leading.clone(),
        written.clone(),
        Arc::clone(&metrics.statuses),
        WriterOptions::default(),
    ));
    let instance = options.pod_name.clone();
    parts.spawn(send_events(client.clone(), instance, events, Arc::clone(&metrics.events)));

    let (others, found) = watch::channel(BTreeSet::new());
    let (said, elsewhere) = watch::channel(BTreeMap::new());
    let peers = Peers { host: channel_host(&options), token, authority: authorities.clone() };
    parts.spawn(replicas::follow(peers, found, said));
    let inputs = Inputs {
        watches: Watches::start(&client, &options.namespace, &options.watch_namespaces),
        jwks,
        authority: authorities,
        account_keys: keys,
        leading,
        failures,
        elsewhere,
    };
    let outputs = Outputs {
        server,
        jwks_wanted,
        plans,
        statuses,
        events: written,
        replicas: others,
        acks,
        ready,
        metrics,
    };
    let replica = Replica {
        service: ObjectKey::new(&options.namespace, &options.service),
        pod: options.pod_name.clone(),
        port: options.channel_address.port(),
    };
    parts.spawn(Reconciler::new(inputs, outputs, replica, pods(&options)).run());
    info!(version = env!("CARGO_PKG_VERSION"), namespace = options.namespace, "started");

    let result = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        // Each part runs for ever.
        _ = parts.join_next() => Err(StartError::Ended),
    };
    info!("stopping");
    stop.send_replace(true);
    let _ = timeout(HANDOVER, election).await;
    result
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| StartError::Listen { address, error })
}

async fn show_leading(mut leading: watch::Receiver<bool>, metrics: Arc<Metrics>) {
    loop {
        metrics.leader.set(i64::from(*leading.borrow_and_update()));
        if leading.changed().await.is_err() {
            // The election ends with the process.
            return std::future::pending().await;
        }
    }
}

/// What every Gateway's pods have in common.
fn pods(options: &Options) -> provision::Settings {
    provision::Settings {
        image: options.dataplane_image.clone(),
        pull_policy: options.dataplane_image_pull_policy,
        controller_address: format!("https://{}:{}", channel_host(options), options.channel_address.port()),
        ca_pem: String::new(),
    }
}

/// Under which dataplanes, and the other replicas, reach the controller.
fn channel_host(options: &Options) -> String {
    format!("{}.{}.svc", options.service, options.namespace)
}

/// Under which anybody may know the controller.
fn channel_names(options: &Options) -> Vec<String> {
    let Options { service, namespace, .. } = options;
    let host = channel_host(options);
    vec![format!("{host}.cluster.local"), host, format!("{service}.{namespace}"), service.clone()]
}

/// A dataplane may ask for the Gateway that its ServiceAccount was made for, in the name of its own pod.
fn admitted<B>(mut request: http::Request<B>) -> http::Request<B> {
    if let Some(identity) = request.extensions().get::<Identity>().cloned() {
        request.extensions_mut().insert(Admission::new(move |hello| channel::admit(&identity, hello)));
    }
    request
}
