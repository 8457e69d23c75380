//! One stream, as it is observed. It ends when it is dropped.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::relay::Moved;
use crate::{
    Reason,
    observe::{StreamRecord, metrics::RouteMetrics},
    upstream::Asker,
    worker::Worker,
};

#[derive(Debug)]
pub(super) struct Observed {
    worker: Rc<Worker>,
    started: Instant,
    record: StreamRecord,
    /// Why it did not come to its own end.
    reason: Cell<Option<Reason>>,
    moved: Moved,
}

impl Observed {
    pub(super) fn begin(worker: &Rc<Worker>, peer: SocketAddr, protocol: &'static str, host: &str) -> Self {
        let started = Instant::now();
        let record = StreamRecord {
            began: worker.sink.wall_clock(started.into_std()),
            duration: Duration::ZERO,
            protocol,
            host: host.into(),
            client: peer.ip().to_canonical(),
            listener: None,
            route: None,
            service: None,
            endpoint: None,
            attempts: 0,
            reason: None,
            bytes_received: 0,
            bytes_sent: 0,
        };
        Observed {
            worker: Rc::clone(worker),
            started,
            record,
            // What it stays at if the gateway ends before it.
            reason: Cell::new(Some(Reason::Draining)),
            moved: Moved::default(),
        }
    }

    pub(super) fn routed(&mut self, listener: &Arc<str>, route: &Arc<RouteMetrics>) {
        self.record.listener = Some(Arc::clone(listener));
        self.record.route = Some(Arc::clone(route));
    }

    pub(super) fn service(&mut self, label: &Arc<str>) {
        self.record.service = Some(Arc::clone(label));
    }

    pub(super) fn attempt(&mut self, endpoint: SocketAddr) {
        self.record.endpoint = Some(endpoint);
        self.record.attempts += 1;
    }

    /// Who wants an endpoint.
    pub(super) fn asker(&self) -> Asker<'static> {
        Asker { client: self.record.client, consumer: None, headers: None, is_secure: false }
    }

    pub(super) fn moved(&self) -> &Moved {
        &self.moved
    }

    /// `None`: by itself.
    pub(super) fn end(&self, reason: Option<Reason>) {
        self.reason.set(reason);
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.record.duration = self.started.elapsed();
        self.record.reason = self.reason.get();
        self.record.bytes_received = self.moved.received.get();
        self.record.bytes_sent = self.moved.sent.get();
        self.worker.sink.finish_stream(&self.record);
    }
}
