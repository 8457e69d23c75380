//! What operators see of requests: one access-log line, counters and a latency histogram, and one span each.
//!
//! A worker hands each finished [`Record`] to its [`Sink`]: counters are added to in place, the log line is written into
//! the worker's own buffer, a sampled span goes into a bounded queue. Whatever is slower than the requests is dropped
//! and counted; it never holds a request up.

mod access_log;
pub(crate) mod metrics;
mod record;
mod span;
mod trace;

use std::{
    cell::{Cell, RefCell},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use gatehouse_proto::config::v1;
use parking_lot::Mutex;

pub(crate) use record::{Record, RequestId};
pub(crate) use trace::TraceContext;
use {access_log::LogBuffer, access_log::LogWriter, metrics::Metrics, span::SpanExporter};

/// Shared by all workers. Settings can change while it runs.
#[derive(Debug)]
pub(crate) struct Observer {
    metrics: Arc<Metrics>,
    log: LogWriter,
    log_enabled: AtomicBool,
    /// Of requests without a trace context, in parts per million; 0 also when there is no exporter.
    sampling_ppm: AtomicU32,
    spans: Mutex<Option<SpanExporter>>,
}

/// A worker's way into the [`Observer`].
#[derive(Debug)]
pub(crate) struct Sink {
    observer: Arc<Observer>,
    log: RefCell<LogBuffer>,
    random: Cell<u64>,
}

impl Observer {
    /// Log lines go to `output`. Must be called within the runtime that exports spans.
    pub(crate) fn new(metrics: Arc<Metrics>, output: Box<dyn io::Write + Send>) -> Arc<Self> {
        Arc::new(Observer {
            log: LogWriter::start(output),
            metrics,
            log_enabled: AtomicBool::new(true),
            sampling_ppm: AtomicU32::new(0),
            spans: Mutex::new(None),
        })
    }

    /// Must be called within the runtime that exports spans.
    pub(crate) fn configure(&self, settings: &v1::Settings) {
        let enabled = settings.access_log.is_none_or(|log| log.enabled);
        self.log_enabled.store(enabled, Ordering::Relaxed);
        let mut spans = self.spans.lock();
        match &settings.tracing {
            Some(tracing) => {
                if spans.as_ref().is_none_or(|exporter| !exporter.serves(tracing)) {
                    *spans = Some(SpanExporter::start(tracing, Arc::clone(&self.metrics)));
                }
                self.sampling_ppm.store(tracing.sampling_ppm, Ordering::Relaxed);
            }
            None => {
                *spans = None;
                self.sampling_ppm.store(0, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn worker(self: &Arc<Self>, seed: u64) -> Sink {
        Sink { observer: Arc::clone(self), log: RefCell::new(self.log.buffer()), random: Cell::new(seed) }
    }

    /// Writes out what workers have handed over. Call it when they have ended.
    pub(crate) fn flush(&self) {
        self.log.flush();
        if let Some(exporter) = self.spans.lock().take() {
            exporter.finish();
        }
    }
}

impl Sink {
    pub(crate) fn finish(&self, record: &Record) {
        self.observer.metrics.count(record);
        if self.observer.log_enabled.load(Ordering::Relaxed) {
            let dropped = self.log.borrow_mut().write(record);
            if dropped > 0 {
                self.observer.metrics.log_dropped.add(dropped);
            }
        }
        if record.trace.sampled {
            // Sampled requests are few; the lock is held for a push into a queue.
            if let Some(exporter) = &*self.observer.spans.lock() {
                exporter.push(record);
            }
        }
    }

    /// Hands over log lines that have waited. Call it a few times a second.
    pub(crate) fn tick(&self) {
        let dropped = self.log.borrow_mut().hand_over();
        self.observer.metrics.log_dropped.add(dropped);
    }

    pub(crate) fn sampling_ppm(&self) -> u32 {
        self.observer.sampling_ppm.load(Ordering::Relaxed)
    }

    /// SplitMix64, seeded by the operating system: ids must differ, nobody gains by guessing them.
    pub(crate) fn random(&self) -> u64 {
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.observer.metrics
    }
}
