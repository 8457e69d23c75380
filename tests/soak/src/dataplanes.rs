//! The dataplanes of the Gateway, which are replaced one after the other.

use std::{
    io,
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use gatehouse_tests::{
    eventually,
    pretended::{self, Cluster, Dataplane, Endpoint, Pod},
};
use tokio::{task::AbortHandle, time::sleep};

use crate::{
    balancer::Balancer,
    world::{GATEWAY, NAMESPACE, Ports},
};

const REPLICAS: usize = 2;
/// The default, longer than the balancer takes to learn that one is no more ready.
const DRAIN_DELAY: u64 = 5;
const DRAIN_TIMEOUT: u64 = 30;

pub(crate) struct Dataplanes {
    cluster: Arc<Cluster>,
    balancer: Arc<Balancer>,
    ports: Ports,
    running: Vec<Running>,
    started: u8,
}

struct Running {
    name: String,
    address: Ipv4Addr,
    dataplane: Dataplane,
    probe: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.probe.abort();
    }
}

impl Dataplanes {
    pub(crate) async fn start(
        cluster: Arc<Cluster>,
        balancer: Arc<Balancer>,
        ports: Ports,
    ) -> io::Result<Dataplanes> {
        let mut dataplanes = Dataplanes { cluster, balancer, ports, running: Vec::new(), started: 0 };
        for _ in 0..REPLICAS {
            dataplanes.add()?;
        }
        dataplanes.publish();
        for running in &dataplanes.running {
            dataplanes.ready(running).await;
        }
        Ok(dataplanes)
    }

    /// Replaces every dataplane.
    pub(crate) async fn roll(&mut self) -> io::Result<()> {
        for _ in 0..REPLICAS {
            self.add()?;
            if let Some(new) = self.running.last() {
                self.ready(new).await;
            }
            self.publish();
            let mut old = self.running.remove(0);
            self.publish();
            old.dataplane.process.terminate();
            old.ended().await?;
            self.balancer.forget(old.address);
        }
        Ok(())
    }

    fn add(&mut self) -> io::Result<()> {
        self.started += 1;
        let name = format!("dataplane-{}", self.started);
        let address = Ipv4Addr::new(127, 0, 8, self.started);
        let pod = Pod { name: &name, gateway: GATEWAY, address, channel: self.cluster.channel.port() };
        let drain = [
            &*format!("--drain-delay-seconds={DRAIN_DELAY}"),
            &*format!("--drain-timeout-seconds={DRAIN_TIMEOUT}"),
        ];
        let dataplane = self.cluster.dataplane(&pod, &drain)?;
        let probe = tokio::spawn(Arc::clone(&self.balancer).follow(address, dataplane.admin)).abort_handle();
        self.running.push(Running { name, address, dataplane, probe });
        Ok(())
    }

    async fn ready(&self, running: &Running) {
        eventually(&format!("{} is ready", running.name), async || {
            self.balancer.ready().contains(&running.address).then_some(())
        })
        .await;
    }

    /// Who stands behind the Gateway's Service.
    fn publish(&self) {
        let pods = self.running.iter().map(|running| Endpoint {
            pod: running.name.clone(),
            address: running.address,
            is_leaving: false,
        });
        let pods: Vec<Endpoint> = pods.collect();
        pretended::slice(&self.cluster.store, NAMESPACE, "edge-gatehouse", self.ports.http, &pods);
    }
}

impl Running {
    async fn ended(&mut self) -> io::Result<()> {
        let told = Instant::now();
        // It never takes longer than both times, and a moment for its logs.
        let most = Duration::from_secs(DRAIN_DELAY + DRAIN_TIMEOUT + 5);
        loop {
            if let Some(status) = self.dataplane.process.ended()? {
                assert!(status.success(), "{} ended with {status}", self.name);
                return Ok(());
            }
            assert!(told.elapsed() < most, "{} still runs after {:?}", self.name, told.elapsed());
            sleep(Duration::from_millis(20)).await;
        }
    }
}
