//! Sends a request to a backend and brings its response back. What is still intact is tried again elsewhere.

use std::{borrow::Cow, rc::Rc};

use http::{
    HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use tokio::time::{timeout, timeout_at};

use super::{
    client_body::ClientBody, connection::Connection, exchange::Exchange, grpc, headers, mirror,
    pipeline::Answer, retry::Retries, tunnel::Tunnel,
};
use crate::{
    Reason,
    snapshot::{Forward, Rule, Snapshot},
    upstream::{self, BackendBody, BodyState, Failed, Lease, Protocol, Recording, RequestBody, Service},
};

/// How often a request that no backend has taken is tried.
pub(super) const ATTEMPTS: usize = 3;

/// Where a request goes.
pub(super) struct Outbound<'a> {
    pub(super) rule: &'a Rule,
    pub(super) forward: &'a Forward,
    pub(super) path: PathAndQuery,
    /// As the client wrote it.
    pub(super) authority: HeaderValue,
    pub(super) websocket: bool,
}

/// The path that the backend sees. Taken as it is from the request if nothing changes it.
pub(crate) fn path_and_query(
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
    body: ClientBody,
    exchange: &mut Exchange,
) -> Result<Answer, Reason> {
    let chosen = outbound.forward.choose(|| connection.worker.random()).ok_or(Reason::NoEndpoints)?;
    let backend = &outbound.forward.backends[chosen];
    let service = outbound.rule.services[chosen].as_deref().ok_or(Reason::BrokenRoute)?;
    exchange.service(&service.label);

    let websocket = outbound.websocket && service.protocol == Protocol::Http1;
    head(&mut parts, &outbound, service)?;
    exchange.inject_trace(&mut parts.headers);
    let plan = &outbound.rule.plan;
    plan.request_headers.apply(&mut parts.headers);
    let state = exchange.body_state();
    // In a stream of gRPC the client may have nothing to say for as long as the service has.
    let is_grpc = service.protocol == Protocol::H2c && grpc::is_grpc(&parts.headers);
    let idle_timeout = (!is_grpc).then_some(snapshot.settings.limits.body_idle_timeout);
    // HTTP/2 keeps them apart from the head. Where there is a policy, they could say what it alone may.
    let trailers = service.protocol == Protocol::H2c && outbound.rule.auth.is_empty();
    let mut body = RequestBody::new(body, Rc::clone(&state), idle_timeout, trailers);
    let repeats = outbound.forward.repeats.as_deref().filter(|_| !websocket);
    let mut recording = None;
    if let Some(repeats) = repeats {
        let mirrors = mirror::choose(repeats, &outbound, &connection.worker);
        if !body.is_empty() && (repeats.retry.is_some() || !mirrors.is_empty()) {
            let (kept, first) = Recording::begin(body);
            (recording, body) = (Some(kept), first);
        }
        mirror::send(mirrors, &connection.worker, &outbound, &parts, recording.as_ref());
    }
    backend.request_headers.apply(&mut parts.headers);
    if websocket {
        headers::set_upgrade(&mut parts.headers);
    }
    let own_limit = if is_grpc { grpc::timeout(&parts.headers) } else { None };
    let mut request = Request::from_parts(parts, body);
    let limit = plan.timeouts.request().into_iter().chain(own_limit).min();
    let deadline = limit.map(|limit| exchange.started() + limit);
    let retries = repeats
        .and_then(|repeats| repeats.retry.as_ref())
        .map(|rule| Box::new(Retries::new(rule, &request, service.protocol, recording.as_ref())));
    let sending =
        attempts(connection, plan.timeouts.attempt(), service, &mut request, &state, retries, exchange);
    let mut response = match deadline {
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
        return Ok(Answer::Forwarded(response));
    }
    headers::set_upgrade(response.headers_mut());
    let (head, body) = response.into_parts();
    let upstream = body.into_switched().ok_or(Reason::UpstreamFailed)?;
    Ok(Answer::Tunnel(Response::from_parts(head, ()), Tunnel { upstream }))
}

/// Turns the client's head into ours.
pub(super) fn head(parts: &mut Parts, outbound: &Outbound<'_>, service: &Service) -> Result<(), Reason> {
    let host = outbound.forward.rewrite.host().unwrap_or(&outbound.authority);
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(outbound.path.clone());
    match service.protocol {
        Protocol::Http1 => {
            parts.headers.insert(HOST, host.clone());
            parts.version = Version::HTTP_11;
        }
        Protocol::H2c => {
            parts.headers.remove(HOST);
            uri.scheme = Some(if service.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
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
    request: &mut Request<RequestBody>,
    state: &BodyState,
    mut retries: Option<Box<Retries<'_>>>,
    exchange: &mut Exchange,
) -> Result<Response<BackendBody>, Reason> {
    let mut avoid = None;
    let mut left = ATTEMPTS;
    loop {
        let endpoint =
            service.endpoints.pick(|| connection.worker.random(), avoid).ok_or(Reason::NoEndpoints)?;
        exchange.attempt(endpoint.address);
        avoid = Some(endpoint.id);
        let lease = Lease::new(endpoint, Rc::clone(connection.worker.pool()));
        let sending = upstream::send(request, service, lease);
        let outcome = match limit {
            Some(limit) => {
                timeout(limit, sending).await.unwrap_or(Err(Failed::Sent(Reason::UpstreamTimeout)))
            }
            None => sending.await,
        };
        match &outcome {
            // The client's own failure comes back through the backend's connection.
            Err(_) if state.failed.get().is_some() => {
                return Err(state.failed.get().unwrap_or(Reason::BadRequest));
            }
            Err(Failed::Unsent(_)) if left > 1 => {
                left -= 1;
                continue;
            }
            _ => {}
        }
        if let Some(retries) = &mut retries
            && retries.wants(outcome.as_ref().map(Response::status).map_err(|failed| *failed))
            && retries.restore(request)
        {
            drop(outcome);
            retries.wait(connection.worker.random()).await;
            continue;
        }
        return outcome.map_err(|(Failed::Unsent(reason) | Failed::Sent(reason))| reason);
    }
}

fn finish_head(response: &mut Response<BackendBody>, to_head: bool) {
    *response.version_mut() = Version::HTTP_11;
    headers::clean_response(response.headers_mut());
    // The length is told anew from the body, but where there is none to tell it from.
    if !to_head && response.status() != StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
}
