//! Streams: connections that are passed on as they are, to a backend that a route of their listener names (TCPRoute,
//! TLSRoute), and datagrams (UDPRoute, in `udp`).
//!
//! ```text
//! accept -> (server name) -> listener -> route -> backend by weight -> connect -> relay -> one log line, metrics
//! ```
//!
//! A stream for which there is no backend is reset: the Gateway API wants it refused, and there is no other way to say so
//! (TCPRouteRule.backendRefs). It keeps nothing of the state that it was routed by. A drain waits for it, as long as a
//! drain waits.

mod observed;
mod relay;
mod session;
mod udp;

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use bytes::BytesMut;
use http::{HeaderMap, Method};
use tokio::net::TcpStream;

use crate::{
    Reason,
    http::http1::Transport,
    route::Facts,
    snapshot::{Action, Listener},
    upstream::{self, Outcome, Service, Tried},
    worker::Worker,
};
use observed::Observed;
use relay::{Broken, relay};

pub(crate) use udp::serve as serve_udp;

/// How many endpoints are tried. Nothing was sent to one that can't be connected to.
const ATTEMPTS: usize = 3;

/// A stream as it was accepted.
#[derive(Debug)]
pub(crate) struct Accepted<C> {
    pub(crate) client: C,
    pub(crate) peer: SocketAddr,
    /// For the log.
    pub(crate) protocol: &'static str,
    /// The server name that the client asked for, in lower case. Empty: none.
    pub(crate) host: String,
    /// Was read from the client before.
    pub(crate) first: BytesMut,
}

/// One side of a stream. Dropped before the stream has come to its end, it is broken off, so that nobody takes half of a
/// conversation for all of it.
struct Side<S: Transport> {
    stream: S,
    ended: bool,
}

impl<S: Transport> Side<S> {
    fn new(stream: S) -> Self {
        Side { stream, ended: false }
    }
}

impl<S: Transport> Drop for Side<S> {
    fn drop(&mut self) {
        if !self.ended {
            self.stream.will_break();
        }
    }
}

/// Serves a stream from its beginning to its end. Without a listener it is refused.
pub(crate) async fn serve<C: Transport>(
    worker: Rc<Worker>,
    listener: Option<Arc<Listener>>,
    accepted: Accepted<C>,
) {
    let Accepted { client, peer, protocol, host, first } = accepted;
    let mut observed = Observed::begin(&worker, peer, protocol, &host);
    match pass(&worker, listener, Side::new(client), &host, first, &mut observed).await {
        Ok(()) => observed.end(None),
        Err(reason) => observed.end(Some(reason)),
    }
}

async fn pass<C: Transport>(
    worker: &Worker,
    listener: Option<Arc<Listener>>,
    mut client: Side<C>,
    host: &str,
    first: BytesMut,
    observed: &mut Observed,
) -> Result<(), Reason> {
    let listener = listener.ok_or(Reason::NoRoute)?;
    let idle = listener.stream_idle_timeout;
    let service = choose(worker, &listener, host, observed)?;
    // A stream may last; the table that it was routed by need not.
    drop(listener);
    let (backend, _active) = connect(worker, &service, observed).await?;
    let mut backend = Side::new(backend);
    let ended = relay(&mut client.stream, &mut backend.stream, first, idle, observed.moved()).await;
    ended.map_err(|broken| match broken {
        Broken::Client => Reason::ClientGone,
        Broken::Backend => Reason::UpstreamFailed,
        Broken::Idle => Reason::StreamIdle,
    })?;
    client.ended = true;
    backend.ended = true;
    Ok(())
}

/// The backend that the listener's routes name for the host, by weight.
fn choose(
    worker: &Worker,
    listener: &Listener,
    host: &str,
    observed: &mut Observed,
) -> Result<Arc<Service>, Reason> {
    let (method, headers) = (Method::GET, HeaderMap::new());
    // Of what a request has, a stream has the host alone, and its routes ask for nothing else.
    let facts = Facts { host, path: "/", method: &method, headers: &headers, query: None };
    let rule = listener.routes.find(&facts).ok_or(Reason::NoRoute)?.target;
    observed.routed(&listener.name, &rule.plan.metrics);
    if rule.policies.is_some() {
        // Nothing on a stream could satisfy them.
        return Err(Reason::PolicyUnavailable);
    }
    let Action::Forward(forward) = &rule.plan.action else { return Err(Reason::BrokenRoute) };
    let chosen = forward.choose(|| worker.random()).ok_or(Reason::NoEndpoints)?;
    let service = rule.services[chosen].as_ref().ok_or(Reason::BrokenRoute)?;
    observed.service(&service.label);
    Ok(Arc::clone(service))
}

/// Gives what counts the stream towards its endpoint, too.
async fn connect(
    worker: &Worker,
    service: &Service,
    observed: &mut Observed,
) -> Result<(TcpStream, upstream::Active), Reason> {
    let (key, mut tried) = (service.key(&observed.asker()), Tried::default());
    for _ in 0..ATTEMPTS {
        let active = service.take(|| worker.random(), key, &tried)?;
        observed.attempt(active.endpoint().address);
        tried.add(active.endpoint());
        let watched = service.watch(active.endpoint());
        let connected = upstream::tcp(active.endpoint()).await;
        if let Some(watched) = watched {
            watched.ended(if connected.is_ok() { Outcome::Success } else { Outcome::GatewayError });
        }
        if let Ok(backend) = connected {
            return Ok((backend, active));
        }
    }
    Err(Reason::ConnectFailed)
}
