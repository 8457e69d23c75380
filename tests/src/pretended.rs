//! A pretended cluster on loopback: an API server that keeps what it is given, and the real `gatehouse-controller` and
//! `gatehouse-dataplane` beside it. For scale and for load; where the API's own behaviour matters there is
//! [`crate::apiserver`].

mod api;
mod objects;
mod store;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::process::Process;
pub use objects::{Endpoint, namespace, service, slice};
pub use store::{Key, Refusal, Store};

/// The controller's namespace.
pub const SYSTEM: &str = "gatehouse-system";
/// For the controller's first start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Its API server serves as long as the runtime runs.
#[derive(Debug)]
pub struct Cluster {
    pub store: Arc<Store>,
    /// Where a controller serves dataplanes.
    pub channel: SocketAddr,
    admin: SocketAddr,
    folder: TempDir,
    binaries: PathBuf,
    logs: PathBuf,
}

/// What a dataplane is to be.
#[derive(Debug, Clone, Copy)]
pub struct Pod<'a> {
    pub name: &'a str,
    /// `namespace/name`.
    pub gateway: &'a str,
    /// Of its listeners and its admin port: each pod has one, so that all can have the Gateway's ports.
    pub address: Ipv4Addr,
    /// Of the controller, or of what stands before it.
    pub channel: u16,
}

/// A dataplane's process.
#[derive(Debug)]
pub struct Dataplane {
    pub process: Process,
    pub admin: SocketAddr,
}

impl Cluster {
    /// With the CRDs, and with the authority of the channel, which a first controller makes. `binaries`: where the controller
    /// and the dataplane are; `logs`: where their logs go.
    ///
    /// # Errors
    /// A process can't be started.
    pub async fn start(binaries: &Path, logs: &Path) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let store = Arc::new(Store::default());
        objects::base(&store);
        let api = api::serve(Arc::clone(&store)).await?;
        fs::write(folder.path().join("kubeconfig"), kubeconfig(api))?;
        let cluster = Cluster {
            store,
            channel: SocketAddr::from((Ipv4Addr::LOCALHOST, free()?)),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, free()?)),
            folder,
            binaries: binaries.to_owned(),
            logs: logs.to_owned(),
        };
        let first = cluster.controller("controller-first")?;
        fs::write(cluster.authority_file(), cluster.authority().await?)?;
        drop(first);
        Ok(cluster)
    }

    fn authority_file(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// The only one at a time: it has the ports.
    ///
    /// # Errors
    /// It can't be started.
    pub fn controller(&self, log: &str) -> io::Result<Process> {
        let arguments = [
            format!("--namespace={SYSTEM}"),
            // The name that its certificate has; dataplanes resolve it.
            "--service=localhost".into(),
            format!("--channel-address={}", self.channel),
            format!("--admin-address={}", self.admin),
            "--dataplane-image=none".into(),
            format!("--token={}", self.folder.path().join("none").display()),
        ];
        let kubeconfig = self.folder.path().join("kubeconfig");
        let environment = [("KUBECONFIG", kubeconfig.to_str().unwrap_or(""))];
        self.process("gatehouse-controller", &arguments, &environment, log)
    }

    /// # Errors
    /// It can't be started.
    pub fn dataplane(&self, pod: &Pod<'_>, more: &[&str]) -> io::Result<Dataplane> {
        let Pod { name, gateway, address, channel } = pod;
        let (namespace, gateway_name) = gateway.split_once('/').unwrap_or(("", gateway));
        let token = self.folder.path().join(format!("token-{name}"));
        fs::write(&token, format!("{namespace}:{gateway_name}-gatehouse:{name}"))?;
        let admin = SocketAddr::from((*address, free()?));
        let mut arguments = vec![
            format!("--gateway={gateway}"),
            format!("--node={name}"),
            format!("--controller=https://localhost:{channel}"),
            format!("--ca={}", self.authority_file().display()),
            format!("--token={}", token.display()),
            format!("--admin-address={admin}"),
            format!("--bind={address}"),
            "--workers=1".into(),
        ];
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        let process = self.process("gatehouse-dataplane", &arguments, &[], name)?;
        Ok(Dataplane { process, admin })
    }

    fn process(
        &self,
        binary: &str,
        arguments: &[String],
        environment: &[(&str, &str)],
        log: &str,
    ) -> io::Result<Process> {
        let log = self.logs.join(format!("{log}.log"));
        Process::start(&self.binaries.join(binary), arguments, environment, &log)
    }

    /// The certificates that the first controller makes.
    async fn authority(&self) -> io::Result<Vec<u8>> {
        let begun = Instant::now();
        loop {
            let secret = self.store.get("/secrets", SYSTEM, "gatehouse-channel-ca");
            if let Some(text) = secret.as_ref().and_then(|secret| secret["data"]["ca.crt"].as_str()) {
                let decoded = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, text);
                return decoded.map_err(io::Error::other);
            }
            if begun.elapsed() > PATIENCE {
                let message = "the controller makes no authority: see its log";
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// The API server alone.
#[derive(Debug)]
pub struct Api {
    pub store: Arc<Store>,
    folder: TempDir,
}

impl Api {
    /// Empty. It serves as long as the runtime runs.
    ///
    /// # Errors
    /// There is no port or no room for a file.
    pub async fn start() -> io::Result<Self> {
        let (store, folder) = (Arc::new(Store::default()), tempfile::tempdir()?);
        let address = api::serve(Arc::clone(&store)).await?;
        fs::write(folder.path().join("kubeconfig"), kubeconfig(address))?;
        Ok(Api { store, folder })
    }

    /// With one context, `x`.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

fn kubeconfig(api: SocketAddr) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{api}")}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    })
    .to_string()
}

/// A port that nobody listens on.
///
/// # Errors
/// There is none.
pub fn free() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
