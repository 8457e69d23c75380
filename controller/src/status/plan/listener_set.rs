//! ListenerSets of Gateways of ours: conditions, and each listener (GEP-1713, "ListenerSet Conditions").

use gatehouse_crds::{Gateway, ListenerSet};
use serde_json::json;

use super::{
    GatewayFacts, Input, Programmed, Write,
    conditions::{self, Moment, Scope},
    gateway::{self, Holder},
    left, status_of, write,
};
use crate::{
    resources::ObjectKey,
    translate::{self, Condition, ConditionType, conditions::reason, gateway_of_set},
};

pub(super) fn plan(input: &Input<'_>, key: &ObjectKey, set: &ListenerSet) -> Option<Write> {
    let Some(wanted) = status_of(input, "ListenerSet", key) else { return left::listener_set(key, set) };
    let gateway = gateway_of_set(key, set)?;
    let holder = (&gateway, Some(key));
    let observed = set.status.clone().unwrap_or_default();
    let moment = Moment::of(input, set);

    let mut conditions = wanted.conditions.clone();
    conditions.push(programmed(input, holder, wanted));
    let (conditions, mut flips) =
        conditions::settle(&conditions, &observed.conditions, Scope::OurTypes, "", &moment);
    let listeners = gateway::listeners(input, holder, wanted, &observed.listeners, &moment, &mut flips);
    if conditions == observed.conditions && listeners == observed.listeners {
        return None;
    }
    let status = json!({ "conditions": conditions, "listeners": listeners });
    write("ListenerSet", key, set, status, flips)
}

/// Of its Gateway it tells only what keeps it from being reached.
fn programmed(input: &Input<'_>, holder: Holder<'_>, wanted: &translate::ObjectStatus) -> Condition {
    let gateway = holder.0;
    let parent =
        || gateway::not(reason::PARENT_NOT_PROGRAMMED, format!("Gateway {gateway} is not programmed"));
    let refused = wanted.conditions.iter().find(|one| one.kind == ConditionType::Accepted && !one.status);
    match refused {
        Some(refused) if refused.reason == reason::PARENT_NOT_ACCEPTED => return parent(),
        Some(refused) => return gateway::not(refused.reason, refused.message.clone()),
        None => {}
    }
    let nothing = GatewayFacts::default();
    let facts = input.facts.get(gateway).unwrap_or(&nothing);
    let is_unreachable = |gateway: &Gateway| gateway::obstacle(gateway, facts).is_some();
    if input.resources.gateways.get(gateway).is_none_or(is_unreachable) {
        return parent();
    }
    let mut rejected = None;
    let mut has_one = false;
    for state in gateway::states(input, holder, wanted) {
        match state {
            Programmed::Pending { message } => return gateway::not(reason::PENDING, message),
            Programmed::Rejected { message } => rejected = Some(message),
            Programmed::Programmed => has_one = true,
        }
    }
    match rejected {
        Some(message) if !has_one => gateway::not(reason::INVALID, message),
        _ => gateway::is_programmed(),
    }
}
