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
    /// Say what is wrong with a folder of Kubernetes manifests, without serving it.
    ///
    /// Exit status: 0 nothing but notes, 3 warnings, 4 errors, 2 it could not be checked.
    Check(CheckOptions),
    /// Say which rule of a folder takes a request, why the others don't, and what happens to it then.
    ///
    /// Exit status: 0 a rule takes it, 3 none does, 2 it could not be told.
    Explain(ExplainOptions),
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

#[derive(Debug, ClapArgs)]
pub(crate) struct CheckOptions {
    /// YAML and JSON files in it and below it are read.
    pub(crate) folder: PathBuf,
    /// Warn of certificates that expire within so many days.
    #[arg(long, default_value_t = 21)]
    pub(crate) certificate_days: u16,
    /// `json`: an array of findings.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainOptions {
    /// As GET.
    pub(crate) method: Method,
    /// As `http://shop.example.com/orders?page=2`. Its port is the listener's; 80 or 443 where it has none.
    pub(crate) url: Uri,
    /// YAML and JSON files in it and below it are read.
    #[arg(short, long)]
    pub(crate) folder: PathBuf,
    /// A header of the request, as `name: value`. May be repeated.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<HeaderArg>,
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
