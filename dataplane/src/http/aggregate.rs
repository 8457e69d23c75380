//! One request, several backends asked at once, one JSON object.
//!
//! A part is an ordinary request over the same pools as all others. Its body is read, checked and held as it comes, and
//! written to the client from where it is once all parts are there: whether there is an answer at all, and what it lacks,
//! must be known before its head goes out. Nothing outlives the request: when a part fails without which there is no answer,
//! when the time is up or the client goes, what is still under way is dropped.

mod ask;
mod assembled;
mod gather;
mod json;
mod room;

use std::fmt::Write;

use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{
    HeaderName, HeaderValue, Method, Response,
    header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE},
    request::Parts,
};
use tokio::time::{Instant, timeout_at};

use self::{
    ask::{Failure, Question},
    gather::Gathered,
};
use super::{
    connection::Connection,
    exchange::Exchange,
    respond::{FailedPart, Refusal},
};
use crate::{
    Reason,
    auth::Identity,
    filter::Values,
    snapshot::{Aggregate, OnFailure, Part, Rule},
};

pub(crate) use {assembled::Assembled, room::Room};

/// Names the parts that have failed.
const PARTIAL: HeaderName = HeaderName::from_static("x-gatehouse-partial");

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) rule: &'a Rule,
    pub(super) plan: &'a Aggregate,
    /// Canonical.
    pub(super) path: &'a str,
    /// Without credentials.
    pub(super) query: Option<&'a str>,
    pub(super) identity: Option<&'a Identity>,
    /// As the client wrote it.
    pub(super) authority: &'a HeaderValue,
}

type Outcome = Result<Gathered, Failure>;

/// Answers with what all parts answer, or refuses by the part that has failed.
pub(super) async fn answer(
    connection: &Connection,
    asked: Asked<'_>,
    parts: &Parts,
    exchange: &mut Exchange,
) -> Result<Response<Box<Assembled>>, Refusal> {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        let mut refusal = Refusal::from(Reason::MethodNotAllowed);
        refusal.headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Err(refusal);
    }
    let Asked { rule, plan, identity, .. } = asked;
    let claim = |path: &str| identity?.claim(path);
    let consumer = |field| identity?.of_consumer(field);
    let question = Question {
        connection,
        rule,
        plan,
        values: Values { path: asked.path, query: asked.query, claim: &claim, consumer: &consumer },
        headers: ask::fields(&parts.headers, exchange),
        authority: asked.authority,
        asker: exchange.asker(&parts.headers),
        began: exchange.started(),
    };
    let began = Instant::now();
    let mut outcomes: Vec<Option<Outcome>> = plan.parts.iter().map(|_| None).collect();
    let fatal = {
        let question = &question;
        let asking = plan.parts.iter().zip(&rule.services).enumerate();
        let mut asking: FuturesUnordered<_> = asking
            .map(|(index, (part, service))| async move {
                (index, ask::ask(question, part, service.as_deref()).await)
            })
            .collect();
        let gathering = async {
            while let Some((index, outcome)) = asking.next().await {
                let part = &plan.parts[index];
                part.metrics.count(outcome.as_ref().err().map(|failure| failure.reason), began.elapsed());
                let is_fatal = outcome.is_err() && part.on_failure == OnFailure::Fail;
                outcomes[index] = Some(outcome);
                if is_fatal {
                    return Some(index);
                }
            }
            None
        };
        timeout_at(question.began + plan.timeout, gathering).await.ok().flatten()
    };
    // Before what was under way is called late, what ended it is told.
    if let Some(index) = fatal
        && let Some(Some(Err(failure))) = outcomes.get(index)
    {
        return Err(refuse(&plan.parts[index], *failure, exchange));
    }
    let late = |part: &Part| {
        part.metrics.count(Some(Reason::UpstreamTimeout), began.elapsed());
        Err(Reason::UpstreamTimeout.into())
    };
    let outcomes = plan.parts.iter().zip(outcomes);
    let outcomes: Vec<_> = outcomes.map(|(part, outcome)| outcome.unwrap_or_else(|| late(part))).collect();
    assemble(rule, plan, outcomes, exchange).map_err(|refusal| *refusal)
}

fn assemble(
    rule: &Rule,
    plan: &Aggregate,
    outcomes: Vec<Outcome>,
    exchange: &mut Exchange,
) -> Result<Response<Box<Assembled>>, Box<Refusal>> {
    let mut body = Box::<Assembled>::default();
    let (mut failed, mut names) = (String::new(), String::new());
    let mut sign = "{";
    let mut begin = |body: &mut Assembled, member: &str| {
        body.push_bytes(std::mem::replace(&mut sign, ",").as_bytes());
        body.push_bytes(member.as_bytes());
    };
    for (part, outcome) in plan.parts.iter().zip(outcomes) {
        match (outcome, part.on_failure) {
            (Ok(gathered), _) => {
                begin(&mut body, &part.member);
                body.push(gathered);
            }
            (Err(failure), OnFailure::Fail) => return Err(Box::new(refuse(part, failure, exchange))),
            (Err(failure), on_failure) => {
                names.push_str(if names.is_empty() { "" } else { ", " });
                names.push_str(&part.name);
                failed.push(if failed.is_empty() { '[' } else { ',' });
                failure.describe(part, &mut failed);
                if on_failure == OnFailure::Null {
                    begin(&mut body, &part.member);
                    body.push_bytes(b"null");
                }
            }
        }
    }
    if !failed.is_empty() {
        failed.push(']');
        if let Some(member) = &plan.errors_member {
            begin(&mut body, member);
            body.push_bytes(failed.as_bytes());
        }
    }
    // Every part may have been left out.
    body.push_bytes(if sign == "{" { b"{}" } else { b"}" });
    body.finish();

    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(names) = Some(names).filter(|names| !names.is_empty()).and_then(|names| names.try_into().ok())
    {
        headers.insert(PARTIAL, names);
    }
    rule.plan.response_headers.apply(headers);
    if !failed.is_empty() {
        // Whatever the rule says of whole answers: what is lacking now may be there in a moment.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        exchange.failed_parts(failed.into());
    }
    if exchange.is_head() {
        // What a GET would have brought.
        let length = HeaderValue::from(response.body().length());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        **response.body_mut() = Assembled::default();
    }
    Ok(response)
}

/// There is no answer without this part.
fn refuse(part: &Part, failure: Failure, exchange: &mut Exchange) -> Refusal {
    let mut failed = "[".to_owned();
    failure.describe(part, &mut failed);
    failed.push(']');
    exchange.failed_parts(failed.into());
    let part = FailedPart { name: part.name.clone(), status: failure.status };
    Refusal { part: Some(Box::new(part)), ..Refusal::from(failure.reason) }
}

impl Failure {
    /// As JSON, for logs and for those clients who want to know.
    fn describe(self, part: &Part, out: &mut String) {
        // Writing to a text never fails.
        let _ = write!(out, r#"{{"part":"{}","reason":"{}""#, part.name, self.reason.as_str());
        if let Some(status) = self.status {
            let _ = write!(out, r#","status":{}"#, status.as_u16());
        }
        out.push('}');
    }
}
