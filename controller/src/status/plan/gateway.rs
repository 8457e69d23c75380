//! Gateways of ours: conditions, addresses, and each listener.

use std::net::IpAddr;

use gatehouse_crds::{Gateway, GatewayAddress, ListenerStatus, RouteKind};
use serde_json::json;

use super::{
    GatewayFacts, Input, Programmed, Write,
    conditions::{self, Flip, Moment, Scope},
    status_of, write,
};
use crate::{
    resources::ObjectKey,
    translate::{self, Condition, ConditionType, conditions::reason, names, names::Owner, route_group},
};

/// Of `status.addresses`.
const MAX_ADDRESSES: usize = 16;

pub(super) fn plan(input: &Input<'_>, key: &ObjectKey, gateway: &Gateway) -> Option<Write> {
    let wanted = status_of(input, "Gateway", key)?;
    let nothing = GatewayFacts::default();
    let facts = input.facts.get(key).unwrap_or(&nothing);
    let observed = gateway.status.clone().unwrap_or_default();
    let moment = Moment::of(input, gateway);

    let mut conditions = wanted.conditions.clone();
    conditions.push(whole(input, key, gateway, wanted, facts));
    let (conditions, mut flips) =
        conditions::settle(&conditions, &observed.conditions, Scope::OurTypes, "", &moment);
    let listeners: Vec<ListenerStatus> = wanted
        .listeners
        .iter()
        .map(|wanted| listener(input, key, wanted, &observed.listeners, &moment, &mut flips))
        .collect();
    let addresses: Vec<GatewayAddress> = facts.addresses.iter().take(MAX_ADDRESSES).cloned().collect();
    let is_same = conditions == observed.conditions
        && listeners == observed.listeners
        && addresses == observed.addresses;
    if is_same {
        return None;
    }
    let status = json!({ "addresses": addresses, "conditions": conditions, "listeners": listeners });
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
    if !facts.errors.is_empty() {
        return not(reason::NO_RESOURCES, facts.errors.join("; "));
    }
    let has = |address: &str| facts.addresses.iter().any(|one| is_same_address(&one.value, address));
    let missing: Vec<&str> = translate::requested(gateway).filter(|address| !has(address)).collect();
    if !missing.is_empty() {
        let message = format!("addresses: the Gateway's Service was not given {}", missing.join(", "));
        return not(reason::ADDRESS_NOT_USABLE, message);
    }
    if facts.addresses.is_empty() {
        return not(reason::ADDRESS_NOT_ASSIGNED, "the Gateway's Service has no address yet".into());
    }
    let listeners = wanted.listeners.iter().map(|listener| Owner::Listener(listener.name.clone()));
    let listeners = listeners
        .map(|owner| input.tracker.state(key, &owner))
        .find(|state| matches!(state, Programmed::Pending { .. }));
    match (input.tracker.state(key, &Owner::Gateway), listeners) {
        (Programmed::Rejected { message }, _) => not(reason::INVALID, message),
        (Programmed::Pending { message }, _) | (_, Some(Programmed::Pending { message })) => {
            not(reason::PENDING, message)
        }
        _ => is_programmed(),
    }
}

/// An IPv6 address can be written in several ways.
fn is_same_address(one: &str, other: &str) -> bool {
    one == other || one.parse::<IpAddr>().is_ok_and(|one| other.parse() == Ok(one))
}

fn listener(
    input: &Input<'_>,
    gateway: &ObjectKey,
    wanted: &translate::ListenerStatus,
    observed: &[ListenerStatus],
    moment: &Moment,
    flips: &mut Vec<Flip>,
) -> ListenerStatus {
    let resource = names::listener(gateway, &wanted.name);
    let problem = wanted.conditions.iter().find(|one| one.is_problem());
    let state = input.tracker.state(gateway, &Owner::Listener(wanted.name.clone()));
    let programmed = match (state, problem) {
        // It has nothing to serve by.
        (_, Some(problem)) if !input.tracker.holds(gateway, &resource) => {
            not(reason::INVALID, problem.message.clone())
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

fn is_programmed() -> Condition {
    Condition {
        kind: ConditionType::Programmed,
        status: true,
        reason: reason::PROGRAMMED,
        message: String::new(),
    }
}

fn not(reason: &'static str, message: String) -> Condition {
    Condition { kind: ConditionType::Programmed, status: false, reason, message }
}
