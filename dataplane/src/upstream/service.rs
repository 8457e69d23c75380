//! A backend as routes refer to it, and what a TrafficPolicy says of it.

use std::{sync::Arc, time::Duration};

use gatehouse_proto::config::v1::{self, ZonePreference};
use tracing::info;

use super::{
    Active, Endpoint, EndpointCell, Standing, Tls,
    active::ActiveCheck,
    age::Keep,
    balance::{self, Affinity, Asker, Avoid, Balance, Draw, Tried},
    clock,
    constraint::Constraint,
    endpoint::Set,
    outlier::{Outcome, Passive},
};

use crate::{Reason, filter::compression::Compression};

#[derive(Debug)]
pub(crate) struct Service {
    /// `namespace/name/port`, for logs and metrics.
    pub(crate) label: Arc<str>,
    pub(crate) protocol: Protocol,
    /// `None`: in clear text.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) endpoints: Arc<EndpointCell>,
    /// `None` for most: of two drawn at random, the one with fewer requests under way, and nobody is watched.
    pub(crate) traffic: Option<Box<Traffic>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    /// HTTP/2 by prior knowledge, or as TLS agrees on.
    H2c,
}

/// What a TrafficPolicy says of a Service.
#[derive(Debug)]
pub(crate) struct Traffic {
    balance: Balance,
    passive: Option<Passive>,
    active: Option<ActiveCheck>,
    /// Requests under way; 0: no bound.
    most: u32,
    most_each: u32,
    retries: Option<Constraint>,
    keep: Option<Keep>,
    /// How long an endpoint that comes to others takes to its whole share, in milliseconds; 0: no time.
    slow_start: u64,
    compression: Option<Compression>,
    zone_preference: ZonePreference,
}

/// Of a thousand choices that fall on an endpoint that has just come, how many it gets at least.
const AT_FIRST: u64 = 100;
/// How often another is sought in its place.
const TURNS: u64 = 4;

/// A request under way to an endpoint whose failures count. Dropped, it says nothing: the client has gone.
#[derive(Debug)]
pub(crate) struct Watched<'a> {
    service: &'a Service,
    passive: &'a Passive,
    endpoint: Arc<Endpoint>,
}

impl Service {
    /// What requests that belong to one endpoint share. `None`: any endpoint will do.
    pub(crate) fn key(&self, asker: &Asker<'_>) -> Option<u64> {
        self.traffic.as_ref()?.balance.key(asker)
    }

    /// The same of a request whose answer may set a cookie.
    pub(crate) fn affinity(&self, asker: &Asker<'_>, random: impl FnMut() -> u64) -> Affinity {
        match &self.traffic {
            None => Affinity::default(),
            Some(traffic) => traffic.balance.affinity(asker, random),
        }
    }

    /// An endpoint for a request with this key; none that it has `tried`, while there are others.
    pub(crate) fn pick(
        &self,
        mut random: impl FnMut() -> u64,
        key: Option<u64>,
        tried: &Tried,
    ) -> Option<Arc<Endpoint>> {
        match &self.traffic {
            None => {
                let set = self.endpoints.load();
                if key.is_none() && !set.prefers_near() && tried.is_empty() {
                    return balance::least(set.all(), random, Avoid::Nothing).cloned();
                }
                let is_near = key.is_none() && set.prefers_near();
                let near = if is_near { set.nearest(&mut random) } else { set.all() };
                let balance = Balance::LeastRequest;
                let pick =
                    |among, avoid| balance.pick(among, Draw { random: &mut random, turn: 0, key, avoid });
                first(near, set.all(), tried, pick).cloned()
            }
            Some(traffic) => {
                let (set, turn) = self.endpoints.choice(clock::now);
                if set.none_healthy() && traffic.active.as_ref().is_some_and(|active| active.refuses) {
                    return None;
                }
                // What has a key belongs to the same endpoint in every zone.
                let near = if key.is_none() && traffic.prefers_near(&set) {
                    set.nearest(&mut random)
                } else {
                    set.eligible()
                };
                let pick = |among, avoid| traffic.pick(among, Draw { random: &mut random, turn, key, avoid });
                first(near, set.eligible(), tried, pick).cloned()
            }
        }
    }

    /// Of a hundred requests, how many go here while there is a Service that stands in. 0: nobody is fit.
    pub(crate) fn percent(&self) -> u64 {
        self.endpoints.current(clock::now).percent()
    }

    /// A request's head that is made for the other is good for this one too.
    pub(crate) fn speaks_as(&self, other: &Service) -> bool {
        self.protocol == other.protocol && self.tls.is_some() == other.tls.is_some()
    }

    /// There is an endpoint to go to that has not been tried.
    pub(crate) fn has_untried(&self, tried: &Tried) -> bool {
        self.endpoints.load().eligible().iter().any(|endpoint| !tried.has(endpoint.id))
    }

    /// Picks an endpoint and counts the request towards it.
    pub(crate) fn take(
        &self,
        random: impl FnMut() -> u64,
        key: Option<u64>,
        tried: &Tried,
    ) -> Result<Active, Reason> {
        let endpoint = self.pick(random, key, tried).ok_or(Reason::NoEndpoints)?;
        match &self.traffic {
            Some(traffic) if traffic.most > 0 || traffic.most_each > 0 => {
                self.take_within(&endpoint, traffic, tried).ok_or(Reason::UpstreamFull)
            }
            _ => Ok(endpoint.begin()),
        }
    }

    /// This one, or another that has room.
    fn take_within(&self, picked: &Arc<Endpoint>, traffic: &Traffic, tried: &Tried) -> Option<Active> {
        let of_service = match traffic.most {
            0 => None,
            most => Some(self.endpoints.begin_within(most)?),
        };
        let set = self.endpoints.load();
        let others = set.eligible().iter().filter(|endpoint| !tried.has(endpoint.id));
        let mut order = std::iter::once(picked).chain(others).chain(set.eligible());
        order.find_map(|endpoint| endpoint.begin_within(traffic.most_each)).map(|one| one.with(of_service))
    }

    /// To be told how a request to the endpoint ends. `None`: it does not count.
    pub(crate) fn watch(&self, endpoint: &Arc<Endpoint>) -> Option<Watched<'_>> {
        let passive = self.traffic.as_ref()?.passive.as_ref()?;
        Some(Watched { service: self, passive, endpoint: Arc::clone(endpoint) })
    }

    /// A request comes, which may have to be sent more than once.
    pub(crate) fn note_request(&self) {
        if let Some(retries) = self.retries() {
            retries.note(self.endpoints.spent(), clock::now());
        }
    }

    /// `true`: a request may be sent again, and that counts.
    pub(crate) fn may_retry(&self) -> bool {
        self.retries().is_none_or(|retries| retries.take(self.endpoints.spent(), clock::now()))
    }

    fn retries(&self) -> Option<&Constraint> {
        self.traffic.as_ref()?.retries.as_ref()
    }

    /// Which of its answers are compressed.
    pub(crate) fn compression(&self) -> Option<&Compression> {
        self.traffic.as_ref()?.compression.as_ref()
    }

    /// How long its connections are good for. `None`: as long as the pool likes.
    pub(super) fn keep(&self) -> Option<Keep> {
        self.traffic.as_ref()?.keep
    }

    pub(crate) fn standing(&self) -> Standing {
        self.endpoints.standing(Arc::clone(&self.label), clock::now())
    }

    /// How its endpoints are asked. `None`: they are not.
    pub(crate) fn active(&self) -> Option<&ActiveCheck> {
        self.traffic.as_ref()?.active.as_ref()
    }

    /// Requests or checks tell of its endpoints.
    pub(crate) fn is_watched(&self) -> bool {
        self.traffic.as_ref().is_some_and(|traffic| traffic.passive.is_some() || traffic.active.is_some())
    }
}

/// What `pick` finds: whom the request has not been sent to comes before whom it has, and then who is near.
fn first<'a, 't>(
    near: &'a [Arc<Endpoint>],
    all: &'a [Arc<Endpoint>],
    tried: &'t Tried,
    mut pick: impl FnMut(&'a [Arc<Endpoint>], Avoid<'t>) -> Option<&'a Arc<Endpoint>>,
) -> Option<&'a Arc<Endpoint>> {
    let found = pick(near, Avoid::All(tried));
    found.or_else(|| tried.avoided().into_iter().find_map(|avoid| pick(all, avoid)))
}

impl Watched<'_> {
    pub(crate) fn ended(self, outcome: Outcome) {
        let Watched { service, passive, endpoint } = self;
        if !passive.note(endpoint.tally(), outcome, clock::now) {
            return;
        }
        if let Some(time) = service.endpoints.eject(&endpoint, passive, clock::now()) {
            let seconds = Duration::from_millis(time).as_secs_f64();
            info!(service = %service.label, endpoint = %endpoint.address, seconds, "endpoint ejected: it fails");
        }
    }
}

impl Traffic {
    /// `None`: nothing is said. The error is a sentence.
    pub(crate) fn compile(service: &v1::Service) -> Result<Option<Box<Self>>, String> {
        let v1::Service {
            load_balancing,
            passive,
            active,
            max_requests,
            max_requests_per_endpoint,
            retry_constraint,
            slow_start_ms,
            compression,
            zone_preference,
            ..
        } = service;
        let keep = Keep::compile(service);
        let numbers = [u64::from(*max_requests), u64::from(*max_requests_per_endpoint), *slow_start_ms];
        if load_balancing.is_none()
            && passive.is_none()
            && active.is_none()
            && retry_constraint.is_none()
            && keep.is_none()
            && compression.is_none()
            && numbers == [0; 3]
            && *zone_preference == 0
        {
            return Ok(None);
        }
        Ok(Some(Box::new(Traffic {
            balance: Balance::compile(load_balancing.as_ref())?,
            passive: passive.as_ref().map(Passive::compile),
            active: active.as_ref().map(ActiveCheck::compile).transpose()?,
            most: *max_requests,
            most_each: *max_requests_per_endpoint,
            retries: retry_constraint.as_ref().map(Constraint::compile),
            keep,
            slow_start: *slow_start_ms,
            compression: compression.as_ref().map(Compression::compile).transpose()?,
            zone_preference: service.zone_preference(),
        })))
    }

    fn prefers_near(&self, set: &Set) -> bool {
        match self.zone_preference {
            ZonePreference::SameZone => true,
            ZonePreference::Anywhere => false,
            ZonePreference::Unspecified => set.prefers_near(),
        }
    }

    fn pick<'a>(
        &self,
        among: &'a [Arc<Endpoint>],
        draw: Draw<'_, impl FnMut() -> u64>,
    ) -> Option<&'a Arc<Endpoint>> {
        let Draw { mut random, turn, key, avoid } = draw;
        let mut picked = self.balance.pick(among, Draw { random: &mut random, turn, key, avoid })?;
        if self.slow_start == 0 || key.is_some() || !avoid.is_nothing() {
            return Some(picked);
        }
        for next in 1..=TURNS {
            if picked.joined() == 0 || self.has_started(picked, clock::now(), &mut random) {
                break;
            }
            let avoid = Avoid::One(picked.id);
            let draw = Draw { random: &mut random, turn: turn.wrapping_add(next), key, avoid };
            let Some(other) = self.balance.pick(among, draw) else { break };
            picked = other;
        }
        Some(picked)
    }

    /// Whether an endpoint that has just come is to have this request: the longer it is there, the more of them.
    fn has_started(&self, endpoint: &Endpoint, now: u64, random: &mut impl FnMut() -> u64) -> bool {
        let share = now.saturating_sub(endpoint.joined()).saturating_mul(1000) / self.slow_start;
        random() % 1000 < share.max(AT_FIRST)
    }
}
