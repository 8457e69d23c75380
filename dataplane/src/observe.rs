//! What operators see of requests: one access-log line, counters and a latency histogram, and one span each. Of streams,
//! a line and counters.
//!
//! A worker hands each finished [`Record`] to its [`Sink`]: counters are added to in place, the log line is written into
//! the worker's own buffer, a span goes into a bounded queue. Whatever is slower than the requests is dropped and
//! counted; it never holds a request up. What is written for whom stands in `docs/observability.md`.

mod access_log;
mod export;
pub(crate) mod metrics;
mod random;
mod record;
mod span;
mod stream;
mod trace;

use std::{
    cell::{Cell, RefCell},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwapOption;
use gatehouse_proto::config::v1;
use http::HeaderMap;
use tracing::warn;

pub(crate) use record::{CacheResult, Record, RequestId};
pub(crate) use stream::StreamRecord;
pub(crate) use trace::TraceContext;
use {
    access_log::{LogBuffer, LogWriter},
    export::SpanExporter,
    metrics::{Active, Metrics},
    random::Random,
    trace::Sampling,
};

/// No share is this large.
const SAMPLING_OFF: u32 = u32::MAX;
/// All, in parts per million.
const EVERY: u32 = 1_000_000;

/// Shared by all workers. Settings can change while it runs.
#[derive(Debug)]
pub(crate) struct Observer {
    metrics: Arc<Metrics>,
    log: LogWriter,
    log_enabled: AtomicBool,
    /// Of requests that went well, in parts per million.
    log_share: AtomicU32,
    /// In parts per million, or [`SAMPLING_OFF`].
    sampling: AtomicU32,
    spans: ArcSwapOption<SpanExporter>,
}

/// A worker's way into the [`Observer`].
#[derive(Debug)]
pub(crate) struct Sink {
    observer: Arc<Observer>,
    log: RefCell<LogBuffer>,
    random: Random,
    active: Arc<Active>,
    /// The same moment by both clocks. Renewed by each tick, so that a clock that is set is followed.
    clocks: Cell<(SystemTime, Instant)>,
}

impl Observer {
    /// Log lines go to `output`. Fails if no thread can be started.
    pub(crate) fn new(metrics: Arc<Metrics>, output: Box<dyn io::Write + Send>) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Observer {
            log: LogWriter::start(output, Arc::clone(&metrics))?,
            metrics,
            log_enabled: AtomicBool::new(true),
            log_share: AtomicU32::new(EVERY),
            sampling: AtomicU32::new(SAMPLING_OFF),
            spans: ArcSwapOption::empty(),
        }))
    }

    /// Must be called within the runtime that exports spans, by one caller at a time.
    pub(crate) fn configure(&self, settings: &v1::Settings) {
        let enabled = settings.access_log.is_none_or(|log| log.enabled);
        self.log_enabled.store(enabled, Ordering::Relaxed);
        let share = settings.access_log.and_then(|log| log.sampling_ppm).unwrap_or(EVERY);
        self.log_share.store(share, Ordering::Relaxed);
        let current = self.spans.load_full();
        let wanted = settings.tracing.as_ref().and_then(|tracing| {
            if current.as_ref().is_some_and(|exporter| exporter.serves(tracing)) {
                return current;
            }
            let started = SpanExporter::start(tracing, Arc::clone(&self.metrics));
            started.map(Arc::new).inspect_err(|error| warn!(%error, "there will be no spans")).ok()
        });
        let sampling = match (&wanted, &settings.tracing) {
            (Some(_), Some(tracing)) => tracing.sampling_ppm.min(EVERY),
            _ => SAMPLING_OFF,
        };
        self.spans.store(wanted);
        self.sampling.store(sampling, Ordering::Relaxed);
    }

    /// One a worker, each with a seed of its own.
    pub(crate) fn worker(self: &Arc<Self>, seed: u64) -> Sink {
        Sink {
            observer: Arc::clone(self),
            log: RefCell::new(self.log.buffer()),
            random: Random::from_seed(seed),
            active: self.metrics.worker(),
            clocks: Cell::new((SystemTime::now(), Instant::now())),
        }
    }

    /// Writes out what workers have handed over, for as long as the limit allows. Call it when they have ended. Blocks.
    pub(crate) fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let spans = self.spans.swap(None);
        self.sampling.store(SAMPLING_OFF, Ordering::Relaxed);
        self.log.flush(until);
        if let Some(exporter) = spans {
            exporter.finish(until.saturating_duration_since(Instant::now()));
        }
    }
}

impl Sink {
    /// A request has begun; one [`Sink::finish`] must follow. Gives the trace that it belongs to.
    pub(crate) fn begin(&self, headers: &HeaderMap) -> TraceContext {
        self.active.begin();
        let sampling = match self.observer.sampling.load(Ordering::Relaxed) {
            SAMPLING_OFF => Sampling::Off,
            ppm => Sampling::Share(ppm),
        };
        TraceContext::of(headers, sampling, || self.random())
    }

    pub(crate) fn finish(&self, record: &Record) {
        self.active.end();
        self.observer.metrics.count(record);
        if self.logs(record.went_wrong()) {
            self.log.borrow_mut().write(record);
        }
        if record.trace.recorded {
            match &*self.observer.spans.load() {
                Some(exporter) => exporter.push(record),
                None => self.observer.metrics.spans_dropped.add(1),
            }
        }
    }

    /// A stream has ended.
    pub(crate) fn finish_stream(&self, record: &StreamRecord) {
        self.observer.metrics.count_stream(record);
        if self.logs(record.reason.is_some()) {
            self.log.borrow_mut().write_stream(record);
        }
    }

    fn logs(&self, went_wrong: bool) -> bool {
        if !self.observer.log_enabled.load(Ordering::Relaxed) {
            return false;
        }
        let share = self.observer.log_share.load(Ordering::Relaxed);
        share >= EVERY || went_wrong || self.random() % u64::from(EVERY) < u64::from(share)
    }

    /// When that was, without reading a clock.
    pub(crate) fn wall_clock(&self, at: Instant) -> SystemTime {
        let (wall, monotonic) = self.clocks.get();
        wall + at.saturating_duration_since(monotonic)
    }

    /// Hands over log lines that have waited. Call it a few times a second.
    pub(crate) fn tick(&self) {
        self.clocks.set((SystemTime::now(), Instant::now()));
        self.log.borrow_mut().hand_over();
    }

    /// For ids, weights and load balancing; not for secrets.
    pub(crate) fn random(&self) -> u64 {
        self.random.next()
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.observer.metrics
    }
}

#[cfg(test)]
mod tests;
