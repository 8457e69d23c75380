//! Gateways of ours: conditions, addresses, and each listener.

use std::net::IpAddr;

use gatehouse_crds::{Gateway, GatewayAddress, ListenerStatus, RouteKind};
use serde_json::json;

use super::{
    GatewayFacts, Input, Programmed, Write,
    conditions::{self, Flip, Moment, Scope},
    left, status_of, write,
};
use crate::{
    resources::ObjectKey,
    translate::{self, Condition, ConditionType, conditions::reason, names, names::Owner, route_group},
};

/// Of `status.addresses`.
const MAX_ADDRESSES: usize = 16;

pub(super) fn plan(input: &Input<'_>, key: &ObjectKey, gateway: &Gateway) -> Option<Write> {
    let Some(wanted) = status_of(input, "Gateway", key) else { return left::gateway(key, gateway) };
    let nothing = GatewayFacts::default();
    let facts = input.facts.get(key).unwrap_or(&nothing);
    let observed = gateway.status.clone().unwrap_or_default();
    let moment = Moment::of(input, gateway);

    let mut conditions = wanted.conditions.clone();
    conditions.push(whole(input, key, gateway, wanted, facts));
    let (conditions, mut flips) =
        conditions::settle(&conditions, &observed.conditions, Scope::OurTypes, "", &moment);
    let listeners = listeners(input, (key, None), wanted, &observed.listeners, &moment, &mut flips);
    let addresses: Vec<GatewayAddress> = facts.addresses.iter().take(MAX_ADDRESSES).cloned().collect();
    let is_same = conditions == observed.conditions
        && listeners == observed.listeners
        && addresses == observed.addresses
        && wanted.attached_listener_sets == observed.attached_listener_sets;
    if is_same {
        return None;
    }
    let status = json!({
        "addresses": addresses,
        "conditions": conditions,
        "listeners": listeners,
        "attachedListenerSets": wanted.attached_listener_sets,
    });
    write("Gateway", key, gateway, status, flips)
}

/// `Programmed` of the Gateway: there is an address, and every ready dataplane has its settings and listeners. What is
/// wrong with a listener stands with the listener alone.
fn whole(
    input: &Input<'_>,
    key: &ObjectKey,
    gateway: &Gateway,
    wanted: &translate::ObjectStatus,
    facts: &GatewayFacts,
) -> Condition {
    let refused = wanted.conditions.iter().find(|one| one.kind == ConditionType::Accepted && !one.status);
    if let Some(refused) = refused {
        return not(reason::INVALID, refused.message.clone());
    }
    if let Some(obstacle) = obstacle(gateway, facts) {
        return obstacle;
    }
    let mut listeners = states(input, (key, None), wanted);
    let listeners = listeners.find(|state| matches!(state, Programmed::Pending { .. }));
    match (input.tracker.state(key, &Owner::Gateway), listeners) {
        (Programmed::Rejected { message }, _) => not(reason::INVALID, message),
        (Programmed::Pending { message }, _) | (_, Some(Programmed::Pending { message })) => {
            not(reason::PENDING, message)
        }
        _ => is_programmed(),
    }
}

/// Why nothing of a Gateway is programmed, whatever its dataplanes acknowledged.
pub(super) fn obstacle(gateway: &Gateway, facts: &GatewayFacts) -> Option<Condition> {
    if !facts.errors.is_empty() {
        return Some(not(reason::NO_RESOURCES, facts.errors.join("; ")));
    }
    let has = |address: &str| facts.addresses.iter().any(|one| is_same_address(&one.value, address));
    let missing: Vec<&str> = translate::requested(gateway).filter(|address| !has(address)).collect();
    if !missing.is_empty() {
        let message = format!("addresses: the Gateway's Service was not given {}", missing.join(", "));
        return Some(not(reason::ADDRESS_NOT_USABLE, message));
    }
    let message = "the Gateway's Service has no address yet";
    facts.addresses.is_empty().then(|| not(reason::ADDRESS_NOT_ASSIGNED, message.into()))
}

/// An IPv6 address can be written in several ways.
fn is_same_address(one: &str, other: &str) -> bool {
    one == other || one.parse::<IpAddr>().is_ok_and(|one| other.parse() == Ok(one))
}

/// A Gateway, and the ListenerSet whose listeners are meant; `None`: its own.
pub(super) type Holder<'a> = (&'a ObjectKey, Option<&'a ObjectKey>);

/// How the listeners of a holder stand, in their order.
pub(super) fn states<'a>(
    input: &'a Input<'_>,
    (gateway, set): Holder<'a>,
    wanted: &'a translate::ObjectStatus,
) -> impl Iterator<Item = Programmed> {
    wanted.listeners.iter().map(move |listener| input.tracker.state(gateway, &owner(set, &listener.name)))
}

fn owner(set: Option<&ObjectKey>, section: &str) -> Owner {
    Owner::Listener { set: set.cloned(), section: section.to_owned() }
}

/// The listeners of a holder as they are to be.
pub(super) fn listeners(
    input: &Input<'_>,
    holder: Holder<'_>,
    wanted: &translate::ObjectStatus,
    observed: &[ListenerStatus],
    moment: &Moment,
    flips: &mut Vec<Flip>,
) -> Vec<ListenerStatus> {
    let wanted = wanted.listeners.iter();
    wanted.map(|wanted| listener(input, holder, wanted, observed, moment, flips)).collect()
}

fn listener(
    input: &Input<'_>,
    (gateway, set): Holder<'_>,
    wanted: &translate::ListenerStatus,
    observed: &[ListenerStatus],
    moment: &Moment,
    flips: &mut Vec<Flip>,
) -> ListenerStatus {
    let resource = names::listener(gateway, set, &wanted.name);
    let problem = wanted.conditions.iter().find(|one| one.is_problem());
    let state = input.tracker.state(gateway, &owner(set, &wanted.name));
    let programmed = match (state, problem) {
        // It has nothing to serve by.
        (_, Some(problem)) if !input.tracker.holds(gateway, &resource) => {
            let is_conflict =
                wanted.conditions.iter().any(|one| one.kind == ConditionType::Conflicted && one.status);
            let reason = if is_conflict { problem.reason } else { reason::INVALID };
            not(reason, problem.message.clone())
        }
        (Programmed::Programmed, _) => is_programmed(),
        (Programmed::Pending { message }, _) => not(reason::PENDING, message),
        (Programmed::Rejected { message }, _) => not(reason::INVALID, message),
    };
    let conditions: Vec<Condition> = wanted.conditions.iter().cloned().chain([programmed]).collect();
    let before = observed.iter().find(|before| before.name == wanted.name);
    let before = before.map_or(&[][..], |before| &before.conditions);
    let place = format!("listener {}", wanted.name);
    let (conditions, flipped) = conditions::settle(&conditions, before, Scope::OurTypes, &place, moment);
    flips.extend(flipped);
    ListenerStatus {
        name: wanted.name.clone(),
        attached_routes: wanted.attached_routes,
        supported_kinds: wanted
            .supported_kinds
            .iter()
            .map(|kind| RouteKind { group: route_group(kind).map(str::to_owned), kind: (*kind).to_owned() })
            .collect(),
        conditions,
    }
}

pub(super) fn is_programmed() -> Condition {
    Condition {
        kind: ConditionType::Programmed,
        status: true,
        reason: reason::PROGRAMMED,
        message: String::new(),
    }
}

pub(super) fn not(reason: &'static str, message: String) -> Condition {
    Condition { kind: ConditionType::Programmed, status: false, reason, message }
}
