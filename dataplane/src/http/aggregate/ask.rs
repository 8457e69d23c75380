//! Asks the backend of one part.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
        IF_UNMODIFIED_SINCE, RANGE, TE,
    },
};
use tokio::time::{Instant, timeout_at};

use super::{
    super::{
        connection::Connection,
        exchange::Exchange,
        failover::Level,
        forward::{self, Sought, attempts},
        retry::Retries,
    },
    gather::{Gathered, gather},
};
use crate::{
    Reason,
    filter::Values,
    snapshot::{Aggregate, Part, Rule},
    upstream::{Affinity, Asker, BackendBody, BodyState, RequestBody, Service},
};

/// A client's wishes about the whole, which no part can meet: versions and pieces of it, and how it is coded.
static OF_THE_WHOLE: [HeaderName; 7] =
    [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE, TE];

/// What all parts have in common.
pub(super) struct Question<'a> {
    pub(super) connection: &'a Connection,
    pub(super) rule: &'a Rule,
    pub(super) plan: &'a Aggregate,
    pub(super) values: Values<'a>,
    pub(super) headers: HeaderMap,
    pub(super) authority: &'a HeaderValue,
    pub(super) asker: Asker<'a>,
    pub(super) began: Instant,
}

/// Why a part is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    /// The backend's, where it is the failure.
    pub(super) status: Option<StatusCode>,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Failure { reason, status: None }
    }
}

/// The client's fields, as far as they are for every part.
pub(super) fn fields(of_client: &HeaderMap, exchange: &Exchange) -> HeaderMap {
    let mut headers = of_client.clone();
    for name in &OF_THE_WHOLE {
        headers.remove(name);
    }
    // There is no body that they could tell of.
    let of_body: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("content-")).cloned().collect();
    for name in of_body {
        headers.remove(name);
    }
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    exchange.inject_trace(&mut headers);
    headers
}

/// All of it within the part's time; the whole's is the caller's.
pub(super) async fn ask(
    question: &Question<'_>,
    part: &Part,
    service: Option<&Service>,
) -> Result<Gathered, Failure> {
    let asking = ask_and_gather(question, part, service);
    match part.timeout {
        None => asking.await,
        Some(limit) => {
            let answered = timeout_at(question.began + limit, asking).await;
            answered.unwrap_or(Err(Reason::UpstreamTimeout.into()))
        }
    }
}

async fn ask_and_gather(
    question: &Question<'_>,
    part: &Part,
    service: Option<&Service>,
) -> Result<Gathered, Failure> {
    let service = service.ok_or(Reason::BrokenRoute)?;
    let mut request = request(question, part, service)?;
    let retry = question.plan.retry.as_ref();
    let retries = retry.map(|rule| Box::new(Retries::new(rule, &request, service.protocol, None)));
    // There is no body that could fail.
    let state = BodyState::default();
    // A cookie that would have to be made is not: the answer is of several backends.
    let Affinity { key, .. } = service.affinity(&question.asker, || question.connection.worker.random());
    let deadline =
        question.began + part.timeout.map_or(question.plan.timeout, |own| own.min(question.plan.timeout));
    let level = Level::only(service);
    let sought = Sought { level, key, limit: None, deadline: Some(deadline), patience: None, state: &state };
    let sending = attempts(&question.connection.worker, sought, &mut request, retries, |_, _| ());
    let response = sending.await?;
    let share = question.connection.worker.room().share();
    if matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
        return Ok(Gathered::null(share));
    }
    check_head(&response)?;
    Ok(gather(response.into_body(), question.plan.max_part_bytes, share).await?)
}

fn request(question: &Question<'_>, part: &Part, service: &Service) -> Result<Request<RequestBody>, Reason> {
    let target = part.target.render(&question.values)?;
    let (mut head, body) = Request::new(RequestBody::Empty).into_parts();
    head.method = Method::GET;
    head.headers = question.headers.clone();
    forward::address(&mut head, question.authority, target, service)?;
    question.rule.plan.request_headers.apply(&mut head.headers);
    part.request_headers.apply(&mut head.headers);
    Ok(Request::from_parts(head, body))
}

/// Only a success brings a value, and only as it is: a redirect is not followed, and what is compressed is no JSON.
fn check_head(response: &Response<BackendBody>) -> Result<(), Failure> {
    let status = response.status();
    // A piece was not asked for, and is no value.
    if !status.is_success() || status == StatusCode::PARTIAL_CONTENT {
        return Err(Failure { reason: Reason::UpstreamStatus, status: Some(status) });
    }
    let codings = response.headers().get_all(CONTENT_ENCODING);
    if codings.iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(Reason::UpstreamNotJson.into());
    }
    Ok(())
}
