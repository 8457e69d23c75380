//! One table size, from nothing to the end: cold start, single edits and creations, memory, CPU under churn.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gatehouse_tests::{
    pretended::{Cluster, Pod, free},
    process::Process,
};
use tokio::time::{interval, sleep};

use super::{
    objects::{self, ROUTES, Route, Services},
    report::{Report, quantile},
    wire::{Client, Relay},
};
use crate::backend;

/// Loopback addresses, one a dataplane, so that all can have the Gateway's port.
const DATAPLANES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
/// For something that takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(120);
/// Without a status being written: all are.
const QUIET: Duration = Duration::from_secs(2);
/// Between two changes, so that each is timed alone.
const PAUSE: Duration = Duration::from_millis(20);

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    pub routes: usize,
    pub services: Services,
    /// Single edits, and as many creations.
    pub changes: usize,
    /// How long routes are changed once a second.
    pub churn: Duration,
    /// Where `gatehouse-controller` and `gatehouse-dataplane` are.
    pub binaries: PathBuf,
    /// Where the processes' logs go.
    pub logs: PathBuf,
}

/// Everything that runs for a cell.
struct World {
    cluster: Cluster,
    services: Services,
    controller: Process,
    dataplanes: Vec<Process>,
    clients: Vec<Client>,
    relay: Relay,
}

/// Measures; figures go to the report.
///
/// # Errors
/// A process can't be started, or a route is not served in time.
pub async fn run(plan: &Plan, report: &mut Report) -> io::Result<()> {
    let services = if plan.services == Services::Own { ", a Service each" } else { "" };
    let cell = format!("{} routes{services}", plan.routes);
    let is_own = plan.services == Services::Own;
    let (mut world, cold) = World::start(plan).await?;
    let at_100k = Some(1.5).filter(|_| plan.routes == 100_000);
    report.tell(&cell, "cold start to first 200 on all", cold.as_secs_f64(), "s", at_100k);
    let started = Instant::now();
    world.settle(plan.routes as u64).await?;
    let settling = started.elapsed().saturating_sub(QUIET) + cold;
    report.tell(&cell, "cold start to last status", settling.as_secs_f64(), "s", None);
    #[allow(clippy::cast_precision_loss)] // Counts.
    let writes = world.cluster.store.status_writes() as f64;
    report.tell(&cell, "statuses written", writes, "", None);
    world.memory(&cell, plan.routes, report)?;
    if is_own {
        return Ok(());
    }

    let bystander = Bystander::start(world.clients[0].address(), Route { index: 0, edits: 0 });
    let before = world.relay.down();
    let (mut edits, mut pushes) = (Vec::new(), Vec::new());
    for change in 0..plan.changes {
        // Never the bystander's.
        let index = 1 + (change * 7919) % (plan.routes - 1);
        let (sent, served) = world.change(Route { index, edits: change + 1 }).await?;
        edits.push(served);
        pushes.push(sent);
    }
    #[allow(clippy::cast_precision_loss)] // Counts.
    let bytes = (world.relay.down() - before) as f64 / plan.changes as f64;
    let mut creations = Vec::new();
    for change in 0..plan.changes {
        creations.push(world.change(Route { index: plan.routes + change, edits: 0 }).await?.1);
    }
    let target = match plan.routes {
        ..=10_000 => 5.0,
        _ => 10.0,
    };
    let serving = Some(target);
    for (times, names, target) in [
        (pushes, ["edit to the wire, p50", "edit to the wire, p99"], None),
        (edits, ["edit to 200 on all, p50", "edit to 200 on all, p99"], serving),
        (creations, ["creation to 200 on all, p50", "creation to 200 on all, p99"], serving),
    ] {
        let mut times: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        times.sort_unstable_by(f64::total_cmp);
        report.tell(&cell, names[0], quantile(&times, 0.5), "ms", None);
        report.tell(&cell, names[1], quantile(&times, 0.99), "ms", target);
    }
    report.tell(&cell, "bytes to a dataplane, an edit", bytes, "B", Some(2000.0));
    let (probes, errors) = bystander.stop().await;
    report.tell(&cell, "errors of another route", errors, "", Some(0.0));
    report.tell(&cell, "probes of another route", probes, "", None);
    world.churn(plan, &cell, report).await
}

impl World {
    /// Gives also how long it took from nothing to the first 200 everywhere.
    async fn start(plan: &Plan) -> io::Result<(Self, Duration)> {
        let SocketAddr::V4(backend) = backend::start().await? else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let listener = free()?;
        let names: Vec<String> = (0..DATAPLANES.len()).map(|index| format!("dataplane-{index}")).collect();
        // The authority stays, as it does in a cluster; everything else is still to come.
        let cluster = Cluster::start(&plan.binaries, &plan.logs).await?;
        objects::base(&cluster.store, listener, &names);
        objects::fill(&cluster.store, plan.routes, plan.changes, plan.services, backend);
        let relay = Relay::start(cluster.channel).await?;
        let begun = Instant::now();
        let mut dataplanes = Vec::new();
        for (index, (address, name)) in DATAPLANES.iter().zip(&names).enumerate() {
            // The last one's bytes are counted.
            let channel =
                if index + 1 == DATAPLANES.len() { relay.address.port() } else { cluster.channel.port() };
            let pod = Pod { name, gateway: objects::GATEWAY, address: *address, channel };
            dataplanes.push(cluster.dataplane(&pod, &[])?.process);
        }
        let controller = cluster.controller("controller")?;
        let clients = DATAPLANES.iter().map(|address| Client::new((*address, listener).into())).collect();
        let services = plan.services;
        let mut world = World { cluster, services, controller, dataplanes, clients, relay };
        let last = world.served(Route { index: plan.routes - 1, edits: 0 }).await?;
        Ok((world, last - begun))
    }

    /// Waits until every dataplane serves the route; gives when the last began.
    async fn served(&mut self, route: Route) -> io::Result<Instant> {
        let (host, path) = (route.host(), route.path());
        let (one, other) = self.clients.split_at_mut(1);
        let (one, other) = tokio::join!(
            one[0].until_served(&host, &path, PATIENCE),
            other[0].until_served(&host, &path, PATIENCE)
        );
        Ok(one?.max(other?))
    }

    /// Makes or edits a route; gives the time until the controller has sent it to a dataplane, and until every dataplane
    /// serves it.
    async fn change(&mut self, route: Route) -> io::Result<(Duration, Duration)> {
        let object = route.object(self.services);
        self.relay.arm();
        let begun = Instant::now();
        self.cluster.store.put(ROUTES, object);
        let served = self.served(route).await?;
        let sent = self.relay.first().unwrap_or(served);
        sleep(PAUSE).await;
        Ok((sent.saturating_duration_since(begun), served - begun))
    }

    /// Waits until so many statuses have been written, and then until no more are.
    async fn settle(&self, least: u64) -> io::Result<()> {
        let begun = Instant::now();
        let mut known = (self.cluster.store.status_writes(), Instant::now());
        while known.0 < least || known.1.elapsed() < QUIET {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "statuses are not written: see the logs",
                ));
            }
            sleep(Duration::from_millis(20)).await;
            let now = self.cluster.store.status_writes();
            if now != known.0 {
                known = (now, Instant::now());
            }
        }
        Ok(())
    }

    fn memory(&self, cell: &str, routes: usize, report: &mut Report) -> io::Result<()> {
        let controller = self.controller.memory()?;
        let target = Some(80.0).filter(|_| routes == 5000);
        report.tell(cell, "controller, resident", controller.resident, "MiB", target);
        report.tell(cell, "controller, peak", controller.peak, "MiB", None);
        let dataplane = self.dataplanes[0].memory()?;
        let target = match routes {
            5000 => Some(15.0),
            100_000 => Some(110.0),
            _ => None,
        };
        report.tell(cell, "dataplane, resident", dataplane.resident, "MiB", target);
        report.tell(cell, "dataplane, resident without files", dataplane.own, "MiB", None);
        report.tell(cell, "dataplane, peak", dataplane.peak, "MiB", None);
        Ok(())
    }

    /// One change a second.
    async fn churn(&mut self, plan: &Plan, cell: &str, report: &mut Report) -> io::Result<()> {
        self.settle(0).await?;
        let (before, begun) = (self.controller.cpu()?, Instant::now());
        let dataplane = self.dataplanes[0].cpu()?;
        let mut seconds = interval(Duration::from_secs(1));
        let mut change = plan.changes;
        while begun.elapsed() < plan.churn {
            seconds.tick().await;
            change += 1;
            let index = 1 + (change * 7919) % (plan.routes - 1);
            self.cluster.store.put(ROUTES, Route { index, edits: change }.object(self.services));
        }
        let elapsed = begun.elapsed().as_secs_f64();
        let cores = (self.controller.cpu()? - before).as_secs_f64() / elapsed;
        let target = Some(0.005).filter(|_| plan.routes == 5000);
        report.tell(cell, "controller, cores at a change a second", cores, "", target);
        let cores = (self.dataplanes[0].cpu()? - dataplane).as_secs_f64() / elapsed;
        report.tell(cell, "dataplane, cores at a change a second", cores, "", None);
        Ok(())
    }
}

/// Somebody who asks for a route that nobody changes.
struct Bystander {
    stop: Arc<AtomicBool>,
    errors: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<u64>,
}

impl Bystander {
    fn start(address: SocketAddr, route: Route) -> Self {
        let (stop, errors) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, failed) = (Arc::clone(&stop), Arc::clone(&errors));
        let task = tokio::spawn(async move {
            let mut client = Client::new(address);
            let (host, path) = (route.host(), route.path());
            let mut probes = 0;
            while !stopped.load(Ordering::Relaxed) {
                probes += 1;
                if !matches!(client.get(&host, &path).await, Ok(200)) {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
                sleep(Duration::from_millis(5)).await;
            }
            probes
        });
        Bystander { stop, errors, task }
    }

    /// Probes and errors.
    async fn stop(self) -> (f64, f64) {
        self.stop.store(true, Ordering::Relaxed);
        let probes = self.task.await.unwrap_or(0);
        #[allow(clippy::cast_precision_loss)] // Counts.
        (probes as f64, self.errors.load(Ordering::Relaxed) as f64)
    }
}
