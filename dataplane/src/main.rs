//! `gatehouse-dataplane`: a dataplane in a pod of its own. It serves until it is told to stop, and then drains.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use clap::Parser;
use gatehouse_dataplane::{
    Bind, Credentials, Dataplane, Options, Peers, Ports, Siblings, StartError, StopSignals, Target,
};
use tracing::info;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const HEARTBEAT: Duration = Duration::from_secs(5);

/// Serves the traffic of one Gateway. Each flag can be given as GATEHOUSE_FLAG too; GATEHOUSE_LOG filters the log.
#[derive(Debug, Parser)]
#[command(name = "gatehouse-dataplane", version)]
struct Args {
    /// The Gateway, as NAMESPACE/NAME.
    #[arg(long, env = "GATEHOUSE_GATEWAY")]
    gateway: Gateway,
    /// Names this dataplane; unique within its Gateway, as a pod's name is.
    #[arg(long, env = "GATEHOUSE_NODE")]
    node: String,
    /// The zone that it is in, as endpoints name theirs. Empty: nobody knows, and all zones are one to it.
    #[arg(long, env = "GATEHOUSE_ZONE", default_value = "")]
    zone: String,
    /// Where the controller is, as https://HOST:PORT.
    #[arg(long, env = "GATEHOUSE_CONTROLLER", value_parser = Target::from_url)]
    controller: Target,
    /// PEM file of the authorities that the controller's and the siblings' certificates may come from. Read anew for each
    /// connection.
    #[arg(long, env = "GATEHOUSE_CA")]
    ca: PathBuf,
    /// File of the token that is shown to the controller and to siblings. Read anew for each connection.
    #[arg(long, env = "GATEHOUSE_TOKEN")]
    token: PathBuf,
    /// Folder where the last good state is kept. None: nowhere.
    #[arg(long, env = "GATEHOUSE_STATE_DIR")]
    state_dir: Option<PathBuf>,
    /// Where the other dataplanes of the Gateway are found, as HOST:PORT. None: nothing is got from them or given to them.
    #[arg(long, env = "GATEHOUSE_SIBLINGS", value_parser = Target::from_host_port)]
    siblings: Option<Target>,
    /// Where other dataplanes of the Gateway find this one.
    #[arg(long, env = "GATEHOUSE_SIBLING_ADDRESS", default_value = "0.0.0.0:18002")]
    sibling_address: SocketAddr,
    /// Serves /livez, /readyz and /metrics.
    #[arg(long, env = "GATEHOUSE_ADMIN_ADDRESS", default_value = "0.0.0.0:18081")]
    admin_address: SocketAddr,
    /// The address of all listeners.
    #[arg(long, env = "GATEHOUSE_BIND", default_value = "0.0.0.0")]
    bind: IpAddr,
    /// Threads that serve requests. 0: one for each core that may be used.
    #[arg(long, env = "GATEHOUSE_WORKERS", default_value_t = 0)]
    workers: usize,
    /// How long new connections are still accepted after SIGTERM, until nobody sends them any more.
    #[arg(long, env = "GATEHOUSE_DRAIN_DELAY_SECONDS", default_value_t = 5)]
    drain_delay_seconds: u64,
    /// How long what runs may take to its end after that.
    #[arg(long, env = "GATEHOUSE_DRAIN_TIMEOUT_SECONDS", default_value_t = 30)]
    drain_timeout_seconds: u64,
}

/// `NAMESPACE/NAME`.
#[derive(Debug, Clone)]
struct Gateway(String);

/// Why it does not serve. Each is one line for the operator.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("another crypto provider is installed already")]
    Provider,
    #[error("can't start a runtime: {0}")]
    Runtime(#[source] io::Error),
    #[error("can't receive signals: {0}")]
    Signals(#[source] io::Error),
    #[error("--{flag} {address}: {error}")]
    Address { flag: &'static str, address: SocketAddr, error: io::Error },
    #[error(transparent)]
    Start(#[from] StartError),
}

impl std::str::FromStr for Gateway {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<&str> = text.split('/').collect();
        if parts.len() != 2 || parts.contains(&"") {
            return Err("it must have the form NAMESPACE/NAME");
        }
        Ok(Gateway(text.to_owned()))
    }
}

impl fmt::Display for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_env("GATEHOUSE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(io::stderr).init();
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gatehouse-dataplane: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Args) -> Result<(), RunError> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().map_err(|_| RunError::Provider)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RunError::Runtime)?;
    let result = runtime.block_on(serve(args));
    runtime.shutdown_background();
    result
}

async fn serve(args: Args) -> Result<(), RunError> {
    let mut stop = StopSignals::register().map_err(RunError::Signals)?;
    let (delay, limit) =
        (Duration::from_secs(args.drain_delay_seconds), Duration::from_secs(args.drain_timeout_seconds));
    let zone = args.zone.clone();
    let dataplane = start(args)?;
    let delay = tokio::select! {
        biased;
        _ = dataplane.ready() => {
            info!(zone, "serving");
            stop.received().await;
            delay
        }
        // Nobody was told to send anything yet. Listeners may be open all the same: what came is answered.
        () = stop.received() => Duration::ZERO,
    };
    info!(?delay, ?limit, "draining");
    tokio::select! {
        () = dataplane.drain(delay, limit) => info!("drained"),
        () = stop.received() => info!("told twice: stopping at once"),
    }
    Ok(())
}

fn start(args: Args) -> Result<Dataplane, RunError> {
    let listen = |flag, address: SocketAddr| {
        TcpListener::bind(address).map_err(|error| RunError::Address { flag, address, error })
    };
    let credentials = Credentials { ca: args.ca, token: args.token };
    let peers = match args.siblings {
        None => None,
        Some(target) => Some(Peers {
            siblings: Siblings {
                target,
                credentials: credentials.clone(),
                gateway: args.gateway.to_string(),
            },
            listener: listen("sibling-address", args.sibling_address)?,
        }),
    };
    let workers = match args.workers {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        workers => workers,
    };
    let options = Options {
        node: args.node,
        gateway: args.gateway.to_string(),
        zone: Some(args.zone).filter(|zone| !zone.is_empty()),
        workers,
        bind: Bind { address: args.bind, ports: Ports::AsWritten },
        admin: listen("admin-address", args.admin_address)?,
        heartbeat: HEARTBEAT,
        state_directory: args.state_dir,
        peers,
    };
    let channel = Arc::new((credentials, args.controller));
    Ok(Dataplane::start(options, move || {
        let channel = Arc::clone(&channel);
        async move { channel.0.connect(&channel.1).await }
    })?)
}
