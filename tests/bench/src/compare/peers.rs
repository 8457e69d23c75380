//! The gateways: how each is told to do the same.
//!
//! All of them keep connections to the backend, add `X-Forwarded-For`, pass `Host` on, write no access log, and run one
//! worker. Where a gateway has switches that its own makers name for benchmarks, they are set.

mod caddy;
mod envoy;
mod gatehouse;
mod haproxy;
mod nginx;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use gatehouse_tests::certs::{Authority, Pair};
use serde_json::Value;

use super::{cell::Scenario, controller::Controller};

/// The host of the certificate.
pub const HOST: &str = "bench.test";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Peer {
    Gatehouse,
    /// The same once more: how far apart two equals are is the noise.
    Control,
    /// Ours with one route and no policy.
    GatehousePlain,
    Nginx,
    Haproxy,
    Caddy,
    Envoy,
}

/// What a gateway has to do.
pub struct Setup<'a> {
    pub folder: &'a Path,
    pub port: u16,
    pub backend: SocketAddr,
    pub scenario: Scenario,
    pub pair: &'a Pair,
    /// The public key of the tokens.
    pub jwk: &'a Value,
    /// `redis://host:port`
    pub redis: &'a str,
}

impl Peer {
    pub fn name(self) -> &'static str {
        match self {
            Peer::Gatehouse => "gatehouse",
            Peer::Control => "gatehouse (control)",
            Peer::GatehousePlain => "gatehouse (plain)",
            Peer::Nginx => "nginx",
            Peer::Haproxy => "haproxy",
            Peer::Caddy => "caddy",
            Peer::Envoy => "envoy",
        }
    }

    /// Writes its configuration. The controller must live as long as the gateway.
    pub async fn prepare(
        self,
        setup: &mut Setup<'_>,
        authority: &Authority,
    ) -> (Command, Option<Controller>) {
        match self {
            Peer::Gatehouse | Peer::Control => gatehouse::command(setup, authority).await,
            Peer::GatehousePlain => {
                setup.scenario = Scenario::Plain;
                gatehouse::command(setup, authority).await
            }
            Peer::Nginx => (nginx::command(setup), None),
            Peer::Haproxy => (haproxy::command(setup), None),
            Peer::Caddy => (caddy::command(setup), None),
            Peer::Envoy => (envoy::command(setup), None),
        }
    }
}

impl Setup<'_> {
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// # Panics
    /// If it can't be written.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.file(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}
