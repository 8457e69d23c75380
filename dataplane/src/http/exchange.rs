//! One request and its response, as they are observed.
//!
//! It begins with the request's head and ends when it is dropped, which is when the response's body has gone out or the
//! client has gone away. What the steps of the pipeline learn is noted here.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, Method, StatusCode, header::USER_AGENT, request::Parts};
use tokio::time::Instant;

use super::{connection::Connection, grpc::GRPC_STATUS, headers::X_REQUEST_ID, target::Target};
use crate::{
    Reason,
    limit::{Due, Permit},
    observe::{CacheResult, Record, RequestId, metrics::RouteMetrics},
    rollout::{Counts, Version},
    upstream::{Asker, BodyState},
    worker::Worker,
};

#[derive(Debug)]
pub(crate) struct Exchange {
    worker: Rc<Worker>,
    started: Instant,
    record: Record,
    body: Rc<BodyState>,
    complete: bool,
    /// What limits count it by for as long as it is under way.
    permits: Vec<Permit>,
    /// What limits take besides when the response is there.
    due: Vec<Due>,
    /// Of a rollout that is analysed.
    counts: Option<(Arc<Counts>, Version)>,
}

impl Exchange {
    pub(crate) fn begin(connection: &Connection, parts: &Parts) -> Box<Self> {
        let worker = Rc::clone(&connection.worker);
        let random = || worker.sink.random();
        let trace = worker.sink.begin(&parts.headers);
        let request_id = parts.headers.get(X_REQUEST_ID).and_then(RequestId::parse);
        let started = Instant::now();
        let record = Record {
            began: worker.sink.wall_clock(started.into_std()),
            duration: Duration::ZERO,
            head_after: None,
            method: parts.method.clone(),
            scheme: connection.scheme.as_str(),
            host: Box::default(),
            path: parts.uri.path().into(),
            version: parts.version,
            client: connection.peer.ip().to_canonical(),
            listener: None,
            route: None,
            service: None,
            endpoint: None,
            attempts: 0,
            consumer: None,
            // What it stays at if the client goes before there is an answer.
            status: Reason::ClientGone.status().as_u16(),
            grpc_status: None,
            cache: None,
            reason: None,
            failed_parts: Box::default(),
            bytes_received: 0,
            bytes_sent: 0,
            user_agent: parts.headers.get(USER_AGENT).cloned(),
            request_id: request_id.unwrap_or_else(|| RequestId::make(random)),
            trace,
        };
        Box::new(Exchange {
            worker,
            started,
            record,
            body: Rc::default(),
            complete: false,
            permits: Vec::new(),
            due: Vec::new(),
            counts: None,
        })
    }

    /// The request stands in for one that was refused unread: nothing of it is the client's.
    pub(crate) fn is_stand_in(&mut self) {
        self.record.path = Box::default();
    }

    /// The canonical target is known.
    pub(crate) fn asks_for(&mut self, target: &Target<'_>) {
        self.record.host = (&*target.host).into();
        if let Cow::Owned(path) = &target.path {
            self.record.path = path.as_str().into();
        }
    }

    pub(crate) fn routed(&mut self, listener: &Arc<str>, route: &Arc<RouteMetrics>) {
        self.record.listener = Some(Arc::clone(listener));
        self.record.route = Some(Arc::clone(route));
    }

    pub(crate) fn hold(&mut self, permits: Vec<Permit>) {
        self.permits.extend(permits);
    }

    pub(crate) fn owe(&mut self, due: Vec<Due>) {
        self.due.extend(due);
    }

    /// A backend has answered, and says what it cost.
    pub(crate) fn pay(&mut self, head: &HeaderMap) {
        if !self.due.is_empty() {
            let stores = self.worker.stores();
            self.due.drain(..).for_each(|due| due.take(head, &stores));
        }
    }

    /// Canonical.
    pub(crate) fn host(&self) -> &str {
        &self.record.host
    }

    /// Canonical.
    pub(crate) fn path(&self) -> &str {
        &self.record.path
    }

    /// Notes the client's address, and tells the backend the request's id.
    pub(crate) fn client(&mut self, client: IpAddr, headers: &mut HeaderMap) {
        self.record.client = client;
        headers.insert(X_REQUEST_ID, self.record.request_id.header());
    }

    pub(crate) fn consumer(&mut self, consumer: &Arc<str>) {
        self.record.consumer = Some(Arc::clone(consumer));
    }

    /// Who wants an endpoint.
    pub(crate) fn asker<'a>(&'a self, headers: &'a HeaderMap) -> Asker<'a> {
        Asker {
            client: self.record.client,
            consumer: self.record.consumer.as_deref(),
            headers: Some(headers),
            is_secure: self.record.scheme == "https",
        }
    }

    pub(crate) fn service(&mut self, label: &Arc<str>) {
        self.record.service = Some(Arc::clone(label));
    }

    /// By what it is counted besides.
    pub(crate) fn counts(&mut self, counts: Option<(Arc<Counts>, Version)>) {
        self.counts = counts;
    }

    pub(crate) fn attempt(&mut self, endpoint: SocketAddr) {
        self.record.endpoint = Some(endpoint);
        self.record.attempts += 1;
    }

    pub(crate) fn inject_trace(&self, headers: &mut HeaderMap) {
        self.record.trace.inject(headers);
    }

    pub(crate) fn body_state(&self) -> Rc<BodyState> {
        Rc::clone(&self.body)
    }

    /// The request's body may have so many bytes.
    pub(crate) fn bound_body(&self, bytes: Option<NonZeroU64>) {
        self.body.bound.set(bytes);
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn is_head(&self) -> bool {
        self.record.method == Method::HEAD
    }

    pub(crate) fn request_id(&self) -> &str {
        self.record.request_id.as_str()
    }

    /// On purpose.
    pub(crate) fn held_up(&mut self) {
        self.record.reason = Some(Reason::FaultDelayed);
    }

    /// What became of it where answers are kept.
    pub(crate) fn cached(&mut self, result: CacheResult) {
        self.record.cache = Some(result);
        if let Some(route) = &self.record.route {
            self.worker.sink.metrics().count_cached(route, result);
        }
    }

    /// A backend has answered.
    pub(crate) fn head(&mut self, status: StatusCode) {
        self.record.status = status.as_u16();
        self.record.head_after = Some(self.started.elapsed());
    }

    /// A gRPC call ends with this code.
    pub(crate) fn grpc_status(&mut self, code: u16) {
        self.record.grpc_status = Some(code);
    }

    /// The fields in which a backend says how a gRPC call ended, if it does: of a head or of trailers.
    pub(crate) fn grpc_end(&mut self, fields: &HeaderMap) {
        let code = fields.get(GRPC_STATUS).and_then(|code| code.to_str().ok()?.parse().ok());
        self.record.grpc_status = code.or(self.record.grpc_status);
    }

    /// The gateway answers by itself.
    pub(crate) fn refuse(&mut self, reason: Reason, status: StatusCode) {
        self.record.status = status.as_u16();
        self.record.reason = Some(reason);
    }

    /// What of an aggregate has failed, as JSON.
    pub(crate) fn failed_parts(&mut self, json: Box<str>) {
        self.record.failed_parts = json;
    }

    /// It broke after the response's head.
    pub(crate) fn fail(&mut self, reason: Reason) {
        self.record.reason = Some(reason);
        self.complete = true;
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.record.bytes_sent += bytes as u64;
    }

    pub(crate) fn tunnelled(&mut self, received: u64, sent: u64) {
        self.body.received.set(received);
        self.record.bytes_sent = sent;
    }

    /// The last byte of the response was handed over.
    pub(crate) fn complete(&mut self) {
        self.complete = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.complete && matches!(self.record.reason, None | Some(Reason::FaultDelayed)) {
            self.record.reason = Some(Reason::ClientGone);
        }
        self.record.duration = self.started.elapsed();
        self.record.bytes_received = self.body.received.get();
        if let Some((counts, version)) = &self.counts {
            counts.count(*version, &self.record);
        }
        self.worker.sink.finish(&self.record);
    }
}
