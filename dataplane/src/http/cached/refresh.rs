//! Fetches an answer anew while the one that is kept is still given (RFC 5861, 3). Nobody waits for it; it ends with the
//! worker, and what is asked then is asked by the next request.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, request::Parts};
use http_body_util::BodyExt;
use tokio::{
    task::spawn_local,
    time::{Instant, timeout_at},
};

use super::{Asking, Kept};
use crate::{
    Reason,
    cache::{Cache, Epoch, Key, Refreshing, Stored},
    http::{
        connection::Connection,
        failover::Level,
        forward::{self, Outbound, Sought},
    },
    upstream::{BodyState, RequestBody, Service},
    worker::Worker,
};
use std::rc::Rc;

/// Where the rule has no limit of its own.
const PATIENCE: Duration = Duration::from_secs(30);

/// Unless somebody else does, or as many are under way as may be.
#[allow(clippy::too_many_arguments)] // All that a request is.
pub(super) fn start(
    cache: &Arc<Cache>,
    key: &Key,
    found: &Arc<Stored>,
    kept: &Kept<'_>,
    outbound: &Outbound<'_>,
    parts: &Parts,
    connection: &Connection,
    epoch: Epoch,
) {
    if !found.begin_refresh() {
        return;
    }
    let refreshing = Refreshing(Arc::clone(found));
    let worker = &connection.worker;
    let Some(permit) = worker.refresh() else { return };
    let asking = Asking::new(
        cache,
        key.clone(),
        kept,
        &unconditional(&parts.headers),
        Some(Arc::clone(found)),
        epoch,
        "stale",
    );
    let Some((request, service, place)) = request(&asking, outbound, parts, worker) else { return };
    let plan = &outbound.rule.plan;
    let deadline = Instant::now() + plan.timeouts.request().unwrap_or(PATIENCE);
    let (limit, patience) = (plan.timeouts.attempt(), plan.patience.clone());
    let worker = Rc::clone(worker);
    spawn_local(async move {
        let _held = (refreshing, permit);
        let state = BodyState::default();
        let sought = Sought {
            level: Level::only(&service),
            key: None,
            limit,
            deadline: Some(deadline),
            patience: patience.as_deref(),
            state: &state,
        };
        // What went wrong is nobody's: the answer that is kept grows older.
        let _ = timeout_at(deadline, fetch(&worker, sought, request, asking, place)).await;
    });
}

async fn fetch(
    worker: &Rc<Worker>,
    sought: Sought<'_>,
    mut request: Request<RequestBody>,
    mut asking: Asking,
    place: usize,
) -> Result<(), Reason> {
    let mut answer = forward::attempts(worker, sought, &mut request, None, |_, _| ()).await?;
    forward::finish_head(&mut answer, false);
    let mut body = asking.answered(answer, place).into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(|_| Reason::UpstreamFailed)?;
    }
    Ok(())
}

/// `None`: there is nobody to ask.
fn request(
    asking: &Asking,
    outbound: &Outbound<'_>,
    parts: &Parts,
    worker: &Rc<Worker>,
) -> Option<(Request<RequestBody>, Arc<Service>, usize)> {
    let place = outbound.forward.choose(|| worker.random())?;
    let service = outbound.rule.services.get(place)?.clone()?;
    let mut parts = parts.clone();
    parts.method = Method::GET;
    parts.headers = asking.request.clone();
    forward::head(&mut parts, outbound, &service).ok()?;
    outbound.rule.plan.request_headers.apply(&mut parts.headers);
    outbound.forward.backends[place].request_headers.apply(&mut parts.headers);
    asking.ask_to_confirm(&mut parts.headers);
    Some((Request::from_parts(parts, RequestBody::Empty), service, place))
}

/// The client's conditions are about what the client has.
fn unconditional(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.remove(http::header::IF_NONE_MATCH);
    headers.remove(http::header::IF_MODIFIED_SINCE);
    headers
}
