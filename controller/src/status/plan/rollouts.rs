//! The status of a GatewayRoute: that of a route, and of the rollouts of its rules.

use gatehouse_crds::{GatewayRoute, RolloutPhase, RolloutStatus};
use serde_json::json;

use super::{Input, Write};
use crate::resources::ObjectKey;

/// Something that happened, for an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// A user should look.
    pub warns: bool,
    pub reason: &'static str,
    pub text: String,
}

pub(super) fn plan(input: &Input<'_>, key: &ObjectKey, object: &GatewayRoute) -> Option<Write> {
    let status = object.status.as_ref();
    let observed = status.map_or(&[][..], |status| &status.parents);
    let (parents, flips) = super::parents(input, "GatewayRoute", key, object, observed);
    let before = status.map_or(&[][..], |status| &status.rollouts);
    let has_rollout = object.spec.rules.iter().any(|rule| rule.rollout.is_some());
    let after = match input.rollouts.get(key) {
        Some(wanted) => wanted,
        // Not looked at yet.
        None if has_rollout => before,
        None => &[],
    };
    let mut fields = json!({});
    if parents != observed {
        fields["parents"] = json!(parents);
    }
    if after != before {
        fields["rollouts"] = json!(after);
    }
    if fields.as_object().is_none_or(serde_json::Map::is_empty) {
        return None;
    }
    let write = super::write("GatewayRoute", key, object, fields, flips)?;
    Some(Write { news: after.iter().filter_map(|after| news(before, after)).collect(), ..write })
}

/// `None`: only numbers differ.
fn news(before: &[RolloutStatus], after: &RolloutStatus) -> Option<News> {
    let told =
        |status: &RolloutStatus| (status.hash.clone(), status.phase, status.step, status.reason.clone());
    let before = before.iter().find(|before| before.name == after.name);
    if before.is_some_and(|before| told(before) == told(after)) {
        return None;
    }
    Some(News {
        warns: match after.phase {
            RolloutPhase::Waiting => after.reason != "AwaitsPromotion",
            phase => phase == RolloutPhase::RolledBack,
        },
        reason: match after.phase {
            RolloutPhase::Progressing => "RolloutProgressing",
            RolloutPhase::Waiting => "RolloutWaiting",
            RolloutPhase::Paused => "RolloutPaused",
            RolloutPhase::Promoted => "RolloutPromoted",
            RolloutPhase::RolledBack => "RolloutRolledBack",
        },
        text: format!("rule {}: {}: {}", after.name, after.reason, after.message),
    })
}
