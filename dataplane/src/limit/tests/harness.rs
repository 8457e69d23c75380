//! Policies to test with, and a real Redis that ends with its test.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::HeaderMap;
use gatehouse_proto::config::v1;

use super::super::{Counters, Facts, Outcome, Phase, Policy, RedisTarget, Stores, Verdict};

/// One process a test; its directory is removed with it.
pub(super) struct Redis {
    port: u16,
    child: Child,
    directory: tempfile::TempDir,
}

impl Redis {
    /// Starts one on a free port, and waits until it answers.
    pub(super) fn start() -> Redis {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let directory = tempfile::tempdir().unwrap();
        let mut redis = Redis { port, child: spawn(port, directory.path().into()), directory };
        redis.wait();
        redis
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
        self.child = spawn(self.port, self.directory.path().into());
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

    /// How many script runs it has seen.
    pub(super) fn runs(&self) -> u64 {
        let stats: String = self.query(redis::cmd("INFO").arg("commandstats"));
        let of = |name: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
            line.and_then(|line| line.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
        };
        of("evalsha") + of("eval")
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

fn spawn(port: u16, directory: PathBuf) -> Child {
    Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"])
        .arg(port.to_string())
        .arg("--dir")
        .arg(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

pub(super) fn target(url: &str, timeout_ms: u32) -> RedisTarget {
    RedisTarget::parse(&v1::Redis { url: url.to_owned(), timeout_ms }).unwrap()
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
    Policy::compile("ratelimit/shop/orders", config).unwrap()
}

pub(super) fn key(kind: v1::limit_key::Kind) -> v1::LimitKey {
    v1::LimitKey { kind: Some(kind) }
}

pub(super) fn facts(headers: &HeaderMap) -> Facts<'_> {
    Facts {
        client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        headers,
        consumer: None,
        credential: None,
        tier: None,
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
