//! What a case showed.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{case::Case, spec::Algorithm};

pub(crate) const HEAD: &str = "case                  algorithm      processes  admitted  max over  utilisation  commands/admit  added p50";

/// An entry of the report. What could not be measured is `null`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Entry {
    pub(crate) case: &'static str,
    pub(crate) algorithm: Algorithm,
    pub(crate) processes: u32,
    pub(crate) admitted: u64,
    /// Requests above the limit in the fullest stretch of time of any key.
    pub(crate) max_over_limit: f64,
    /// Of what one exact count would have admitted of the same requests.
    pub(crate) utilisation: f64,
    /// Scripts run a request admitted.
    pub(crate) redis_commands_per_admit: f64,
    /// Of a decision against one of a policy without limits; only where it was built to be quick.
    pub(crate) added_p50_us: Option<f64>,
    /// Decisions for which Redis could not be asked in time.
    pub(crate) unavailable: u64,
    /// Admitted without a lease, or as of a time outside the decision.
    #[serde(skip)]
    pub(crate) unfounded: u64,
}

/// Medians of what decisions of a process took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Spent {
    pub(crate) limited_ns: u32,
    pub(crate) free_ns: u32,
}

/// 0 of none.
pub(crate) fn median(mut values: Vec<u32>) -> u32 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

impl Entry {
    pub(crate) fn row(&self) -> String {
        let Entry { case, algorithm, processes, admitted, max_over_limit, utilisation, .. } = self;
        let added = self.added_p50_us.map_or_else(|| "-".to_owned(), |us| format!("{us:.2} us"));
        format!(
            "{case:<21} {:<14} {processes:>9} {admitted:>9} {max_over_limit:>9.3} {:>11.2}% {:>15.4} {added:>10}{}",
            format!("{algorithm:?}"),
            utilisation * 100.0,
            self.redis_commands_per_admit,
            if self.unavailable > 0 {
                format!("  ({} decisions without Redis)", self.unavailable)
            } else {
                String::new()
            }
        )
    }

    /// What the case promised and did not show. `all`: also what a machine that has no time for it can spoil.
    pub(crate) fn failures(&self, case: &Case, all: bool) -> Vec<String> {
        let mut failures = Vec::new();
        let mut hold = |holds: bool, what: String| {
            if !holds {
                failures.push(format!("{} of {}: {what}", case.title(), self.processes));
            }
        };
        hold(self.max_over_limit <= 0.0, format!("{} requests over the limit", self.max_over_limit));
        hold(self.unfounded == 0, format!("{} admitted without a lease", self.unfounded));
        hold(self.admitted > 0, "nothing was admitted".to_owned());
        if all {
            if let Some(least) = case.least_utilisation {
                hold(self.utilisation >= least, format!("{:.4} used, not {least}", self.utilisation));
            }
            if let Some(most) = case.most_commands {
                let commands = self.redis_commands_per_admit;
                hold(commands <= most, format!("{commands:.4} commands a request, not {most}"));
            }
            if let Some(added) = self.added_p50_us {
                hold(added < 3.0, format!("{added:.2} us added, not under 3"));
            }
        }
        failures
    }
}

pub(crate) fn write(path: &Path, entries: &[Entry]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, serde_json::to_string_pretty(entries).unwrap() + "\n").unwrap();
}
