//! Backends that are names: asks DNS for their addresses, and again when the time of an answer is over.
//!
//! One task a Service, on the control runtime. What it finds takes the place of endpoints; until a name has been looked up
//! for the first time, and while it can't be, what was there before stays. Nothing here waits for a request, nor a request
//! for this.

mod address;
mod ask;
mod known;
mod message;
mod servers;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    hash::BuildHasher,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gatehouse_proto::config::v1;
use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, sleep},
};
use tracing::{info, warn};

use crate::{
    observe::metrics::Metrics,
    seeds::Seeds,
    upstream::{EndpointCell, Place},
};
use ask::ask;
use known::Known;
use message::{Family, Host};
use servers::Servers;

/// Names that are looked up at once; others wait for their turn.
const AT_ONCE: usize = 64;

/// A backend that is a name.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// `namespace/name/port`, for logs.
    pub(crate) label: Arc<str>,
    host: Host,
    port: u16,
    /// Where the addresses go.
    endpoints: Arc<EndpointCell>,
}

/// How names are looked up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    servers: Servers,
    allowed: Vec<IpNet>,
}

/// All backends that are names. The looking up ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Names {
    runtime: Handle,
    metrics: Arc<Metrics>,
    turns: Arc<Semaphore>,
    options: Arc<Options>,
    running: BTreeMap<String, Running>,
    unsettled: Unsettled,
}

#[derive(Debug)]
struct Running {
    named: Named,
    known: Arc<Mutex<Known>>,
    task: AbortHandle,
}

/// How many names have not been looked up once, whatever came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unsettled(Arc<AtomicUsize>);

/// One of them, while it lives.
struct First(Unsettled);

impl Named {
    /// The error is a sentence.
    pub(crate) fn new(
        label: Arc<str>,
        dns: &v1::DnsName,
        endpoints: Arc<EndpointCell>,
    ) -> Result<Self, String> {
        let port = u16::try_from(dns.port).ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| format!("port {} of {} is none", dns.port, dns.name))?;
        Ok(Named { label, host: Host::parse(&dns.name)?, port, endpoints })
    }

    fn is_for(&self, other: &Named) -> bool {
        self.host == other.host && self.port == other.port
    }
}

impl Options {
    /// The error is a sentence.
    pub(crate) fn compile(wire: Option<&v1::Names>) -> Result<Self, String> {
        let Some(wire) = wire else { return Ok(Options::default()) };
        let range = |text: &String| {
            let one = || text.parse().map(|address: std::net::IpAddr| IpNet::from(address));
            let range = text.parse::<IpNet>().or_else(|_| one());
            range.map_err(|_| format!("externalNames.allowedAddresses: {text:?} is no address range"))
        };
        Ok(Options {
            servers: Servers::compile(&wire.servers)?,
            allowed: wire.allowed_addresses.iter().map(range).collect::<Result<_, _>>()?,
        })
    }
}

impl Names {
    pub(crate) fn new(runtime: Handle, metrics: Arc<Metrics>) -> Self {
        Names {
            runtime,
            metrics,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            options: Arc::default(),
            running: BTreeMap::new(),
            unsettled: Unsettled::default(),
        }
    }

    /// Tells how many are not settled.
    pub(crate) fn unsettled(&self) -> Unsettled {
        self.unsettled.clone()
    }

    /// Looks these up from now on: what is the same goes on.
    pub(crate) fn update(&mut self, names: &BTreeMap<String, Named>, options: &Options) {
        let is_new = *self.options != *options;
        if is_new {
            self.options = Arc::new(options.clone());
        }
        let mut before = std::mem::take(&mut self.running);
        for (service, named) in names {
            let running = match before.remove(service) {
                Some(running) if running.named.is_for(named) => {
                    let is_same = Arc::ptr_eq(&running.named.endpoints, &named.endpoints);
                    if is_same && !is_new {
                        running
                    } else {
                        running.task.abort();
                        self.start(named, running.known)
                    }
                }
                // The addresses of the other name stay until this one has been looked up.
                Some(running) => {
                    running.task.abort();
                    self.start(named, Arc::default())
                }
                None => self.start(named, Arc::default()),
            };
            self.running.insert(service.clone(), running);
        }
        for gone in before.into_values() {
            gone.task.abort();
            gone.named.endpoints.replace(Vec::new(), false);
        }
    }

    fn start(&self, named: &Named, known: Arc<Mutex<Known>>) -> Running {
        let lookup = Lookup {
            named: named.clone(),
            known: Arc::clone(&known),
            options: Arc::clone(&self.options),
            turns: Arc::clone(&self.turns),
            metrics: Arc::clone(&self.metrics),
        };
        let task = self.runtime.spawn(lookup.run(self.unsettled.first())).abort_handle();
        Running { named: named.clone(), known, task }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        for running in self.running.values() {
            running.task.abort();
        }
    }
}

impl Unsettled {
    fn first(&self) -> First {
        self.0.fetch_add(1, Ordering::Relaxed);
        First(self.clone())
    }

    pub(crate) fn is_none(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Drop for First {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a task needs.
struct Lookup {
    named: Named,
    known: Arc<Mutex<Known>>,
    options: Arc<Options>,
    turns: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Lookup {
    async fn run(self, first: First) {
        let mut first = Some(first);
        let mut told = None;
        let seeds = Seeds::default();
        for round in 0_u64.. {
            let wait = self.once(&mut told).await;
            drop(first.take());
            // A tenth less at most, so that names of one time don't stay together.
            let tenth = u64::try_from(wait.as_micros() / 10).unwrap_or(u64::MAX).max(1);
            sleep(wait - Duration::from_micros(seeds.hash_one(round) % tenth)).await;
        }
    }

    /// Gives for how long what came of it is good. `told`: what was last told of it.
    async fn once(&self, told: &mut Option<Told>) -> Duration {
        let Named { host, port, endpoints, label } = &self.named;
        let (v4, v6) = {
            let Ok(_turn) = self.turns.acquire().await else { return Duration::MAX };
            let servers = self.options.servers.load().await;
            tokio::join!(ask(&servers, host, Family::V4), ask(&servers, host, Family::V6))
        };
        for outcome in [&v4, &v6] {
            self.metrics.dns_lookups.add(1);
            self.metrics.dns_lookup_failures.add(u64::from(outcome.is_err()));
        }
        let failure = v4.as_ref().err().or(v6.as_ref().err()).map(ToString::to_string);
        let (found, wait) = {
            let mut known = self.known.lock();
            let wait = known.note(v4, v6, Instant::now());
            (known.addresses(), wait)
        };
        let usable = address::usable(&found, &self.options.allowed);
        let refused = found.len() - usable.len();
        self.metrics.dns_addresses_refused.add(refused as u64);
        let reachable = address::with_route(usable);
        let addresses: Vec<SocketAddr> =
            reachable.into_iter().map(|address| SocketAddr::new(address, *port)).collect();
        let now = Told { addresses, refused, failure };
        if told.as_ref() != Some(&now) {
            let Told { addresses, refused, failure } = &now;
            if failure.is_some() || *refused > 0 || addresses.is_empty() {
                let failure = failure.as_deref().unwrap_or("none");
                warn!(service = %label, %host, ?addresses, refused, failure, "a backend's name can't be used as a whole");
            } else {
                info!(service = %label, %host, ?addresses, "a backend's name was looked up");
            }
            endpoints.replace(now.addresses.iter().copied().map(Place::from).collect(), false);
            *told = Some(now);
        }
        wait
    }
}

/// What came of a look-up.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    addresses: Vec<SocketAddr>,
    /// Addresses that must not be connected to.
    refused: usize,
    failure: Option<String>,
}
