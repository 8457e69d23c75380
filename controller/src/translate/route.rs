//! One route object: attached to its parents, its rules put into their configurations, and its status.

mod protection;

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_crds::ParentRef;
use gatehouse_proto::config::v1;

use super::{
    attach::{self, Attached},
    backend::BackendKey,
    conditions::{Condition, ConditionType, Problem, reason},
    external_name,
    gateway::GatewayView,
    input::{RouteInput, RuleAuth},
    names,
    policy::{Guards, OfBackend, Policies},
    rivals::Rivals,
    rule::{self, RuleOutput},
    status::{ObjectStatus, ParentStatus},
};
use crate::resources::{ObjectKey, Resources};
use protection::Protection;

/// One of a route's references to its parents.
struct Parent<'a> {
    reference: &'a ParentRef,
    gateway: ObjectKey,
    attached: Result<Attached, Problem>,
    /// What another route has taken of it.
    conflict: Option<Problem>,
}

/// What came of the rules on one Gateway, besides what is wrong with themselves.
#[derive(Debug, Default)]
struct Served {
    unresolved: Vec<Problem>,
    protection: Protection,
    /// By index, rules that some listener does not serve because nothing authenticates their requests.
    unguarded: BTreeMap<usize, Problem>,
    /// Those of them that no listener serves.
    nowhere: BTreeSet<usize>,
}

/// What came of a route object.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) status: ObjectStatus,
    /// The resources of its rules, each with its Gateway and name.
    pub(super) routes: Vec<(ObjectKey, String, v1::Route)>,
    /// The backends that these name, on the same Gateways.
    pub(super) services: Vec<(ObjectKey, BackendKey, v1::Service)>,
    /// Policies that are for these backends, each with the Gateway.
    pub(super) of_backends: BTreeSet<(OfBackend, ObjectKey)>,
}

pub(super) fn translate(
    route: &RouteInput<'_>,
    gateways: &BTreeMap<ObjectKey, GatewayView>,
    policies: &Policies,
    rivals: &Rivals,
    resources: &Resources,
) -> Output {
    let rules: Vec<RuleOutput> = route
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| rule::translate(rule, index, route, policies, resources))
        .collect();
    // Parents that are not ours get no entry.
    let parents: Vec<Parent<'_>> = route
        .parent_refs
        .iter()
        .filter_map(|reference| {
            let gateway = attach::gateway_of(reference, route.key, resources)?;
            let attached = attach::attach(route, reference, gateways.get(&gateway)?, resources)
                .and_then(|attached| rivals.contest(route, &gateway, attached));
            let (attached, conflict) = match attached {
                Ok((attached, conflict)) => (Ok(attached), conflict),
                Err(problem) => (Err(problem), None),
            };
            Some(Parent { reference, gateway, attached, conflict })
        })
        .collect();
    // Several references may lead to one listener: it serves the route once.
    let mut by_gateway: BTreeMap<&ObjectKey, Attached> = BTreeMap::new();
    for parent in &parents {
        let attached = parent.attached.iter().flatten();
        by_gateway.entry(&parent.gateway).or_default().extend(attached.map(|(i, n)| (*i, n.clone())));
    }
    let mut output = Output::default();
    let mut served: BTreeMap<&ObjectKey, Served> = BTreeMap::new();
    for (key, attached) in by_gateway {
        let Some(gateway) = gateways.get(key) else { continue };
        served.insert(key, serve(route, &rules, gateway, &attached, policies, resources, &mut output));
    }
    for parent in &parents {
        let Some(served) = served.get(&parent.gateway) else { continue };
        let conditions = conditions(route, &rules, parent, served, resources);
        let is_accepted = conditions.iter().any(|one| one.kind == ConditionType::Accepted && one.status);
        let attached = parent.attached.iter().flatten().filter(|_| is_accepted);
        let attached = attached.map(|(index, _)| *index).collect();
        let parent_ref = parent.reference.clone();
        let gateway = Some(parent.gateway.clone());
        output.status.parents.push(ParentStatus { parent_ref, conditions, gateway, attached });
    }
    output
}

/// Puts the rules into what a Gateway serves.
fn serve(
    route: &RouteInput<'_>,
    rules: &[RuleOutput],
    gateway: &GatewayView,
    attached: &Attached,
    policies: &Policies,
    resources: &Resources,
    output: &mut Output,
) -> Served {
    let mut served = Served::default();
    let listeners = attached.iter().map(|(at, hostnames)| (at, &gateway.listeners[*at], hostnames));
    let listeners: Vec<_> = listeners.filter(|(_, listener, _)| listener.is_served()).collect();
    for (index, (input, rule)) in route.rules.iter().zip(rules).enumerate() {
        if rule.placeless {
            continue;
        }
        // Listeners whose policies are the same share a resource.
        let mut groups: BTreeMap<Guards, Vec<v1::Attachment>> = BTreeMap::new();
        let mut variants: BTreeMap<Guards, String> = BTreeMap::new();
        for (at, listener, hostnames) in &listeners {
            if input.own.is_some_and(|own| !own.listeners.contains(at)) {
                continue;
            }
            let (mut guards, problem) = policies.guards(resources, &gateway.key, listener, route, input);
            served.unresolved.extend(problem);
            if route.takes.is_raw() {
                // Limits count requests, and there are none. But nobody is let past an AuthPolicy.
                if gateway.require_auth || !guards.auth.is_empty() {
                    let place = rule::place(input, index);
                    let message = format!(
                        "{place}: an AuthPolicy covers listener {} of Gateway {}, or it requires one, and a {} \
                         has no requests that could be authenticated",
                        listener.spec.name, gateway.key, route.kind
                    );
                    served.unguarded.insert(index, Problem::new(reason::AUTH_REQUIRED, message));
                    continue;
                }
                guards = Guards::default();
            }
            if gateway.require_auth && guards.auth.is_empty() {
                let place = rule::place(input, index);
                let message =
                    format!("{place}: no AuthPolicy covers it, and Gateway {} requires one", gateway.key);
                served.unguarded.insert(index, Problem::new(reason::AUTH_REQUIRED, message));
                continue;
            }
            if !route.takes.is_raw() {
                let is_public = matches!(input.auth, RuleAuth::Public);
                served.protection.note(index, rule::place(input, index), &guards.auth, is_public);
            }
            variants.entry(guards.clone()).or_insert_with(|| listener.place());
            groups.entry(guards).or_default().push(v1::Attachment {
                listener: listener.resource_name(&gateway.key),
                hostnames: match input.own {
                    None => (*hostnames).clone(),
                    Some(own) if own.host.is_empty() => Vec::new(),
                    Some(own) => vec![own.host.to_owned()],
                },
                one_label: input.own.is_some_and(|own| own.host.starts_with("*.")),
            });
        }
        if groups.is_empty() {
            if served.unguarded.contains_key(&index) {
                served.nowhere.insert(index);
            }
            continue;
        }
        let refused = refused_names(rule, gateway);
        served.unresolved.extend(refused.values().cloned());
        let only_one = groups.len() == 1;
        for (guards, attachments) in groups {
            let variant = variants.get(&guards).map(String::as_str).filter(|_| !only_one);
            let mut wire = v1::Route {
                attachments,
                auth: guards.auth,
                rate_limits: guards.limits,
                ..rule.route.clone()
            };
            for (service, problem) in &refused {
                external_name::take_out(&mut wire, &names::service(service), &problem.message);
            }
            let name = names::route(&route.object(), index, variant);
            output.routes.push((gateway.key.clone(), name, wire));
        }
        let services = rule.services.iter().filter(|(key, _)| !refused.contains_key(key));
        output
            .services
            .extend(services.map(|(key, service)| (gateway.key.clone(), key.clone(), service.clone())));
        let of_backend = rule.of_backend.iter();
        output.of_backends.extend(of_backend.map(|policy| (policy.clone(), gateway.key.clone())));
    }
    served
}

/// Backends of a rule that the Gateway does not serve, since they are names.
fn refused_names<'a>(rule: &'a RuleOutput, gateway: &GatewayView) -> BTreeMap<&'a BackendKey, Problem> {
    let names = rule.services.iter().filter_map(|(key, service)| Some((key, service.dns.as_ref()?)));
    let refused = names.filter_map(|(key, dns)| {
        let why = external_name::permits(gateway.external_names.as_ref(), &dns.name).err()?;
        let service = &key.service;
        let message =
            format!("Service {service} is the ExternalName {}, and Gateway {} {why}", dns.name, gateway.key);
        Some((key, Problem::new(reason::EXTERNAL_NAME_NOT_ALLOWED, message)))
    });
    refused.collect()
}

fn conditions(
    route: &RouteInput<'_>,
    rules: &[RuleOutput],
    parent: &Parent<'_>,
    served: &Served,
    resources: &Resources,
) -> Vec<Condition> {
    let problems = rules
        .iter()
        .enumerate()
        .filter_map(|(index, rule)| rule.invalid.as_ref().or_else(|| served.unguarded.get(&index)).cloned());
    let problem = Problem::join(problems);
    let is_lost =
        |(index, rule): (usize, &RuleOutput)| rule.invalid.is_some() || served.nowhere.contains(&index);
    let all_lost = !rules.is_empty() && rules.iter().enumerate().all(is_lost);
    let accepted = match (&parent.attached, &problem) {
        (Err(refused), _) => Condition::not(ConditionType::Accepted, refused.clone()),
        (Ok(_), Some(problem)) if all_lost => Condition::not(ConditionType::Accepted, problem.clone()),
        _ => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
    };
    let of_rules = rules.iter().flat_map(|rule| &rule.unresolved);
    let unresolved = of_rules.chain(&served.unresolved).chain(&route.unresolved).cloned();
    let resolved = match Problem::join(unresolved) {
        Some(problem) => Condition::not(ConditionType::ResolvedRefs, problem),
        None => Condition::is(ConditionType::ResolvedRefs, reason::RESOLVED_REFS),
    };
    // It must not stand beside Accepted=False, and its message has to begin so (RouteConditionPartiallyInvalid).
    let partially = problem.filter(|_| accepted.status).map(|problem| Condition {
        kind: ConditionType::PartiallyInvalid,
        status: true,
        reason: problem.reason,
        message: format!("Dropped Rule: {}", problem.message),
    });
    let conflicted =
        Problem::join(route.conflicts.iter().chain(&parent.conflict).cloned()).map(|problem| Condition {
            kind: ConditionType::Conflicted,
            status: true,
            reason: problem.reason,
            message: problem.message,
        });
    let protected = served
        .protection
        .condition(route.key, &parent.gateway, resources)
        .filter(|_| accepted.status && parent.attached.is_ok());
    [accepted, resolved].into_iter().chain(partially).chain(conflicted).chain(protected).collect()
}
