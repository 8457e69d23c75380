//! A real redis-server on a free port.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
};

use crate::{eventually, gateway::signal};

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Redis {
    /// # Panics
    /// If redis-server is not installed: `apt-get install redis-server`.
    pub async fn start() -> Redis {
        // The port is free until another process takes it within the next moments.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|socket| socket.local_addr())
            .expect("a port");
        let redis = Redis { child: spawn(address), address };
        redis.answers().await;
        redis
    }

    async fn answers(&self) {
        eventually("Redis answers", async || tokio::net::TcpStream::connect(self.address).await.ok()).await;
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `kill -9`, and an empty one on the same port.
    pub async fn restart(&mut self) {
        self.kill();
        self.child = spawn(self.address);
        self.answers().await;
    }

    /// How many scripts it has been asked to run since it started.
    pub async fn script_runs(&self) -> redis::RedisResult<u64> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut connection).await?;
        let of = |name: &str| {
            let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
            line.and_then(|line| line.split(',').next()).and_then(|calls| calls.parse().ok()).unwrap_or(0)
        };
        Ok(of("evalsha") + of("eval"))
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// It keeps its connections and answers nothing.
    pub fn pause(&self) {
        signal(self.child.id(), "STOP");
    }

    pub fn resume(&self) {
        signal(self.child.id(), "CONT");
    }
}

fn spawn(address: SocketAddr) -> Child {
    Command::new("redis-server")
        .args([
            "--port",
            &address.port().to_string(),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
