//! Counters, in Prometheus' text format. Labels come from configuration and from closed sets, never from requests.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::Record;
use crate::Reason;

/// Upper bounds of the latency histogram, in microseconds.
const BUCKETS: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 10_000_000];
/// Statuses that are counted by themselves; others count under their class.
const CODES: [u16; 24] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 408, 409, 429, 499, 500,
    502, 503, 504,
];

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

/// By object and rule.
type Routes = BTreeMap<(Box<str>, Box<str>), Weak<RouteMetrics>>;

/// All of a process.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// What nothing refers to any more is forgotten.
    routes: Mutex<Routes>,
    /// Requests that no route took.
    unrouted: Arc<RouteMetrics>,
    reasons: [Counter; Reason::ALL.len()],
    pub(crate) connections: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) log_dropped: Counter,
    pub(crate) spans_dropped: Counter,
    pub(crate) store_failures: Counter,
    pub(crate) config_batches: Counter,
    pub(crate) config_refused: Counter,
}

/// Of one rule of one route object.
#[derive(Debug)]
pub(crate) struct RouteMetrics {
    object: Box<str>,
    /// Its name, or its position.
    rule: Box<str>,
    codes: [Counter; CODES.len()],
    /// 1xx to 5xx.
    classes: [Counter; 5],
    buckets: [Counter; BUCKETS.len()],
    beyond: Counter,
    microseconds: Counter,
}

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl RouteMetrics {
    fn new(object: &str, rule: &str) -> Self {
        RouteMetrics {
            object: object.into(),
            rule: rule.into(),
            codes: Default::default(),
            classes: Default::default(),
            buckets: Default::default(),
            beyond: Counter::default(),
            microseconds: Counter::default(),
        }
    }

    /// `Kind/namespace/name`; empty for requests without a route.
    pub(crate) fn object(&self) -> &str {
        &self.object
    }

    pub(crate) fn rule(&self) -> &str {
        &self.rule
    }

    fn count(&self, record: &Record) {
        match CODES.binary_search(&record.status) {
            Ok(index) => self.codes[index].add(1),
            Err(_) => {
                if let Some(class) = self.classes.get(usize::from(record.status / 100).wrapping_sub(1)) {
                    class.add(1);
                }
            }
        }
        let micros = u64::try_from(record.duration.as_micros()).unwrap_or(u64::MAX);
        self.buckets.get(BUCKETS.partition_point(|bound| *bound < micros)).unwrap_or(&self.beyond).add(1);
        self.microseconds.add(micros);
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            routes: Mutex::default(),
            unrouted: Arc::new(RouteMetrics::new("", "")),
            reasons: Default::default(),
            connections: Counter::default(),
            connections_refused: Counter::default(),
            log_dropped: Counter::default(),
            spans_dropped: Counter::default(),
            store_failures: Counter::default(),
            config_batches: Counter::default(),
            config_refused: Counter::default(),
        }
    }
}

impl Metrics {
    /// The handle of a rule: the same for as long as anything holds it, so that a change of the rule keeps its counts.
    pub(crate) fn route(&self, object: &str, rule: u32, rule_name: &str) -> Arc<RouteMetrics> {
        let rule = if rule_name.is_empty() { rule.to_string() } else { rule_name.to_owned() };
        let mut routes = self.routes.lock();
        let slot = routes.entry((object.into(), rule.as_str().into())).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let made = Arc::new(RouteMetrics::new(object, &rule));
            *slot = Arc::downgrade(&made);
            made
        })
    }

    pub(super) fn count(&self, record: &Record) {
        record.route.as_ref().unwrap_or(&self.unrouted).count(record);
        if let Some(reason) = record.reason {
            self.reasons[reason.index()].add(1);
        }
    }

    /// The text that `/metrics` serves. `connections` are those that are open now.
    pub(crate) fn render(&self, connections: usize) -> String {
        let mut out = String::new();
        // Writing to a string never fails.
        let _ = self.write(&mut out, connections);
        out
    }

    fn write(&self, out: &mut String, connections: usize) -> fmt::Result {
        let mut routes = vec![Arc::clone(&self.unrouted)];
        self.routes.lock().retain(|_, route| {
            let live = route.upgrade();
            let keep = live.is_some();
            routes.extend(live);
            keep
        });
        head(out, "gatehouse_requests_total", "counter", "Requests that have ended.")?;
        for route in &routes {
            let codes = CODES.iter().zip(&route.codes).map(|(code, counter)| (code.to_string(), counter));
            let classes = (1..).zip(&route.classes).map(|(class, counter)| (format!("{class}xx"), counter));
            for (code, counter) in codes.chain(classes).filter(|(_, counter)| counter.get() > 0) {
                let (object, rule) = (Label(&route.object), Label(&route.rule));
                writeln!(
                    out,
                    "gatehouse_requests_total{{route=\"{object}\",rule=\"{rule}\",code=\"{code}\"}} {}",
                    counter.get()
                )?;
            }
        }
        let name = "gatehouse_request_duration_seconds";
        head(out, name, "histogram", "From a request's head to the end of its response.")?;
        for route in &routes {
            write_histogram(out, name, route)?;
        }
        head(
            out,
            "gatehouse_gateway_responses_total",
            "counter",
            "Answers of the gateway's own, by reason.",
        )?;
        for (reason, counter) in Reason::ALL.iter().zip(&self.reasons) {
            writeln!(
                out,
                "gatehouse_gateway_responses_total{{reason=\"{}\"}} {}",
                reason.as_str(),
                counter.get()
            )?;
        }
        head(out, "gatehouse_connections_active", "gauge", "Client connections that are open.")?;
        writeln!(out, "gatehouse_connections_active {connections}")?;
        for (name, help, counter) in [
            ("gatehouse_connections_total", "Client connections that were accepted.", &self.connections),
            (
                "gatehouse_connections_refused_total",
                "Connections beyond the limit.",
                &self.connections_refused,
            ),
            (
                "gatehouse_access_log_dropped_total",
                "Log lines that the output was too slow for.",
                &self.log_dropped,
            ),
            ("gatehouse_spans_dropped_total", "Spans that could not be exported.", &self.spans_dropped),
            (
                "gatehouse_rate_limit_store_failures_total",
                "Decisions made without the store.",
                &self.store_failures,
            ),
            (
                "gatehouse_config_batches_total",
                "Batches of configuration that were applied.",
                &self.config_batches,
            ),
            ("gatehouse_config_rejected_total", "Resources that could not be used.", &self.config_refused),
        ] {
            head(out, name, "counter", help)?;
            writeln!(out, "{name} {}", counter.get())?;
        }
        head(out, "gatehouse_build_info", "gauge", "The version that runs.")?;
        writeln!(out, "gatehouse_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))
    }
}

fn write_histogram(out: &mut String, name: &str, route: &RouteMetrics) -> fmt::Result {
    let (object, rule) = (Label(&route.object), Label(&route.rule));
    let mut sum = 0;
    for (bound, counter) in BUCKETS.iter().zip(&route.buckets) {
        sum += counter.get();
        let (whole, rest) = (bound / 1_000_000, bound % 1_000_000);
        let fraction = format!("{rest:06}");
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        writeln!(
            out,
            "{name}_bucket{{route=\"{object}\",rule=\"{rule}\",le=\"{whole}{point}{fraction}\"}} {sum}"
        )?;
    }
    sum += route.beyond.get();
    writeln!(out, "{name}_bucket{{route=\"{object}\",rule=\"{rule}\",le=\"+Inf\"}} {sum}")?;
    let micros = route.microseconds.get();
    writeln!(
        out,
        "{name}_sum{{route=\"{object}\",rule=\"{rule}\"}} {}.{:06}",
        micros / 1_000_000,
        micros % 1_000_000
    )?;
    writeln!(out, "{name}_count{{route=\"{object}\",rule=\"{rule}\"}} {sum}")
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// A label's value, escaped.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{CODES, Metrics};

    #[test]
    fn codes_are_sorted() {
        assert!(CODES.is_sorted());
    }

    #[test]
    fn a_rule_keeps_its_counts_while_something_holds_it() {
        let metrics = Metrics::default();
        let first = metrics.route("HTTPRoute/ns/a", 0, "");
        first.codes[1].add(3);
        assert!(Arc::ptr_eq(&first, &metrics.route("HTTPRoute/ns/a", 0, "")));
        let line = "gatehouse_requests_total{route=\"HTTPRoute/ns/a\",rule=\"0\",code=\"200\"} 3";
        assert!(metrics.render(0).contains(line));
        drop(first);
        assert!(!metrics.render(0).contains("HTTPRoute/ns/a"), "forgotten with its route");
    }
}
