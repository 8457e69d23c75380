//! Runs the machine for every rollout of the view, on the replica that leads.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

use gatehouse_crds::{GatewayRoute, RolloutPhase, RolloutStatus};
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    ANNOTATION, Plan,
    command::Command,
    machine::{self, Evidence, Facts},
    samples::{Both, Samples},
    window::{self, Window},
};
use crate::{
    resources::{ObjectKey, Resources},
    serve::Report,
    translate::{ConditionType, ObjectId, Statuses},
};

/// Own statuses that may still be on their way back.
const REMEMBERED: usize = 8;

#[derive(Debug, Default)]
pub struct Rollouts {
    /// That have a rule with a rollout.
    routes: BTreeSet<ObjectKey>,
    /// By route and rule.
    known: BTreeMap<(ObjectKey, String), Known>,
    samples: Samples,
}

/// How the rollouts should be.
#[derive(Debug, Default)]
pub struct Look {
    /// By GatewayRoute, one for each rule with a rollout.
    pub statuses: BTreeMap<ObjectKey, Vec<RolloutStatus>>,
    /// When to look again, if nothing changes.
    pub due: Option<Timestamp>,
}

/// What this leader knows of one rollout. The view lags behind what it has decided.
#[derive(Debug, Default)]
struct Known {
    /// The latest comes last.
    decided: VecDeque<RolloutStatus>,
    /// As it last stood in the view.
    seen: Option<RolloutStatus>,
    /// What is being analysed.
    window: Option<Window>,
}

impl Rollouts {
    /// A route came, changed or went.
    pub fn note(&mut self, view: &Resources, route: &ObjectKey) {
        if view.gateway_routes.get(route).is_some_and(has_rollout) {
            self.routes.insert(route.clone());
        } else {
            self.routes.remove(route);
        }
    }

    /// Any route may have changed.
    pub fn rescan(&mut self, view: &Resources) {
        let with = view.gateway_routes.iter().filter(|(_, route)| has_rollout(route));
        self.routes = with.map(|(key, _)| key.clone()).collect();
    }

    /// Another may lead now: what stands in the view is all that is known.
    pub fn forget(&mut self) {
        self.known.clear();
        self.samples = Samples::default();
    }

    /// Whether dataplanes may have something to report.
    pub fn are_analysed(&self, view: &Resources) -> bool {
        let routes = self.routes.iter().filter_map(|key| view.gateway_routes.get(key));
        let mut rollouts =
            routes.flat_map(|route| &route.spec.rules).filter_map(|rule| rule.rollout.as_ref());
        rollouts.any(|rollout| rollout.canary.as_ref().is_some_and(|canary| canary.analysis.is_some()))
    }

    /// What the dataplanes of all Gateways have counted, each by a name that no other has.
    pub fn take<R: Borrow<Report>>(&mut self, reports: impl IntoIterator<Item = (String, R)>) {
        let mut present = BTreeSet::new();
        for (dataplane, report) in reports {
            self.samples.take(&dataplane, report.borrow());
            present.insert(dataplane);
        }
        self.samples.retain_dataplanes(&present);
    }

    /// `statuses`: what translation said of the routes of this view.
    pub fn look(&mut self, view: &Resources, statuses: &Statuses, now: Timestamp) -> Look {
        let mut look = Look::default();
        let (mut present, mut names) = (BTreeSet::new(), BTreeSet::new());
        for key in &self.routes {
            let Some(route) = view.gateway_routes.get(key) else { continue };
            let obstacle = obstacle(statuses, key);
            let annotation = route.annotations().get(ANNOTATION).map(String::as_str);
            let observed = route.status.as_ref().map_or(&[][..], |status| &status.rollouts);
            for rule in &route.spec.rules {
                let (Some(name), Some(rollout)) = (&rule.name, &rule.rollout) else { continue };
                // Translation tells what is wrong with it.
                let Ok(plan) = Plan::of(&key.namespace, rollout) else { continue };
                let id = (key.clone(), name.clone());
                let known = self.known.entry(id.clone()).or_default();
                known.observe(observed.iter().find(|status| status.name == *name));
                let (command, misspelt) = match Command::of(annotation, name) {
                    Ok(command) => (command, None),
                    Err(error) => (None, Some(format!("annotation {ANNOTATION}: {error}"))),
                };
                let misspelt = misspelt.as_deref().map(|message| ("InvalidCommand", message));
                let obstacle = obstacle.as_deref().map(|message| ("NotServed", message));
                let object = format!("GatewayRoute/{key}");
                let counts = plan.counts(&object, name);
                let sum = self.samples.sum(&counts);
                names.insert(counts);
                let (evidence, seen) = known.analyse(&plan, &sum, now);
                let facts =
                    Facts { name, command, obstacle: misspelt.or(obstacle), evidence: &evidence, now };
                let mut status = machine::next(&plan, known.decided.back(), &facts);
                if let (Some(seen), Some(analysis)) = (seen, &plan.analysis) {
                    // What led to another step is told with it no more; what ended the rollout is.
                    if known.window.as_ref().is_some_and(|window| window.is_of(&status)) || is_over(&status) {
                        status.canary = Some(window::observed(&seen.canary, analysis));
                        status.stable = Some(window::observed(&seen.stable, analysis));
                    }
                }
                let due = known.due(&plan, &status, &sum, now);
                look.due = look.due.into_iter().chain(due).min();
                known.decide(status.clone());
                look.statuses.entry(key.clone()).or_default().push(status);
                present.insert(id);
            }
        }
        self.known.retain(|id, _| present.contains(id));
        self.samples.retain(&names);
        look
    }
}

impl Known {
    /// What another leader wrote counts: it decided later than we.
    fn observe(&mut self, observed: Option<&RolloutStatus>) {
        if self.seen.as_ref() == observed {
            return;
        }
        self.seen = observed.cloned();
        if let Some(theirs) = observed.filter(|status| !self.decided.contains(status)) {
            self.decided = VecDeque::from([theirs.clone()]);
        }
    }

    /// What the requests say, if it is time to ask; and what they were.
    fn analyse(&mut self, plan: &Plan, sum: &Both, now: Timestamp) -> (Evidence, Option<Both>) {
        let Some(analysis) = &plan.analysis else { return (Evidence::Unasked, None) };
        let Some(status) = self.decided.back() else { return (Evidence::Pending, None) };
        let step_ends = machine::due(plan, status);
        let window = self.window.as_mut().filter(|window| window.is_of(status));
        match window.and_then(|window| window.look(sum, analysis, step_ends, now)) {
            Some((verdict, seen)) => (Evidence::Verdict(verdict), Some(seen)),
            None => (Evidence::Pending, None),
        }
    }

    /// When it is to be looked at again. A step that has just begun is counted from here.
    fn due(&mut self, plan: &Plan, status: &RolloutStatus, sum: &Both, now: Timestamp) -> Option<Timestamp> {
        let step_ends = machine::due(plan, status);
        let Some(analysis) = plan.analysis.as_ref().filter(|_| status.step > 0 && !is_over(status)) else {
            self.window = None;
            return step_ends;
        };
        let window = self.window.take().filter(|window| window.is_of(status));
        let window = window.unwrap_or_else(|| Window::new(status, sum.clone(), analysis, now));
        let due = window.due(step_ends);
        self.window = Some(window);
        Some(due)
    }

    fn decide(&mut self, status: RolloutStatus) {
        if self.decided.back() != Some(&status) {
            self.decided.push_back(status);
        }
        while self.decided.len() > REMEMBERED {
            self.decided.pop_front();
        }
    }
}

fn is_over(status: &RolloutStatus) -> bool {
    matches!(status.phase, RolloutPhase::Promoted | RolloutPhase::RolledBack)
}

fn has_rollout(route: &GatewayRoute) -> bool {
    route.spec.rules.iter().any(|rule| rule.rollout.is_some())
}

/// Why a route is not served as it is written, if so.
fn obstacle(statuses: &Statuses, route: &ObjectKey) -> Option<String> {
    let status = statuses.0.get(&ObjectId { kind: "GatewayRoute", key: route.clone() });
    let parents = status.map_or(&[][..], |status| &status.parents);
    if parents.is_empty() {
        return Some("no Gateway serves the route".into());
    }
    let mut conditions = parents.iter().flat_map(|parent| &parent.conditions);
    let wrong = conditions.find(|one| match one.kind {
        ConditionType::Accepted | ConditionType::ResolvedRefs => !one.status,
        ConditionType::PartiallyInvalid => one.status,
        _ => false,
    })?;
    Some(format!("{} is {}: {}", wrong.kind, if wrong.status { "True" } else { "False" }, wrong.message))
}

#[cfg(test)]
mod tests;
