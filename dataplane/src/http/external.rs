//! Asks somebody else whether a request may pass, and brings the answer back.

use std::{borrow::Cow, rc::Rc, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_TYPE, HOST, TE},
    request::Parts,
    uri::{Authority, Scheme},
};
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, timeout};

use super::{connection::Connection, forward::ATTEMPTS, headers::X_REQUEST_ID, respond::Refusal};
use crate::{
    Reason,
    auth::{self, Answer, Asker, External, Identity},
    snapshot::Snapshot,
    upstream::{self, BackendBody, Failed, Lease, Protocol, Recording, RequestBody, Service, Tried},
    worker::Worker,
};

/// Of a refusal that goes to the client, or of a message; a longer body is left out.
const BODY: usize = 64 << 10;
static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// `path`: canonical, as the route was found by.
pub(super) async fn ask(
    connection: &Connection,
    snapshot: &Snapshot,
    external: &Arc<External>,
    parts: &Parts,
    request: auth::Request<'_>,
    path: &str,
) -> Result<Identity, Refusal> {
    let worker = &connection.worker;
    let target = match parts.uri.query() {
        Some(query) => Cow::Owned(format!("{path}?{query}")),
        None => Cow::Borrowed(path),
    };
    let asker = Asker {
        client: request.client,
        version: parts.version,
        certificate: request.certificate.map(|certificate| certificate.name()),
    };
    let told = external.question(&parts.method, &target, &parts.headers);
    let key = (!external.cached_for.is_zero()).then(|| worker.answers().key(external, &told, &asker));
    let now = std::time::Instant::now();
    if let Some(known) = key.and_then(|key| worker.answers().get(external, key, now)) {
        return Ok(Identity::of_answer(known));
    }
    let message = external.message(&told, &asker);
    let answered = match snapshot.asked.get(&external.service) {
        Some(service) => {
            let asking = answer(worker, external, service, told, message);
            timeout(external.timeout, asking).await.ok().flatten()
        }
        None => None,
    };
    let verdict =
        answered.map_or(Answer::Failure, |(answer, trailers)| external.judge(answer, trailers.as_ref()));
    match verdict {
        Answer::Admitted(granted) => {
            if let Some(key) = key {
                let until = (Instant::now() + external.cached_for).into_std();
                worker.answers().keep(external, key, Arc::clone(&granted), until);
            }
            Ok(Identity::of_answer(granted))
        }
        Answer::Unauthenticated(answer) => Err(Refusal::own(Reason::Unauthenticated, answer)),
        Answer::Forbidden(answer) => Err(Refusal::own(Reason::Forbidden, answer)),
        Answer::Denied => Err(Reason::Forbidden.into()),
        Answer::Failure => {
            worker.sink.metrics().external_auth_failures.add(1);
            if external.allow_on_failure {
                Ok(Identity::anonymous())
            } else {
                Err(Reason::PolicyUnavailable.into())
            }
        }
    }
}

/// The answer, whole where it may go to the client, and its trailers. `None`: none came.
async fn answer(
    worker: &Rc<Worker>,
    external: &External,
    service: &Service,
    told: HeaderMap,
    message: Option<Bytes>,
) -> Option<(Response<Bytes>, Option<HeaderMap>)> {
    let mut request = request(external, service, told, message)?;
    let mut tried = Tried::default();
    for _ in 0..ATTEMPTS {
        let active = service.take(|| worker.random(), None, &tried).ok()?;
        tried.add(active.endpoint());
        let lease = Lease::new(active, Rc::clone(worker.pool()));
        match upstream::send(&mut request, service, lease, None).await {
            Ok(response) => return whole(response).await,
            Err(Failed::Unsent(_)) => {}
            Err(Failed::Sent(_)) => return None,
        }
    }
    None
}

/// `told` are its fields, unless there is a message that tells them.
fn request(
    external: &External,
    service: &Service,
    told: HeaderMap,
    message: Option<Bytes>,
) -> Option<Request<RequestBody>> {
    let (mut headers, body) = match message {
        None => (told, RequestBody::Empty),
        Some(message) => (of_call(external, &told), Recording::of(vec![message])),
    };
    let mut request = Request::new(body);
    *request.method_mut() = external.method.clone();
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(external.path.clone());
    match service.protocol {
        Protocol::Http1 => {
            headers.insert(HOST, external.host.clone());
            *request.version_mut() = Version::HTTP_11;
        }
        Protocol::H2c => {
            uri.scheme = Some(if service.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
            uri.authority = Some(Authority::try_from(external.host.as_bytes()).ok()?);
            *request.version_mut() = Version::HTTP_2;
        }
    }
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    *request.headers_mut() = headers;
    Some(request)
}

/// The fields of a call of gRPC.
fn of_call(external: &External, told: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if let Ok(timeout) = HeaderValue::try_from(format!("{}m", external.timeout.as_millis())) {
        headers.insert(&GRPC_TIMEOUT, timeout);
    }
    if let Some(id) = told.get(X_REQUEST_ID) {
        headers.insert(X_REQUEST_ID, id.clone());
    }
    headers
}

async fn whole(response: Response<BackendBody>) -> Option<(Response<Bytes>, Option<HeaderMap>)> {
    let (head, body) = response.into_parts();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    // Of an answer that admits by HTTP nothing but fields counts, and its connection is of use again when it is read.
    let (body, trailers) = match Limited::new(body, BODY).collect().await {
        Ok(body) => {
            let trailers = body.trailers().cloned();
            (body.to_bytes(), trailers)
        }
        Err(_) => (Bytes::new(), None),
    };
    Some((Response::from_parts(head, body), trailers))
}

impl Refusal {
    /// Somebody else's.
    fn own(reason: Reason, answer: Box<Response<Bytes>>) -> Self {
        Refusal { answer: Some(answer), ..Refusal::from(reason) }
    }
}
