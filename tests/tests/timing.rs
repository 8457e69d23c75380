//! What must hold under load and in time. Each test has the machine to itself: they take turns.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::time::{Duration, Instant};

use gatehouse_tests::{
    PATIENCE,
    backend::Backend,
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
    redis::Redis,
};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Mutex, task::JoinSet, time::timeout};

static TURN: Mutex<()> = Mutex::const_new(());

const LIMITED: &str = "
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {name: r}
spec:
  parentRefs: [{name: edge}]
  rules:
  - rateLimits: [{name: minute}]
    backendRefs: [{name: echo, port: 80}]
---
apiVersion: gatehouse.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: minute}
spec:
  limits: [{name: minute, key: [{header: {name: X-Client}}], requests: 100, per: 1m, algorithm: SlidingWindow}]
";

async fn limited(backend: &Backend, redis: &Redis) -> Gateway {
    Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", LIMITED)
        .file("service.yaml", service("echo"))
        .endpoint("echo", backend.address)
        .arg("--redis")
        .arg(&redis.url())
        .start()
        .await
}

/// A client that keeps its connection.
struct Client(SendRequest<Empty<bytes::Bytes>>);

impl Client {
    async fn connect(gateway: &Gateway) -> Client {
        let stream = TcpStream::connect(gateway.http()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Client(sender)
    }

    async fn get(&mut self, path: &str) -> Result<u16, String> {
        let request =
            Request::get(path).header("host", "a").header("x-client", "one").body(Empty::new()).unwrap();
        let exchange = async {
            self.0.ready().await.map_err(|error| error.to_string())?;
            let response = self.0.send_request(request).await.map_err(|error| error.to_string())?;
            let status = response.status().as_u16();
            response.into_body().collect().await.map_err(|error| error.to_string())?;
            Ok(status)
        };
        timeout(PATIENCE, exchange).await.map_err(|_| "no answer in time".to_owned())?
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_dataplanes_that_share_redis_never_admit_more_than_the_limit() {
    let _turn = TURN.lock().await;
    let redis = Redis::start().await;
    let backend = Backend::echo("echo").await;
    let gateways = [limited(&backend, &redis).await, limited(&backend, &redis).await];
    let mut clients = JoinSet::new();
    for index in 0..8 {
        let mut client = Client::connect(&gateways[index % 2]).await;
        clients.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..125 {
                statuses.push(client.get("/").await.unwrap());
            }
            statuses
        });
    }
    let statuses: Vec<u16> = clients.join_all().await.into_iter().flatten().collect();
    let count = |wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
    let admitted = count(200);
    // A dataplane may still have a lease of an eighth while the other is refused.
    assert!((100 - 2 * 12..=100).contains(&admitted), "{admitted} of 100 admitted");
    assert_eq!((count(429), statuses.len()), (1000 - admitted, 1000));
    assert_eq!(backend.seen().len(), admitted);
}

/// Measures how late the machine lets a thread wake up. A round in which it stalls tells nothing about the gateway.
struct Stalls {
    worst: std::thread::JoinHandle<Duration>,
    stop: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

impl Stalls {
    fn watch() -> Stalls {
        use std::sync::atomic::{AtomicBool, Ordering};
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = std::sync::Arc::clone(&stop);
        let worst = std::thread::spawn(move || {
            let mut worst = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(Duration::from_millis(1));
                worst = worst.max(began.elapsed());
            }
            worst
        });
        Stalls { worst, stop }
    }

    fn worst(self) -> Duration {
        self.stop.store(true, std::sync::atomic::Ordering::Relaxed);
        self.worst.join().unwrap()
    }
}

/// The slowest of 400 answers, of which Redis is there for the first 50.
async fn slowest_without_redis(freeze: bool) -> Duration {
    let mut redis = Redis::start().await;
    let backend = Backend::echo("echo").await;
    let gateway = limited(&backend, &redis).await;
    let mut client = Client::connect(&gateway).await;
    let mut slowest = Duration::ZERO;
    for index in 0..400 {
        if index == 50 {
            if freeze { redis.pause() } else { redis.kill() }
        }
        let began = Instant::now();
        let status = client.get("/").await.unwrap();
        slowest = slowest.max(began.elapsed());
        assert!(status == 200 || status == 429, "request {index}: {status}");
    }
    if freeze {
        redis.resume();
    }
    slowest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_nobody_waits_and_nobody_gets_an_error() {
    let _turn = TURN.lock().await;
    for freeze in [false, true] {
        let how = if freeze { "frozen" } else { "killed" };
        let mut rounds = 0;
        loop {
            rounds += 1;
            let stalls = Stalls::watch();
            let slowest = slowest_without_redis(freeze).await;
            let stall = stalls.worst();
            println!("Redis {how}: slowest answer {slowest:?}, the machine's worst stall {stall:?}");
            if slowest <= Duration::from_millis(50) {
                break;
            }
            let is_void = stall > Duration::from_millis(15) && rounds < 5;
            assert!(is_void, "Redis {how}: {slowest:?} with stalls of at most {stall:?}");
        }
    }
}

fn routes(extra: &str) -> String {
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: GatewayRoute\nmetadata: {{name: r}}\nspec:\n  parentRefs: [{{name: edge}}]\n  \
         rules:\n  - backendRefs: [{{name: echo, port: 80}}]\n{extra}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_serves_within_100_milliseconds_and_no_request_is_lost() {
    let _turn = TURN.lock().await;
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(&routes(""), &[("echo", backend.address)]).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    // 200 requests a second over 4 connections.
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let mut client = Client::connect(&gateway).await;
        let stopped = stopped.clone();
        load.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            let mut outcomes = Vec::new();
            while !*stopped.borrow() {
                ticks.tick().await;
                outcomes.push(client.get("/load").await);
            }
            outcomes
        });
    }
    let mut times = Vec::new();
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    for edit in 0..20 {
        pace.tick().await;
        let path = format!("/edit-{edit}");
        let rule = format!("  - matches: [{{path: {{value: {path}}}}}]\n    respond: {{status: 204}}\n");
        let began = Instant::now();
        gateway.write("routes.yaml", &routes(&rule));
        eventually("the edit serves", async || {
            (get(gateway.http(), &path).send().await.status == 204).then_some(())
        })
        .await;
        times.push(began.elapsed());
    }
    stop.send_replace(true);
    let outcomes: Vec<Result<u16, String>> = load.join_all().await.into_iter().flatten().collect();
    times.sort_unstable();
    println!(
        "edit to serving: median {:?}, slowest {:?}, {} requests beside",
        times[10],
        times[19],
        outcomes.len()
    );
    let wrong: Vec<_> = outcomes.iter().filter(|outcome| **outcome != Ok(200)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(outcomes.len() > 300, "about 200 a second for two seconds, not {}", outcomes.len());
    assert!(times[19] <= Duration::from_millis(100), "{times:?}");
}
