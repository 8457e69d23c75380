//! Copies of requests for other backends (GEP-3171). The client and its backend never wait for them.
//!
//! A copy leaves when all of the request's body has come, which is read for the backend alone. What can't be copied cheaply
//! is not: a long body, more copies than a worker may have under way, those whose backend is slow to answer.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, request::Parts};
use http_body_util::BodyExt;
use tokio::{sync::oneshot, task::spawn_local, time::timeout};

use super::{
    exchange::Exchange,
    forward::{ATTEMPTS, Outbound, head},
};
use crate::{
    snapshot::Repeats,
    upstream::{self, BackendBody, Failed, Lease, Recording, RequestBody, Service, Tried},
    worker::Worker,
};

/// From the request's head to the end of the copy's answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Of an answer, so much is read for its connection to be of use again.
const ANSWER: usize = 1 << 20;

/// The Services that get a copy of this request.
pub(super) fn choose(repeats: &Repeats, outbound: &Outbound<'_>, worker: &Worker) -> Vec<Arc<Service>> {
    let services = &outbound.rule.services[outbound.forward.backends.len()..];
    let chosen = repeats.mirrors.iter().zip(services).filter(|(share, _)| share.takes(|| worker.random()));
    chosen.filter_map(|(_, service)| service.clone()).collect()
}

/// Sends them copies of a request, which is as the rule's own filters left it. `recording` is its body's; `None`: it has none.
pub(super) fn send(
    services: Vec<Arc<Service>>,
    worker: &Rc<Worker>,
    outbound: &Outbound<'_>,
    parts: &Parts,
    recording: Option<&Recording>,
    exchange: &Exchange,
) {
    for service in services {
        // Each backend has its own protocol.
        let ready = worker.mirror().and_then(|permit| {
            let mut parts = parts.clone();
            head(&mut parts, outbound, &service).ok().map(|()| (permit, parts))
        });
        let Some((permit, parts)) = ready else {
            worker.sink.metrics().mirrored_lost.add(1);
            continue;
        };
        let key = service.key(&exchange.asker(&parts.headers));
        let body = recording.map(Recording::copy);
        let worker = Rc::clone(worker);
        spawn_local(async move {
            let answered = timeout(PATIENCE, deliver(parts, body, &service, key, &worker)).await;
            let metrics = worker.sink.metrics();
            match answered {
                Ok(Some(())) => metrics.mirrored.add(1),
                Ok(None) | Err(_) => metrics.mirrored_lost.add(1),
            }
            drop(permit);
        });
    }
}

/// `None`: it did not get there, or nothing came back.
async fn deliver(
    parts: Parts,
    body: Option<oneshot::Receiver<Vec<Bytes>>>,
    service: &Service,
    key: Option<u64>,
    worker: &Worker,
) -> Option<()> {
    let body = match body {
        Some(body) => Recording::of(body.await.ok()?),
        None => RequestBody::Empty,
    };
    let mut request = Request::from_parts(parts, body);
    let mut tried = Tried::default();
    for _ in 0..ATTEMPTS {
        let active = service.take(|| worker.random(), key, &tried).ok()?;
        tried.add(active.endpoint());
        let lease = Lease::new(active, Rc::clone(worker.pool()));
        match upstream::send(&mut request, service, lease, None).await {
            Ok(response) => return drain(response.into_body()).await,
            Err(Failed::Unsent(_)) => {}
            Err(Failed::Sent(_)) => return None,
        }
    }
    None
}

async fn drain(mut body: BackendBody) -> Option<()> {
    let mut read = 0;
    while let Some(frame) = body.frame().await
        && read <= ANSWER
    {
        read += frame.ok()?.data_ref().map_or(0, Bytes::len);
    }
    Some(())
}
