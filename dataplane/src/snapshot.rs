//! The state that requests are served by: immutable, shared by all workers, replaced as a whole.
//!
//! Everything that a request needs is computed before: expressions, header names and values, address ranges, metric
//! handles. Things that live longer than a state (connections, counts, endpoints) are handles carried over from the
//! state before, so that a change to one route never touches another.

mod aggregate;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use http::{HeaderName, HeaderValue, StatusCode};
use ipnet::IpNet;
use rustls::sign::CertifiedKey;

use crate::{
    auth, cache,
    compile::{Asked, Keyed},
    filter::{Cors, Fault, HeaderChanges, Redirect, Rewrite},
    http::http1,
    limit,
    listen::Clients,
    observe::metrics::RouteMetrics,
    rollout::Rollout,
    route::{HostMap, Table},
    upstream::{Key, Patience, Service},
};

pub(crate) use aggregate::{Aggregate, OnFailure, Part};

#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) settings: Settings,
    /// Of TCP, by number.
    pub(crate) ports: BTreeMap<u16, Port>,
    /// Ports of UDP, by number.
    pub(crate) datagrams: BTreeMap<u16, Arc<Listener>>,
    pub(crate) consumers: Arc<auth::Consumers>,
    /// Services whose endpoints are watched, by the names of their resources.
    pub(crate) watched: Arc<BTreeMap<String, Arc<Service>>>,
    /// For tokens that name a key which is not known yet.
    pub(crate) keyed: Arc<Keyed>,
    /// Who says whether requests may pass.
    pub(crate) asked: Arc<Asked>,
}

/// What holds for the whole Gateway.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) limits: Limits,
    /// Where limits of store Redis count.
    pub(crate) redis: Option<limit::RedisTarget>,
    /// What answers that are kept may take.
    pub(crate) cache_bytes: u64,
}

/// Bounds on what clients can make grow.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) head: http1::Limits,
    pub(crate) concurrent_streams: u32,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) body_idle_timeout: Duration,
    pub(crate) tls_handshake_timeout: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) speaks: Speaks,
    /// `None`: clients are not asked for certificates.
    pub(crate) clients: Option<Arc<Clients>>,
    pub(crate) listeners: HostMap<Arc<Listener>>,
}

/// What a port's clients begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http,
    Https,
    /// TLS, and not for HTTPS alone: the server name decides for what.
    Tls,
    /// Anything: it is passed on.
    Tcp,
}

#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
    /// The preferred first.
    pub(crate) certificates: Arc<[Arc<CertifiedKey>]>,
    pub(crate) routes: Table<Rule>,
    /// A stream, or what belongs to a client address, ends when nothing has moved for so long.
    pub(crate) stream_idle_timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Https,
    Tcp,
    /// A stream of TLS that is passed on as it is, by its server name.
    TlsPassthrough,
    /// The same, but without the TLS.
    TlsTerminate,
    Udp,
}

impl Protocol {
    /// The handshake is with us.
    pub(crate) fn is_terminated(self) -> bool {
        matches!(self, Protocol::Https | Protocol::TlsTerminate)
    }
}

/// One rule of one route object, with what it names resolved.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) plan: Plan,
    /// Most rules have none: it takes one word.
    pub(crate) policies: Option<Box<Policies>>,
    /// One for each backend of the plan, then one for each mirror and each that stands in, or one for each part; `None`: a
    /// broken reference.
    pub(crate) services: Box<[Option<Arc<Service>>]>,
}

/// `None` stands for a policy that this dataplane does not have: it refuses.
#[derive(Debug, Clone)]
pub(crate) struct Policies {
    pub(crate) auth: Box<[Option<Arc<auth::Policy>>]>,
    pub(crate) limits: Box<[Option<Arc<limit::Policy>>]>,
}

/// What a rule does, by itself.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) request_headers: HeaderChanges,
    pub(crate) response_headers: HeaderChanges,
    pub(crate) timeouts: Timeouts,
    /// Rare: one word for most, here and below.
    pub(crate) patience: Option<Box<Patience>>,
    pub(crate) cors: Option<Box<Cors>>,
    /// The same.
    pub(crate) fault: Option<Box<Fault>>,
    /// The same.
    pub(crate) cache: Option<Box<Cache>>,
    /// Bytes that a request's body may have.
    pub(crate) max_body: Option<NonZeroU64>,
    pub(crate) action: Action,
    pub(crate) metrics: Arc<RouteMetrics>,
}

/// Which answers of the backends are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cache {
    /// The rule, as far as it says what requests the backends get: with another, no answer is given again.
    pub(crate) name: Box<[u8]>,
    /// Bytes of a body.
    pub(crate) max_body: usize,
    /// Everybody gets the same.
    pub(crate) shared: bool,
    /// Where an answer does not say.
    pub(crate) stale_while_revalidate: Duration,
}

/// In milliseconds; a route has them in one word.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Timeouts {
    request: Option<NonZeroU32>,
    attempt: Option<NonZeroU32>,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Forward(Forward),
    Redirect(Box<Redirect>),
    Respond(Box<Respond>),
    Aggregate(Box<Aggregate>),
    Broken,
    /// 503: what guarded it elsewhere is missing.
    Closed,
}

#[derive(Debug, Clone)]
pub(crate) struct Forward {
    pub(crate) backends: Box<[Backend]>,
    pub(crate) total_weight: u64,
    pub(crate) rewrite: Rewrite,
    /// Rare: one word for most.
    pub(crate) repeats: Option<Box<Repeats>>,
    /// The same.
    pub(crate) rollout: Option<Box<Rollout>>,
}

/// How a request goes out more than once, or elsewhere.
#[derive(Debug, Clone)]
pub(crate) struct Repeats {
    pub(crate) mirrors: Box<[Share]>,
    pub(crate) retry: Option<Retry>,
    /// How many Services stand in for the backends.
    pub(crate) failovers: usize,
    /// What requests share that go to the same backend and endpoint.
    pub(crate) affinity: Option<Key>,
}

/// When a request is sent again.
#[derive(Debug, Clone)]
pub(crate) struct Retry {
    pub(crate) codes: Box<[StatusCode]>,
    /// At most, after the first time.
    pub(crate) attempts: u32,
    pub(crate) backoff: Duration,
}

/// Of `whole` requests, `part`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) part: u32,
    pub(crate) whole: NonZeroU32,
}

#[derive(Debug, Clone)]
pub(crate) struct Backend {
    /// Of this and all backends before it.
    pub(crate) weight_until: u64,
    pub(crate) request_headers: HeaderChanges,
    pub(crate) response_headers: HeaderChanges,
}

#[derive(Debug, Clone)]
pub(crate) struct Respond {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: bytes::Bytes,
}

impl Rule {
    pub(crate) fn auth(&self) -> &[Option<Arc<auth::Policy>>] {
        self.policies.as_ref().map_or(&[], |policies| &policies.auth)
    }

    pub(crate) fn limits(&self) -> &[Option<Arc<limit::Policy>>] {
        self.policies.as_ref().map_or(&[], |policies| &policies.limits)
    }

    /// The Services that stand in for its backends.
    pub(crate) fn failover(&self, repeats: &Repeats) -> &[Option<Arc<Service>>] {
        &self.services[self.services.len() - repeats.failovers..]
    }
}

impl Plan {
    /// `Kind/namespace/name`.
    pub(crate) fn object(&self) -> &str {
        self.metrics.object()
    }
}

impl Timeouts {
    /// 0: none. Seven weeks are the most.
    pub(crate) fn milliseconds(request: u64, attempt: u64) -> Self {
        let most = |count: u64| NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX));
        Timeouts { request: most(request), attempt: most(attempt) }
    }

    /// From the request's head to the response's head, retries included.
    pub(crate) fn request(self) -> Option<Duration> {
        self.request.map(|count| Duration::from_millis(count.get().into()))
    }

    /// The same for one attempt.
    pub(crate) fn attempt(self) -> Option<Duration> {
        self.attempt.map(|count| Duration::from_millis(count.get().into()))
    }
}

impl Settings {
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|range| range.contains(&address))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            redis: None,
            cache_bytes: cache::DEFAULT_BYTES,
        }
    }
}

/// Sized for the edge of a network, not for a mesh.
impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 50_000,
            head: http1::Limits::default(),
            concurrent_streams: 100,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_idle_timeout: Duration::from_secs(60),
            tls_handshake_timeout: Duration::from_secs(10),
        }
    }
}

impl Share {
    pub(crate) fn takes(self, random: impl FnOnce() -> u64) -> bool {
        self.part >= self.whole.get() || random() % u64::from(self.whole.get()) < u64::from(self.part)
    }
}

impl Forward {
    /// Index of the backend whose share of the weights `random` falls into; `None` if all weights are 0.
    pub(crate) fn choose(&self, random: impl FnOnce() -> u64) -> Option<usize> {
        match &*self.backends {
            _ if self.total_weight == 0 => None,
            [_] => Some(0),
            backends => {
                let point = random() % self.total_weight;
                Some(backends.partition_point(|backend| backend.weight_until <= point))
            }
        }
    }
}
