//! A rule's new version beside its stable one: the weights are what the object's status says, since all replicas read it.

use gatehouse_crds::{Rollout, RolloutForce, RolloutPhase, RolloutStatus};
use gatehouse_proto::config::v1::{self, rollout_force::Kind};

use super::{
    check,
    input::RouteInput,
    policy::Policies,
    rule::{RuleOutput, backend, target},
};
use crate::{
    resources::Resources,
    rollout::{Plan, Versions},
};

/// Of a new version's share.
const WHOLE: u32 = 100;

#[derive(Debug)]
pub(super) struct RolloutInput<'a> {
    pub(super) rollout: &'a Rollout,
    /// Of the object.
    pub(super) statuses: &'a [RolloutStatus],
}

/// Puts the new version behind the other backends.
pub(super) fn add(
    forward: &mut v1::Forward,
    input: &RolloutInput<'_>,
    route: &RouteInput<'_>,
    policies: &Policies,
    resources: &Resources,
    output: &mut RuleOutput,
) -> Result<(), String> {
    let name = output.route.rule_name.clone();
    if name.is_empty() {
        return Err("a rule with a rollout needs a name".into());
    }
    let plan = Plan::of(&route.key.namespace, input.rollout)?;
    let Some(versions) = Versions::of(input.rollout) else { return Ok(()) };
    let forces = versions.force.map_or(Ok(Vec::new()), |force| forces(force, versions.field))?;
    let status = plan.status(&name, input.statuses);
    let phase = status.map(|status| status.phase);
    let reference = target(versions.target);
    let field = format!("{}.backendRef", versions.field);
    let mut canary =
        backend(&field, &super::input::plain_backend(&reference), route, policies, resources, output)?;
    let share = status.and_then(|status| u32::try_from(status.weight).ok()).unwrap_or(0).min(WHOLE);
    // Until it has become the version, what can't be reached is not tried on anybody.
    let is_lost = canary.service.is_empty() && phase != Some(RolloutPhase::Promoted);
    split(forward, &mut canary, if is_lost { 0 } else { share });
    forward.backends.push(canary);
    if phase == Some(RolloutPhase::RolledBack) {
        return Ok(());
    }
    let is_counted = plan.is_analysed() && phase.is_some_and(|phase| phase != RolloutPhase::Promoted);
    forward.rollout = Some(v1::Rollout {
        canary: u32::try_from(forward.backends.len() - 1).unwrap_or(u32::MAX),
        forces,
        sticky_seed: if versions.is_sticky { format!("{}/{name}", route.object()) } else { String::new() },
        counts: if is_counted { plan.counts(&route.object(), &name) } else { String::new() },
    });
    Ok(())
}

/// In whole numbers: the stable version's backends share what is left among themselves as before.
fn split(forward: &mut v1::Forward, canary: &mut v1::Backend, share: u32) {
    canary.weight = 0;
    if share == 0 {
        return;
    }
    let sum = forward.backends.iter().fold(0_u32, |sum, backend| sum.saturating_add(backend.weight));
    canary.weight = sum.saturating_mul(share);
    for backend in &mut forward.backends {
        backend.weight = backend.weight.saturating_mul(WHOLE - share);
    }
}

fn forces(force: &RolloutForce, field: &str) -> Result<Vec<v1::RolloutForce>, String> {
    let mut forces = Vec::new();
    if let Some(header) = &force.header {
        check::token(&header.name).map_err(|error| format!("{field}: header {error}"))?;
        let pair = v1::Header { name: header.name.clone(), value: header.value.clone() };
        forces.push(v1::RolloutForce { kind: Some(Kind::Header(pair)) });
    }
    if let Some(cookie) = &force.cookie {
        check::token(&cookie.name).map_err(|error| format!("{field}: cookie {error}"))?;
        let pair = v1::Header { name: cookie.name.clone(), value: cookie.value.clone() };
        forces.push(v1::RolloutForce { kind: Some(Kind::Cookie(pair)) });
    }
    Ok(forces)
}
