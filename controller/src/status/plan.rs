//! Which statuses to write: what they should be, less what they are. Pure.
//!
//! The statuses must have been translated from the very objects that are given, for their generations are what is reported
//! as observed. What others wrote stays: their parents and ancestors, and on other kinds their types of conditions. An
//! object that has what it should have gets no write, so that a plan that was carried out plans nothing.

mod class;
mod conditions;
mod entries;
mod features;
mod gateway;
mod ingress;

use std::collections::BTreeMap;

use gatehouse_crds::{GatewayAddress, ParentRef, PolicyStatus, RouteStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use kube::{Resource, ResourceExt, core::ApiResource};
use serde_json::{Value, json};

use super::programmed::{Programmed, Tracker};
use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        Condition, ConditionType, ObjectId, ObjectStatus, Statuses, conditions::reason, names, names::Owner,
        parent_key,
    },
};
use conditions::{Moment, Scope};
use entries::Wanted;

pub use conditions::{Flip, Trouble};

/// What a plan is made from.
#[derive(Debug)]
pub struct Input<'a> {
    pub resources: &'a Resources,
    /// Translated from `resources`.
    pub statuses: &'a Statuses,
    /// Has been told of the states that were published from `resources`.
    pub tracker: &'a Tracker,
    /// Of each Gateway that is ours.
    pub facts: &'a BTreeMap<ObjectKey, GatewayFacts>,
    /// The leader is new, and dataplanes may not have spoken to it yet: what was programmed in the present generation of
    /// its object stays so, rather than to flicker.
    pub settling: bool,
    pub now: Timestamp,
}

/// What the provisioner knows of a Gateway.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GatewayFacts {
    /// Where it can be reached, the preferred first.
    pub addresses: Vec<GatewayAddress>,
    /// Why something that it needs could not be made. Sentences for its owner.
    pub errors: Vec<String>,
}

/// A status to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    pub id: ObjectId,
    pub resource: ApiResource,
    pub uid: String,
    /// Of the object that the plan was made from: it must still be this.
    pub resource_version: String,
    /// Replaces the fields that it has.
    pub status: Value,
    /// What the write tells that a user must act on, or need not any more.
    pub flips: Vec<Flip>,
}

/// Every status that is not as it should be.
pub fn plan(input: &Input<'_>) -> Vec<Write> {
    let resources = input.resources;
    let mut writes = Vec::new();
    class::plan(input, &mut writes);
    gateway::plan(input, &mut writes);
    ingress::plan(input, &mut writes);
    routes(input, "HTTPRoute", &resources.http_routes, |route| route.status.as_ref(), &mut writes);
    routes(input, "GatewayRoute", &resources.gateway_routes, |route| route.status.as_ref(), &mut writes);
    let policies = &resources.auth_policies;
    self::policies(input, ("AuthPolicy", names::auth), policies, |one| one.status.as_ref(), &mut writes);
    let policies = &resources.rate_limit_policies;
    let kind = ("RateLimitPolicy", names::rate_limit as fn(&ObjectKey) -> String);
    self::policies(input, kind, policies, |one| one.status.as_ref(), &mut writes);
    let observed = |one: &gatehouse_crds::Consumer| one.status.clone().map(|status| status.conditions);
    conditions_alone(input, "Consumer", &resources.consumers, observed, &mut writes);
    let observed = |one: &gatehouse_crds::GatewayConfig| one.status.clone().map(|status| status.conditions);
    conditions_alone(input, "GatewayConfig", &resources.gateway_configs, observed, &mut writes);
    writes
}

fn routes<K: Resource<DynamicType = ()>>(
    input: &Input<'_>,
    kind: &'static str,
    objects: &BTreeMap<ObjectKey, K>,
    observed: fn(&K) -> Option<&RouteStatus>,
    writes: &mut Vec<Write>,
) {
    for (key, object) in objects {
        let wanted = wanted_entries(input, kind, key, |parent, key| {
            let gateway = parent_key(parent, key)?;
            Some(input.tracker.state(&gateway, &Owner::object(kind, key)))
        });
        let observed = observed(object).map_or(&[][..], |status| &status.parents);
        let (parents, flips) = entries::merge(&wanted, observed, &Moment::of(input, object));
        if parents != observed {
            writes.extend(write(kind, key, object, json!({ "parents": parents }), flips));
        }
    }
}

fn policies<K: Resource<DynamicType = ()>>(
    input: &Input<'_>,
    (kind, name): (&'static str, fn(&ObjectKey) -> String),
    objects: &BTreeMap<ObjectKey, K>,
    observed: fn(&K) -> Option<&PolicyStatus>,
    writes: &mut Vec<Write>,
) {
    for (key, object) in objects {
        let resource = name(key);
        let wanted = wanted_entries(input, kind, key, |ancestor, key| {
            let gateway = parent_key(ancestor, key).filter(|one| input.tracker.holds(one, &resource))?;
            Some(input.tracker.state(&gateway, &Owner::object(kind, key)))
        });
        let observed = observed(object).map_or(&[][..], |status| &status.ancestors);
        let (ancestors, flips) = entries::merge(&wanted, observed, &Moment::of(input, object));
        if ancestors != observed {
            writes.extend(write(kind, key, object, json!({ "ancestors": ancestors }), flips));
        }
    }
}

/// What translation says of each parent or ancestor, and `Programmed` besides. `state`: `None` where no Gateway has it.
fn wanted_entries(
    input: &Input<'_>,
    kind: &'static str,
    key: &ObjectKey,
    state: impl Fn(&ParentRef, &ObjectKey) -> Option<Programmed>,
) -> Vec<Wanted> {
    let parents = status_of(input, kind, key).map_or(&[][..], |status| &status.parents);
    parents
        .iter()
        .map(|parent| {
            let refused =
                parent.conditions.iter().find(|one| one.kind == ConditionType::Accepted && !one.status);
            let programmed = match refused {
                Some(refused) => not_programmed(reason::NOT_ACCEPTED, refused.message.clone()),
                None => programmed(state(&parent.parent_ref, key)),
            };
            let conditions = parent.conditions.iter().cloned().chain([programmed]).collect();
            Wanted { reference: parent.parent_ref.clone(), conditions }
        })
        .collect()
}

fn conditions_alone<K: Resource<DynamicType = ()>>(
    input: &Input<'_>,
    kind: &'static str,
    objects: &BTreeMap<ObjectKey, K>,
    observed: fn(&K) -> Option<Vec<v1::Condition>>,
    writes: &mut Vec<Write>,
) {
    for (key, object) in objects {
        let Some(status) = status_of(input, kind, key) else { continue };
        let mut wanted = status.conditions.clone();
        if kind == "Consumer" {
            wanted.push(programmed(on_all_holders(input, kind, key)));
        }
        let observed = observed(object).unwrap_or_default();
        let moment = Moment::of(input, object);
        let (conditions, flips) = conditions::settle(&wanted, &observed, Scope::OurTypes, "", &moment);
        if conditions != observed {
            writes.extend(write(kind, key, object, json!({ "conditions": conditions }), flips));
        }
    }
}

/// Of a Consumer, which no status says the Gateways of. The worst counts.
fn on_all_holders(input: &Input<'_>, kind: &'static str, key: &ObjectKey) -> Option<Programmed> {
    let owner = Owner::object(kind, key);
    let resource = names::consumer(key);
    let states = input.tracker.holders(&resource).map(|gateway| input.tracker.state(gateway, &owner));
    states.max_by_key(|state| match state {
        Programmed::Programmed => 0,
        Programmed::Pending { .. } => 1,
        Programmed::Rejected { .. } => 2,
    })
}

fn programmed(state: Option<Programmed>) -> Condition {
    match state {
        None => not_programmed(reason::UNUSED, "no Gateway serves anything that it is for".into()),
        Some(Programmed::Pending { message }) => not_programmed(reason::PENDING, message),
        Some(Programmed::Rejected { message }) => not_programmed(reason::REJECTED, message),
        Some(Programmed::Programmed) => Condition {
            kind: ConditionType::GatehouseProgrammed,
            status: true,
            reason: reason::PROGRAMMED,
            message: String::new(),
        },
    }
}

fn not_programmed(reason: &'static str, message: String) -> Condition {
    Condition { kind: ConditionType::GatehouseProgrammed, status: false, reason, message }
}

fn status_of<'a>(input: &Input<'a>, kind: &'static str, key: &ObjectKey) -> Option<&'a ObjectStatus> {
    input.statuses.0.get(&ObjectId { kind, key: key.clone() })
}

/// `None` for what no API server has stored.
fn write<K: Resource<DynamicType = ()>>(
    kind: &'static str,
    key: &ObjectKey,
    object: &K,
    status: Value,
    flips: Vec<Flip>,
) -> Option<Write> {
    Some(Write {
        id: ObjectId { kind, key: key.clone() },
        resource: ApiResource::erase::<K>(&()),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version()?,
        status,
        flips,
    })
}

#[cfg(test)]
mod tests;
