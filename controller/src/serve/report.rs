//! What a dataplane has counted for rollouts. What it says is bounded, whoever it is.

use std::collections::BTreeMap;

use gatehouse_proto::{config::v1, durations::BUCKETS};
use serde::{Deserialize, Serialize};

/// Rollouts of one Gateway that are analysed at once; others wait until there is room.
const MOST: usize = 256;
/// Longer than any name of an object and its rule.
const LONGEST_NAME: usize = 1024;

/// Since the process began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub process: u64,
    /// By the name of the counts: of the stable version and of the canary.
    pub rollouts: BTreeMap<String, [VersionCounts; 2]>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionCounts {
    pub requests: u64,
    pub errors: u64,
    /// By bucket; zeros at the end are left out.
    pub durations: Vec<u64>,
}

impl Report {
    pub(super) fn of(wire: v1::Report) -> Self {
        let named = wire.rollouts.into_iter().filter(|counts| counts.name.len() <= LONGEST_NAME);
        let rollouts = named.take(MOST).map(|counts| {
            let versions = [counts.stable, counts.canary];
            (counts.name, versions.map(|version| VersionCounts::of(version.unwrap_or_default())))
        });
        Report { process: wire.process, rollouts: rollouts.collect() }
    }
}

impl VersionCounts {
    fn of(wire: v1::VersionCounts) -> Self {
        let mut durations = wire.durations;
        durations.truncate(BUCKETS + 1);
        VersionCounts { requests: wire.requests, errors: wire.errors, durations }
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_proto::config::v1;

    use super::{LONGEST_NAME, MOST, Report};

    #[test]
    fn what_is_too_much_is_left_out() {
        let counts = |name: String| {
            let endless = v1::VersionCounts { durations: vec![1; 10_000], ..v1::VersionCounts::default() };
            v1::RolloutCounts { name, stable: Some(endless), canary: None }
        };
        let mut rollouts = vec![counts("x".repeat(LONGEST_NAME + 1))];
        rollouts.extend((0..10 * MOST).map(|number| counts(number.to_string())));
        let report = Report::of(v1::Report { process: 1, rollouts });
        assert_eq!(report.rollouts.len(), MOST);
        assert!(report.rollouts.values().all(|[stable, _]| stable.durations.len() <= 73));
    }
}
