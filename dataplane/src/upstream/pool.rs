//! The connections that one worker keeps to endpoints. No other thread sees them, so nothing is locked.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;

use super::{
    Endpoint, Protocol, Service,
    connect::{self, ConnectError},
    http1,
    multiplexed::{self, Multiplexed},
    stream::Stream,
};

/// How often [`Pool::sweep`] is to be called.
pub(crate) const SWEEP: Duration = Duration::from_secs(5);
/// 50 to 55 seconds: below the keep-alive time of common servers (nginx 75 s, Node 5 s excepted), so that they seldom close
/// first.
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
    /// The sweep before which it came back.
    since: u64,
}

/// A connection that is ready for a request.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) kind: Kind,
    /// It has carried requests before, so its peer may be closing it just now.
    pub(super) reused: bool,
}

#[derive(Debug)]
pub(super) enum Kind {
    Http1(http1::Connection<Stream>),
    H2c(multiplexed::Stream),
}

impl Pool {
    /// A kept connection, or a new one.
    pub(super) async fn connection(
        &self,
        endpoint: &Arc<Endpoint>,
        service: &Service,
    ) -> Result<Connection, ConnectError> {
        match service.protocol {
            Protocol::Http1 => {
                if let Some(connection) = self.take_idle(endpoint.id) {
                    return Ok(Connection { kind: Kind::Http1(connection), reused: true });
                }
                let connection =
                    http1::Connection::new(connect::stream(endpoint, service.tls.as_deref()).await?);
                Ok(Connection { kind: Kind::Http1(connection), reused: false })
            }
            Protocol::H2c => {
                let stream = self.stream(endpoint, service).await?;
                Ok(Connection { reused: stream.reused, kind: Kind::H2c(stream) })
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, endpoint: &Arc<Endpoint>, connection: http1::Connection<Stream>) {
        self.with(endpoint, |kept| {
            if kept.idle.len() < MAX_IDLE {
                kept.idle.push(Idle { connection, since: self.sweeps.get() });
            }
        });
    }

    /// Closes what has been idle for long, what the backend has closed, and what leads to endpoints that are gone.
    pub(crate) fn sweep(&self) {
        let now = self.sweeps.get() + 1;
        self.sweeps.set(now);
        self.endpoints.borrow_mut().retain(|_, kept| {
            kept.idle.retain_mut(|idle| now - idle.since < IDLE_SWEEPS && idle.connection.is_quiet());
            let is_multiplexed = kept.multiplexed.sweep(IDLE_SWEEPS);
            !kept.endpoint.is_gone() && (is_multiplexed || !kept.idle.is_empty())
        });
    }

    pub(super) fn scratch(&self) -> &http1::Scratch {
        &self.scratch
    }

    /// What has something to say, or was closed, is dropped.
    fn take_idle(&self, id: u64) -> Option<http1::Connection<Stream>> {
        let mut endpoints = self.endpoints.borrow_mut();
        let idle = &mut endpoints.get_mut(&id)?.idle;
        loop {
            let mut connection = idle.pop()?.connection;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    /// A place on a connection that many streams share. Not kept where the endpoint is gone.
    async fn stream(
        &self,
        endpoint: &Arc<Endpoint>,
        service: &Service,
    ) -> Result<multiplexed::Stream, ConnectError> {
        let tls = service.tls.as_ref();
        loop {
            let mut alone = Multiplexed::default();
            let taken = self.with(endpoint, |kept| kept.multiplexed.take(endpoint, tls));
            let opening = match taken.unwrap_or_else(|| alone.take(endpoint, tls)) {
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
