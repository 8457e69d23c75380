//! Sends a request to a backend and brings its response back.
//!
//! A request that a connection did not take is sent on another one. One that was sent is repeated only on a connection
//! that had been used before, whose peer may have closed it in that moment, and only if repeating it is safe: it is
//! idempotent and has no body (RFC 9110, 9.2.2).

use std::{borrow::Cow, rc::Rc, sync::Arc};

use http::{
    HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use tokio::time::{timeout, timeout_at};
use tracing::debug;

use super::{connection::Connection, exchange::Exchange, headers, pipeline::Answer, tunnel::Tunnel};
use crate::{
    Reason,
    snapshot::{Forward, Rule, Snapshot},
    upstream::{BodyState, Lease, Protocol, RequestBody, Service},
};

/// How often a request that no backend has taken is tried.
const ATTEMPTS: usize = 3;

/// Where a request goes.
pub(super) struct Outbound<'a> {
    pub(super) rule: &'a Rule,
    pub(super) forward: &'a Forward,
    pub(super) path: PathAndQuery,
    /// As the client wrote it.
    pub(super) authority: HeaderValue,
    pub(super) websocket: bool,
}

/// Why an attempt brought no response.
enum Failed {
    /// The request is intact.
    Unsent(Box<Request<RequestBody>>, Reason),
    Sent(Reason),
}

/// The path that the backend sees. Taken as it is from the request if nothing changes it.
pub(super) fn path_and_query(
    forward: &Forward,
    path: &str,
    query: Option<&str>,
    matched: Option<usize>,
    uri: &Uri,
) -> Result<PathAndQuery, Reason> {
    let path = match forward.rewrite.path() {
        Some(rewrite) => rewrite.apply(path, matched)?,
        None => Cow::Borrowed(path),
    };
    if path == uri.path()
        && query == uri.query()
        && let Some(unchanged) = uri.path_and_query()
    {
        return Ok(unchanged.clone());
    }
    let text = match query {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    PathAndQuery::try_from(text).map_err(|_| Reason::BadRequest)
}

pub(super) async fn forward(
    connection: &Connection,
    snapshot: &Snapshot,
    outbound: Outbound<'_>,
    mut parts: Parts,
    body: Incoming,
    exchange: &mut Exchange,
) -> Result<Answer, Reason> {
    let chosen = outbound.forward.choose(|| connection.worker.random()).ok_or(Reason::NoEndpoints)?;
    let backend = &outbound.forward.backends[chosen];
    let service = outbound.rule.services[chosen].as_deref().ok_or(Reason::BrokenRoute)?;
    exchange.service(&service.label);

    let downstream = parts.extensions.remove::<OnUpgrade>();
    let websocket = outbound.websocket && service.protocol == Protocol::Http1;
    head(&mut parts, &outbound, service.protocol)?;
    exchange.inject_trace(&mut parts.headers);
    let plan = &outbound.rule.plan;
    plan.request_headers.apply(&mut parts.headers);
    backend.request_headers.apply(&mut parts.headers);
    if websocket {
        headers::set_upgrade(&mut parts.headers);
    }

    let state = exchange.body_state();
    let body = RequestBody::new(body, Rc::clone(&state), snapshot.settings.limits.body_idle_timeout);
    let request = Request::from_parts(parts, body);
    let deadline = plan.timeouts.request().map(|limit| exchange.started() + limit);
    let sending = attempts(connection, plan.timeouts.attempt(), service, request, &state, exchange);
    let (mut response, mut lease) = match deadline {
        Some(deadline) => timeout_at(deadline, sending).await.map_err(|_| Reason::UpstreamTimeout)??,
        None => sending.await?,
    };

    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if upgraded && !(websocket && headers::is_websocket(response.headers())) {
        return Err(Reason::UpstreamFailed);
    }
    finish_head(&mut response, exchange.is_head());
    plan.response_headers.apply(response.headers_mut());
    backend.response_headers.apply(response.headers_mut());
    if !upgraded {
        return Ok(Answer::Forwarded(response, lease));
    }
    let upstream = hyper::upgrade::on(&mut response);
    headers::set_upgrade(response.headers_mut());
    lease.forget();
    let downstream = downstream.ok_or(Reason::UpstreamFailed)?;
    Ok(Answer::Tunnel(response.map(|_| ()), Tunnel { downstream, upstream, lease }))
}

/// Turns the client's head into ours.
fn head(parts: &mut Parts, outbound: &Outbound<'_>, protocol: Protocol) -> Result<(), Reason> {
    let host = outbound.forward.rewrite.host().unwrap_or(&outbound.authority);
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(outbound.path.clone());
    match protocol {
        Protocol::Http1 => {
            parts.headers.insert(HOST, host.clone());
            parts.version = Version::HTTP_11;
        }
        Protocol::H2c => {
            parts.headers.remove(HOST);
            uri.scheme = Some(Scheme::HTTP);
            uri.authority = Some(Authority::try_from(host.as_bytes()).map_err(|_| Reason::BadRequest)?);
            parts.version = Version::HTTP_2;
        }
    }
    parts.uri = Uri::from_parts(uri).map_err(|_| Reason::BadRequest)?;
    Ok(())
}

async fn attempts(
    connection: &Connection,
    limit: Option<std::time::Duration>,
    service: &Service,
    mut request: Request<RequestBody>,
    state: &Rc<BodyState>,
    exchange: &mut Exchange,
) -> Result<(Response<Incoming>, Lease), Reason> {
    let mut avoid = None;
    let mut left = ATTEMPTS;
    loop {
        let endpoint =
            service.endpoints.pick(|| connection.worker.random(), avoid).ok_or(Reason::NoEndpoints)?;
        exchange.attempt(endpoint.address);
        avoid = Some(endpoint.id);
        left -= 1;
        let lease = Lease::new(Arc::clone(&endpoint), Rc::clone(connection.worker.pool()), Rc::clone(state));
        let sending = attempt(connection, service.protocol, request, lease);
        let outcome = match limit {
            Some(limit) => timeout(limit, sending).await.map_err(|_| Reason::UpstreamTimeout)?,
            None => sending.await,
        };
        match outcome {
            Ok(response) => return Ok(response),
            // The client's own failure comes back through the backend's connection.
            Err(Failed::Unsent(..) | Failed::Sent(_)) if state.failed.get().is_some() => {
                return Err(state.failed.get().unwrap_or(Reason::BadRequest));
            }
            Err(Failed::Unsent(intact, reason)) => {
                if left == 0 {
                    return Err(reason);
                }
                request = *intact;
            }
            Err(Failed::Sent(reason)) => return Err(reason),
        }
    }
}

/// One try at one endpoint. The lease names the endpoint.
async fn attempt(
    connection: &Connection,
    protocol: Protocol,
    request: Request<RequestBody>,
    mut lease: Lease,
) -> Result<(Response<Incoming>, Lease), Failed> {
    let endpoint = Arc::clone(lease.endpoint());
    let taken = match connection.worker.pool().connection(&endpoint, protocol).await {
        Ok(taken) => taken,
        Err(error) => {
            debug!(endpoint = %endpoint.address, %error, "connect");
            return Err(Failed::Unsent(Box::new(request), Reason::ConnectFailed));
        }
    };
    let repeat = (taken.reused && repeatable(&request)).then(|| copy(&request));
    match taken.send(request, &mut lease).await {
        Ok(response) => Ok((response, lease)),
        Err(mut error) => {
            debug!(endpoint = %endpoint.address, error = %error.error(), "send");
            match error.take_message().or(repeat) {
                Some(intact) => Err(Failed::Unsent(Box::new(intact), Reason::UpstreamFailed)),
                None => Err(Failed::Sent(Reason::UpstreamFailed)),
            }
        }
    }
}

fn repeatable(request: &Request<RequestBody>) -> bool {
    request.method().is_idempotent() && request.body().is_empty()
}

/// A request without a body, once more.
fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}

fn finish_head(response: &mut Response<Incoming>, to_head: bool) {
    *response.version_mut() = Version::HTTP_11;
    headers::clean_response(response.headers_mut());
    // The length is told anew from the body, but where there is none to tell it from.
    if !to_head && response.status() != StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
}
