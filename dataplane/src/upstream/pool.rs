//! The connections that one worker keeps to endpoints. No other thread sees them, so nothing is locked.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;
use tokio::time::Instant;

use super::{
    Endpoint, Protocol, Service,
    age::Age,
    connect::{self, ConnectError},
    http1,
    multiplexed::{self, Multiplexed},
    stream::Stream,
};

/// How often [`Pool::sweep`] is to be called.
pub(crate) const SWEEP: Duration = Duration::from_secs(5);
/// [`super::age::IDLE`], and up to a sweep more.
const IDLE_SWEEPS: u64 = 11;
/// Idle connections to one endpoint; what comes back beyond them is closed.
const MAX_IDLE: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// By endpoint id.
    endpoints: RefCell<HashMap<u64, Kept, ahash::RandomState>>,
    scratch: http1::Scratch,
    /// Tells idle time as exactly as sweeps can use it, without a look at the clock for each request.
    sweeps: Cell<u64>,
    /// The departures that it has taken note of.
    departures: Cell<u64>,
}

#[derive(Debug)]
struct Kept {
    endpoint: Arc<Endpoint>,
    /// The last to come back is the first to go out.
    idle: Vec<Idle>,
    multiplexed: Multiplexed,
}

#[derive(Debug)]
struct Idle {
    connection: http1::Connection<Stream>,
    good: Good,
}

/// Until when an idle connection is good.
#[derive(Debug)]
enum Good {
    /// For some sweeps after this one.
    Since(u64),
    Until(Instant, Age),
}

/// A connection that is ready for a request.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) kind: Kind,
    /// It has carried requests before, so its peer may be closing it just now.
    pub(super) reused: bool,
    /// Where its time is bounded; a multiplexed one minds it itself.
    pub(super) age: Option<Age>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Http1(http1::Connection<Stream>),
    H2c(multiplexed::Stream),
}

impl Pool {
    /// A kept connection, or a new one that is opened within a time.
    pub(super) async fn connection(
        &self,
        endpoint: &Arc<Endpoint>,
        service: &Service,
        limit: Option<Duration>,
    ) -> Result<Connection, ConnectError> {
        match service.protocol {
            Protocol::Http1 => {
                if let Some((connection, age)) = self.take_idle(endpoint.id) {
                    return Ok(Connection { kind: Kind::Http1(connection), reused: true, age });
                }
                let age = service.keep().map(Age::new);
                let stream = connect::stream(endpoint, service.tls.as_deref(), limit).await?;
                let connection = http1::Connection::new(stream);
                Ok(Connection { kind: Kind::Http1(connection), reused: false, age })
            }
            Protocol::H2c => {
                let stream = self.stream(endpoint, service, limit).await?;
                Ok(Connection { reused: stream.reused, kind: Kind::H2c(stream), age: None })
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(
        &self,
        endpoint: &Arc<Endpoint>,
        connection: http1::Connection<Stream>,
        age: Option<Age>,
    ) {
        let good = match age {
            None => Good::Since(self.sweeps.get()),
            Some(age) => Good::Until(age.good_until(Instant::now()), age),
        };
        self.with(endpoint, |kept| {
            if kept.idle.len() < MAX_IDLE {
                kept.idle.push(Idle { connection, good });
            }
        });
    }

    /// Closes what has been idle for long, and what the backend has closed.
    pub(crate) fn sweep(&self) {
        let now = self.sweeps.get() + 1;
        self.sweeps.set(now);
        self.endpoints.borrow_mut().retain(|_, kept| {
            kept.idle.retain_mut(|idle| idle.good.at(now) && idle.connection.is_quiet());
            let is_multiplexed = kept.multiplexed.sweep(IDLE_SWEEPS);
            is_multiplexed || !kept.idle.is_empty()
        });
    }

    /// Closes idle connections to endpoints that are gone. Costs a look at a number while nobody has gone.
    pub(crate) fn part(&self) {
        let departures = Endpoint::departures();
        if self.departures.replace(departures) != departures {
            self.endpoints.borrow_mut().retain(|_, kept| !kept.endpoint.is_gone());
        }
    }

    pub(super) fn scratch(&self) -> &http1::Scratch {
        &self.scratch
    }

    /// What has something to say, was closed, or has been there for too long, is dropped.
    fn take_idle(&self, id: u64) -> Option<(http1::Connection<Stream>, Option<Age>)> {
        let mut endpoints = self.endpoints.borrow_mut();
        let idle = &mut endpoints.get_mut(&id)?.idle;
        loop {
            let Idle { mut connection, good } = idle.pop()?;
            if good.at(self.sweeps.get()) && connection.is_quiet() {
                let age = match good {
                    Good::Since(_) => None,
                    Good::Until(_, age) => Some(age),
                };
                return Some((connection, age));
            }
        }
    }

    /// A place on a connection that many streams share. Not kept where the endpoint is gone. Who waits for one that another
    /// opens gives it the other's time.
    async fn stream(
        &self,
        endpoint: &Arc<Endpoint>,
        service: &Service,
        limit: Option<Duration>,
    ) -> Result<multiplexed::Stream, ConnectError> {
        loop {
            let mut alone = Multiplexed::default();
            let taken = self.with(endpoint, |kept| kept.multiplexed.take(endpoint, service, limit));
            let opening = match taken.unwrap_or_else(|| alone.take(endpoint, service, limit)) {
                Ok(stream) => return Ok(stream),
                Err(opening) => opening,
            };
            let opened = opening.await;
            let known = opened.as_ref().ok().cloned();
            let kept = self.with(endpoint, |kept| kept.multiplexed.settle(known));
            let mut opened = opened?;
            // What is closed already fails as it would have later, rather than be opened again and again.
            if kept.is_none() || opened.is_closed() {
                return Ok(opened.take());
            }
        }
    }

    /// `None`: the endpoint is gone, and nothing of it is kept.
    fn with<T>(&self, endpoint: &Arc<Endpoint>, change: impl FnOnce(&mut Kept) -> T) -> Option<T> {
        if endpoint.is_gone() {
            return None;
        }
        let mut endpoints = self.endpoints.borrow_mut();
        Some(change(endpoints.entry(endpoint.id).or_insert_with(|| Kept {
            endpoint: Arc::clone(endpoint),
            idle: Vec::new(),
            multiplexed: Multiplexed::default(),
        })))
    }
}

impl Good {
    fn at(&self, sweep: u64) -> bool {
        match self {
            Good::Since(since) => sweep - since < IDLE_SWEEPS,
            Good::Until(until, _) => Instant::now() < *until,
        }
    }
}
