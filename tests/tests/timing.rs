//! What must hold under load and in time. Each test has the machine to itself: they take turns.

#![allow(clippy::unwrap_used)] // helpers of tests, too

use std::time::{Duration, Instant};

use gatehouse_tests::{
    PATIENCE,
    backend::{Backend, status},
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
    process::memory,
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
  onStoreFailure: ON_FAILURE
";

async fn limited(backend: &Backend, redis: &Redis, on_failure: &str) -> Gateway {
    Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", LIMITED.replace("ON_FAILURE", on_failure))
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

/// A limit so slow is never leased ahead: what is granted is there for all until it is spent. Of an answer that came too
/// late for its request (it gets 503), the grant comes back only to who asks again in time; so many may be missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_dataplanes_that_share_redis_admit_exactly_the_limit() {
    // No grant is outstanding for longer, so nothing comes back after that.
    const QUIET: Duration = Duration::from_secs(1);
    let _turn = TURN.lock().await;
    let redis = Redis::start().await;
    let backend = Backend::echo("echo").await;
    // A machine that stalls must not make them count for themselves.
    let gateways = [limited(&backend, &redis, "Deny").await, limited(&backend, &redis, "Deny").await];
    let mut clients = Vec::new();
    for index in 0..8 {
        clients.push(Client::connect(&gateways[index % 2]).await);
    }
    let began = Instant::now();
    let (mut admitted, mut unanswered, mut latest) = (0, 0, began);
    while latest.elapsed() < QUIET {
        assert!(began.elapsed() < Duration::from_secs(50), "{admitted} of 100, {unanswered} unanswered");
        let mut round = JoinSet::new();
        for mut client in clients.drain(..) {
            round.spawn(async move {
                let mut statuses = Vec::new();
                for _ in 0..25 {
                    statuses.push(client.get("/").await.unwrap());
                }
                (client, statuses)
            });
        }
        for (client, statuses) in round.join_all().await {
            clients.push(client);
            for status in statuses {
                match status {
                    200 => (admitted, latest) = (admitted + 1, Instant::now()),
                    429 => {}
                    503 => (unanswered, latest) = (unanswered + 1, Instant::now()),
                    other => panic!("{other}"),
                }
            }
        }
    }
    println!("{admitted} of 100 admitted, {unanswered} not answered in time");
    assert!(admitted <= 100 && admitted + unanswered >= 100, "{admitted} of 100, {unanswered} unanswered");
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

/// Measures until it is as wanted, again only where the machine itself stalled meanwhile. Gives how often. `round` says what
/// it measured, and whether that is as wanted.
async fn unless_stalled(mut round: impl AsyncFnMut() -> (String, bool)) -> usize {
    let mut rounds = 0;
    loop {
        rounds += 1;
        let stalls = Stalls::watch();
        let (measured, is_as_wanted) = round().await;
        let stall = stalls.worst();
        println!("{measured}; the machine's worst stall {stall:?}");
        if is_as_wanted {
            return rounds;
        }
        let is_void = stall > Duration::from_millis(15) && rounds < 5;
        assert!(is_void, "{measured}; stalls of at most {stall:?}");
    }
}

/// The slowest of 400 answers, of which Redis is there for the first 50.
async fn slowest_without_redis(freeze: bool) -> Duration {
    let mut redis = Redis::start().await;
    let backend = Backend::echo("echo").await;
    let gateway = limited(&backend, &redis, "FallbackLocal").await;
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
        unless_stalled(async || {
            let slowest = slowest_without_redis(freeze).await;
            (format!("Redis {how}: slowest answer {slowest:?}"), slowest <= Duration::from_millis(50))
        })
        .await;
    }
}

const KEYED: &str = "
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {name: r}
spec:
  parentRefs: [{name: edge}]
  rules:
  - auth: {policyRef: {name: keys}}
    backendRefs: [{name: echo, port: 80}]
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: keys}
spec: {anyOf: [{apiKey: {}}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: alice}
spec:
  credentials:
  - {name: k, apiKey: {secretRef: {name: k}}}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_taken_back_is_refused_within_a_second() {
    let _turn = TURN.lock().await;
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(KEYED, &[("echo", backend.address)]).await;
    let mut times = Vec::new();
    for round in 0..10 {
        let key = format!("key-{round}");
        let status = async || get(gateway.http(), "/").header("x-api-key", &key).send().await.status;
        let secret =
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: k}}\nstringData: {{key: {key}}}\n");
        gateway.write("secret.yaml", &secret);
        eventually("the key is good", async || (status().await == 200).then_some(())).await;
        let began = Instant::now();
        gateway.remove("secret.yaml");
        eventually("it is refused", async || (status().await == 401).then_some(())).await;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    println!("Secret removed to key refused: median {:?}, slowest {:?}", times[5], times[9]);
    assert!(times[9] < Duration::from_secs(1), "{times:?}");
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

/// The slowest of a share of all, as 0.99.
fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    times[((times.len() as f64 * share) as usize).min(times.len() - 1)]
}

/// Takes what it is sent and never answers.
async fn stalled() -> Backend {
    Backend::accepting(|stream, _| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await
}

const MIRRORED: &str = "
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {name: r}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {value: /mirrored}}]
    mirror: [{backendRef: {name: stalled, port: 80}}]
    backendRefs: [{name: echo, port: 80}]
  - backendRefs: [{name: echo, port: 80}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_mirror_costs_neither_time_nor_memory() {
    let _turn = TURN.lock().await;
    let (backend, stalled) = (Backend::answering(|_| status(200)).await, stalled().await);
    let endpoints = [("echo", backend.address), ("stalled", stalled.address)];
    let gateway = Gateway::with(MIRRORED, &endpoints).await;
    let mut client = Client::connect(&gateway).await;
    // As many copies as may wait do, before anything is measured.
    for _ in 0..2000 {
        assert_eq!(client.get("/mirrored").await, Ok(200));
    }
    let before = memory(gateway.process()).unwrap().resident;
    let rounds = unless_stalled(async || {
        // By turns, so that whatever else the machine does befalls both alike.
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..2000 {
            for (path, times) in ["/plain", "/mirrored"].into_iter().zip(&mut times) {
                let began = Instant::now();
                assert_eq!(client.get(path).await, Ok(200));
                times.push(began.elapsed());
            }
        }
        let [plain, mirrored] = times.each_mut().map(|times| quantile(times, 0.99));
        let measured = format!("p99: {plain:?} without a mirror, {mirrored:?} with one that is stalled");
        (measured, mirrored <= plain + plain / 2 + Duration::from_micros(500))
    })
    .await;
    let after = memory(gateway.process()).unwrap().resident;
    println!("resident: {before:.1} MiB, {after:.1} MiB after {rounds} times 2000 more copies");
    assert!(after < before + 4.0, "{before:.1} MiB, then {after:.1} MiB");
}

const AGGREGATE: &str = "
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {name: r}
spec:
  parentRefs: [{name: edge}]
  rules:
  - aggregate:
      timeout: 300ms
      parts:
      - {name: a, backendRef: {name: echo, port: 80}, path: /a}
      - {name: b, backendRef: {name: echo, port: 80}, path: /b}
      - {name: c, backendRef: {name: echo, port: 80}, path: /c}
      - {name: d, backendRef: {name: echo, port: 80}, path: /d}
      - {name: hung, backendRef: {name: stalled, port: 80}, path: /, onFailure: Omit}
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_aggregate_with_a_part_that_hangs_keeps_its_deadline() {
    const DEADLINE: Duration = Duration::from_millis(300);
    let _turn = TURN.lock().await;
    let (backend, stalled) = (Backend::echo("echo").await, stalled().await);
    let endpoints = [("echo", backend.address), ("stalled", stalled.address)];
    let gateway = Gateway::with(AGGREGATE, &endpoints).await;
    unless_stalled(async || {
        let mut clients = JoinSet::new();
        for _ in 0..40 {
            let mut client = Client::connect(&gateway).await;
            clients.spawn(async move {
                let mut times = Vec::new();
                for _ in 0..30 {
                    let began = Instant::now();
                    assert_eq!(client.get("/").await, Ok(200));
                    times.push(began.elapsed());
                }
                times
            });
        }
        let mut times: Vec<Duration> = clients.join_all().await.into_iter().flatten().collect();
        let (median, slowest) = (quantile(&mut times, 0.5), quantile(&mut times, 0.999));
        assert!(times[0] >= DEADLINE, "it waits for the part until then: {:?}", times[0]);
        let measured = format!("{} answers: median {median:?}, p99.9 {slowest:?}", times.len());
        (measured, slowest <= DEADLINE + Duration::from_millis(50))
    })
    .await;
}
