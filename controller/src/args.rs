//! The command line. Each flag has a twin in the environment: `GATEHOUSE_` and its name.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand};
use gatehouse_controller::provision::PullPolicy;
use gatehouse_crds::parse_duration;

/// Watches the cluster, serves configuration to dataplanes, writes statuses and provisions.
#[derive(Debug, Parser)]
#[command(name = "gatehouse-controller", version)]
#[command(subcommand_negates_reqs = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) options: Option<Options>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Ask a controller's admin port whether all is well: succeeds when it answers 200.
    Probe {
        /// Such as `http://gatehouse-controller:18080/readyz`.
        url: String,
    },
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Options {
    /// The namespace it runs in, which holds its Lease and its Secret.
    #[arg(long, env = "GATEHOUSE_NAMESPACE", default_value = "gatehouse-system")]
    pub(crate) namespace: String,
    /// The name of its pod, unique among the replicas.
    #[arg(long, env = "GATEHOUSE_POD_NAME", default_value = "gatehouse-controller")]
    pub(crate) pod_name: String,
    /// The Service by which dataplanes reach it, in its own namespace.
    #[arg(long, env = "GATEHOUSE_SERVICE", default_value = "gatehouse-controller")]
    pub(crate) service: String,
    /// Where dataplanes are served.
    #[arg(long, env = "GATEHOUSE_CHANNEL_ADDRESS", default_value = "0.0.0.0:18000")]
    pub(crate) channel_address: SocketAddr,
    /// Where `/livez`, `/readyz` and `/metrics` are served.
    #[arg(long, env = "GATEHOUSE_ADMIN_ADDRESS", default_value = "0.0.0.0:18080")]
    pub(crate) admin_address: SocketAddr,
    /// The token of its own ServiceAccount for the audience `gatehouse`, by which the replicas know each other.
    #[arg(long, env = "GATEHOUSE_TOKEN", default_value = "/var/run/secrets/gatehouse/token")]
    pub(crate) token: PathBuf,
    /// The image of the dataplanes.
    #[arg(long, env = "GATEHOUSE_DATAPLANE_IMAGE")]
    pub(crate) dataplane_image: String,
    /// When nodes fetch it anew: Always, IfNotPresent or Never.
    #[arg(long, env = "GATEHOUSE_DATAPLANE_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub(crate) dataplane_image_pull_policy: PullPolicy,
    /// The shortest time from one fetch of a JWKS URL to the next, however many tokens name an unknown key.
    #[arg(long, env = "GATEHOUSE_JWKS_SHORTEST_GAP", default_value = "10s", value_parser = parse_duration)]
    pub(crate) jwks_shortest_gap: Duration,
    /// Watch these namespaces only. None: all.
    #[arg(long = "watch-namespace", env = "GATEHOUSE_WATCH_NAMESPACE", value_delimiter = ',')]
    pub(crate) watch_namespaces: Vec<String>,
}
