//! A real etcd and kube-apiserver on free ports: the API's own behaviour, without nodes and without controllers of
//! Kubernetes. `tests/cluster/build` makes them, once.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use kube::{
    Api, Client, Config,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{certs::Authority, eventually, gateway::signal, install_crypto};

const TOKEN: &str = "a-token-of-the-administrator";
const CLUSTER_WIDE: [&str; 6] = [
    "Namespace",
    "GatewayClass",
    "IngressClass",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleBinding",
];

/// Ends when it is dropped.
pub struct ApiServer {
    etcd: Child,
    server: Child,
    folder: TempDir,
    pub client: Client,
}

/// Where the programs are.
fn programs() -> &'static [PathBuf] {
    static FOLDERS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOLDERS.get_or_init(|| parts(&["kubernetes", "etcd"]).iter().map(|part| part.join("bin")).collect())
}

/// Folders of parts of the cluster, made where they are not there yet.
fn parts(names: &[&str]) -> Vec<PathBuf> {
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster/build");
    let output = Command::new(build).args(names).stderr(Stdio::inherit()).output();
    let output = output.expect("tests/cluster/build runs");
    assert!(output.status.success(), "tests/cluster/build failed");
    String::from_utf8(output.stdout).expect("paths").lines().map(PathBuf::from).collect()
}

fn program(name: &str) -> Command {
    let found = programs().iter().map(|folder| folder.join(name)).find(|path| path.exists());
    let mut command = Command::new(found.unwrap_or_else(|| panic!("tests/cluster/build makes {name}")));
    command.stdout(Stdio::null());
    command
}

fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    socket.local_addr().expect("an address").port()
}

impl ApiServer {
    /// # Panics
    /// If it does not serve in time.
    pub async fn start() -> ApiServer {
        install_crypto();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let log = |name: &str| fs::File::create(folder.path().join(name)).expect("a log");
        let (etcd_port, peer_port, port) = (free_port(), free_port(), free_port());
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");
        let etcd = program("etcd")
            .args(["--data-dir", &path("etcd"), "--unsafe-no-fsync", "--log-level", "error"])
            .args(["--listen-client-urls", &etcd_url, "--advertise-client-urls", &etcd_url])
            .args(["--listen-peer-urls", &format!("http://127.0.0.1:{peer_port}")])
            .stderr(log("etcd.log"))
            .spawn()
            .expect("etcd starts");

        let pair = Authority::default().issue(&["127.0.0.1", "localhost"]);
        fs::write(path("tls.crt"), &pair.certificate).expect("written");
        fs::write(path("tls.key"), &pair.key).expect("written");
        let account_key = KeyPair::generate().expect("a key");
        fs::write(path("sa.key"), account_key.serialize_pem()).expect("written");
        fs::write(path("sa.pub"), public_pem(&account_key)).expect("written");
        fs::write(path("tokens"), format!("{TOKEN},admin,1,\"system:masters\"\n")).expect("written");
        let server = program("kube-apiserver")
            .args(["--etcd-servers", &etcd_url, "--bind-address", "127.0.0.1"])
            .args(["--secure-port", &port.to_string(), "--service-cluster-ip-range", "10.96.0.0/16"])
            .args(["--tls-cert-file", &path("tls.crt"), "--tls-private-key-file", &path("tls.key")])
            .args(["--token-auth-file", &path("tokens"), "--authorization-mode", "RBAC"])
            .args(["--service-account-key-file", &path("sa.pub")])
            .args(["--service-account-signing-key-file", &path("sa.key")])
            .args(["--service-account-issuer", "https://kubernetes.default.svc"])
            // It waits for tokens that another controller makes.
            .args(["--disable-admission-plugins", "ServiceAccount"])
            .stderr(log("apiserver.log"))
            .spawn()
            .expect("kube-apiserver starts");

        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster":
                {"server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true}}],
            "users": [{"name": "x", "user": {"token": TOKEN}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        });
        fs::write(path("kubeconfig"), kubeconfig.to_string()).expect("written");
        let kubeconfig = Kubeconfig::read_from(path("kubeconfig")).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.expect("a configuration")).expect("a client");
        let started = ApiServer { etcd, server, folder, client };
        eventually("the API server is ready", async || {
            let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
            started.client.request_text(request).await.ok()
        })
        .await;
        started
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    /// What it said, for failures.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("apiserver.log")).unwrap_or_default()
    }

    /// Everything stops answering.
    pub fn pause(&self) {
        signal(self.server.id(), "STOP");
    }

    pub fn resume(&self) {
        signal(self.server.id(), "CONT");
    }

    fn api(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let version = object["apiVersion"].as_str().expect("an apiVersion");
        let kind = object["kind"].as_str().expect("a kind");
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api = if CLUSTER_WIDE.contains(&kind) {
            Api::all_with(self.client.clone(), &resource)
        } else {
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        };
        (api, object["metadata"]["name"].as_str().expect("a name").to_owned())
    }

    /// Server-side apply, as `kubectl apply --server-side --force-conflicts`.
    ///
    /// # Errors
    /// What the API server refuses.
    pub async fn apply(&self, object: &Value) -> kube::Result<DynamicObject> {
        let (api, name) = self.api(object);
        api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await
    }

    /// Every document of a text.
    ///
    /// # Panics
    /// If one is refused.
    pub async fn apply_all(&self, manifests: &str) {
        for object in documents(manifests) {
            // A CRD takes a moment to be served.
            eventually(&format!("{} is taken", object["kind"]), async || match self.apply(&object).await {
                Ok(applied) => Some(applied),
                Err(kube::Error::Api(status)) if [404, 429, 503].contains(&status.code) => None,
                Err(error) => panic!("{object}: {error}"),
            })
            .await;
        }
    }

    /// # Panics
    /// If it is refused.
    pub async fn create(&self, object: &Value) {
        let (api, _) = self.api(object);
        let object = serde_json::from_value(object.clone()).expect("an object");
        api.create(&PostParams::default(), &object).await.expect("it is taken");
    }

    pub async fn get(&self, object: &Value) -> Option<Value> {
        let (api, name) = self.api(object);
        let found = api.get_opt(&name).await.ok().flatten()?;
        serde_json::to_value(found).ok()
    }

    /// # Panics
    /// If it can't be deleted.
    pub async fn delete(&self, object: &Value) {
        let (api, name) = self.api(object);
        api.delete(&name, &Default::default()).await.expect("it is deleted");
    }

    /// The CRDs of a folder of `crds/`: ours are in `generated`, the Gateway API's in `gateway-api`.
    pub async fn install_crds(&self, folder: &str) {
        self.install(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds").join(folder)).await;
    }

    /// The Gateway API's of an earlier release, v1.4, of the standard channel.
    pub async fn install_older_crds(&self) {
        self.install(&parts(&["older"])[0].join("crds")).await;
    }

    async fn install(&self, folder: &Path) {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                self.apply_all(&fs::read_to_string(path).expect("a CRD")).await;
            }
        }
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        for child in [&mut self.server, &mut self.etcd] {
            signal(child.id(), "CONT");
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Every document of a text, as `kubectl` would read it.
pub fn documents(manifests: &str) -> Vec<Value> {
    let documents = manifests.split("\n---\n").map(|text| serde_saphyr::from_str(text).expect("YAML"));
    documents.filter(|value: &Value| !value.is_null()).collect()
}

fn public_pem(key: &KeyPair) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let text = STANDARD.encode(key.subject_public_key_info());
    format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")
}
