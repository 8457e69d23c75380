//! The one place where a refusal becomes a response.
//!
//! Clients get problem details (RFC 9457); gRPC clients get a response of trailers alone, with the code that gRPC's
//! mapping from HTTP gives. What is said is the reason's own sentence: nothing about the inside goes out.

use std::{num::NonZeroU16, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

use super::{body::ResponseBody, exchange::Exchange, grpc::GRPC_STATUS};
use crate::{Reason, filter::Abort, snapshot::Respond};

const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Ends the pipeline: the gateway answers by itself.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// Fields that go with it, such as challenges and limits.
    pub(crate) headers: HeaderMap,
    /// What the client gets in place of problem details, unless it speaks gRPC.
    pub(crate) answer: Option<Box<Response<Bytes>>>,
    /// What of an aggregate has failed.
    pub(crate) part: Option<Box<FailedPart>>,
    /// What somebody configured in place of problem details. gRPC clients get their own form all the same.
    pub(crate) instead: Option<Arc<Respond>>,
    /// What somebody wanted in place of what the reason says.
    pub(crate) abort: Option<Abort>,
}

/// A part without which there is no answer.
#[derive(Debug)]
pub(crate) struct FailedPart {
    /// Needs no escape.
    pub(crate) name: Arc<str>,
    /// What its backend answered, where that is the failure.
    pub(crate) status: Option<StatusCode>,
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Refusal { reason, headers: HeaderMap::new(), answer: None, part: None, instead: None, abort: None }
    }
}

impl Refusal {
    pub(crate) fn respond(self, is_grpc: bool, mut exchange: Box<Exchange>) -> Response<ResponseBody> {
        if let Some(answer) = self.answer.filter(|_| !is_grpc) {
            let mut answer = *answer;
            exchange.refuse(self.reason, answer.status());
            let no_store = HeaderValue::from_static("no-store");
            answer.headers_mut().entry(CACHE_CONTROL).or_insert(no_store);
            return answer.map(|body| ResponseBody::whole(body, exchange));
        }
        let status = self.abort.map_or(self.reason.status(), |abort| abort.status);
        let mut headers = self.headers;
        let (status, body) = if is_grpc {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            let code = self.abort.and_then(|abort| abort.grpc_status);
            let code = code.map_or_else(|| grpc_code(self.reason, status), NonZeroU16::get);
            exchange.grpc_status(code);
            headers.insert(GRPC_STATUS, HeaderValue::from(code));
            headers.insert(GRPC_MESSAGE, HeaderValue::from_static(self.reason.detail()));
            (StatusCode::OK, Bytes::new())
        } else if let Some(instead) = self.instead {
            for (name, value) in &instead.headers {
                headers.append(name.clone(), value.clone());
            }
            (instead.status, instead.body.clone())
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            (status, problem(self.reason, status, self.part.as_deref(), exchange.request_id()))
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
fn problem(reason: Reason, status: StatusCode, part: Option<&FailedPart>, request_id: &str) -> Bytes {
    let title = status.canonical_reason().unwrap_or("Error");
    let (code, detail, reason) = (status.as_u16(), reason.detail(), reason.as_str());
    let part = match part {
        None => String::new(),
        Some(FailedPart { name, status: None }) => format!(r#","part":"{name}""#),
        Some(FailedPart { name, status: Some(status) }) => {
            format!(r#","part":"{name}","partStatus":{}"#, status.as_u16())
        }
    };
    format!(
        r#"{{"type":"about:blank","title":"{title}","status":{code},"detail":"{detail}","reason":"{reason}"{part},"requestId":"{request_id}"}}"#
    )
    .into()
}

/// gRPC's mapping from HTTP status to its own codes.
fn grpc_code(reason: Reason, status: StatusCode) -> u16 {
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    const UNKNOWN: u16 = 2;
    if reason == Reason::BrokenRoute {
        // As GRPCRouteRule.backendRefs asks for.
        return UNAVAILABLE;
    }
    match status.as_u16() {
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
