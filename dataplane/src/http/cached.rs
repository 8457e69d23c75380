//! Answers that are kept (RFC 9111): whether a request gets one, waits for one, or goes to the backend and leaves one behind.
//!
//! It comes after authentication, limits and faults, so that an answer that is kept skips none of them; and before header
//! changes and compression, which are done anew each time, so that an edit of the rule is seen at once.

mod refresh;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        AGE, CONTENT_LENGTH, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
        LAST_MODIFIED, RANGE,
    },
    request::Parts,
};
use http_body::Body;
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use super::{
    client_body::ClientBody,
    connection::Connection,
    exchange::Exchange,
    forward::{self, Outbound},
    grpc, headers,
    pipeline::Answer,
};
use crate::{
    Reason,
    auth::Told,
    cache::{
        Cache, End, Epoch, Fill, Flight, Key, KeyWriter, Recorded, Seat, State, Stored,
        policy::{self, Given, Selection, Terms, Wants},
    },
    observe::CacheResult,
    snapshot::{self, Snapshot},
    upstream::BackendBody,
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// For how long others wait for the rest of an answer whose client may be slow to take it.
const BODY_PATIENCE: Duration = Duration::from_secs(5);
/// How often a request waits for others before it goes by itself.
const TURNS: usize = 3;

/// Fields of the way of a request that backends make answers of, and fields that frameworks take for another target or
/// method, although no `Vary` names them: each has answers of its own.
static TELLING: [HeaderName; 12] = [
    headers::X_FORWARDED_PROTO,
    headers::X_FORWARDED_HOST,
    headers::X_FORWARDED_PORT,
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-scheme"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-original-url"),
    HeaderName::from_static("x-rewrite-url"),
    HeaderName::from_static("x-original-host"),
    HeaderName::from_static("x-host"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
];

/// A request for a part of an answer, or under a condition that only the backend can judge.
static PASSING: [HeaderName; 4] = [RANGE, IF_RANGE, IF_MATCH, IF_UNMODIFIED_SINCE];

/// Of a rule that keeps answers.
pub(super) struct Kept<'a> {
    pub(super) rule: &'a snapshot::Cache,
    /// What the policies know of who asks.
    pub(super) told: Told,
    pub(super) cache: Arc<Cache>,
    /// Of the target.
    pub(super) epoch: Epoch,
}

/// A request on its way to the backend, whose answer may be kept.
#[derive(Debug)]
pub(super) struct Asking {
    cache: Arc<Cache>,
    key: Key,
    flight: Option<Flight>,
    /// As it selects answers; the conditions in it are the client's own.
    request: HeaderMap,
    /// What the backend is asked to confirm, or what is given in place of an error.
    found: Option<Arc<Stored>>,
    is_own: bool,
    max_body: usize,
    stale_while_revalidate: Duration,
    epoch: Epoch,
    asked: Instant,
    status: String,
    result: CacheResult,
}

/// What is kept of its target is of no use when it ends, however it does: nobody knows what the backend has done.
struct Write<'a> {
    cache: &'a Cache,
    /// `None`: nothing was written.
    epoch: Option<Epoch>,
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        if let Some(epoch) = self.epoch {
            self.cache.write(epoch);
        }
    }
}

pub(super) async fn answer(
    connection: &Connection,
    snapshot: &Snapshot,
    kept: Kept<'_>,
    outbound: Outbound<'_>,
    mut parts: Parts,
    body: ClientBody,
    exchange: &mut Exchange,
) -> Result<Answer, Reason> {
    let (cache, epoch) = (Arc::clone(&kept.cache), kept.epoch);
    let is_safe = parts.method.is_safe();
    let can_be_kept = parts.method == Method::GET || parts.method == Method::HEAD;
    let wants = Wants::of(&parts.headers);
    let passes = !can_be_kept
        || outbound.websocket
        || !body.is_end_stream()
        || wants.no_store
        || kept.told == Told::Unclear
        || grpc::is_grpc(&parts.headers)
        || PASSING.iter().any(|name| parts.headers.contains_key(name));
    if passes {
        exchange.cached(CacheResult::Bypass);
        let mut write = Write { cache: &cache, epoch: (!is_safe).then_some(epoch) };
        let mut answer =
            forward::forward(connection, snapshot, outbound, parts, body, exchange, None).await?;
        let status = answer.status();
        if status.is_client_error() || status.is_server_error() {
            write.epoch = None;
        }
        let why = if can_be_kept { "gatehouse; fwd=bypass" } else { "gatehouse; fwd=method" };
        tell(answer.headers_mut(), HeaderValue::from_static(why));
        return Ok(answer);
    }

    let (rule, path) = (&kept.rule.name, outbound.path.as_str());
    let key = key(rule, &outbound.authority, path, &kept.told, &parts.headers);
    let deadline = outbound.rule.plan.timeouts.request().map(|limit| exchange.started() + limit);
    let is_conditional =
        parts.headers.contains_key(IF_NONE_MATCH) || parts.headers.contains_key(IF_MODIFIED_SINCE);
    let mut turns = TURNS;
    let (flight, found, why) = loop {
        let entry = cache.get(&key);
        let found = entry.as_ref().and_then(|entry| entry.select(&parts.headers, epoch)).cloned();
        let now = Instant::now();
        if let Some(found) = &found {
            let takes = wants.take(found.age(now), found.fresh_for(now));
            if takes && found.is_fresh(now) {
                return Ok(give(found, CacheResult::Hit, now, connection, &outbound, &parts, exchange));
            }
            if takes && found.is_stale_for_less(found.terms.stale_while_revalidate, now) {
                refresh::start(&cache, &key, found, &kept, &outbound, &parts, connection, epoch);
                return Ok(give(found, CacheResult::Stale, now, connection, &outbound, &parts, exchange));
            }
        }
        if wants.only_if_cached {
            exchange.cached(CacheResult::Miss);
            return Err(Reason::NotCached);
        }
        let why = match (&entry, &found) {
            _ if wants.insist() && found.as_ref().is_some_and(|found| found.is_fresh(now)) => "request",
            (_, Some(_)) => "stale",
            (Some(entry), None) if entry.is_for_others(epoch) => "vary-miss",
            _ => "uri-miss",
        };
        // Who wants it anew, or has a copy, or of whom only the head is wanted, asks for itself. So do those who would each have
        // to ask again.
        let is_alone = turns == 0
            || wants.insist()
            || is_conditional && found.is_none()
            || parts.method == Method::HEAD
            || entry.as_ref().is_some_and(|entry| entry.passes(now))
            || found.as_ref().is_some_and(|found| found.terms.fresh_for.is_zero());
        if is_alone {
            break (None, found, why);
        }
        let selection = entry.as_ref().and_then(|entry| entry.selection());
        let place = key.and(|key| {
            for name in selection.into_iter().flat_map(Selection::names) {
                key.field(&parts.headers, name);
            }
        });
        match cache.join(place) {
            Seat::First(flight) => {
                let same = match (&entry, cache.get(&key)) {
                    (Some(before), Some(after)) => Arc::ptr_eq(before, &after),
                    (before, after) => before.is_none() && after.is_none(),
                };
                if same {
                    break (Some(flight), found, why);
                }
                // Somebody has brought it in the meantime.
                turns -= 1;
            }
            Seat::Alone => turns = 0,
            Seat::Waits(state) => match wait(state, deadline).await? {
                // An answer that this one does not select costs a turn.
                Some(End::Kept | End::Gone) => turns -= 1,
                Some(End::Alone) | None => turns = 0,
            },
        }
    };
    if parts.method == Method::HEAD {
        exchange.cached(CacheResult::Miss);
        let mut answer =
            forward::forward(connection, snapshot, outbound, parts, body, exchange, None).await?;
        let text = HeaderValue::try_from(format!("gatehouse; fwd={why}"));
        tell(answer.headers_mut(), text.unwrap_or(HeaderValue::from_static("gatehouse")));
        return Ok(answer);
    }

    let mut asking = Asking::new(&cache, key, &kept, &parts.headers, found, epoch, why);
    asking.flight = flight;
    asking.ask_to_confirm(&mut parts.headers);
    let (plan, services) = (&outbound.rule.plan, &outbound.rule.services);
    let sent =
        forward::forward(connection, snapshot, outbound, parts, body, exchange, Some(&mut asking)).await;
    let mut answer = match sent {
        Ok(answer) => answer,
        Err(reason) => {
            let now = Instant::now();
            let found =
                asking.found.take().filter(|found| found.is_stale_for_less(found.terms.stale_if_error, now));
            let Some(found) = found.filter(|_| is_of_backend(reason)) else {
                exchange.cached(asking.result);
                asking.end(End::Alone);
                return Err(reason);
            };
            asking.result = CacheResult::Stale;
            let mut response = response(&found, now, &asking.request, false);
            plan.response_headers.apply(response.headers_mut());
            let service = services.get(found.service).and_then(Option::as_deref);
            forward::stored(response, service, &asking.request, &connection.worker)
        }
    };
    exchange.cached(asking.result);
    let status = HeaderValue::try_from(std::mem::take(&mut asking.status));
    tell(answer.headers_mut(), status.unwrap_or(HeaderValue::from_static("gatehouse")));
    asking.end(End::Alone);
    Ok(answer)
}

/// An answer that is kept, as it goes out.
fn give(
    found: &Stored,
    result: CacheResult,
    now: Instant,
    connection: &Connection,
    outbound: &Outbound<'_>,
    parts: &Parts,
    exchange: &mut Exchange,
) -> Answer {
    exchange.cached(result);
    let mut response = response(found, now, &parts.headers, parts.method == Method::HEAD);
    outbound.rule.plan.response_headers.apply(response.headers_mut());
    let service = outbound.rule.services.get(found.service).and_then(Option::as_deref);
    let mut answer = match parts.method {
        Method::HEAD => Answer::Forwarded(response),
        _ => forward::stored(response, service, &parts.headers, &connection.worker),
    };
    let status = HeaderValue::try_from(format!("gatehouse; hit; ttl={}", found.fresh_for(now)));
    tell(answer.headers_mut(), status.unwrap_or(HeaderValue::from_static("gatehouse; hit")));
    answer
}

/// 304 for who has it already. `request`: with the client's own conditions.
pub(crate) fn response(
    found: &Stored,
    now: Instant,
    request: &HeaderMap,
    is_head: bool,
) -> Response<BackendBody> {
    let known = policy::is_known(request, found.status, &found.headers);
    let body = if known || is_head { Bytes::new() } else { found.body.clone() };
    let mut response = Response::new(BackendBody::stored(body));
    *response.headers_mut() = found.head(now);
    *response.status_mut() = if known { StatusCode::NOT_MODIFIED } else { found.status };
    if known {
        let headers = response.headers_mut();
        let of_body = ["content-encoding", "content-language", "content-type"];
        of_body.into_iter().for_each(|name| drop(headers.remove(name)));
    } else if is_head {
        // What a GET would have brought.
        response.headers_mut().insert(CONTENT_LENGTH, found.body.len().into());
    }
    response
}

/// RFC 9211; behind what caches nearer to the origin say.
fn tell(headers: &mut HeaderMap, status: HeaderValue) {
    headers.append(CACHE_STATUS, status);
}

/// `rule`: its name. `path`: as the backend sees it.
pub(crate) fn key(rule: &[u8], authority: &HeaderValue, path: &str, told: &Told, headers: &HeaderMap) -> Key {
    let mut key = KeyWriter::default();
    key.piece(rule);
    key.piece(authority.as_bytes());
    key.piece(path.as_bytes());
    for name in &TELLING {
        key.field(headers, name);
    }
    match told {
        Told::Nobody | Told::Unclear => key.absent(),
        Told::Who(who) => key.piece(who),
    }
    key.finish()
}

/// Waits for what another request fetches. `None`: that takes too long.
async fn wait(mut state: watch::Receiver<State>, deadline: Option<Instant>) -> Result<Option<End>, Reason> {
    let mut until = None;
    loop {
        match *state.borrow_and_update() {
            State::Ended(end) => return Ok(Some(end)),
            State::Answering => until = until.or_else(|| Some(Instant::now() + BODY_PATIENCE)),
            State::Asking => {}
        }
        let changed = match until.into_iter().chain(deadline).min() {
            None => state.changed().await,
            Some(first) => match timeout_at(first, state.changed()).await {
                Ok(changed) => changed,
                Err(_) if deadline.is_some_and(|deadline| deadline <= first) => {
                    return Err(Reason::UpstreamTimeout);
                }
                Err(_) => return Ok(None),
            },
        };
        if changed.is_err() {
            // Its sender says how it ended, and then goes.
            let end = *state.borrow();
            return Ok(Some(if let State::Ended(end) = end { end } else { End::Gone }));
        }
    }
}

/// There is no answer, or none that came in time.
fn is_of_backend(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::NoEndpoints
            | Reason::ConnectFailed
            | Reason::UpstreamFailed
            | Reason::UpstreamTimeout
            | Reason::UpstreamFull
    )
}

impl Asking {
    fn new(
        cache: &Arc<Cache>,
        key: Key,
        kept: &Kept<'_>,
        request: &HeaderMap,
        found: Option<Arc<Stored>>,
        epoch: Epoch,
        why: &str,
    ) -> Self {
        Asking {
            cache: Arc::clone(cache),
            key,
            flight: None,
            request: request.clone(),
            found,
            is_own: matches!(kept.told, Told::Who(_)),
            max_body: kept.rule.max_body,
            stale_while_revalidate: kept.rule.stale_while_revalidate,
            epoch,
            asked: Instant::now(),
            status: format!("gatehouse; fwd={why}"),
            result: CacheResult::Miss,
        }
    }

    /// Asks the backend whether what is kept still holds (RFC 9111, 4.3.1), in place of the client's own conditions: those are
    /// judged by what comes.
    fn ask_to_confirm(&self, headers: &mut HeaderMap) {
        let Some(found) = &self.found else { return };
        let validators = [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)];
        for (of_answer, of_request) in validators {
            match found.headers.get(of_answer) {
                Some(value) => drop(headers.insert(of_request, value.clone())),
                None => drop(headers.remove(of_request)),
            }
        }
    }

    /// What the client gets for what the backend has answered, which is cleaned and not changed yet.
    pub(super) fn answered(
        &mut self,
        answer: Response<BackendBody>,
        service: usize,
    ) -> Response<BackendBody> {
        let now = Instant::now();
        let status = answer.status();
        let found = self.found.take();
        let may_wait = found.is_some() || self.flight.is_some();
        if let Some(found) = found {
            if status == StatusCode::NOT_MODIFIED {
                return self.confirmed(&found, answer.headers(), service, now);
            }
            let is_error = matches!(status.as_u16(), 500 | 502 | 503 | 504);
            if is_error && found.is_stale_for_less(found.terms.stale_if_error, now) {
                self.result = CacheResult::Stale;
                self.status.push_str(&format!(
                    "; fwd-status={}; ttl={}",
                    status.as_u16(),
                    found.fresh_for(now)
                ));
                self.end(End::Alone);
                return response(&found, now, &self.request, false);
            }
        }
        let terms =
            self.terms(status, answer.headers(), now).filter(|_| !answer.body().ends_with_connection());
        let selection = terms.as_ref().and_then(|_| Selection::of(answer.headers(), &self.request));
        let Some((terms, selection)) = terms.zip(selection) else {
            if may_wait && !status.is_server_error() {
                self.cache.pass(&self.key, &self.request, now);
            }
            self.end(End::Alone);
            return answer;
        };
        let (head, body) = answer.into_parts();
        let mut kept = policy::compact(&head.headers);
        kept.remove(AGE);
        let flight = self.flight.take();
        if let Some(flight) = &flight {
            flight.answering();
        }
        let fill = Fill {
            cache: Arc::clone(&self.cache),
            key: self.key.clone(),
            flight,
            status: head.status,
            headers: kept,
            selection,
            terms,
            arrived: now,
            epoch: self.epoch,
            service,
            most: self.max_body,
        };
        self.status.push_str("; stored");
        Response::from_parts(head, BackendBody::recorded(Recorded::new(body, fill)))
    }

    /// RFC 9111, 4.3.4.
    fn confirmed(
        &mut self,
        found: &Stored,
        said: &HeaderMap,
        service: usize,
        now: Instant,
    ) -> Response<BackendBody> {
        self.result = CacheResult::Revalidated;
        let mut headers = policy::compact(&policy::update(&found.headers, said));
        let terms = self.terms(found.status, &headers, now);
        let selection = Selection::of(&headers, &self.request);
        headers.remove(AGE);
        let kept = Stored {
            status: found.status,
            headers,
            body: found.body.clone(),
            selection: selection.clone().unwrap_or_else(|| found.selection.clone()),
            terms: terms.clone().unwrap_or_else(|| found.terms.clone()),
            arrived: now,
            epoch: self.epoch,
            service,
            refreshing: AtomicBool::new(false),
        };
        self.status.push_str("; fwd-status=304");
        let response = response(&kept, now, &self.request, false);
        if terms.is_some() && selection.is_some() {
            self.status.push_str("; stored");
            let is_of_use = kept.is_fresh(now);
            let is_there = self.cache.keep(&self.key, Arc::new(kept));
            self.end(if is_there && is_of_use { End::Kept } else { End::Alone });
        } else {
            self.cache.pass(&self.key, &self.request, now);
            self.end(End::Alone);
        }
        response
    }

    fn terms(&self, status: StatusCode, headers: &HeaderMap, now: Instant) -> Option<Terms> {
        let given = Given {
            headers: &self.request,
            is_own: self.is_own,
            stale_while_revalidate: self.stale_while_revalidate,
            took: now.saturating_duration_since(self.asked),
            now: SystemTime::now(),
        };
        Terms::of(status, headers, given)
    }

    /// If nothing has ended it.
    fn end(&mut self, end: End) {
        if let Some(flight) = self.flight.take() {
            flight.end(end);
        }
    }
}
