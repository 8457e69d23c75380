//! What the run showed.

use std::{fs, io, path::Path};

use serde::Serialize;

use crate::{ledger::Totals, plan::Plan};

/// POSTs that may lose their backend's connection, of a thousand: nobody may send them again.
const UNANSWERED: u64 = 1;

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    requests: u64,
    /// Answers that were not the right one, and requests without one.
    errors: u64,
    /// As backends count them.
    duplicated_posts: u64,
    /// Of everything, one after the other.
    changes: u64,
    /// POSTs that were on a connection when its backend closed it: 502. Those that backends drop on purpose are not counted.
    unanswered_posts: u64,
    route_changes: u64,
    backend_rolls: u64,
    certificate_renewals: u64,
    dataplane_rolls: u64,
    controller_restarts: u64,
    requests_per_second: f64,
}

impl Report {
    pub(crate) fn new(plan: &Plan, totals: &Totals, seconds: f64) -> Report {
        Report {
            requests: totals.requests,
            errors: totals.errors,
            duplicated_posts: totals.duplicated_posts,
            changes: plan.changes(),
            unanswered_posts: totals.unanswered_posts,
            route_changes: plan.route_changes,
            backend_rolls: plan.backend_rolls,
            certificate_renewals: plan.certificate_renewals,
            dataplane_rolls: plan.dataplane_rolls,
            controller_restarts: plan.controller_restarts,
            requests_per_second: (totals.requests as f64 / seconds).round(),
        }
    }

    /// What was promised and not shown.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut hold = |holds: bool, what: String| {
            if !holds {
                failures.push(what);
            }
        };
        hold(self.errors == 0, format!("{} errors", self.errors));
        hold(self.duplicated_posts == 0, format!("{} POSTs reached backends twice", self.duplicated_posts));
        let most = self.requests / 4 * UNANSWERED / 1000;
        hold(self.unanswered_posts <= most, format!("{} POSTs unanswered, of {most}", self.unanswered_posts));
        failures
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")
    }
}
