//! The connections that one worker keeps to endpoints. No other thread sees them, so nothing is locked.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;
use hyper::client::conn::http2;
use tokio::net::TcpStream;

use super::{
    Endpoint, Protocol, RequestBody,
    connect::{self, ConnectError},
    http1,
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
    multiplexed: Option<http2::SendRequest<RequestBody>>,
}

#[derive(Debug)]
struct Idle {
    connection: http1::Connection<TcpStream>,
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
    Http1(http1::Connection<TcpStream>),
    H2c(http2::SendRequest<RequestBody>),
}

impl Pool {
    /// A kept connection, or a new one.
    pub(super) async fn connection(
        &self,
        endpoint: &Arc<Endpoint>,
        protocol: Protocol,
    ) -> Result<Connection, ConnectError> {
        match protocol {
            Protocol::Http1 => {
                if let Some(connection) = self.take_idle(endpoint.id) {
                    return Ok(Connection { kind: Kind::Http1(connection), reused: true });
                }
                let connection = http1::Connection::new(connect::tcp(endpoint).await?);
                Ok(Connection { kind: Kind::Http1(connection), reused: false })
            }
            Protocol::H2c => {
                if let Some(sender) = self.multiplexed(endpoint.id) {
                    return Ok(Connection { kind: Kind::H2c(sender), reused: true });
                }
                let sender = connect::h2c(endpoint).await?;
                self.with(endpoint, |kept| kept.multiplexed = Some(sender.clone()));
                Ok(Connection { kind: Kind::H2c(sender), reused: false })
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, endpoint: &Arc<Endpoint>, connection: http1::Connection<TcpStream>) {
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
            if kept.multiplexed.as_ref().is_some_and(http2::SendRequest::is_closed) {
                kept.multiplexed = None;
            }
            !kept.endpoint.is_gone() && (kept.multiplexed.is_some() || !kept.idle.is_empty())
        });
    }

    pub(super) fn scratch(&self) -> &http1::Scratch {
        &self.scratch
    }

    /// What has something to say, or was closed, is dropped.
    fn take_idle(&self, id: u64) -> Option<http1::Connection<TcpStream>> {
        let mut endpoints = self.endpoints.borrow_mut();
        let idle = &mut endpoints.get_mut(&id)?.idle;
        loop {
            let mut connection = idle.pop()?.connection;
            if connection.is_quiet() {
                return Some(connection);
            }
        }
    }

    fn multiplexed(&self, id: u64) -> Option<http2::SendRequest<RequestBody>> {
        self.endpoints.borrow().get(&id)?.multiplexed.clone().filter(|sender| !sender.is_closed())
    }

    fn with(&self, endpoint: &Arc<Endpoint>, change: impl FnOnce(&mut Kept)) {
        if endpoint.is_gone() {
            return;
        }
        change(self.endpoints.borrow_mut().entry(endpoint.id).or_insert_with(|| Kept {
            endpoint: Arc::clone(endpoint),
            idle: Vec::new(),
            multiplexed: None,
        }));
    }
}
