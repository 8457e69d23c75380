//! Counts of one rule of one route object: responses by status, and a histogram of durations; of streams, their bytes.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use super::{Counter, PartMetrics, handles::Handles};
use crate::observe::CacheResult;

/// Upper bounds of the histogram's buckets, in microseconds, and in seconds as text.
pub(super) const BUCKETS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];
/// Statuses that are counted by themselves; others count under their class.
const CODES: [u16; 24] = [
    101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 408, 409, 429, 499, 500,
    502, 503, 504,
];
/// What no class of HTTP takes comes last.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// Of a rule. Small until its first request.
#[derive(Debug, Default)]
pub(crate) struct RouteMetrics {
    object: Arc<str>,
    rule: Box<str>,
    counts: OnceLock<Arc<RouteCounts>>,
}

/// Shared by all handles of a rule.
#[derive(Debug, Default)]
pub(super) struct RouteCounts {
    object: Arc<str>,
    rule: Box<str>,
    requests: OnceLock<Box<Requests>>,
    streams: OnceLock<Box<Streams>>,
    parts: OnceLock<Box<Handles<Box<str>, PartMetrics>>>,
    /// Of a rule that keeps answers, by what became of requests.
    cached: OnceLock<Box<[Counter; CacheResult::ALL.len()]>>,
}

#[derive(Debug, Default)]
struct Streams {
    ended: Counter,
    received: Counter,
    sent: Counter,
}

/// About 400 bytes.
#[derive(Debug, Default)]
struct Requests {
    codes: [Counter; CODES.len()],
    classes: [Counter; CLASSES.len()],
    buckets: [Counter; BUCKETS.len()],
    /// Longer than the last bucket.
    beyond: Counter,
    microseconds: Counter,
}

impl RouteMetrics {
    /// `counts`: those that the rule has already.
    pub(super) fn new(object: Arc<str>, rule: Box<str>, counts: Option<Arc<RouteCounts>>) -> Self {
        RouteMetrics { object, rule, counts: counts.map(OnceLock::from).unwrap_or_default() }
    }

    /// `Kind/namespace/name`; empty for requests without a route.
    pub(crate) fn object(&self) -> &Arc<str> {
        &self.object
    }

    /// The rule's name, or its position.
    pub(crate) fn rule(&self) -> &str {
        &self.rule
    }

    /// `find` is asked the first time.
    pub(super) fn counts(&self, find: impl FnOnce() -> Arc<RouteCounts>) -> &RouteCounts {
        self.counts.get_or_init(find)
    }
}

impl RouteCounts {
    pub(super) fn new(object: Arc<str>, rule: Box<str>) -> Self {
        RouteCounts { object, rule, ..RouteCounts::default() }
    }

    pub(super) fn object(&self) -> &str {
        &self.object
    }

    pub(super) fn rule(&self) -> &str {
        &self.rule
    }

    /// The handle of a part of an aggregate.
    pub(super) fn part(&self, name: &str) -> Arc<PartMetrics> {
        self.parts.get_or_init(Box::default).get(name.into(), |name| PartMetrics::new(name))
    }

    /// Those that the rule has.
    pub(super) fn parts(&self) -> Vec<Arc<PartMetrics>> {
        self.parts.get().map(|parts| parts.live()).unwrap_or_default()
    }

    pub(super) fn count(&self, status: u16, duration: Duration) {
        let counts = self.requests.get_or_init(Box::default);
        match CODES.binary_search(&status) {
            Ok(index) => counts.codes[index].add(1),
            Err(_) => {
                let class = usize::from(status / 100).wrapping_sub(1);
                counts.classes[class.min(CLASSES.len() - 1)].add(1);
            }
        }
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.partition_point(|(bound, _)| *bound < micros);
        counts.buckets.get(bucket).unwrap_or(&counts.beyond).add(1);
        counts.microseconds.add(micros);
    }

    pub(super) fn count_cached(&self, result: CacheResult) {
        self.cached.get_or_init(Box::default)[result as usize].add(1);
    }

    /// `None` before the first.
    pub(super) fn cached(&self) -> Option<[(CacheResult, u64); CacheResult::ALL.len()]> {
        let counts = self.cached.get()?;
        Some(std::array::from_fn(|index| (CacheResult::ALL[index], counts[index].get())))
    }

    pub(super) fn count_stream(&self, received: u64, sent: u64) {
        let streams = self.streams.get_or_init(Box::default);
        streams.ended.add(1);
        streams.received.add(received);
        streams.sent.add(sent);
    }

    /// Streams that have ended, and the bytes that were received and sent on them. `None` before the first.
    pub(super) fn streams(&self) -> Option<[u64; 3]> {
        let streams = self.streams.get()?;
        Some([streams.ended.get(), streams.received.get(), streams.sent.get()])
    }

    /// Those that are not 0, with the text of their status or class.
    pub(super) fn responses(&self) -> impl Iterator<Item = (String, u64)> {
        let counts = self.requests.get();
        counts.into_iter().flat_map(|counts| {
            let codes = CODES.iter().map(u16::to_string).zip(&counts.codes);
            let classes = CLASSES.iter().map(ToString::to_string).zip(&counts.classes);
            codes.chain(classes).map(|(code, counter)| (code, counter.get())).filter(|(_, count)| *count > 0)
        })
    }

    /// One count a bucket, and of what is beyond.
    pub(super) fn durations(&self) -> ([u64; BUCKETS.len()], u64) {
        let Some(counts) = self.requests.get() else { return Default::default() };
        (std::array::from_fn(|index| counts.buckets[index].get()), counts.beyond.get())
    }

    /// Sum of the durations.
    pub(super) fn microseconds(&self) -> u64 {
        self.requests.get().map_or(0, |counts| counts.microseconds.get())
    }
}

#[cfg(test)]
mod tests {
    use super::{BUCKETS, CLASSES, CODES};

    #[test]
    fn tables_are_sorted_and_their_texts_right() {
        assert!(CODES.is_sorted());
        assert!(BUCKETS.is_sorted());
        for (micros, text) in BUCKETS {
            assert_eq!(text.parse::<f64>().map(|seconds| (seconds * 1e6).round() as u64), Ok(micros));
        }
        for (index, class) in CLASSES[..5].iter().enumerate() {
            assert_eq!(*class, format!("{}xx", index + 1));
        }
    }
}
