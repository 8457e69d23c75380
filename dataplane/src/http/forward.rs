//! Sends a request to a backend and brings its response back. What is still intact is tried again elsewhere.

use std::{borrow::Cow, net::SocketAddr, pin::pin, rc::Rc, sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, HOST, SET_COOKIE},
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use http_body::Body;
use tokio::time::{Instant, timeout_at};

use super::{
    cached::Asking,
    client_body::ClientBody,
    compressed::Compressed,
    connection::Connection,
    exchange::Exchange,
    failover::{self, Level},
    grpc, headers, mirror,
    pipeline::Answer,
    retry::Retries,
    tunnel::Tunnel,
};
use crate::{
    Reason,
    auth::Identity,
    filter::compression::Coding,
    snapshot::{Forward, Rule, Snapshot},
    upstream::{
        self, Affinity, BackendBody, BodyState, Failed, Lease, Outcome, Patience, Protocol, Recording,
        RequestBody, Service, Tried,
    },
    worker::Worker,
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
    pub(super) identity: Option<&'a Identity>,
}

/// How a request seeks one of the endpoints of its backend.
pub(super) struct Sought<'a> {
    pub(super) level: Level<'a>,
    /// What it shares with those that go to the same one.
    pub(super) key: Option<u64>,
    /// Of one attempt.
    pub(super) limit: Option<Duration>,
    /// Of all of them. Whoever waits for them cuts them off then.
    pub(super) deadline: Option<Instant>,
    pub(super) patience: Option<&'a Patience>,
    pub(super) state: &'a BodyState,
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
    asking: Option<&mut Asking>,
) -> Result<Answer, Reason> {
    let random = || connection.worker.random();
    // By what the client has sent, whatever rules make of it.
    let affinity = outbound.forward.repeats.as_deref().and_then(|repeats| repeats.affinity.as_ref());
    let session = affinity.map(|key| key.affinity(&exchange.asker(&parts.headers), random));
    let session = session.filter(|session| session.key.is_some());
    let mut point = session.as_ref().and_then(|session| session.key);
    // What belongs together falls on the same.
    let mut draw = || match &mut point {
        None => random(),
        Some(point) => {
            *point = point.rotate_left(21);
            *point
        }
    };
    let mut is_judged = false;
    let chosen = match &outbound.forward.rollout {
        None => outbound.forward.choose(&mut draw),
        Some(rollout) => {
            let who = outbound.identity.and_then(Identity::name);
            let choice = rollout.choose(outbound.forward, &parts.headers, who, &mut draw);
            exchange.counts(choice.and_then(|choice| rollout.counts(choice)));
            is_judged = choice.is_some_and(|choice| rollout.is_judged(choice));
            choice.map(|choice| choice.backend)
        }
    };
    let chosen = chosen.ok_or(Reason::NoEndpoints)?;
    let backend = &outbound.forward.backends[chosen];
    let service = outbound.rule.services[chosen].as_deref();
    let level = match outbound.forward.repeats.as_deref() {
        Some(repeats) if repeats.failovers > 0 && !is_judged => {
            failover::choose(service, outbound.rule.failover(repeats), &mut draw)?
        }
        _ => Level::only(service.ok_or(Reason::BrokenRoute)?),
    };
    let mut service = level.service;
    exchange.service(&service.label);

    let of_service = || service.affinity(&exchange.asker(&parts.headers), random);
    let Affinity { key, set_cookie } = session.unwrap_or_else(of_service);
    let accepted = service.compression().and_then(|compression| compression.accepted(&parts.headers));
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
    let trailers = service.protocol == Protocol::H2c && outbound.rule.auth().is_empty();
    let mut body = RequestBody::new(body, Rc::clone(&state), idle_timeout, trailers);
    let repeats = outbound.forward.repeats.as_deref().filter(|_| !websocket);
    let mut recording = None;
    if let Some(repeats) = repeats {
        let mirrors = mirror::choose(repeats, &outbound, &connection.worker);
        if !body.is_empty() && (repeats.retry.is_some() || !mirrors.is_empty()) {
            let (kept, first) = Recording::begin(body);
            (recording, body) = (Some(kept), first);
        }
        mirror::send(mirrors, &connection.worker, &outbound, &parts, recording.as_ref(), exchange);
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
    let patience = plan.patience.as_deref();
    let sought = Sought { level, key, limit: plan.timeouts.attempt(), deadline, patience, state: &state };
    let sending = attempts(&connection.worker, sought, &mut request, retries, |next, address| {
        if !std::ptr::eq(next, service) {
            service = next;
            exchange.service(&service.label);
        }
        exchange.attempt(address);
    });
    let mut response = match deadline {
        Some(deadline) => timeout_at(deadline, sending).await.map_err(|_| Reason::UpstreamTimeout)??,
        None => sending.await?,
    };
    // Rules may take from the client what it says.
    exchange.pay(response.headers());

    let idle = patience.and_then(|patience| patience.idle);
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    if upgraded && !(websocket && headers::is_websocket(response.headers())) {
        return Err(Reason::UpstreamFailed);
    }
    finish_head(&mut response, exchange.is_head());
    if let Some(asking) = asking {
        let is_it = |one: &Option<Arc<Service>>| one.as_deref().is_some_and(|one| std::ptr::eq(one, service));
        let place = outbound.rule.services.iter().position(is_it);
        response = asking.answered(response, place.unwrap_or(usize::MAX));
    }
    plan.response_headers.apply(response.headers_mut());
    backend.response_headers.apply(response.headers_mut());
    if let Some(cookie) = set_cookie {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    if !upgraded {
        return Ok(compressed(
            match idle {
                None => response,
                Some(idle) => response.map(|body| body.bounded(idle)),
            },
            service,
            accepted.filter(|_| !exchange.is_head()),
            &connection.worker,
        ));
    }
    headers::set_upgrade(response.headers_mut());
    let (head, body) = response.into_parts();
    let upstream = body.into_switched().ok_or(Reason::UpstreamFailed)?;
    Ok(Answer::Tunnel(Response::from_parts(head, ()), Tunnel { upstream, idle }))
}

/// An answer that is kept, and that a Service gave: `None` if the rule has that no more.
pub(super) fn stored(
    response: Response<BackendBody>,
    service: Option<&Service>,
    request: &HeaderMap,
    worker: &Worker,
) -> Answer {
    let Some(service) = service else { return Answer::Forwarded(response) };
    let accepted = service.compression().and_then(|compression| compression.accepted(request));
    compressed(response, service, accepted, worker)
}

/// An answer of a Service, compressed where its policy says so and the client takes it.
fn compressed(
    mut response: Response<BackendBody>,
    service: &Service,
    accepted: Option<Coding>,
    worker: &Worker,
) -> Answer {
    let Some(compression) = service.compression() else { return Answer::Forwarded(response) };
    let permit = accepted.and_then(|_| worker.compress());
    let accepted = accepted.filter(|_| permit.is_some());
    let (status, length) = (response.status(), response.body().size_hint().exact());
    let encoder = compression.begin(accepted, status, response.headers_mut(), length);
    match encoder.zip(permit) {
        None => Answer::Forwarded(response),
        Some((encoder, permit)) => {
            Answer::Compressed(response.map(|body| Compressed::new(body, encoder, permit)))
        }
    }
}

/// Turns the client's head into ours.
pub(super) fn head(parts: &mut Parts, outbound: &Outbound<'_>, service: &Service) -> Result<(), Reason> {
    let host = outbound.forward.rewrite.host().unwrap_or(&outbound.authority);
    address(parts, host, outbound.path.clone(), service)
}

/// Asks a backend for a path of a host, in the protocol that it speaks.
pub(super) fn address(
    parts: &mut Parts,
    host: &HeaderValue,
    path: PathAndQuery,
    service: &Service,
) -> Result<(), Reason> {
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(path);
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

/// `attempted` is told each endpoint, and of which Service it is.
pub(super) async fn attempts<'a>(
    worker: &Rc<Worker>,
    sought: Sought<'a>,
    request: &mut Request<RequestBody>,
    mut retries: Option<Box<Retries<'_>>>,
    mut attempted: impl FnMut(&'a Service, SocketAddr),
) -> Result<Response<BackendBody>, Reason> {
    let Sought { mut level, key, limit, deadline, patience, state } = sought;
    let Patience { connect, idle } = patience.copied().unwrap_or_default();
    level.service.note_request();
    let mut tried = Tried::default();
    let mut left = ATTEMPTS;
    loop {
        level = level.after(&tried, left == 1);
        let service = level.service;
        let active = service.take(|| worker.random(), key, &tried)?;
        attempted(service, active.endpoint().address);
        tried.add(active.endpoint());
        let watched = service.watch(active.endpoint());
        let lease = Lease::new(active, Rc::clone(worker.pool()));
        let mut until = limit.map(|limit| Instant::now() + limit);
        if watched.is_some() {
            // Who is cut off by the deadline of the whole request has failed as well.
            until = until.into_iter().chain(deadline).min();
        }
        let outcome = {
            let mut sending = pin!(upstream::send(request, service, lease, connect));
            if until.is_none() && idle.is_none() {
                sending.await
            } else {
                upstream::bounded(sending.as_mut(), until, idle, state).await
            }
        };
        if outcome.is_err()
            && let Some(reason) = state.failed.get()
        {
            // The client's own failure comes back through the backend's connection.
            return Err(reason);
        }
        if let Some(watched) = watched {
            if let Some(judged) = judged(&outcome, service.protocol) {
                watched.ended(judged);
            }
            if outcome.is_err() && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(Reason::UpstreamTimeout);
            }
        }
        if matches!(outcome, Err(Failed::Unsent(_))) && left > 1 {
            left -= 1;
            continue;
        }
        if let Some(retries) = &mut retries
            && retries.wants(outcome.as_ref().map(Response::status).map_err(|failed| *failed))
            && retries.restore(request)
        {
            if service.may_retry() {
                drop(outcome);
                retries.wait(worker.random()).await;
                continue;
            }
            worker.sink.metrics().retries_refused.add(1);
        }
        return outcome.map_err(|(Failed::Unsent(reason) | Failed::Sent(reason))| reason);
    }
}

/// What an attempt says of its endpoint. `None`: nothing.
fn judged(attempt: &Result<Response<BackendBody>, Failed>, protocol: Protocol) -> Option<Outcome> {
    match attempt {
        Ok(response) => Some(Outcome::of(response.status(), response.headers(), protocol == Protocol::H2c)),
        // A connection that was closed while it was idle.
        Err(Failed::Unsent(Reason::UpstreamFailed)) => None,
        Err(Failed::Unsent(_) | Failed::Sent(_)) => Some(Outcome::GatewayError),
    }
}

pub(super) fn finish_head(response: &mut Response<BackendBody>, to_head: bool) {
    *response.version_mut() = Version::HTTP_11;
    headers::clean_response(response.headers_mut());
    // The length is told anew from the body, but where there is none to tell it from.
    if !to_head && response.status() != StatusCode::NOT_MODIFIED {
        response.headers_mut().remove(CONTENT_LENGTH);
    }
}
