//! An API server with our CRDs, a class and a controller.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use gatehouse_tests::{apiserver::ApiServer, eventually, gateway::binary};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const CLASS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gatehouse}
spec: {controllerName: gatehouse.dev/gateway-controller}
";

/// Ends when it is dropped.
pub(crate) struct Controller {
    child: Child,

    folder: TempDir,
}

impl Controller {
    pub(crate) fn start(server: &ApiServer, name: &str) -> Controller {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let (channel, admin) = (free(), free());
        let folder = tempfile::tempdir().unwrap();
        let path: PathBuf = binary().with_file_name("gatehouse-controller");
        let child = Command::new(path)
            .env("KUBECONFIG", server.kubeconfig())
            .args(["--namespace", "gatehouse-system", "--pod-name", name])
            .args(["--channel-address", &format!("127.0.0.1:{channel}")])
            .args(["--admin-address", &format!("127.0.0.1:{admin}")])
            .args(["--dataplane-image", "gatehouse.test/gatehouse-dataplane:dev"])
            .args(["--token", &folder.path().join("token").display().to_string()])
            .stderr(File::create(folder.path().join("log")).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Controller { child, folder }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// An API server with the controller's namespace, and no CRD.
pub(crate) async fn bare() -> ApiServer {
    let server = ApiServer::start().await;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gatehouse-system"}});
    server.apply(&namespace).await.unwrap();
    server
}

/// Everything that a test starts from.
pub(crate) async fn start() -> (ApiServer, Controller) {
    let server = bare().await;
    server.install_crds("generated").await;
    server.install_crds("gateway-api").await;
    server.apply_all(CLASS).await;
    let controller = Controller::start(&server, "one");
    (server, controller)
}

/// Waits until a condition of the object has this status; gives the condition.
pub(crate) async fn condition(
    server: &ApiServer,
    object: &Value,
    pointer: &str,
    kind: &str,
    status: &str,
) -> Value {
    let what = format!("{} {}: {kind} is {status}", object["kind"], object["metadata"]["name"]);
    eventually(&what, async || {
        let found = server.get(object).await?;
        let conditions = found.pointer(pointer)?.as_array()?.clone();
        conditions.into_iter().find(|condition| condition["type"] == kind && condition["status"] == status)
    })
    .await
}
