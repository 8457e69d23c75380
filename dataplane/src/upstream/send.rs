//! Sends one request to one endpoint, whatever it speaks.
//!
//! A request that a connection did not take is intact. One that was sent may be sent again only if it went out on a
//! connection that had been used before, whose peer may have closed it in that moment, if not one byte of an answer came,
//! and if repeating it is safe: it is idempotent and has no body (RFC 9110, 9.2.2).

use std::{mem, time::Duration};

use http::{Request, Response};
use tracing::debug;

use super::{
    BackendBody, Lease, RequestBody, Service,
    http1::{self, Answered},
    multiplexed,
    pool::Kind,
    stream::Stream,
};
use crate::Reason;

/// Why there is no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The request is as it was and may be tried elsewhere.
    Unsent(Reason),
    Sent(Reason),
}

/// The lease names the endpoint; `connect` is for a connection that has to be opened. The request's body is taken out of it, unless it fails as [`Failed::Unsent`].
pub(crate) async fn send(
    request: &mut Request<RequestBody>,
    service: &Service,
    mut lease: Lease,
    connect: Option<Duration>,
) -> Result<Response<BackendBody>, Failed> {
    let address = lease.endpoint().address;
    let taken = match lease.pool().connection(lease.endpoint(), service, connect).await {
        Ok(taken) => taken,
        Err(error) => {
            debug!(endpoint = %address, %error, "connect");
            return Err(Failed::Unsent(Reason::ConnectFailed));
        }
    };
    lease.of(taken.age);
    let repeatable = taken.reused && request.method().is_idempotent() && request.body().is_empty();
    match taken.kind {
        Kind::Http1(connection) => over_http1(connection, request, repeatable, lease).await,
        Kind::H2c(stream) => over_h2c(stream, request, repeatable, lease).await,
    }
}

async fn over_http1(
    connection: http1::Connection<Stream>,
    request: &mut Request<RequestBody>,
    repeatable: bool,
    lease: Lease,
) -> Result<Response<BackendBody>, Failed> {
    let body = mem::replace(request.body_mut(), RequestBody::Empty);
    match http1::exchange(connection, request, body, lease.pool().scratch()).await {
        Ok(Answered { response, over: None }) => {
            Ok(response.map(|body| BackendBody::http1(body, Some(lease))))
        }
        Ok(Answered { response, over: Some(outcome) }) => {
            lease.end(outcome);
            Ok(response.map(|body| BackendBody::http1(body, None)))
        }
        Err(unanswered) => {
            debug!(endpoint = %lease.endpoint().address, error = %unanswered.error, "send");
            Err(if repeatable && unanswered.silent {
                Failed::Unsent(Reason::UpstreamFailed)
            } else {
                Failed::Sent(Reason::UpstreamFailed)
            })
        }
    }
}

async fn over_h2c(
    mut stream: multiplexed::Stream,
    request: &mut Request<RequestBody>,
    repeatable: bool,
    lease: Lease,
) -> Result<Response<BackendBody>, Failed> {
    // hyper wants the request for itself.
    let repeat = repeatable.then(|| copy(request));
    let owned = mem::replace(request, Request::new(RequestBody::Empty));
    match stream.sender.try_send_request(owned).await {
        Ok(response) => Ok(response.map(|body| BackendBody::h2c(body, stream.counted, lease))),
        Err(mut error) => {
            debug!(endpoint = %lease.endpoint().address, error = %error.error(), "send");
            match error.take_message().or(repeat) {
                Some(intact) => {
                    *request = intact;
                    Err(Failed::Unsent(Reason::UpstreamFailed))
                }
                None => Err(Failed::Sent(Reason::UpstreamFailed)),
            }
        }
    }
}

/// A request without its body, once more.
pub(crate) fn copy(request: &Request<RequestBody>) -> Request<RequestBody> {
    let mut copy = Request::new(RequestBody::Empty);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}
