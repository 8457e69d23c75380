//! The real `gatehouse run`, on a folder that the test writes, with every listener on a free port.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::eventually;

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    folder: TempDir,
    /// By the listener's name.
    listeners: BTreeMap<String, SocketAddr>,
    admin: SocketAddr,
    output: Lines,
    errors: Lines,
}

#[derive(Debug, Default)]
pub struct Builder {
    files: Vec<(String, String)>,
    args: Vec<String>,
    own_ports: bool,
}

type Lines = Arc<Mutex<Vec<String>>>;

/// A Gateway `edge` with one HTTP listener `http`, that routes of every namespace may use.
pub const EDGE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: gatehouse
  listeners:
  - {name: http, protocol: HTTP, port: 8080, allowedRoutes: {namespaces: {from: All}}}
";

/// A Service of port 80.
pub fn service(name: &str) -> String {
    format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n")
}

/// The binary that the tests run: `GATEHOUSE_BIN`, or the one beside the test's own.
pub fn binary() -> PathBuf {
    std::env::var_os("GATEHOUSE_BIN").map_or_else(|| built("gatehouse", "gatehouse-cli"), PathBuf::from)
}

/// A binary of ours, beside the test's own.
pub fn built(name: &str, package: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let path = test.parent().and_then(Path::parent).expect("target/PROFILE/deps").join(name);
    assert!(path.exists(), "{} is missing: run `cargo build -p {package}` first", path.display());
    path
}

impl Builder {
    #[must_use]
    pub fn file(mut self, name: &str, text: impl Into<String>) -> Self {
        self.files.push((name.into(), text.into()));
        self
    }

    /// Requests for a Service of namespace `default` go to `address`.
    #[must_use]
    pub fn endpoint(self, service: &str, address: SocketAddr) -> Self {
        self.arg("--endpoint").arg(&format!("default/{service}={address}"))
    }

    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Listens on the ports that the listeners name.
    #[must_use]
    pub fn own_ports(mut self) -> Self {
        self.own_ports = true;
        self
    }

    /// # Panics
    /// With what it printed, if it does not serve.
    pub async fn start(self) -> Gateway {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in &self.files {
            fs::write(folder.path().join(name), text).expect("a manifest is written");
        }
        let mut child = Command::new(binary())
            .arg("run")
            .arg(folder.path())
            .args((!self.own_ports).then_some("--free-ports"))
            .args(["--output", "json", "--workers", "2"])
            .args(&self.args)
            .env("GATEHOUSE_LOG", "gatehouse=info")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = collect(child.stdout.take().expect("piped"));
        let errors = collect(child.stderr.take().expect("piped"));
        let serving = eventually("the gateway serves", async || {
            let first = output.lock().unwrap().first().cloned();
            if first.is_none() && child.try_wait().expect("a child").is_some() {
                panic!("it ended: {:#?}", errors.lock().unwrap());
            }
            first
        })
        .await;
        let serving: Value = serde_json::from_str(&serving).expect("a line of JSON");
        let address = |value: &Value| value.as_str().expect("text").parse().expect("an address");
        let listeners = serving["listeners"].as_object().expect("listeners");
        Gateway {
            listeners: listeners.iter().map(|(name, value)| (name.clone(), address(value))).collect(),
            admin: address(&serving["admin"]),
            child,
            folder,
            output,
            errors,
        }
    }
}

fn collect(source: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(source).lines().map_while(Result::ok) {
            sink.lock().unwrap().push(line);
        }
    });
    lines
}

impl Gateway {
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// [`EDGE`], the given routes and policies, and a Service for each endpoint.
    pub async fn with(manifests: &str, endpoints: &[(&str, SocketAddr)]) -> Gateway {
        let mut builder = Gateway::builder().file("edge.yaml", EDGE).file("routes.yaml", manifests);
        for (name, address) in endpoints {
            builder = builder.file(&format!("service-{name}.yaml"), service(name)).endpoint(name, *address);
        }
        builder.start().await
    }

    /// Of the listener `http`.
    pub fn http(&self) -> SocketAddr {
        self.listener("http")
    }

    pub fn listener(&self, name: &str) -> SocketAddr {
        *self.listeners.get(name).unwrap_or_else(|| panic!("no listener {name}: {:?}", self.listeners))
    }

    /// `None` if there is no such listener.
    pub fn find(&self, name: &str) -> Option<SocketAddr> {
        self.listeners.get(name).copied()
    }

    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// What it serves.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Writes as an editor does: beside, and then in place.
    pub fn write(&self, name: &str, text: &str) {
        let copy = self.folder.path().join(format!(".{name}.tmp"));
        fs::write(&copy, text).expect("a manifest is written");
        fs::rename(copy, self.folder.path().join(name)).expect("a manifest is put in place");
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.folder.path().join(name)).expect("a manifest is removed");
    }

    pub fn errors(&self) -> Vec<String> {
        self.errors.lock().unwrap().clone()
    }

    /// Waits for a line on standard error.
    pub async fn said(&self, part: &str) -> String {
        eventually(&format!("it says {part:?}, and not only {:#?}", self.errors()), async || {
            self.errors().into_iter().find(|line| line.contains(part))
        })
        .await
    }

    /// Every line so far that says where a Gateway is served.
    pub fn serving(&self) -> Vec<Value> {
        let output = self.output.lock().unwrap();
        let lines = output.iter().filter_map(|line| serde_json::from_str(line).ok());
        lines.filter(|line: &Value| line["event"] == "serving").collect()
    }

    /// Every access-log line so far.
    pub fn access_log(&self) -> Vec<Value> {
        let output = self.output.lock().unwrap();
        output
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["status"].is_u64())
            .collect()
    }

    /// Waits for the access-log line of a request id.
    pub async fn logged(&self, request_id: &str) -> Value {
        eventually(&format!("request {request_id} is logged"), async || {
            self.access_log().into_iter().find(|line| line["request_id"] == request_id)
        })
        .await
    }

    /// Waits for the access-log line of a stream.
    pub async fn stream_logged(&self, is_meant: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("a stream is logged: {:#?}", self.output.lock().unwrap()), async || {
            let output = self.output.lock().unwrap();
            let mut lines = output.iter().filter_map(|line| serde_json::from_str(line).ok());
            lines.find(|line: &Value| {
                line["protocol"].is_string() && line["status"].is_null() && is_meant(line)
            })
        })
        .await
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        signal(self.process(), "INT");
    }

    /// Waits for the end and gives the exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        eventually("the gateway ends", async || {
            self.child.try_wait().expect("a child").map(|status| status.code())
        })
        .await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the gateway said: {:#?}", self.errors.lock().unwrap());
        }
    }
}

/// Sends a signal to a process that the test started.
pub fn signal(process: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
    assert!(status.expect("kill runs").success(), "kill -{name} {process}");
}
