//! The way of a request:
//!
//! ```text
//! canonical target -> listener -> route -> clean headers -> preflight answered -> length of the body -> limits by address -> authenticate -> limits by identity
//!   -> faults on purpose -> answers that are kept -> request filters -> forward | aggregate | redirect | respond -> response filters
//! ```
//!
//! Each step changes the request or ends the pipeline with a [`Refusal`]. The exchange is ended by the body of whatever
//! response goes out, so that every request is observed exactly once.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONNECTION, EXPECT, LOCATION},
    request::Parts,
};
use http_body::Body;

use super::{
    aggregate::{self, Assembled},
    body::ResponseBody,
    cached,
    client_body::ClientBody,
    compressed::Compressed,
    connection::Connection,
    exchange::Exchange,
    fault,
    forward::{self, Outbound},
    grpc, headers, policies,
    respond::Refusal,
    target::Target,
    tunnel::Tunnel,
};
use crate::{
    Reason,
    filter::{Original, Redirect, Sharing, cors},
    route::Facts,
    snapshot::{Action, Listener, Respond, Rule, Snapshot},
    upstream::BackendBody,
};

/// How a request that was not refused is answered.
pub(super) enum Answer {
    Forwarded(Response<BackendBody>),
    Compressed(Response<Box<Compressed>>),
    Assembled(Response<Box<Assembled>>),
    Own(Reason, Response<Bytes>),
    Tunnel(Response<()>, Tunnel),
}

/// The rule that takes a request, and the parts of the target that later steps need.
struct Routed<'s> {
    listener: &'s Arc<Listener>,
    rule: &'s Rule,
    /// `None`: as it stands in the request.
    path: Option<Box<str>>,
    authority: HeaderValue,
    /// Length of the path's prefix that the rule matched.
    matched: Option<usize>,
}

/// Serves one request. Every error is a response.
///
/// The exchange begins with the call: if the client is gone already, what this returns is dropped without being polled,
/// and the request must still be observed.
pub(crate) fn serve(
    connection: Rc<Connection>,
    request: Request<ClientBody>,
) -> impl Future<Output = Response<ResponseBody>> {
    let (parts, body) = request.into_parts();
    let exchange = Exchange::begin(&connection, &parts);
    respond(connection, parts, body, exchange)
}

/// Answers what was refused before it was a request. Nothing of it is told: none of it can be trusted.
pub(crate) fn refuse(connection: &Connection, reason: Reason) -> Response<ResponseBody> {
    let (unknown, ()) = Request::new(()).into_parts();
    let mut exchange = Exchange::begin(connection, &unknown);
    exchange.is_stand_in();
    Refusal::from(reason).respond(false, exchange)
}

async fn respond(
    connection: Rc<Connection>,
    parts: Parts,
    body: ClientBody,
    mut exchange: Box<Exchange>,
) -> Response<ResponseBody> {
    let is_grpc = grpc::is_grpc(&parts.headers);
    let is_multiplexed = parts.version == Version::HTTP_2;
    let snapshot = connection.worker.snapshot();
    let mut sharing = None;
    let outcome = answer(&connection, &snapshot, parts, body, &mut exchange, &mut sharing).await;
    let mut ends_connection = false;
    let mut response = match outcome {
        Ok(Answer::Forwarded(response)) => {
            exchange.head(response.status());
            if is_grpc {
                exchange.grpc_end(response.headers());
            }
            response.map(|body| ResponseBody::streaming(body, exchange))
        }
        Ok(Answer::Compressed(response)) => {
            exchange.head(response.status());
            response.map(|body| ResponseBody::compressed(body, exchange))
        }
        Ok(Answer::Assembled(response)) => {
            exchange.head(response.status());
            response.map(|body| ResponseBody::assembled(body, exchange))
        }
        Ok(Answer::Own(reason, response)) => {
            exchange.refuse(reason, response.status());
            response.map(|body| ResponseBody::whole(body, exchange))
        }
        Ok(Answer::Tunnel(response, tunnel)) => {
            exchange.head(response.status());
            return response.map(|()| ResponseBody::tunnel(tunnel, exchange));
        }
        Err(refusal) => {
            ends_connection |=
                refusal.reason == Reason::BadRequest || refusal.reason == Reason::MethodUnsupported;
            refusal.respond(is_grpc, exchange)
        }
    };
    // Refusals too: a page must be able to tell a 401 from a broken network.
    if let Some(sharing) = sharing {
        sharing.write(response.headers_mut());
    }
    // Closed behind an answer, a connection loses no request; closed while idle, it may.
    ends_connection |= connection.worker.leaving();
    // A multiplexed connection goes on: its requests can't be taken for each other.
    if ends_connection && !is_multiplexed {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn answer(
    connection: &Connection,
    snapshot: &Snapshot,
    mut parts: Parts,
    body: ClientBody,
    exchange: &mut Exchange,
    sharing: &mut Option<Box<Sharing>>,
) -> Result<Answer, Refusal> {
    if let Some(expect) = parts.headers.get(EXPECT)
        && !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")
    {
        return Err(Reason::ExpectationFailed.into());
    }
    let routed = route(connection, snapshot, &parts, exchange)?;
    exchange.routed(&routed.listener.name, &routed.rule.plan.metrics);

    let trusted = |address| snapshot.settings.trusts(address);
    let peer = connection.peer.ip();
    let client = headers::client_address(&parts.headers, peer, trusted);
    let websocket = parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && body.is_end_stream()
        && headers::asks_for_websocket(&parts.headers);
    headers::clean_request(&mut parts.headers, trusted(peer.to_canonical()));
    headers::set_forwarded(&mut parts.headers, &connection.hop, &routed.authority);
    exchange.client(client, &mut parts.headers);
    if let Some(cors) = &routed.rule.plan.cors {
        *sharing = Some(Box::new(cors.sharing(&parts.headers)));
        if cors::asked_method(&parts.method, &parts.headers).is_some() {
            return Ok(Answer::Own(Reason::Direct, preflight(cors.preflight(&parts.headers))));
        }
    }

    let bound = routed.rule.plan.max_body;
    if bound.is_some_and(|bound| body.size_hint().lower() > bound.get()) {
        return Err(Reason::BodyTooLarge.into());
    }
    exchange.bound_body(bound);

    let path = routed.path.as_deref();
    let admitted =
        policies::admit(connection, snapshot, routed.rule, &mut parts, client, path, exchange).await?;
    if let Some(fault) = &routed.rule.plan.fault {
        // Rare: no other request is to have room for its state.
        Box::pin(fault::inject(fault, &routed.rule.plan, &parts.headers, exchange)).await?;
    }
    let path = routed.path.as_deref().unwrap_or(parts.uri.path());
    let query = admitted.query.as_deref().or(parts.uri.query());
    let mut answer = match &routed.rule.plan.action {
        Action::Forward(forward) => {
            let outbound = Outbound {
                rule: routed.rule,
                forward,
                path: forward::path_and_query(forward, path, query, routed.matched, &parts.uri)?,
                authority: routed.authority,
                websocket,
                identity: admitted.identity.as_ref(),
            };
            match &routed.rule.plan.cache {
                None => forward::forward(connection, snapshot, outbound, parts, body, exchange, None).await?,
                Some(rule) => {
                    let cache = Arc::clone(connection.worker.cache(snapshot.settings.cache_bytes));
                    let epoch = cache.epoch(exchange.host(), path, query);
                    let kept = cached::Kept { rule, told: admitted.told, cache, epoch };
                    // Its state is large, and no other request is to have room for it.
                    Box::pin(cached::answer(connection, snapshot, kept, outbound, parts, body, exchange))
                        .await?
                }
            }
        }
        Action::Redirect(redirect) => {
            let original = Original {
                scheme: connection.scheme.as_str(),
                host: exchange.host(),
                port: connection.port,
                path,
                query,
                matched: routed.matched,
            };
            Answer::Own(Reason::Redirect, redirect_to(redirect, original)?)
        }
        Action::Respond(respond) => Answer::Own(Reason::Direct, direct(respond)),
        Action::Aggregate(plan) => {
            let asked = aggregate::Asked {
                rule: routed.rule,
                plan,
                path,
                query,
                identity: admitted.identity.as_ref(),
                authority: &routed.authority,
            };
            // Its state is large, and no other request is to have room for it.
            let assembled = Box::pin(aggregate::answer(connection, asked, &parts, exchange)).await?;
            Answer::Assembled(assembled)
        }
        Action::Broken => return Err(Reason::BrokenRoute.into()),
        Action::Closed => return Err(Reason::Unconverted.into()),
    };
    answer.headers_mut().extend(admitted.quota);
    Ok(answer)
}

fn route<'s>(
    connection: &Connection,
    snapshot: &'s Snapshot,
    parts: &Parts,
    exchange: &mut Exchange,
) -> Result<Routed<'s>, Reason> {
    let target = Target::of(&parts.method, &parts.uri, &parts.headers)?;
    exchange.asks_for(&target);
    let port = snapshot.ports.get(&connection.port).ok_or(Reason::NoRoute)?;
    let listener = port.listeners.best(&target.host).ok_or(Reason::NoRoute)?;
    // A connection that was made for one listener must not reach what is meant for another (RFC 9110, 15.5.20).
    if connection.tls_listener.as_ref().is_some_and(|name| *name != listener.name) {
        return Err(Reason::MisdirectedRequest);
    }
    let facts = Facts {
        host: &target.host,
        path: &target.path,
        method: &parts.method,
        headers: &parts.headers,
        query: target.query,
    };
    // A preflight request is for the rule that will take what it asks about, if that shares itself at all.
    let preflight = cors::asked_method(&parts.method, &parts.headers).and_then(|method| {
        let found = listener.routes.find(&Facts { method: &method, ..facts });
        found.filter(|found| found.target.plan.cors.is_some())
    });
    let found = preflight.or_else(|| listener.routes.find(&facts)).ok_or(Reason::NoRoute)?;
    Ok(Routed {
        listener,
        rule: found.target,
        matched: found.prefix,
        authority: HeaderValue::from_str(target.authority).map_err(|_| Reason::BadRequest)?,
        path: match target.path {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(path) => Some(path.into()),
        },
    })
}

fn redirect_to(redirect: &Redirect, original: Original<'_>) -> Result<Response<Bytes>, Reason> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = redirect.status;
    response.headers_mut().insert(LOCATION, redirect.location(original)?);
    Ok(response)
}

fn preflight(fields: HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = fields;
    response
}

fn direct(respond: &Respond) -> Response<Bytes> {
    let mut response = Response::new(respond.body.clone());
    *response.status_mut() = respond.status;
    response.headers_mut().extend(respond.headers.iter().cloned());
    response
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Answer::Forwarded(response) => response.status(),
            Answer::Compressed(response) => response.status(),
            Answer::Assembled(response) => response.status(),
            Answer::Own(_, response) => response.status(),
            Answer::Tunnel(response, _) => response.status(),
        }
    }

    pub(super) fn headers_mut(&mut self) -> &mut HeaderMap {
        match self {
            Answer::Forwarded(response) => response.headers_mut(),
            Answer::Compressed(response) => response.headers_mut(),
            Answer::Assembled(response) => response.headers_mut(),
            Answer::Own(_, response) => response.headers_mut(),
            Answer::Tunnel(response, _) => response.headers_mut(),
        }
    }
}
