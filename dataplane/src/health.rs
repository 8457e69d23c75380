//! Active checks: asks the endpoints of Services whether they are fit, whether or not requests go there.
//!
//! One task a Service, on the control runtime: however many workers and routes there are, an endpoint is checked once. A
//! check has a connection of its own, made as those of requests are. What is found out stays with the endpoint, so that
//! another check of it goes on from there.

mod check;
mod grpc;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, hash::BuildHasher, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::info;

use crate::{
    seeds::Seeds,
    upstream::{ActiveCheck, Service},
};
use check::{Unfit, check};

/// Checks that are under way at once; others wait for their turn.
const AT_ONCE: usize = 64;
/// The first check of a Service comes within this, so that many Services don't begin together.
const FIRST: Duration = Duration::from_secs(1);

/// Every Service's checks. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Checks {
    runtime: Handle,
    turns: Arc<Semaphore>,
    running: BTreeMap<String, Running>,
}

#[derive(Debug)]
struct Running {
    service: Arc<Service>,
    task: AbortHandle,
}

impl Checks {
    pub(crate) fn new(runtime: Handle) -> Self {
        Checks { runtime, turns: Arc::new(Semaphore::new(AT_ONCE)), running: BTreeMap::new() }
    }

    /// Checks these from now on: what is the same goes on.
    pub(crate) fn update(&mut self, services: &BTreeMap<String, Arc<Service>>) {
        self.running.retain(|name, running| {
            let now = services.get(name);
            let is_same = now.is_some_and(|service| Arc::ptr_eq(service, &running.service));
            if !is_same {
                running.task.abort();
            }
            if now.is_none_or(|service| service.active().is_none()) {
                // Nobody would ever find out that it is fit again.
                running.service.endpoints.forget_checks();
            }
            is_same
        });
        for (name, service) in services {
            if service.active().is_some() && !self.running.contains_key(name) {
                let checking = run(Arc::clone(service), Arc::clone(&self.turns), Seeds::default());
                let task = self.runtime.spawn(checking).abort_handle();
                self.running.insert(name.clone(), Running { service: Arc::clone(service), task });
            }
        }
    }
}

impl Drop for Checks {
    fn drop(&mut self) {
        for running in self.running.values() {
            running.task.abort();
        }
    }
}

async fn run(service: Arc<Service>, turns: Arc<Semaphore>, seeds: Seeds) {
    let Some(active) = service.active() else { return };
    sleep(share(FIRST.min(active.interval), seeds.hash_one(0))).await;
    for round in 1_u64.. {
        let began = Instant::now();
        let endpoints = service.endpoints.load_full().all().to_vec();
        let (service, turns) = (&service, &turns);
        futures_util::stream::iter(endpoints)
            .for_each_concurrent(None, |endpoint| async move {
                let Ok(_turn) = turns.acquire().await else { return };
                let checked = timeout(active.timeout, check(service, &endpoint, &active.probe)).await;
                let found = checked.unwrap_or(Err(Unfit::Silent));
                match (service.endpoints.note_check(&endpoint, found.is_ok(), active), found) {
                    (true, Ok(())) => {
                        info!(service = %service.label, endpoint = %endpoint.address, "endpoint is healthy");
                    }
                    (true, Err(error)) => {
                        info!(service = %service.label, endpoint = %endpoint.address, %error, "endpoint is unhealthy");
                    }
                    (false, _) => {}
                }
            })
            .await;
        sleep_until(began + wait(active, seeds.hash_one(round))).await;
    }
}

/// From one round to the next: a tenth more or less than the interval.
fn wait(active: &ActiveCheck, random: u64) -> Duration {
    active.interval * 9 / 10 + share(active.interval / 5, random)
}

fn share(whole: Duration, random: u64) -> Duration {
    let whole = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(if whole == 0 { 0 } else { random % whole })
}
