//! When each URL is fetched next. Pure: clock and random are handed in.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::Options;

#[derive(Debug)]
pub(super) struct Schedule {
    shortest_gap: Duration,
    first_retry: Duration,
    longest_backoff: Duration,
    urls: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    interval: Duration,
    /// A URL that is taken away and given back must keep its gap, so it is not forgotten at once.
    wanted: bool,
    running: bool,
    due: Instant,
    /// When the last fetch began.
    last: Option<Instant>,
    failures: u32,
}

impl Schedule {
    pub(super) fn new(options: &Options) -> Self {
        let &Options { shortest_gap, first_retry, longest_backoff, .. } = options;
        Self { shortest_gap, first_retry, longest_backoff, urls: BTreeMap::new() }
    }

    /// Refresh intervals by URL. New ones are due at once.
    pub(super) fn want(&mut self, wanted: &BTreeMap<String, Duration>, now: Instant) {
        let gap = self.shortest_gap;
        for (url, entry) in &mut self.urls {
            entry.wanted = wanted.contains_key(url);
        }
        self.urls.retain(|_, entry| entry.wanted || entry.last.is_some_and(|last| now < last + gap));
        for (url, interval) in wanted {
            let interval = (*interval).max(gap);
            let entry = self.urls.entry(url.clone()).or_insert(Entry {
                interval,
                wanted: true,
                running: false,
                due: now,
                last: None,
                failures: 0,
            });
            if entry.interval != interval {
                entry.interval = interval;
                entry.due = entry.last.map_or(now, |last| entry.due.min(last + interval));
            }
        }
    }

    /// A URL whose time has come; it counts as running until it is [`done`](Self::done).
    pub(super) fn take_due(&mut self, now: Instant) -> Option<String> {
        let (url, entry) = self
            .urls
            .iter_mut()
            .filter(|(_, entry)| entry.wanted && !entry.running && entry.due <= now)
            .min_by_key(|(_, entry)| entry.due)?;
        entry.running = true;
        entry.last = Some(now);
        Some(url.clone())
    }

    /// When the next one that is not running comes due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.urls.values().filter(|entry| entry.wanted && !entry.running).map(|entry| entry.due).min()
    }

    /// Whether the URL is still wanted. `random`, from 0 to 1, keeps replicas apart.
    pub(super) fn done(&mut self, url: &str, ok: bool, now: Instant, random: f64) -> bool {
        let Some(entry) = self.urls.get_mut(url) else { return false };
        entry.running = false;
        let pause = if ok {
            entry.failures = 0;
            entry.interval.mul_f64(1.0 - random / 10.0).max(self.shortest_gap)
        } else {
            let step = self.first_retry.saturating_mul(1 << entry.failures.min(16));
            entry.failures = entry.failures.saturating_add(1);
            step.min(self.longest_backoff).min(entry.interval).mul_f64(1.0 - random / 2.0)
        };
        entry.due = now + pause;
        entry.wanted
    }

    /// Brings a wanted URL forward, as far as its gap allows.
    pub(super) fn refresh(&mut self, url: &str, now: Instant) {
        if let Some(entry) = self.urls.get_mut(url) {
            let allowed = entry.last.map_or(now, |last| last + self.shortest_gap);
            entry.due = entry.due.min(allowed.max(now));
        }
    }
}

#[cfg(test)]
mod tests;
