//! A rollout as it is carried out: parsed once, from what the user wrote.

use std::{ops::RangeInclusive, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use gatehouse_crds::{Rollout, RolloutAnalysis, RolloutForce, RolloutStatus, ServiceRef, parse_duration};

use super::analysis::Analysis;

/// Bytes of the hash that are kept.
const HASH: usize = 8;
/// Between two analyses.
const SHORTEST: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Of what makes the new version another one.
    pub(crate) hash: String,
    /// As `namespace/name:port`; for messages.
    pub(super) version: String,
    /// At least one.
    pub(super) steps: Vec<Step>,
    /// `None`: steps follow by time alone.
    pub(super) analysis: Option<Analysis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Percent.
    pub(super) weight: i32,
    /// `None`: until somebody says so.
    pub(super) hold: Option<Duration>,
}

/// What canary and blue/green have in common.
pub(crate) struct Versions<'a> {
    /// Where the references stand; for messages.
    pub(crate) field: &'static str,
    pub(crate) target: &'a ServiceRef,
    revision: Option<&'a str>,
    pub(crate) force: Option<&'a RolloutForce>,
    pub(crate) is_sticky: bool,
}

impl<'a> Versions<'a> {
    /// `None`: the rollout says nothing, or two things.
    pub(crate) fn of(rollout: &'a Rollout) -> Option<Self> {
        match (&rollout.canary, &rollout.blue_green) {
            (Some(canary), None) => Some(Versions {
                field: "rollout.canary",
                target: &canary.backend_ref,
                revision: canary.revision.as_deref(),
                force: canary.force.as_ref(),
                is_sticky: canary.sticky.is_some(),
            }),
            (None, Some(other)) => Some(Versions {
                field: "rollout.blueGreen",
                target: &other.backend_ref,
                revision: other.revision.as_deref(),
                force: other.preview.as_ref(),
                is_sticky: false,
            }),
            _ => None,
        }
    }
}

impl Plan {
    /// `namespace`: of the route. The error names the field and the mend.
    pub(crate) fn of(namespace: &str, rollout: &Rollout) -> Result<Self, String> {
        let Some(versions) = Versions::of(rollout) else {
            return Err("rollout: give exactly one of canary and blueGreen".into());
        };
        let version = version(namespace, versions.target);
        let hash = hash(&version, versions.revision);
        let Some(canary) = &rollout.canary else {
            let after = rollout.blue_green.as_ref().and_then(|other| other.switch_after.as_deref());
            let hold = after.map(parse_duration).transpose();
            let hold = hold.map_err(|error| format!("rollout.blueGreen.switchAfter: {error}"))?;
            return Ok(Plan { hash, version, steps: vec![Step { weight: 0, hold }], analysis: None });
        };
        let step = |(index, step): (usize, &gatehouse_crds::RolloutStep)| {
            let field = format!("rollout.canary.steps[{index}]");
            if !(1..=99).contains(&step.weight) {
                return Err(format!("{field}.weight is {}: use 1 to 99", step.weight));
            }
            let hold = parse_duration(&step.hold).map_err(|error| format!("{field}.hold: {error}"))?;
            Ok(Step { weight: step.weight, hold: Some(hold) })
        };
        let steps = canary.steps.iter().enumerate().map(step).collect::<Result<Vec<_>, String>>()?;
        if steps.is_empty() {
            return Err("rollout.canary.steps is empty: give at least one".into());
        }
        let analysis = canary.analysis.as_ref().map(analysis).transpose()?;
        Ok(Plan { hash, version, steps, analysis })
    }

    /// Under what dataplanes count the requests of a rule. `object`: `Kind/namespace/name`.
    pub(crate) fn counts(&self, object: &str, rule: &str) -> String {
        format!("{object}/{rule}@{}", self.hash)
    }

    /// Somebody wants the counts.
    pub(crate) fn is_analysed(&self) -> bool {
        self.analysis.is_some()
    }

    /// The rule's entry of a status, if it speaks of this new version.
    pub(crate) fn status<'a>(&self, rule: &str, statuses: &'a [RolloutStatus]) -> Option<&'a RolloutStatus> {
        statuses.iter().find(|status| status.name == rule && status.hash == self.hash)
    }
}

fn analysis(wanted: &RolloutAnalysis) -> Result<Analysis, String> {
    let field = "rollout.canary.analysis";
    let interval = parse_duration(&wanted.interval).map_err(|error| format!("{field}.interval: {error}"))?;
    if interval < SHORTEST {
        return Err(format!("{field}.interval is {}: dataplanes report once a second", wanted.interval));
    }
    let within = |name: &str, number: i32, range: RangeInclusive<i32>| {
        let (least, most) = (range.start(), range.end());
        let message = || format!("{field}.{name} is {number}: use {least} to {most}");
        if range.contains(&number) { Ok(f64::from(number)) } else { Err(message()) }
    };
    let most = wanted.errors.max.map(|most| within("errors.max", most, 1..=100)).transpose()?;
    Ok(Analysis {
        interval,
        min_requests: within("minRequests", wanted.min_requests, 10..=1_000_000)? as u64,
        max_error_increase: within("errors.maxIncrease", wanted.errors.max_increase, 0..=100)? / 100.0,
        max_errors: most.map(|most| most / 100.0),
        quantile: within("latency.quantile", wanted.latency.quantile, 50..=99)? / 100.0,
        max_latency_ratio: within("latency.maxRatio", wanted.latency.max_ratio, 150..=10_000)? / 100.0,
    })
}

fn version(namespace: &str, target: &ServiceRef) -> String {
    let namespace = target.namespace.as_deref().unwrap_or(namespace);
    format!("{namespace}/{}:{}", target.name, target.port.unwrap_or_default())
}

fn hash(version: &str, revision: Option<&str>) -> String {
    let text = format!("{version}\n{}", revision.unwrap_or_default());
    let whole = digest(&SHA256, text.as_bytes());
    whole.as_ref().iter().take(HASH).map(|byte| format!("{byte:02x}")).collect()
}
