//! Runs a cell: every gateway at once on its own port, one at a time under load.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use gatehouse_tests::{
    certs::{Authority, Pair},
    redis::Redis,
    tokens::{self, Signer},
};
use jsonwebtoken::Algorithm;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{
    cell::{Cell, IDLE, Scenario},
    controller::Controller,
    load::{self, Shape, Trust},
    peers::{HOST, Peer, Setup},
    report::{Report, Row},
    slice::{CPU, Slice, Times, slice},
};
use crate::{account::Accounted, backend, stats::Random};

/// Void slices are repeated so often.
const TRIES: usize = 3;
/// A gateway with 10k routes needs a moment.
const START: Duration = Duration::from_secs(20);
const IDLE_CONNECTIONS: usize = 10_000;
/// What a connection that was just opened may still cause.
const SETTLE: Duration = Duration::from_millis(500);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    pub times: Times,
}

/// What all cells share.
pub struct Bench {
    folder: TempDir,
    backend: SocketAddr,
    authority: Authority,
    pair: Pair,
    signer: Signer,
    redis: Redis,
    effort: Effort,
    /// Names; empty: all.
    only: Vec<String>,
    next_port: u16,
    random: Random,
}

/// A gateway that serves.
struct Contender {
    peer: Peer,
    process: Accounted,
    shape: Shape,
    _controller: Option<Controller>,
}

impl Bench {
    /// Within a local task set, where the load runs.
    ///
    /// # Panics
    /// If there is no temporary folder, no port or no redis-server.
    pub async fn new(effort: Effort, only: Vec<String>) -> Self {
        let authority = Authority::default();
        Bench {
            folder: tempfile::tempdir().unwrap(),
            backend: backend::start().await.expect("a port"),
            pair: authority.issue(&[HOST]),
            authority,
            signer: Signer::rsa("bench"),
            redis: Redis::start().await,
            effort,
            only,
            next_port: 20_000 + (std::process::id() % 400) as u16 * 16,
            random: Random(u64::from(std::process::id())),
        }
    }

    /// Ours, its control, and all others.
    pub async fn compare(&mut self, cell: &Cell, report: &mut Report) {
        println!("\n{}", cell.name);
        let mut contenders = Vec::new();
        for peer in self.contenders(cell) {
            match self.start(peer, cell).await {
                Ok(contender) => contenders.push(contender),
                Err(why) => report.missing(format!("{} {}", cell.name, peer.name()), why),
            }
        }
        let mut slowest = f64::INFINITY;
        for contender in &contenders {
            let most = self.slice(contender, None, report).await;
            if let Some(most) = most {
                println!("  {:20} at most {:7.0} requests/s", contender.peer.name(), most.rate);
                slowest = slowest.min(most.rate);
            }
        }
        let rate = slowest / 2.0;
        println!("  each at {rate:.0} requests/s, {} rounds", self.effort.rounds);
        let (mut open, mut closed) = (BTreeMap::new(), BTreeMap::new());
        for round in 0..self.effort.rounds {
            let mut order: Vec<usize> = (0..contenders.len()).collect();
            self.random.shuffle(&mut order);
            for index in order {
                let contender = &contenders[index];
                let key = (contender.peer, round);
                if let Some(slice) = self.slice(contender, Some(rate), report).await {
                    open.insert(key, slice);
                }
                if let Some(slice) = self.slice(contender, None, report).await {
                    closed.insert(key, slice);
                }
            }
        }
        for against in contenders.iter().map(|contender| contender.peer).skip(1) {
            let pairs = |slices: &BTreeMap<(Peer, usize), Slice>, value: fn(&Slice) -> f64| -> Vec<_> {
                (0..self.effort.rounds)
                    .filter_map(|round| {
                        let (ours, theirs) =
                            (slices.get(&(Peer::Gatehouse, round))?, slices.get(&(against, round))?);
                        Some((value(ours), value(theirs)))
                    })
                    .collect()
            };
            let mut tell = |metric, unit, pairs: &[(f64, f64)]| {
                let target = cell.target(metric, against);
                report.add(Row::new(cell.name, metric, against.name(), unit, pairs, target));
            };
            tell("CPU", "us/request", &pairs(&open, |slice| slice.cpu));
            tell("p50", "us", &pairs(&open, |slice| slice.p50));
            tell("p99", "us", &pairs(&open, |slice| slice.p99));
            tell("p99.9", "us", &pairs(&open, |slice| slice.p999));
            tell("throughput", "requests/s", &pairs(&closed, |slice| slice.rate));
        }
    }

    /// Memory that each idle connection costs.
    pub async fn idle(&mut self, report: &mut Report) {
        println!("\n{}", IDLE.name);
        let mut costs: BTreeMap<Peer, Vec<f64>> = BTreeMap::new();
        for _ in 0..self.effort.rounds.min(3) {
            for peer in self.contenders(&IDLE) {
                match self.start(peer, &IDLE).await {
                    Ok(contender) => {
                        let before = contender.process.memory();
                        let held = load::hold(&contender.shape, IDLE_CONNECTIONS).await;
                        sleep(SETTLE).await;
                        let after = contender.process.memory();
                        if held.len() < IDLE_CONNECTIONS {
                            report.missing(
                                format!("{} {}", IDLE.name, peer.name()),
                                format!("only {} connections stand", held.len()),
                            );
                            continue;
                        }
                        let cost = after.saturating_sub(before) as f64 / held.len() as f64;
                        costs.entry(peer).or_default().push(cost);
                    }
                    Err(why) => report.missing(format!("{} {}", IDLE.name, peer.name()), why),
                }
            }
        }
        let ours = costs.remove(&Peer::Gatehouse).unwrap_or_default();
        for (against, theirs) in costs {
            let pairs: Vec<_> = ours.iter().copied().zip(theirs).collect();
            let target = IDLE.target("memory", against);
            report.add(Row::new(IDLE.name, "memory", against.name(), "bytes/connection", &pairs, target));
        }
    }

    fn contenders(&self, cell: &Cell) -> Vec<Peer> {
        let others = cell.against.iter().copied();
        let wanted =
            others.filter(|peer| self.only.is_empty() || self.only.iter().any(|name| name == peer.name()));
        [Peer::Gatehouse, Peer::Control].into_iter().chain(wanted).collect()
    }

    async fn start(&mut self, peer: Peer, cell: &Cell) -> Result<Contender, String> {
        let port = self.next_port;
        self.next_port += 1;
        let folder: PathBuf = self.folder.path().join(port.to_string());
        std::fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let mut setup = Setup {
            folder: &folder,
            port,
            backend: self.backend,
            scenario: cell.scenario,
            pair: &self.pair,
            jwk: &self.signer.jwk,
            redis: &self.redis.url(),
        };
        let (command, controller) = peer.prepare(&mut setup, &self.authority).await;
        let scenario = setup.scenario;
        let log = folder.join("log");
        let name = format!("{port}");
        let mut process = Accounted::start(&name, &command, CPU, &log)
            .map_err(|error| format!("{:?}: {error}", command.get_program()))?;
        let shape = self.shape(cell, scenario, port);
        let deadline = Instant::now() + START;
        // Ready when it gives the backend's answer, however many routes it has to read before.
        while !load::answers(&shape).await {
            if process.ended().is_some() || Instant::now() > deadline {
                return Err(format!("it does not serve: {}", last_line(&log)));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Contender { peer, process, shape, _controller: controller })
    }

    fn shape(&self, cell: &Cell, scenario: Scenario, port: u16) -> Shape {
        let trust = (scenario == Scenario::Tls).then(|| Trust::new(self.authority.root.clone(), HOST));
        let mut shape = Shape {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            protocol: cell.protocol,
            host: HOST.into(),
            path: cell.path.into(),
            headers: String::new(),
            size: scenario.size(cell.path),
            trust,
        };
        if let Scenario::Policy { hosts, .. } = cell.scenario {
            shape.host = format!("h{}.{HOST}", hosts - 1);
            let mut claims = tokens::claims();
            // Longer than any run.
            claims["exp"] = (tokens::now() + 86_400).into();
            let token = self.signer.sign(&claims, Algorithm::RS256);
            shape.headers = format!("Authorization: Bearer {token}\r\n");
        }
        shape
    }

    async fn slice(
        &mut self,
        contender: &Contender,
        rate: Option<f64>,
        report: &mut Report,
    ) -> Option<Slice> {
        let mut times = self.effort.times;
        if rate.is_none() {
            times = Times { warm: times.warm / 2, measured: times.measured / 2 };
        }
        for _ in 0..TRIES {
            let seed = self.random.draw();
            match slice(&contender.process, &contender.shape, rate, times, seed).await {
                Ok(slice) => return Some(slice),
                Err(why) => {
                    println!("  void: {}: {why}", contender.peer.name());
                    report.voids += 1;
                }
            }
        }
        None
    }
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}
