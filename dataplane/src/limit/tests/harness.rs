//! Policies to test with, and a real Redis that ends with its test.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::HeaderMap;
use gatehouse_proto::config::v1;

use crate::observe::metrics::Metrics;

use super::super::{Counters, Facts, Outcome, Phase, Policy, RedisTarget, Stores, Verdict};

/// One process a test; its directory is removed with it.
pub(super) struct Redis {
    port: u16,
    child: Child,
    arguments: Vec<String>,
    directory: tempfile::TempDir,
}

impl Redis {
    /// Starts one on a free port, and waits until it answers.
    pub(super) fn start() -> Redis {
        Redis::with(&[])
    }

    /// The same, with more arguments.
    pub(super) fn with(arguments: &[&str]) -> Redis {
        let port = free_port();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let directory = tempfile::tempdir().unwrap();
        let child = spawn(port, directory.path(), &arguments);
        let mut redis = Redis { port, child, arguments, directory };
        redis.wait();
        redis
    }

    /// One that watches the other as `shop`, and replaces it by a replica of it soon after it is gone.
    pub(super) fn sentinel(of: &Redis) -> Redis {
        let port = free_port();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sentinel.conf");
        let lines = format!(
            "sentinel monitor shop 127.0.0.1 {} 1\nsentinel down-after-milliseconds shop 300\n\
             sentinel failover-timeout shop 3000\n",
            of.port
        );
        std::fs::write(&file, lines).unwrap();
        let child = Command::new("redis-server")
            .arg(file)
            .args(["--sentinel", "--bind", "127.0.0.1", "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let mut redis = Redis { port, child, arguments: Vec::new(), directory };
        redis.wait();
        redis
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn target(&self) -> RedisTarget {
        target(&self.url(), 20)
    }

    /// `STOP`, `CONT`: a process that is there and does not answer.
    pub(super) fn signal(&self, name: &str) {
        let done = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(done.unwrap().success());
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Empty, on the same port.
    pub(super) fn restart(&mut self) {
        self.child = spawn(self.port, self.directory.path(), &self.arguments);
        self.wait();
    }

    pub(super) fn query<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        command.query(&mut client.get_connection().unwrap()).unwrap()
    }

    /// Every key and its time to live in milliseconds; -1 is for ever.
    pub(super) fn ttls(&self) -> Vec<(String, i64)> {
        let keys: Vec<String> = self.query(redis::cmd("KEYS").arg("gatehouse:*"));
        keys.into_iter().map(|key| (key.clone(), self.query(redis::cmd("PTTL").arg(&key)))).collect()
    }

    /// What limit `a` of a policy with one key has: leased to somebody, and spent.
    pub(super) fn counted(&self) -> u64 {
        let keys: Vec<String> = self.query(redis::cmd("KEYS").arg("gatehouse:*:a:*"));
        let Some(key) = keys.first() else { return 0 };
        let held: String = self.query(redis::cmd("GET").arg(key));
        let (leases, count) = held.split_once(';').unwrap();
        let number = |text: &str| text.parse::<u64>().unwrap();
        let leased = leases.split_whitespace().map(|lease| number(lease.split(':').nth(2).unwrap()));
        leased.sum::<u64>() + count.split_once(' ').map_or(0, |(used, _)| number(used))
    }

    /// How many script runs it has seen.
    pub(super) fn runs(&self) -> u64 {
        let stats: String = self.query(redis::cmd("INFO").arg("commandstats"));
        let of = |name: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
            line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
        };
        of("evalsha") + of("eval")
    }

    /// Until the answer holds the text.
    pub(super) fn eventually(&self, what: &str, text: &str, command: &redis::Cmd) {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.query::<String>(command).contains(text) {
            assert!(Instant::now() < end, "{what}: {}", self.query::<String>(command));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait(&mut self) {
        let client = redis::Client::open(self.url()).unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while client.get_connection().and_then(|mut c| redis::cmd("PING").exec(&mut c)).is_err() {
            assert!(self.child.try_wait().unwrap().is_none(), "redis-server ended");
            assert!(Instant::now() < end, "redis-server does not answer");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Nothing is left to do when it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// Primaries that share the slots in order, as `redis-cli` makes them.
pub(super) struct Cluster {
    pub(super) nodes: Vec<Redis>,
}

impl Cluster {
    pub(super) fn start(primaries: usize) -> Cluster {
        let cluster = Cluster { nodes: (0..primaries).map(|_| Cluster::node()).collect() };
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(cluster.addresses()).arg("--cluster-yes");
        let done = create.stdin(Stdio::null()).output().expect("redis-cli is installed");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
        for node in &cluster.nodes {
            node.eventually("the cluster is whole", "cluster_state:ok", redis::cmd("CLUSTER").arg("INFO"));
        }
        cluster
    }

    /// It shares what it has with nobody yet.
    fn node() -> Redis {
        let bus = free_port().to_string();
        let arguments =
            ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "1000"];
        Redis::with(&[&arguments[..], &["--cluster-require-full-coverage", "no"]].concat())
    }

    /// A replica of the primary, which has all that it has.
    pub(super) fn replicate(&mut self, primary: usize) {
        let (primary, replica) = (&self.nodes[primary], Cluster::node());
        let id: String = primary.query(redis::cmd("CLUSTER").arg("MYID"));
        let bus: Vec<String> = primary.query(redis::cmd("CONFIG").arg("GET").arg("cluster-port"));
        replica
            .query::<()>(redis::cmd("CLUSTER").arg("MEET").arg("127.0.0.1").arg(primary.port).arg(&bus[1]));
        replica.eventually("it knows the primary", &id, redis::cmd("CLUSTER").arg("NODES"));
        replica.query::<()>(redis::cmd("CLUSTER").arg("REPLICATE").arg(&id));
        replica.eventually("it follows", "master_link_status:up", redis::cmd("INFO").arg("replication"));
        let mine: String = replica.query(redis::cmd("CLUSTER").arg("MYID"));
        for node in &self.nodes {
            let slaves = redis::cmd("CLUSTER").arg("NODES").clone();
            node.eventually("all know it", &format!("{mine} 127.0.0.1:{}", replica.port), &slaves);
        }
        self.nodes.push(replica);
    }

    pub(super) fn addresses(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect()
    }

    pub(super) fn target(&self) -> RedisTarget {
        let cluster = Some(v1::RedisCluster { addresses: self.addresses() });
        RedisTarget::parse(&v1::Redis { cluster, timeout_ms: 50, ..v1::Redis::default() }).unwrap()
    }
}

fn spawn(port: u16, directory: &Path, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
        .arg(port.to_string())
        .arg("--dir")
        .arg(directory)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

pub(super) fn target(url: &str, timeout_ms: u32) -> RedisTarget {
    RedisTarget::parse(&v1::Redis { url: url.to_owned(), timeout_ms, ..v1::Redis::default() }).unwrap()
}

pub(super) fn stores(target: Option<&RedisTarget>) -> Stores {
    Stores::new(Arc::new(Counters::default()), target)
}

pub(super) fn limit(name: &str, algorithm: v1::Algorithm, requests: u64, per_ms: u64) -> v1::Limit {
    v1::Limit { name: name.into(), requests, per_ms, algorithm: algorithm.into(), ..Default::default() }
}

pub(super) fn config(store: v1::LimitStore, limits: Vec<v1::Limit>) -> v1::RateLimit {
    v1::RateLimit { limits, store: store.into(), ..Default::default() }
}

pub(super) fn policy(config: &v1::RateLimit) -> Policy {
    Policy::compile("ratelimit/shop/orders", config, &Metrics::default()).unwrap()
}

pub(super) fn key(kind: v1::limit_key::Kind) -> v1::LimitKey {
    v1::LimitKey { kind: Some(kind) }
}

pub(super) fn facts(headers: &HeaderMap) -> Facts<'_> {
    Facts {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        method: "GET",
        path: "/",
        host: "shop.example.com",
        query: None,
        headers,
        consumer: None,
        credential: None,
        tier: None,
        groups: &[],
        claims: None,
        route: "HTTPRoute/shop/orders",
    }
}

/// Checks the phase before identity, for a client without any properties, now.
pub(super) async fn check(policy: &Policy, stores: &Stores) -> Outcome {
    let headers = HeaderMap::new();
    policy.check(Phase::BeforeIdentity, &facts(&headers), stores, Instant::now()).await
}

pub(super) fn admitted(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::Admit(_))
}

pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
