//! What is measured: each cell is one kind of load on one configuration.

use super::{load::Protocol, peers::Peer};
use crate::backend;

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    pub name: &'static str,
    pub scenario: Scenario,
    pub path: &'static str,
    pub protocol: Protocol,
    /// Besides ours and its control.
    pub against: &'static [Peer],
    /// Upper bounds of ratios: of what, against whom, and the most.
    pub targets: &'static [(&'static str, Peer, f64)],
}

impl Scenario {
    /// Bytes of the body that answers a request for this path.
    pub fn size(self, path: &str) -> usize {
        match self {
            Scenario::Aggregate(parts) => {
                let members = parts * (r#""p0":,"#.len() + backend::size(path));
                // The last has no comma, and braces are around all.
                members + 1
            }
            _ => backend::size(path),
        }
    }
}

impl Cell {
    pub fn target(&self, metric: &str, against: Peer) -> Option<f64> {
        let of = |&(one, peer, most): &(&str, Peer, f64)| (one == metric && peer == against).then_some(most);
        self.targets.iter().find_map(of)
    }
}

/// How a gateway is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// One route for everything.
    Plain,
    Tls,
    Http2,
    /// So many path prefixes `/p0`, `/p1`, ... of one host.
    Paths(usize),
    /// One route that asks for so many parts at once; at most ten.
    Aggregate(usize),
    /// So many hosts with a route each, a JWT (RS256) and a limit on the last.
    Policy {
        hosts: usize,
        store: Store,
    },
}

/// Where ours counts. Envoy's limit is local always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Local,
    Redis,
}

const KEEP_ALIVE: Protocol = Protocol::Http1 { connections: 64 };
const ALL: &[Peer] = &[Peer::Nginx, Peer::Haproxy, Peer::Caddy, Peer::Envoy];
const FAST: &[Peer] = &[Peer::Nginx, Peer::Haproxy, Peer::Envoy];
const POLICY: &[(&str, Peer, f64)] = &[("CPU", Peer::GatehousePlain, 1.08), ("CPU", Peer::Envoy, 0.35)];

pub const CELLS: &[Cell] = &[
    Cell {
        name: "plain",
        scenario: Scenario::Plain,
        path: "/",
        protocol: KEEP_ALIVE,
        against: FAST,
        targets: &[
            ("CPU", Peer::Nginx, 1.0),
            ("CPU", Peer::Haproxy, 1.0),
            ("CPU", Peer::Envoy, 0.4),
            ("p99", Peer::Nginx, 1.0),
            ("p99", Peer::Envoy, 0.6),
        ],
    },
    // By itself, for all run at half of the slowest's most.
    Cell {
        name: "plain-caddy",
        scenario: Scenario::Plain,
        path: "/",
        protocol: KEEP_ALIVE,
        against: &[Peer::Caddy],
        targets: &[("CPU", Peer::Caddy, 0.25)],
    },
    Cell {
        name: "body-4k",
        scenario: Scenario::Plain,
        path: "/4k",
        protocol: KEEP_ALIVE,
        against: FAST,
        targets: &[],
    },
    Cell {
        name: "body-1m",
        scenario: Scenario::Plain,
        path: "/1m",
        protocol: Protocol::Http1 { connections: 16 },
        against: FAST,
        targets: &[],
    },
    Cell {
        name: "http2",
        scenario: Scenario::Http2,
        path: "/",
        protocol: Protocol::Http2 { connections: 4, streams: 16 },
        against: FAST,
        targets: &[("CPU", Peer::Nginx, 1.0), ("CPU", Peer::Envoy, 0.5)],
    },
    Cell {
        name: "tls-keep-alive",
        scenario: Scenario::Tls,
        path: "/",
        protocol: KEEP_ALIVE,
        against: FAST,
        targets: &[("CPU", Peer::Nginx, 1.0), ("CPU", Peer::Envoy, 0.5)],
    },
    Cell {
        name: "tls-full-handshake",
        scenario: Scenario::Tls,
        path: "/",
        protocol: Protocol::Handshakes { at_once: 16, resumed: false },
        against: FAST,
        targets: &[],
    },
    Cell {
        name: "tls-resumed-handshake",
        scenario: Scenario::Tls,
        path: "/",
        protocol: Protocol::Handshakes { at_once: 16, resumed: true },
        against: FAST,
        targets: &[("CPU", Peer::Nginx, 1.0 / 1.5)],
    },
    Cell {
        name: "policy-local",
        scenario: Scenario::Policy { hosts: 10_000, store: Store::Local },
        path: "/",
        protocol: KEEP_ALIVE,
        against: &[Peer::GatehousePlain, Peer::Envoy],
        targets: POLICY,
    },
    Cell {
        name: "policy-strict",
        scenario: Scenario::Policy { hosts: 10_000, store: Store::Redis },
        path: "/",
        protocol: KEEP_ALIVE,
        against: &[Peer::GatehousePlain, Peer::Envoy],
        targets: POLICY,
    },
    // A request here stands for five there, and may cost 15 % more than they do.
    Cell {
        name: "aggregate-of-5",
        scenario: Scenario::Aggregate(5),
        path: "/",
        protocol: KEEP_ALIVE,
        against: &[Peer::GatehousePlain],
        targets: &[("CPU", Peer::GatehousePlain, 5.0 * 1.15)],
    },
    Cell {
        name: "last-of-10k",
        scenario: Scenario::Paths(10_000),
        path: "/p9999/x",
        protocol: KEEP_ALIVE,
        against: &[Peer::GatehousePlain, Peer::Nginx, Peer::Envoy],
        targets: &[("CPU", Peer::GatehousePlain, 1.02)],
    },
];

/// Where memory for each idle connection is measured.
pub const IDLE: Cell = Cell {
    name: "idle-10k",
    scenario: Scenario::Plain,
    path: "/",
    protocol: KEEP_ALIVE,
    against: ALL,
    targets: &[("memory", Peer::Nginx, 1.0)],
};
