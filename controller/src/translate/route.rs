//! One route object: attached to its parents, its rules put into their configurations, and its status.

use std::collections::BTreeMap;

use gatehouse_proto::config::v1::{self, resource::Kind};

use super::{
    Config, attach,
    conditions::{Condition, ConditionType, Problem, reason},
    gateway::GatewayView,
    input::RouteInput,
    names,
    policy::{Guards, Policies},
    rule::{self, RuleOutput},
    status::{ObjectStatus, ParentStatus},
};
use crate::resources::{ObjectKey, Resources};

pub(super) fn translate(
    route: &RouteInput<'_>,
    gateways: &mut BTreeMap<&ObjectKey, GatewayView<'_>>,
    policies: &mut Policies<'_>,
    configs: &mut BTreeMap<ObjectKey, Config>,
    resources: &Resources,
) -> ObjectStatus {
    let rules: Vec<RuleOutput> = route
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| rule::translate(rule, index, route, resources))
        .collect();
    let mut status = ObjectStatus::default();
    let mut served: BTreeMap<ObjectKey, Vec<(String, v1::Attachment)>> = BTreeMap::new();
    let mut require_auth: BTreeMap<ObjectKey, bool> = BTreeMap::new();
    for parent in route.parent_refs {
        // Parents that are not ours get no entry.
        let Some(key) = attach::parent_key(parent, route.key) else { continue };
        let Some(gateway) = gateways.get_mut(&key) else { continue };
        require_auth.insert(key.clone(), gateway.require_auth);
        let attached = attach::attach(route, parent, gateway, resources);
        let refused = match attached {
            Ok(attachments) => {
                served.entry(key).or_default().extend(attachments);
                None
            }
            Err(problem) => Some(problem),
        };
        status
            .parents
            .push(ParentStatus { parent_ref: parent.clone(), conditions: conditions(&rules, refused) });
    }
    for (gateway, attachments) in served {
        let Some(config) = configs.get_mut(&gateway) else { continue };
        let required = require_auth.get(&gateway).copied().unwrap_or(false);
        let problems = serve(route, &rules, &gateway, &attachments, required, policies, config);
        let parents = status.parents.iter_mut();
        for parent in parents
            .filter(|parent| attach::parent_key(&parent.parent_ref, route.key).as_ref() == Some(&gateway))
        {
            for (kind, problem) in &problems {
                spoil(&mut parent.conditions, *kind, problem);
            }
        }
    }
    status
}

/// Puts the rules into a Gateway's configuration. Gives what is wrong there besides the rules themselves.
fn serve(
    route: &RouteInput<'_>,
    rules: &[RuleOutput],
    gateway: &ObjectKey,
    attachments: &[(String, v1::Attachment)],
    require_auth: bool,
    policies: &mut Policies<'_>,
    config: &mut Config,
) -> Vec<(ConditionType, Problem)> {
    let mut problems = Vec::new();
    for (index, (input, output)) in route.rules.iter().zip(rules).enumerate() {
        if output.placeless {
            continue;
        }
        // Listeners whose policies are the same share a resource.
        let mut groups: BTreeMap<Guards, Vec<&(String, v1::Attachment)>> = BTreeMap::new();
        for attachment in attachments {
            let (guards, problem) = policies.guards(gateway, &attachment.0, route, input);
            problems.extend(problem.map(|problem| (ConditionType::ResolvedRefs, problem)));
            if require_auth && guards.auth.is_empty() {
                let message = format!(
                    "{}: no AuthPolicy covers it, and Gateway {gateway} requires one",
                    rule::place(input, index)
                );
                problems.push((ConditionType::Accepted, Problem::new(reason::AUTH_REQUIRED, message)));
                continue;
            }
            groups.entry(guards).or_default().push(attachment);
        }
        let only_one = groups.len() == 1;
        for (guards, attached) in groups {
            let variant = (!only_one).then(|| attached[0].0.as_str());
            let wire = v1::Route {
                attachments: attached.iter().map(|(_, attachment)| attachment.clone()).collect(),
                auth: guards.auth,
                rate_limits: guards.limits,
                ..output.route.clone()
            };
            config.insert(names::route(&route.object(), index, variant), Kind::Route(wire));
        }
        for (key, service) in &output.services {
            config.insert(names::service(&key.service, key.port), Kind::Service(*service));
        }
    }
    problems
}

fn conditions(rules: &[RuleOutput], refused: Option<Problem>) -> Vec<Condition> {
    let invalid: Vec<Problem> = rules.iter().filter_map(|rule| rule.invalid.clone()).collect();
    let all_invalid = !rules.is_empty() && invalid.len() == rules.len();
    let invalid = Problem::join(invalid);
    let unresolved = Problem::join(rules.iter().flat_map(|rule| rule.unresolved.clone()).collect());
    let accepted = match (refused, &invalid) {
        (Some(problem), _) => Condition::not(ConditionType::Accepted, problem),
        (None, Some(problem)) if all_invalid => Condition::not(ConditionType::Accepted, problem.clone()),
        _ => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
    };
    let resolved = match unresolved {
        Some(problem) => Condition::not(ConditionType::ResolvedRefs, problem),
        None => Condition::is(ConditionType::ResolvedRefs, reason::RESOLVED_REFS),
    };
    let mut conditions = vec![accepted, resolved];
    if let Some(problem) = invalid.filter(|_| !all_invalid) {
        conditions.push(Condition {
            kind: ConditionType::PartiallyInvalid,
            status: true,
            reason: problem.reason,
            message: problem.message,
        });
    }
    conditions
}

/// Turns a condition false, or adds to its message if it is already.
fn spoil(conditions: &mut [Condition], kind: ConditionType, problem: &Problem) {
    for condition in conditions.iter_mut().filter(|condition| condition.kind == kind) {
        if condition.status {
            *condition = Condition::not(kind, problem.clone());
        } else if !condition.message.contains(&problem.message) {
            condition.message = format!("{}; {}", condition.message, problem.message);
        }
    }
}
