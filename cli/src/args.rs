//! The command line.

use std::{
    fmt,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    str::FromStr,
};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use gatehouse_controller::resources::ObjectKey;
use http::{HeaderName, HeaderValue, Method, Uri};

#[derive(Debug, Parser)]
#[command(name = "gatehouse", version, about = "An API gateway for Kubernetes, run by hand")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve a folder of Kubernetes manifests, without Kubernetes.
    Run(RunOptions),
    /// Serve examples/orders with built-in backends, and print commands to try.
    Demo(Common),
    /// Say what is wrong with a folder of Kubernetes manifests, or with the objects of a cluster, without serving them.
    ///
    /// Exit status: 0 nothing but notes, 3 warnings, 4 errors, 2 it could not be checked.
    Check(CheckOptions),
    /// Say which rule of a folder or of a cluster takes a request, why the others don't, and what happens to it then.
    ///
    /// Exit status: 0 a rule takes it, 3 none does, 2 it could not be told. With --log: 3 some would go elsewhere.
    Explain(ExplainOptions),
    /// Turn the configuration of another gateway into manifests, with a report on each of its fields.
    #[command(subcommand)]
    Convert(ConvertCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConvertCommand {
    /// From Kong: kong.yml (1.1, 2.1, 3.0, as decK writes it).
    ///
    /// Exit status: 0 all is converted exactly, 3 something changes, 4 something is not converted, 2 nothing could be read.
    Kong(ConvertOptions),
    /// From ingress-nginx: Ingresses with its annotations, the Services, Secrets and ConfigMaps that they name, and the ConfigMap
    /// of its controller, as `kubectl get -o yaml` prints them.
    ///
    /// Exit status: 0 all is converted exactly, 3 something changes, 4 something is not converted, 2 nothing could be read.
    IngressNginx {
        #[command(flatten)]
        common: ConvertOptions,
        /// Match paths of hosts with regular expressions exactly as before, case and all, where prefixes would do for most.
        #[arg(long)]
        exact_paths: bool,
    },
    /// Send the requests of a probes.json to both gateways and compare what they answer: the status, and where redirects lead.
    ///
    /// Exit status: 0 nothing differs but what the report says, 3 something does, 2 it could not be told.
    Verify(VerifyOptions),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct VerifyOptions {
    /// As `convert` wrote it.
    pub(crate) probes: PathBuf,
    /// The gateway that is to be replaced, as http://127.0.0.1:8000.
    #[arg(long, value_name = "URL")]
    pub(crate) old: String,
    /// The gateway that is to replace it.
    #[arg(long, value_name = "URL")]
    pub(crate) new: String,
    /// A header for every request, as a credential. May be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<HeaderArg>,
    /// Send requests other than GET, HEAD and OPTIONS too: backends get them twice.
    #[arg(long)]
    pub(crate) all_methods: bool,
    /// Take any certificate.
    #[arg(long)]
    pub(crate) insecure: bool,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ConvertOptions {
    /// Read together, as one configuration. Of folders, their YAML and JSON files.
    #[arg(required_unless_present = "cluster", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Read the objects of the kubeconfig's cluster in place of files. What Secrets hold is not written: the report says which
    /// to make.
    #[arg(long, conflicts_with = "files")]
    pub(crate) cluster: bool,
    /// Of the kubeconfig, in place of its current context.
    #[arg(long, value_name = "NAME", requires = "cluster", conflicts_with = "files")]
    pub(crate) context: Option<String>,
    /// Read the objects of this namespace of the cluster alone. May be repeated.
    #[arg(long, value_name = "NAME", requires = "cluster", conflicts_with = "files")]
    pub(crate) from_namespace: Vec<String>,
    /// Gets REPORT.md, report.json, probes.json and a folder `manifests`.
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Of the objects that are written, but for those that belong to an object of the input with a namespace.
    #[arg(long, default_value = "default")]
    pub(crate) namespace: String,
    /// Name of the Gateway that is written. Default: that of the origin.
    #[arg(long)]
    pub(crate) gateway: Option<String>,
    /// Write manifests although something is not converted. Routes that it guarded are closed.
    #[arg(long)]
    pub(crate) allow_refused: bool,
    /// Write none if anything changes.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Serve routes without this plugin or annotation, where it can't be converted or is not wanted. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) without: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct RunOptions {
    /// YAML and JSON files in it and below it are read, and read again when they change.
    pub(crate) folder: PathBuf,
    /// Where a Service's requests go: `NAMESPACE/SERVICE[:PORT]=HOST:PORT`. May be repeated.
    #[arg(long = "endpoint", value_name = "SERVICE=ADDRESS")]
    pub(crate) endpoints: Vec<EndpointArg>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// A cluster in place of a folder.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct ClusterOptions {
    /// Read the objects of the kubeconfig's cluster in place of a folder.
    #[arg(long, conflicts_with = "folder")]
    pub(crate) cluster: bool,
    /// Of the kubeconfig, in place of its current context.
    #[arg(long, value_name = "NAME", requires = "cluster", conflicts_with = "folder")]
    pub(crate) context: Option<String>,
    /// Read the objects of this namespace of the cluster alone, and those that have none. May be repeated.
    #[arg(short, long = "namespace", value_name = "NAME", requires = "cluster", conflicts_with = "folder")]
    pub(crate) namespaces: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct CheckOptions {
    /// YAML and JSON files in it and below it are read.
    #[arg(required_unless_present = "cluster")]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    /// Instead: which requests this folder would treat differently. Exit status 3 if there are any.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) diff: Option<PathBuf>,
    /// Warn of certificates that expire within so many days.
    #[arg(long, default_value_t = 21)]
    pub(crate) certificate_days: u16,
    /// `json`: an array of findings; with --diff, an object.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainOptions {
    /// As GET.
    #[arg(required_unless_present_any = ["log", "requests"])]
    pub(crate) method: Option<Method>,
    /// As `http://shop.example.com/orders?page=2`. Its port is the listener's; 80 or 443 where it has none.
    #[arg(required_unless_present_any = ["log", "requests"])]
    pub(crate) url: Option<Uri>,
    /// Requests, `-` for standard input: one JSON object a line, as
    /// `{"method": "GET", "url": "http://shop.example.com/orders", "headers": {"x-version": "2"}}`.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "url", "headers", "log"])]
    pub(crate) requests: Option<PathBuf>,
    /// An access log, `-` for standard input: sums up which of its requests would go to another rule.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["method", "url", "headers"])]
    pub(crate) log: Option<PathBuf>,
    /// YAML and JSON files in it and below it are read.
    #[arg(short, long, required_unless_present = "cluster")]
    pub(crate) folder: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
    /// A header of the request, as `name: value`. May be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<HeaderArg>,
    /// The same as -H 'Authorization: Bearer TOKEN'.
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["requests", "log"])]
    pub(crate) token: Option<String>,
    /// The address that the request comes from.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(crate) client: IpAddr,
    /// `json`: an array with what each Gateway would do that has a listener for it.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Common {
    /// The address that listeners are opened on.
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) bind: IpAddr,
    /// Open listeners on free ports instead of their own.
    #[arg(long)]
    pub(crate) free_ports: bool,
    /// Where /metrics, /livez and /readyz are served.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub(crate) admin: SocketAddr,
    /// Threads that serve requests; 0: one a processor.
    #[arg(long, default_value_t = 0)]
    pub(crate) workers: usize,
    /// The zone that this is, as endpoints name theirs. Default: of none.
    #[arg(long, env = "GATEHOUSE_ZONE")]
    pub(crate) zone: Option<String>,
    /// Count rate limits here, whatever the GatewayConfig says: redis://HOST:PORT.
    #[arg(long, env = "GATEHOUSE_REDIS_URL", hide_env_values = true)]
    pub(crate) redis: Option<String>,
    /// Seconds that open requests are given after Ctrl-C.
    #[arg(long, default_value_t = 10)]
    pub(crate) drain_seconds: u64,
    /// `json`: one line on standard output says where everything listens.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

/// A header field.
#[derive(Debug, Clone)]
pub(crate) struct HeaderArg {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
}

impl FromStr for HeaderArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write NAME: VALUE, as 'x-api-key: 123'".to_owned();
        let (name, value) = text.split_once(':').ok_or_else(form)?;
        let name = name.trim().parse().map_err(|_| form())?;
        Ok(HeaderArg { name, value: value.trim().parse().map_err(|_| form())? })
    }
}

/// Where the requests of a Service go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndpointArg {
    pub(crate) namespace: String,
    pub(crate) service: String,
    /// `None`: of every port.
    pub(crate) port: Option<i32>,
    pub(crate) address: SocketAddr,
}

impl EndpointArg {
    pub(crate) fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.namespace, &self.service)
    }
}

impl fmt::Display for EndpointArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "={}", self.address)
    }
}

impl FromStr for EndpointArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "write NAMESPACE/SERVICE[:PORT]=HOST:PORT, as default/orders=127.0.0.1:3000".to_owned();
        let (service, address) = text.split_once('=').ok_or_else(form)?;
        let (namespace, service) = service.split_once('/').ok_or_else(form)?;
        let (service, port) = match service.split_once(':') {
            Some((service, port)) => (service, Some(port.parse().map_err(|_| form())?)),
            None => (service, None),
        };
        let (namespace, service) = (namespace.to_owned(), service.to_owned());
        if namespace.is_empty() || service.is_empty() {
            return Err(form());
        }
        Ok(EndpointArg { namespace, service, port, address: resolve(address).ok_or_else(form)? })
    }
}

/// An address, or a name such as `localhost`, of which IPv4 is preferred: most development servers listen on that alone.
fn resolve(address: &str) -> Option<SocketAddr> {
    let all: Vec<_> = address.to_socket_addrs().ok()?.collect();
    all.iter().find(|address| address.is_ipv4()).or(all.first()).copied()
}

#[cfg(test)]
mod tests {
    use super::EndpointArg;

    #[test]
    fn endpoints() {
        let one: EndpointArg = "shop/orders:3000=127.0.0.1:9000".parse().unwrap();
        assert_eq!((one.namespace.as_str(), one.service.as_str(), one.port), ("shop", "orders", Some(3000)));
        assert_eq!("shop/orders=[::1]:9000".parse::<EndpointArg>().unwrap().port, None);
        assert_eq!(one.to_string(), "shop/orders:3000=127.0.0.1:9000");
        assert_eq!(
            "a/b=localhost:80".parse::<EndpointArg>().unwrap().address,
            "127.0.0.1:80".parse().unwrap()
        );
        for text in [
            "",
            "orders=127.0.0.1:1",
            "a/b",
            "a/b=c",
            "a/b:x=127.0.0.1:1",
            "/b=127.0.0.1:1",
            "a/=127.0.0.1:1",
        ] {
            assert!(text.parse::<EndpointArg>().is_err(), "{text}");
        }
    }
}
