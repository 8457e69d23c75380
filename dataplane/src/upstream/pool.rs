//! The connections that one worker keeps to endpoints. No other thread sees them, so nothing is locked.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use hashbrown::HashMap;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use tokio::time::Instant;

use super::{BodyState, ConnectError, Endpoint, Protocol, RequestBody, connect, endpoint::Active};

/// Below the keep-alive time of common servers (nginx 75 s, Node 5 s excepted), so that they seldom close first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(55);
/// Idle connections to one endpoint; what comes back beyond them is closed.
const MAX_IDLE: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Pool {
    /// By endpoint id.
    endpoints: RefCell<HashMap<u64, Kept, ahash::RandomState>>,
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
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
}

/// A connection that is ready for a request.
#[derive(Debug)]
pub(crate) struct Connection {
    kind: Kind,
    /// It has carried requests before, so its peer may be closing it just now.
    pub(crate) reused: bool,
}

#[derive(Debug)]
enum Kind {
    Http1(http1::SendRequest<RequestBody>),
    H2c(http2::SendRequest<RequestBody>),
}

/// Counts a request towards its endpoint until it ends, and holds its HTTP/1 connection while the response is read.
#[derive(Debug)]
pub(crate) struct Lease {
    sender: Option<http1::SendRequest<RequestBody>>,
    endpoint: Arc<Endpoint>,
    pool: Rc<Pool>,
    request: Rc<BodyState>,
    _active: Active,
}

impl Pool {
    /// A kept connection, or a new one.
    pub(crate) async fn connection(
        &self,
        endpoint: &Arc<Endpoint>,
        protocol: Protocol,
    ) -> Result<Connection, ConnectError> {
        match protocol {
            Protocol::Http1 => {
                while let Some(mut sender) = self.take_idle(endpoint.id) {
                    // It was read to its end, so it is ready at once, or closed.
                    if sender.ready().await.is_ok() {
                        return Ok(Connection { kind: Kind::Http1(sender), reused: true });
                    }
                }
                let sender = connect::http1(endpoint).await?;
                Ok(Connection { kind: Kind::Http1(sender), reused: false })
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

    /// Closes what has been idle for long and what leads to endpoints that are gone. Call it every few seconds.
    pub(crate) fn sweep(&self) {
        let now = Instant::now();
        self.endpoints.borrow_mut().retain(|_, kept| {
            kept.idle
                .retain(|idle| now.duration_since(idle.since) < IDLE_TIMEOUT && !idle.sender.is_closed());
            if kept.multiplexed.as_ref().is_some_and(http2::SendRequest::is_closed) {
                kept.multiplexed = None;
            }
            !kept.endpoint.is_gone() && (kept.multiplexed.is_some() || !kept.idle.is_empty())
        });
    }

    fn take_idle(&self, id: u64) -> Option<http1::SendRequest<RequestBody>> {
        Some(self.endpoints.borrow_mut().get_mut(&id)?.idle.pop()?.sender)
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

impl Connection {
    /// Sends a request and waits for the response's head. What was not sent comes back in the error.
    pub(crate) async fn send(
        self,
        request: Request<RequestBody>,
        lease: &mut Lease,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        match self.kind {
            Kind::Http1(mut sender) => {
                let response = sender.try_send_request(request).await?;
                lease.sender = Some(sender);
                Ok(response)
            }
            Kind::H2c(mut sender) => sender.try_send_request(request).await,
        }
    }
}

impl Lease {
    pub(crate) fn new(endpoint: Arc<Endpoint>, pool: Rc<Pool>, request: Rc<BodyState>) -> Self {
        let active = endpoint.begin();
        Lease { sender: None, endpoint, pool, request, _active: active }
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// The connection has become a tunnel.
    pub(crate) fn forget(&mut self) {
        self.sender = None;
    }

    /// The response was read to its end. A connection that still owes bytes of the request is closed instead of kept.
    pub(crate) fn give_back(mut self) {
        let Some(sender) = self.sender.take() else { return };
        if !self.request.finished.get() || sender.is_closed() {
            return;
        }
        self.pool.with(&self.endpoint, |kept| {
            if kept.idle.len() < MAX_IDLE {
                kept.idle.push(Idle { sender, since: Instant::now() });
            }
        });
    }
}
