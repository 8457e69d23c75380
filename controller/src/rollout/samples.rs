//! What all dataplanes have counted since this replica listens: from their reports, which say what each has counted since it
//! began.
//!
//! The first report of a process is where its counts begin; a process that is replaced or leaves takes nothing away.

use std::collections::{BTreeMap, BTreeSet};

use super::counts::Counts;
use crate::serve::{Report, VersionCounts};

/// Both versions of one rollout.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Both {
    pub(super) stable: Counts,
    pub(super) canary: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Samples {
    /// By the name of the counts.
    sums: BTreeMap<String, Both>,
    /// By dataplane.
    latest: BTreeMap<String, Latest>,
}

#[derive(Debug)]
struct Latest {
    process: u64,
    counts: BTreeMap<String, Both>,
}

impl Samples {
    /// `dataplane`: its name, unique among all Gateways.
    pub(super) fn take(&mut self, dataplane: &str, report: &Report) {
        let counts: BTreeMap<String, Both> =
            report.rollouts.iter().map(|(name, counts)| (name.clone(), both(counts))).collect();
        let before = self.latest.get(dataplane).filter(|before| before.process == report.process);
        for (name, now) in &counts {
            let Some(before) = before.and_then(|before| before.counts.get(name)) else { continue };
            // Counts of a name that was gone in between begin anew within one process.
            let since = now.since(before).unwrap_or_else(|| now.clone());
            self.sums.entry(name.clone()).or_default().add(&since);
        }
        self.latest.insert(dataplane.to_owned(), Latest { process: report.process, counts });
    }

    /// Only these names are of interest.
    pub(super) fn retain(&mut self, names: &BTreeSet<String>) {
        self.sums.retain(|name, _| names.contains(name));
    }

    /// Only these dataplanes are there.
    pub(super) fn retain_dataplanes(&mut self, present: &BTreeSet<String>) {
        self.latest.retain(|dataplane, _| present.contains(dataplane));
    }

    pub(super) fn sum(&self, name: &str) -> Both {
        self.sums.get(name).cloned().unwrap_or_default()
    }
}

impl Both {
    fn add(&mut self, other: &Both) {
        self.stable.add(&other.stable);
        self.canary.add(&other.canary);
    }

    pub(super) fn since(&self, before: &Both) -> Option<Both> {
        Some(Both { stable: self.stable.since(&before.stable)?, canary: self.canary.since(&before.canary)? })
    }
}

fn both(counts: &[VersionCounts; 2]) -> Both {
    let [stable, canary] = counts;
    Both { stable: version(stable), canary: version(canary) }
}

fn version(wire: &VersionCounts) -> Counts {
    let mut counts = Counts { requests: wire.requests, errors: wire.errors, ..Counts::default() };
    for (to, from) in counts.durations.iter_mut().zip(&wire.durations) {
        *to = *from;
    }
    counts
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::Samples;
    use crate::serve::{Report, VersionCounts};

    fn report(process: u64, canary: u64) -> Report {
        let version =
            |requests: u64| VersionCounts { requests, errors: requests / 10, durations: vec![requests] };
        Report {
            process,
            rollouts: BTreeMap::from([("a".to_owned(), [version(canary * 19), version(canary)])]),
        }
    }

    fn seen(samples: &Samples) -> (u64, u64) {
        let both = samples.sum("a");
        assert_eq!(both.canary.durations[0], both.canary.requests);
        (both.stable.requests, both.canary.requests)
    }

    #[test]
    fn only_what_has_come_since_counts() {
        let mut samples = Samples::default();
        samples.take("x", &report(1, 1000));
        assert_eq!(seen(&samples), (0, 0), "nobody knows when these were");
        samples.take("x", &report(1, 1010));
        samples.take("y", &report(7, 0));
        samples.take("y", &report(7, 5));
        assert_eq!(seen(&samples), (285, 15));
    }

    #[test]
    fn a_restart_takes_nothing_away() {
        let mut samples = Samples::default();
        for (process, canary, sum) in
            [(1, 100, 0), (1, 150, 50), (2, 3, 50), (2, 10, 57), (3, 900, 57), (3, 901, 58)]
        {
            samples.take("x", &report(process, canary));
            assert_eq!(seen(&samples).1, sum, "process {process} at {canary}");
        }
        samples.retain_dataplanes(&BTreeSet::new());
        assert_eq!(seen(&samples).1, 58, "nor does who leaves");
        samples.take("x", &report(3, 950));
        assert_eq!(seen(&samples).1, 58, "who comes back begins there");
    }

    #[test]
    fn counts_may_begin_anew_within_a_process() {
        let mut samples = Samples::default();
        samples.take("x", &report(1, 100));
        samples.take("x", &report(1, 30));
        assert_eq!(seen(&samples).1, 30);
        samples.retain(&BTreeSet::new());
        assert_eq!(seen(&samples).1, 0);
    }
}
