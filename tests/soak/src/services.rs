//! The Services and their pods, which are replaced as a Deployment replaces them.

use std::{collections::VecDeque, io, net::Ipv4Addr, sync::Arc, time::Duration};

use gatehouse_tests::pretended::{self, Store};
use tokio::time::sleep;

use crate::{backend::Pod, ledger::Ledger, request::SERVICES, world::NAMESPACE};

/// Of each Service.
const REPLICAS: usize = 3;
/// Twice as many as there are pods: the address of one that is gone is soon another's, perhaps of the other Service.
const ADDRESSES: u8 = 12;
/// How long a pod with a preStop hook serves on when it is told to end.
const PRE_STOP: Duration = Duration::from_secs(1);
/// Between the end of a pod and that of the next.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct Services {
    store: Arc<Store>,
    ledger: Arc<Ledger>,
    port: u16,
    /// The longest free first.
    free: VecDeque<Ipv4Addr>,
    pods: [VecDeque<Pod>; SERVICES.len()],
    started: u64,
}

impl Services {
    pub(crate) async fn start(store: Arc<Store>, ledger: Arc<Ledger>) -> io::Result<Services> {
        let free = (1..=ADDRESSES).map(|last| Ipv4Addr::new(127, 0, 9, last)).collect();
        let port = pretended::free()?;
        let mut services = Services { store, ledger, port, free, pods: Default::default(), started: 0 };
        for (service, name) in SERVICES.into_iter().enumerate() {
            pretended::service(&services.store, NAMESPACE, name);
            for _ in 0..REPLICAS {
                services.add(service).await?;
            }
        }
        Ok(services)
    }

    /// Replaces every pod.
    pub(crate) async fn roll(&mut self) -> io::Result<()> {
        for replica in 0..REPLICAS {
            for service in 0..SERVICES.len() {
                self.add(service).await?;
            }
            for service in 0..SERVICES.len() {
                let leaving = self.pods[service].pop_front().expect("there are replicas");
                self.publish(service, Some(&leaving));
                // Others end at once, while requests are still on their way to them.
                if replica.is_multiple_of(2) {
                    sleep(PRE_STOP).await;
                }
                self.free.push_back(leaving.address);
                drop(leaving);
                self.publish(service, None);
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    async fn add(&mut self, service: usize) -> io::Result<()> {
        let address = self.free.pop_front().expect("there are more addresses than pods");
        let name = format!("{}-{}", SERVICES[service], self.started);
        self.started += 1;
        let pod = Pod::start(SERVICES[service], name, (address, self.port), Arc::clone(&self.ledger)).await?;
        self.pods[service].push_back(pod);
        self.publish(service, None);
        Ok(())
    }

    fn publish(&self, service: usize, leaving: Option<&Pod>) {
        let staying = self.pods[service].iter().map(|pod| pod.endpoint(false));
        let endpoints: Vec<_> = staying.chain(leaving.map(|pod| pod.endpoint(true))).collect();
        pretended::slice(&self.store, NAMESPACE, SERVICES[service], self.port, &endpoints);
    }
}
