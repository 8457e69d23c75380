//! Is the new version worse than the stable one? Pure.
//!
//! Two things must come together for a yes: chance alone would hardly ever do this (a test), and it matters (a margin). So
//! neither few requests nor very many of them roll back a version for nothing. `docs/decisions/0013-rollout-analysis.md`
//! has the numbers.

use std::time::Duration;

use super::{
    counts::Counts,
    statistics::{binomial, fisher},
};

/// How rarely chance alone may condemn a version at one look.
const ALPHA: f64 = 0.0005;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Analysis {
    pub(super) interval: Duration,
    /// Of each version, before anything is said.
    pub(super) min_requests: u64,
    /// Shares of the requests.
    pub(super) max_error_increase: f64,
    pub(super) max_errors: Option<f64>,
    /// Between 0 and 1.
    pub(super) quantile: f64,
    /// Of the stable version's latency.
    pub(super) max_latency_ratio: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Not enough has been seen. A sentence.
    TooLittle(String),
    Healthy,
    /// A reason and a sentence.
    Worse(&'static str, String),
}

pub(super) fn judge(analysis: &Analysis, canary: &Counts, stable: &Counts) -> Verdict {
    let needed = analysis.min_requests.max(1);
    let (n, m) = (canary.requests, stable.requests);
    if n >= needed
        && let Some(most) = analysis.max_errors
        && canary.error_ratio() > most
        && binomial(canary.errors, n, most) < ALPHA
    {
        return Verdict::Worse(
            "ErrorRatio",
            format!("{}, and {} is the most", failed("canary", canary), percent(most)),
        );
    }
    if n < needed || m < needed {
        return Verdict::TooLittle(format!(
            "canary: {n}, stable: {m} requests, and {needed} of each are needed"
        ));
    }
    if canary.error_ratio() - stable.error_ratio() > analysis.max_error_increase
        && fisher(canary.errors, n, stable.errors, m) < ALPHA
    {
        return Verdict::Worse(
            "ErrorRatio",
            format!("{}; {}", failed("canary", canary), failed("stable", stable)),
        );
    }
    slower(analysis, canary, stable).unwrap_or(Verdict::Healthy)
}

/// If the canary's quantile were at the limit, `1 - quantile` of its requests would take longer than the limit: a binomial
/// test of how many do.
fn slower(analysis: &Analysis, canary: &Counts, stable: &Counts) -> Option<Verdict> {
    let q = analysis.quantile;
    let limit = stable.quantile(q)? * analysis.max_latency_ratio;
    let longer = canary.longer_than(limit)?;
    if binomial(longer, canary.requests, 1.0 - q) >= ALPHA {
        return None;
    }
    let said = |who: &str, counts: &Counts| {
        let quantile = counts.quantile(q).map_or("very long".to_owned(), milliseconds);
        format!("{who}: {} % of the requests took up to {quantile}", (q * 100.0).round())
    };
    Some(Verdict::Worse("Latency", format!("{}; {}", said("canary", canary), said("stable", stable))))
}

fn failed(who: &str, counts: &Counts) -> String {
    format!(
        "{who}: {} of {} requests failed ({})",
        counts.errors,
        counts.requests,
        percent(counts.error_ratio())
    )
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

fn milliseconds(micros: f64) -> String {
    format!("{:.1} ms", micros / 1000.0)
}

#[cfg(test)]
mod tests;
