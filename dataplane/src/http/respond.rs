//! The one place where a refusal becomes a response.
//!
//! Clients get problem details (RFC 9457); gRPC clients get a response of trailers alone, with the code that gRPC's
//! mapping from HTTP gives. What is said is the reason's own sentence: nothing about the inside goes out.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use super::{body::ResponseBody, exchange::Exchange, grpc::GRPC_STATUS};
use crate::Reason;

const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Ends the pipeline: the gateway answers by itself.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// Fields that go with it, such as challenges and limits.
    pub(crate) headers: HeaderMap,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal { reason, headers: HeaderMap::new() }
    }
}

impl Refusal {
    pub(crate) fn respond(self, is_grpc: bool, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
        let status = self.reason.status();
        let mut headers = self.headers;
        let (status, body) = if is_grpc {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            let code = grpc_code(self.reason);
            exchange.grpc_status(code);
            headers.insert(GRPC_STATUS, HeaderValue::from(code));
            headers.insert(GRPC_MESSAGE, HeaderValue::from_static(self.reason.detail()));
            (StatusCode::OK, Bytes::new())
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            (status, problem(self.reason, status, exchange.request_id()))
        };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        exchange.refuse(self.reason, status);
        let mut response = Response::new(ResponseBody::whole(body, exchange));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }
}

/// Every value is our own or was checked to need no escape.
fn problem(reason: Reason, status: StatusCode, request_id: &str) -> Bytes {
    let title = status.canonical_reason().unwrap_or("Error");
    let (code, detail, reason) = (status.as_u16(), reason.detail(), reason.as_str());
    format!(
        r#"{{"type":"about:blank","title":"{title}","status":{code},"detail":"{detail}","reason":"{reason}","requestId":"{request_id}"}}"#
    )
    .into()
}

/// gRPC's mapping from HTTP status to its own codes.
fn grpc_code(reason: Reason) -> u16 {
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNKNOWN: u16 = 2;
    if reason == Reason::BrokenRoute {
        // As GRPCRouteRule.backendRefs asks for.
        return UNAVAILABLE;
    }
    match reason.status().as_u16() {
        400 => INTERNAL,
        401 => 16,
        403 => 7,
        404 | 501 => 12,
        // A limit is a resource that is used up; the mapping's own code for 429 is UNAVAILABLE, which invites retries.
        429 => 8,
        502 | 503 => UNAVAILABLE,
        504 => 4,
        _ => UNKNOWN,
    }
}
