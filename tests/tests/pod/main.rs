//! The binary of a pod, from its first connection to its last: the real one, and a controller over TLS.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod consumers;

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use gatehouse_controller::serve::{self, ConfigServer};
use gatehouse_proto::config::v1::{Attachment, Listener, Protocol, Respond, Route, resource::Kind, route};
use gatehouse_tests::{
    certs::Authority,
    channel,
    client::{Answer, get},
    eventually,
    gateway::built,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const GATEWAY: &str = "shop/edge";

/// Everything of a test. Ends with it.
struct World {
    folder: TempDir,
    authority: Authority,
    controller: ConfigServer,
    serving: Option<JoinHandle<()>>,
    channel: SocketAddr,
    listener: SocketAddr,
    admin: SocketAddr,
    pod: Option<Child>,
}

/// A port that nobody has, and that the system gives to nobody: below those that connections get.
fn free() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let offset = (std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        let address = SocketAddr::from(([127, 0, 0, 1], 10_000 + u16::try_from(offset).unwrap()));
        if std::net::TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}

fn state(port: u16, body: &str) -> BTreeMap<String, Kind> {
    let listener = Listener { port: port.into(), protocol: Protocol::Http.into(), ..Listener::default() };
    let respond = Respond { status: 200, body: body.into(), ..Respond::default() };
    let route = Route {
        object: "HTTPRoute/shop/r".into(),
        attachments: vec![Attachment { listener: "listener/shop/edge/http".into(), ..Attachment::default() }],
        action: Some(route::Action::Respond(respond)),
        ..Route::default()
    };
    BTreeMap::from([
        ("listener/shop/edge/http".into(), Kind::Listener(listener)),
        ("route/HTTPRoute/shop/r/0".into(), Kind::Route(route)),
    ])
}

impl World {
    async fn new() -> Self {
        gatehouse_tests::install_crypto();
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::default();
        fs::create_dir(folder.path().join("state")).unwrap();
        fs::write(folder.path().join("token"), "token").unwrap();
        fs::write(folder.path().join("ca.crt"), authority.pem()).unwrap();
        let mut world = World {
            folder,
            authority,
            controller: ConfigServer::new(serve::Options { guarded: false, ..serve::Options::default() }),
            serving: None,
            channel: free(),
            listener: free(),
            admin: free(),
            pod: None,
        };
        world.serve().await;
        world
    }

    async fn serve(&mut self) {
        let listener = TcpListener::bind(self.channel).await.unwrap();
        self.serving = Some(channel::serve(&self.controller, listener, &self.authority));
    }

    fn start(&mut self, delay: u64) {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let arguments = [
            format!("--gateway={GATEWAY}"),
            "--node=pod".into(),
            format!("--controller=https://localhost:{}", self.channel.port()),
            format!("--ca={}", file("ca.crt")),
            format!("--token={}", file("token")),
            format!("--state-dir={}", file("state")),
            format!("--admin-address={}", self.admin),
            "--bind=127.0.0.1".into(),
            format!("--drain-delay-seconds={delay}"),
        ];
        let mut command = Command::new(built("gatehouse-dataplane", "gatehouse-dataplane"));
        // By its environment as well as by flags.
        command.args(arguments).env("GATEHOUSE_WORKERS", "1").stdout(Stdio::null());
        self.pod = Some(command.spawn().unwrap());
    }

    fn signal(&self, name: &str) {
        let process = self.pod.as_ref().unwrap().id();
        let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status();
        assert!(status.unwrap().success());
    }

    async fn ended(&mut self) -> Option<i32> {
        let pod = self.pod.as_mut().unwrap();
        eventually("the pod ends", async || pod.try_wait().unwrap().map(|status| status.code())).await
    }

    async fn answers(&self, body: &str) {
        eventually(&format!("it answers {body:?}"), async || {
            (try_get(self.listener, "/").await?.body == body.as_bytes()).then_some(())
        })
        .await;
    }

    async fn metric(&self, line: &str) {
        eventually(&format!("the metric {line}"), async || {
            let metrics = try_get(self.admin, "/metrics").await?;
            String::from_utf8_lossy(&metrics.body).lines().any(|each| each == line).then_some(())
        })
        .await;
    }

    async fn readiness(&self) -> Option<u16> {
        Some(try_get(self.admin, "/readyz").await?.status)
    }

    async fn is_ready(&self) {
        eventually("it is ready", async || (self.readiness().await? == 200).then_some(())).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(pod) = &mut self.pod {
            // It may have ended by itself.
            let _ = pod.kill();
            let _ = pod.wait();
        }
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// `None` while nobody listens.
async fn try_get(address: SocketAddr, path: &str) -> Option<Answer> {
    TcpStream::connect(address).await.ok()?;
    Some(get(address, path).send().await)
}

#[tokio::test]
async fn it_serves_without_its_controller_and_follows_it_when_it_is_back() {
    let mut world = World::new().await;
    world.start(0);
    eventually("its admin port", async || world.readiness().await).await;
    assert_eq!(world.readiness().await, Some(503), "nothing is published yet");
    world.controller.publish(GATEWAY, state(world.listener.port(), "one"));
    world.answers("one").await;
    world.is_ready().await;
    world.metric("gatehouse_state_source{source=\"controller\"} 1").await;
    let file = world.folder.path().join("state/state");
    eventually("the state is on disk", async || file.exists().then_some(())).await;

    // Both sides are gone; one comes back.
    world.serving.take().unwrap().abort();
    world.signal("KILL");
    assert_eq!(world.ended().await, None);
    world.start(0);
    world.answers("one").await;
    world.is_ready().await;
    world.metric("gatehouse_state_source{source=\"disk\"} 1").await;

    world.controller.publish(GATEWAY, state(world.listener.port(), "two"));
    world.serve().await;
    world.answers("two").await;
    world.metric("gatehouse_config_connected 1").await;
    world.signal("INT");
    assert_eq!(world.ended().await, Some(0));
}

#[tokio::test]
async fn sigterm_moves_clients_away_before_it_ends() {
    let mut world = World::new().await;
    world.controller.publish(GATEWAY, state(world.listener.port(), "one"));
    world.start(2);
    world.is_ready().await;
    let mut kept = TcpStream::connect(world.listener).await.unwrap();
    let mut ask = async || {
        kept.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let read = kept.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..read]).to_ascii_lowercase()
    };
    assert!(!ask().await.contains("connection: close"));

    let began = Instant::now();
    world.signal("TERM");
    eventually("it is not ready", async || (world.readiness().await? == 503).then_some(())).await;
    let answer = ask().await;
    assert!(answer.starts_with("http/1.1 200") && answer.contains("connection: close"), "{answer}");
    assert_eq!(get(world.listener, "/").send().await.status, 200, "new connections are still taken");
    assert_eq!(world.ended().await, Some(0));
    assert!(began.elapsed() >= Duration::from_secs(2), "it waits until nobody comes any more");
    assert!(began.elapsed() < Duration::from_secs(6), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut world = World::new().await;
    world.controller.publish(GATEWAY, state(world.listener.port(), "one"));
    world.start(600);
    world.is_ready().await;
    world.signal("TERM");
    eventually("it is not ready", async || (world.readiness().await? == 503).then_some(())).await;
    world.signal("TERM");
    assert_eq!(world.ended().await, Some(0));
}

#[test]
fn what_it_can_not_use_is_said_in_one_line() {
    let good = [
        "--gateway=shop/edge",
        "--node=pod",
        "--controller=https://localhost:1",
        "--ca=/nonexistent",
        "--token=/nonexistent",
        "--admin-address=127.0.0.1:0",
    ];
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("--admin-address={}", taken.local_addr().unwrap());
    for (bad, part) in [
        ("--gateway=edge", "NAMESPACE/NAME"),
        ("--controller=http://localhost:1", "https://HOST:PORT"),
        (&*taken, "--admin-address"),
    ] {
        let flag = bad.split('=').next().unwrap();
        let arguments = good.iter().filter(|argument| !argument.starts_with(flag));
        let output = Command::new(built("gatehouse-dataplane", "gatehouse-dataplane"))
            .args(arguments)
            .arg(bad)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.lines().next().unwrap().contains(part), "{errors}");
    }
}
