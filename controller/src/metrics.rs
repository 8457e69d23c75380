//! What the controller counts of itself, in the OpenMetrics text format. Labels come from this program alone.

mod jwks;
mod process;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text::encode},
    metrics::{
        counter::{ConstCounter, Counter},
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use tokio::sync::watch;

use crate::{
    fetch::JwksState,
    status::{EventCounters, WriterCounters},
};

/// Handles are cheap to use; `/metrics` shows all of them.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Changes that the watches told.
    pub changes: Counter<u64, AtomicU64>,
    translations: Histogram,
    /// 1 while this replica leads.
    pub leader: Gauge<i64, AtomicI64>,
    pub statuses: Arc<WriterCounters>,
    pub events: Arc<EventCounters>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut whole = Registry::default();
        whole.register_collector(Box::new(process::Usage));
        let registry = whole.sub_registry_with_prefix("gatehouse_controller");
        let changes = Counter::default();
        registry.register("watch_changes", "Changes that the API server told", changes.clone());
        let translations = Histogram::new(exponential_buckets(0.0005, 2.0, 14));
        registry.register_with_unit(
            "translation_duration",
            "From the objects to the configuration and the statuses",
            Unit::Seconds,
            translations.clone(),
        );
        let leader = Gauge::default();
        registry.register("leader", "1 while this replica writes statuses and provisions", leader.clone());
        let (statuses, events) = (Arc::<WriterCounters>::default(), Arc::<EventCounters>::default());
        registry.register_collector(Box::new(Written(Arc::clone(&statuses), Arc::clone(&events))));
        Metrics { registry: whole, changes, translations, leader, statuses, events }
    }
}

/// Shows what the writers of statuses and events count.
#[derive(Debug)]
struct Written(Arc<WriterCounters>, Arc<EventCounters>);

impl Collector for Written {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Written(statuses, events) = self;
        for (name, help, counter) in [
            ("status_writes", "Statuses that were written", &statuses.writes),
            ("status_conflicts", "Statuses that came too late", &statuses.conflicts),
            ("status_errors", "Statuses that could not be written and are tried again", &statuses.errors),
            ("events_sent", "Events that were sent", &events.sent),
            ("events_dropped", "Events that could not be sent", &events.dropped),
        ] {
            let counter = ConstCounter::new(counter.load(Ordering::Relaxed));
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

impl Metrics {
    /// Tells how old keys are, and whether they can be fetched.
    pub fn show_jwks(&mut self, states: watch::Receiver<BTreeMap<String, JwksState>>) {
        let registry = self.registry.sub_registry_with_prefix("gatehouse_controller");
        registry.register_collector(Box::new(jwks::Jwks(states)));
    }

    pub(crate) fn translated(&self, took: Duration) {
        self.translations.observe(took.as_secs_f64());
    }

    pub(crate) fn render(&self) -> String {
        let mut text = String::new();
        // A String takes whatever is written.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
