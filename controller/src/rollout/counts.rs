//! Requests of one version: how many, how many failed, how long they took. They add up, and what was before can be taken
//! away.

use gatehouse_proto::durations::{BOUNDS, BUCKETS};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// The last is of those beyond all bounds.
    pub(super) durations: [u64; BUCKETS + 1],
}

impl Default for Counts {
    fn default() -> Self {
        Counts { requests: 0, errors: 0, durations: [0; BUCKETS + 1] }
    }
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.errors += other.errors;
        for (sum, count) in self.durations.iter_mut().zip(other.durations) {
            *sum += count;
        }
    }

    /// What has come since. `None`: it is not later than `before`, but of another beginning.
    pub(super) fn since(&self, before: &Counts) -> Option<Counts> {
        let mut durations = [0; BUCKETS + 1];
        for ((since, now), before) in durations.iter_mut().zip(self.durations).zip(before.durations) {
            *since = now.checked_sub(before)?;
        }
        Some(Counts {
            requests: self.requests.checked_sub(before.requests)?,
            errors: self.errors.checked_sub(before.errors)?,
            durations,
        })
    }

    pub(super) fn error_ratio(&self) -> f64 {
        if self.requests == 0 { 0.0 } else { self.errors as f64 / self.requests as f64 }
    }

    /// In microseconds, as if durations were spread evenly over their bucket. `None`: it is beyond all.
    pub(super) fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share * self.durations.iter().sum::<u64>() as f64;
        let mut before = 0.0;
        for (bucket, count) in self.durations.iter().enumerate() {
            let count = *count as f64;
            if count > 0.0 && before + count >= wanted {
                let (lower, upper) = bounds(bucket)?;
                return Some(lower * (upper / lower).powf((wanted - before) / count));
            }
            before += count;
        }
        None
    }

    /// Requests that took longer than so many microseconds, under the same assumption. `None`: nobody can tell.
    pub(super) fn longer_than(&self, micros: f64) -> Option<u64> {
        let bucket = BOUNDS.iter().position(|bound| *bound as f64 >= micros)?;
        let (lower, upper) = bounds(bucket)?;
        let part = ((upper / micros.max(lower)).ln() / (upper / lower).ln()).clamp(0.0, 1.0);
        let longer: u64 = self.durations[bucket + 1..].iter().sum();
        Some(longer + (part * self.durations[bucket] as f64) as u64)
    }
}

/// Of a bucket. The first has no lower bound; it is taken for as wide as the others.
fn bounds(bucket: usize) -> Option<(f64, f64)> {
    let upper = *BOUNDS.get(bucket)? as f64;
    let lower = bucket.checked_sub(1).map_or(upper / 1.19, |before| BOUNDS[before] as f64);
    Some((lower, upper))
}
