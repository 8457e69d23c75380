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
mod left;
mod listener_set;
mod rollouts;

use std::collections::BTreeMap;

use gatehouse_crds::{
    AuthPolicy, BackendTlsPolicy, Consumer, GatewayAddress, GatewayConfig, GatewayRoute, GrpcRoute,
    HttpRoute, PolicyStatus, RateLimitPolicy, RolloutStatus, RouteParentStatus, TcpRoute, TlsRoute,
    TrafficPolicy, UdpRoute,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use kube::{Resource, ResourceExt, core::ApiResource};
use serde_json::{Value, json};

use super::programmed::{Programmed, Tracker};
use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        Condition, ConditionType, ObjectId, ObjectStatus, Statuses, conditions::reason, names, names::Owner,
    },
};
use conditions::{Moment, Scope};
use entries::Wanted;

pub use conditions::{Flip, Trouble};
pub use rollouts::News;

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
    /// By GatewayRoute, as its rollouts should be told.
    pub rollouts: &'a BTreeMap<ObjectKey, Vec<RolloutStatus>>,
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
    /// What has happened besides.
    pub news: Vec<News>,
}

/// Every status that is not as it should be.
pub fn plan(input: &Input<'_>) -> Vec<Write> {
    let resources = input.resources;
    let mut writes = Vec::new();
    for (name, object) in &resources.gateway_classes {
        writes.extend(class::plan(input, name, object));
    }
    let each = |(key, object)| gateway::plan(input, key, object);
    writes.extend(resources.gateways.iter().filter_map(each));
    let each = |(key, object)| listener_set::plan(input, key, object);
    writes.extend(resources.listener_sets.iter().filter_map(each));
    let each = |(key, object)| ingress::plan(input, key, object);
    writes.extend(resources.ingresses.iter().filter_map(each));
    let each = |(key, object)| http_route(input, key, object);
    writes.extend(resources.http_routes.iter().filter_map(each));
    let each = |(key, object)| grpc_route(input, key, object);
    writes.extend(resources.grpc_routes.iter().filter_map(each));
    let each = |(key, object)| tls_route(input, key, object);
    writes.extend(resources.tls_routes.iter().filter_map(each));
    let each = |(key, object)| tcp_route(input, key, object);
    writes.extend(resources.tcp_routes.iter().filter_map(each));
    let each = |(key, object)| udp_route(input, key, object);
    writes.extend(resources.udp_routes.iter().filter_map(each));
    let each = |(key, object)| gateway_route(input, key, object);
    writes.extend(resources.gateway_routes.iter().filter_map(each));
    let each = |(key, object)| auth_policy(input, key, object);
    writes.extend(resources.auth_policies.iter().filter_map(each));
    let each = |(key, object)| rate_limit_policy(input, key, object);
    writes.extend(resources.rate_limit_policies.iter().filter_map(each));
    let each = |(key, object)| backend_tls_policy(input, key, object);
    writes.extend(resources.backend_tls_policies.iter().filter_map(each));
    let each = |(key, object)| traffic_policy(input, key, object);
    writes.extend(resources.traffic_policies.iter().filter_map(each));
    let each = |(key, object)| consumer(input, key, object);
    writes.extend(resources.consumers.iter().filter_map(each));
    let each = |(key, object)| gateway_config(input, key, object);
    writes.extend(resources.gateway_configs.iter().filter_map(each));
    writes
}

/// The status of one object, if it is not as it should be.
pub fn plan_of(input: &Input<'_>, id: &ObjectId) -> Option<Write> {
    let (resources, key) = (input.resources, &id.key);
    match id.kind {
        "GatewayClass" => class::plan(input, &key.name, resources.gateway_classes.get(&key.name)?),
        "Gateway" => gateway::plan(input, key, resources.gateways.get(key)?),
        "ListenerSet" => listener_set::plan(input, key, resources.listener_sets.get(key)?),
        "Ingress" => ingress::plan(input, key, resources.ingresses.get(key)?),
        "HTTPRoute" => http_route(input, key, resources.http_routes.get(key)?),
        "GRPCRoute" => grpc_route(input, key, resources.grpc_routes.get(key)?),
        "TLSRoute" => tls_route(input, key, resources.tls_routes.get(key)?),
        "TCPRoute" => tcp_route(input, key, resources.tcp_routes.get(key)?),
        "UDPRoute" => udp_route(input, key, resources.udp_routes.get(key)?),
        "GatewayRoute" => gateway_route(input, key, resources.gateway_routes.get(key)?),
        "AuthPolicy" => auth_policy(input, key, resources.auth_policies.get(key)?),
        "RateLimitPolicy" => rate_limit_policy(input, key, resources.rate_limit_policies.get(key)?),
        "BackendTLSPolicy" => backend_tls_policy(input, key, resources.backend_tls_policies.get(key)?),
        "TrafficPolicy" => traffic_policy(input, key, resources.traffic_policies.get(key)?),
        "Consumer" => consumer(input, key, resources.consumers.get(key)?),
        "GatewayConfig" => gateway_config(input, key, resources.gateway_configs.get(key)?),
        // The others have no status of ours.
        _ => None,
    }
}

fn http_route(input: &Input<'_>, key: &ObjectKey, object: &HttpRoute) -> Option<Write> {
    route(input, "HTTPRoute", key, object, object.status.as_ref().map(|status| &*status.parents))
}

fn grpc_route(input: &Input<'_>, key: &ObjectKey, object: &GrpcRoute) -> Option<Write> {
    route(input, "GRPCRoute", key, object, object.status.as_ref().map(|status| &*status.parents))
}

fn tls_route(input: &Input<'_>, key: &ObjectKey, object: &TlsRoute) -> Option<Write> {
    route(input, "TLSRoute", key, object, object.status.as_ref().map(|status| &*status.parents))
}

fn tcp_route(input: &Input<'_>, key: &ObjectKey, object: &TcpRoute) -> Option<Write> {
    route(input, "TCPRoute", key, object, object.status.as_ref().map(|status| &*status.parents))
}

fn udp_route(input: &Input<'_>, key: &ObjectKey, object: &UdpRoute) -> Option<Write> {
    route(input, "UDPRoute", key, object, object.status.as_ref().map(|status| &*status.parents))
}

fn gateway_route(input: &Input<'_>, key: &ObjectKey, object: &GatewayRoute) -> Option<Write> {
    rollouts::plan(input, key, object)
}

fn auth_policy(input: &Input<'_>, key: &ObjectKey, object: &AuthPolicy) -> Option<Write> {
    policy(input, ("AuthPolicy", names::auth(key)), key, object, object.status.as_ref())
}

fn rate_limit_policy(input: &Input<'_>, key: &ObjectKey, object: &RateLimitPolicy) -> Option<Write> {
    policy(input, ("RateLimitPolicy", names::rate_limit(key)), key, object, object.status.as_ref())
}

fn backend_tls_policy(input: &Input<'_>, key: &ObjectKey, object: &BackendTlsPolicy) -> Option<Write> {
    of_backend(input, "BackendTLSPolicy", key, object, object.status.as_ref())
}

fn traffic_policy(input: &Input<'_>, key: &ObjectKey, object: &TrafficPolicy) -> Option<Write> {
    of_backend(input, "TrafficPolicy", key, object, object.status.as_ref())
}

/// Such a policy has no resource of its own that a dataplane could acknowledge: the routes to its backends tell.
fn of_backend<K: Resource<DynamicType = ()>>(
    input: &Input<'_>,
    kind: &'static str,
    key: &ObjectKey,
    object: &K,
    observed: Option<&PolicyStatus>,
) -> Option<Write> {
    let parents = status_of(input, kind, key).map_or(&[][..], |status| &status.parents);
    let wanted: Vec<Wanted> = parents
        .iter()
        .map(|parent| Wanted { reference: parent.parent_ref.clone(), conditions: parent.conditions.clone() })
        .collect();
    ancestors(input, kind, key, object, &wanted, observed)
}

fn consumer(input: &Input<'_>, key: &ObjectKey, object: &Consumer) -> Option<Write> {
    let observed = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions_alone(input, "Consumer", key, object, observed)
}

fn gateway_config(input: &Input<'_>, key: &ObjectKey, object: &GatewayConfig) -> Option<Write> {
    let observed = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    conditions_alone(input, "GatewayConfig", key, object, observed)
}

fn route<K: Resource<DynamicType = ()>>(
    input: &Input<'_>,
    kind: &'static str,
    key: &ObjectKey,
    object: &K,
    observed: Option<&[RouteParentStatus]>,
) -> Option<Write> {
    let observed = observed.unwrap_or_default();
    let (parents, flips) = parents(input, kind, key, object, observed);
    if parents == observed {
        return None;
    }
    write(kind, key, object, json!({ "parents": parents }), flips)
}

/// Of a route, with what flips.
fn parents<K: Resource<DynamicType = ()>>(
    input: &Input<'_>,
    kind: &'static str,
    key: &ObjectKey,
    object: &K,
    observed: &[RouteParentStatus],
) -> (Vec<RouteParentStatus>, Vec<Flip>) {
    let wanted = wanted_entries(input, kind, key, |_| true);
    entries::merge(&wanted, observed, &Moment::of(input, object))
}

/// `resource`: the name of its resource.
fn policy<K: Resource<DynamicType = ()>>(
    input: &Input<'_>,
    (kind, resource): (&'static str, String),
    key: &ObjectKey,
    object: &K,
    observed: Option<&PolicyStatus>,
) -> Option<Write> {
    let wanted = wanted_entries(input, kind, key, |gateway| input.tracker.holds(gateway, &resource));
    ancestors(input, kind, key, object, &wanted, observed)
}

fn ancestors<K: Resource<DynamicType = ()>>(
    input: &Input<'_>,
    kind: &'static str,
    key: &ObjectKey,
    object: &K,
    wanted: &[Wanted],
    observed: Option<&PolicyStatus>,
) -> Option<Write> {
    let observed = observed.map_or(&[][..], |status| &status.ancestors);
    let (ancestors, flips) = entries::merge(wanted, observed, &Moment::of(input, object));
    if ancestors == observed {
        return None;
    }
    write(kind, key, object, json!({ "ancestors": ancestors }), flips)
}

/// What translation says of each parent or ancestor, and `Programmed` besides. `has`: whether a Gateway has it.
fn wanted_entries(
    input: &Input<'_>,
    kind: &'static str,
    key: &ObjectKey,
    has: impl Fn(&ObjectKey) -> bool,
) -> Vec<Wanted> {
    let parents = status_of(input, kind, key).map_or(&[][..], |status| &status.parents);
    let owner = Owner::object(kind, key);
    parents
        .iter()
        .map(|parent| {
            let refused =
                parent.conditions.iter().find(|one| one.kind == ConditionType::Accepted && !one.status);
            let programmed = match refused {
                Some(refused) => not_programmed(reason::NOT_ACCEPTED, refused.message.clone()),
                None => {
                    let gateway = parent.gateway.as_ref().filter(|gateway| has(gateway));
                    programmed(gateway.map(|gateway| input.tracker.state(gateway, &owner)))
                }
            };
            let conditions = parent.conditions.iter().cloned().chain([programmed]).collect();
            Wanted { reference: parent.parent_ref.clone(), conditions }
        })
        .collect()
}

fn conditions_alone<K: Resource<DynamicType = ()>>(
    input: &Input<'_>,
    kind: &'static str,
    key: &ObjectKey,
    object: &K,
    observed: &[v1::Condition],
) -> Option<Write> {
    let mut wanted = status_of(input, kind, key)?.conditions.clone();
    if kind == "Consumer" {
        wanted.push(programmed(on_all_holders(input, kind, key)));
    }
    let moment = Moment::of(input, object);
    let (conditions, flips) = conditions::settle(&wanted, observed, Scope::OurTypes, "", &moment);
    if conditions == observed {
        return None;
    }
    write(kind, key, object, json!({ "conditions": conditions }), flips)
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
        news: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
