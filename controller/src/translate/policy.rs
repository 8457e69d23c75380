//! Which policies guard which rules.
//!
//! Policies attach from general to specific: Gateway, listener, route, rule, and what a GatewayRoute itself names. The
//! most specific one counts. An AuthPolicy whose enforcement is `Required` counts besides it, wherever it is attached.
//! What can't be resolved fails closed: the name stays on the route, and what is emitted under it refuses.

mod auth;
mod index;
mod keys;
mod limit;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gatehouse_crds::{Enforcement, GATEWAY_GROUP, ParentRef, TargetRef, parse_duration};
use gatehouse_proto::config::v1::resource::Kind;

use super::{
    Config, ImpliedGateways, Namespaces, Settings,
    conditions::{Condition, ConditionType, Problem, reason},
    input::{RouteInput, RuleAuth, RuleInput},
    names,
    status::{ObjectStatus, ParentStatus, Statuses},
};
use crate::resources::{ObjectKey, Resources};
use index::{Index, Target};

/// By policy, the Gateways that it takes effect on.
type Used = BTreeMap<ObjectKey, BTreeSet<ObjectKey>>;

/// What came to light while a policy was compiled.
#[derive(Debug, Clone, Default)]
struct Findings {
    /// It can't be enforced as it is written, and refuses.
    unaccepted: Option<Problem>,
    unresolved: Option<Problem>,
    /// What is worth knowing although it works.
    notes: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Policies<'a> {
    resources: &'a Resources,
    settings: &'a Settings,
    implied: &'a ImpliedGateways,
    auth: Index<'a>,
    limits: Index<'a>,
    used_auth: Used,
    used_limits: Used,
}

/// How the policies of one kind are put out.
struct Emission<'e> {
    kind: &'static str,
    name: fn(&ObjectKey) -> String,
    index: &'e Index<'e>,
    used: &'e Used,
}

/// The resource names of the policies that guard a rule on a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Guards {
    pub(super) auth: Vec<String>,
    pub(super) limits: Vec<String>,
}

impl<'a> Policies<'a> {
    pub(super) fn new(
        resources: &'a Resources,
        settings: &'a Settings,
        implied: &'a ImpliedGateways,
    ) -> Self {
        Policies {
            resources,
            settings,
            implied,
            auth: Index::new(resources.auth_policies.iter().map(|(key, policy)| {
                let is_required = policy.spec.enforcement == Enforcement::Required;
                (key, policy, policy.spec.target_refs.as_slice(), is_required)
            })),
            limits: Index::new(
                resources
                    .rate_limit_policies
                    .iter()
                    .map(|(key, policy)| (key, policy, policy.spec.target_refs.as_slice(), false)),
            ),
            used_auth: Used::new(),
            used_limits: Used::new(),
        }
    }

    /// For a rule served by a listener. The problem names a policy that does not exist.
    pub(super) fn guards(
        &mut self,
        gateway: &ObjectKey,
        section: &str,
        route: &RouteInput<'_>,
        rule: &RuleInput<'_>,
    ) -> (Guards, Option<Problem>) {
        let mut places = vec![
            Target::new("Gateway", gateway, None),
            Target::new("Gateway", gateway, Some(section)),
            Target::new(route.kind, route.key, None),
        ];
        places.extend(rule.name.map(|name| Target::new(route.kind, route.key, Some(name))));
        let named = |name: &str| ObjectKey::new(&route.key.namespace, name);
        let mut problems = Vec::new();

        let attached: Vec<&ObjectKey> = places.iter().filter_map(|place| self.auth.at(place)).collect();
        let is_required = |key: &ObjectKey| {
            self.resources
                .auth_policies
                .get(key)
                .is_some_and(|policy| policy.spec.enforcement == Enforcement::Required)
        };
        let mut auth: Vec<ObjectKey> =
            attached.iter().filter(|key| is_required(key)).map(|key| (*key).clone()).collect();
        match rule.auth {
            RuleAuth::Public => {}
            RuleAuth::Attached => auth.extend(attached.last().map(|key| (*key).clone())),
            RuleAuth::Policy(name) => {
                let key = named(name);
                if !self.resources.auth_policies.contains_key(&key) {
                    problems.push(missing("AuthPolicy", &key));
                }
                auth.push(key);
            }
        }
        let limits: Vec<ObjectKey> = match &rule.rate_limits {
            None => places
                .iter()
                .filter_map(|place| self.limits.at(place))
                .next_back()
                .cloned()
                .into_iter()
                .collect(),
            Some(names) => names.iter().map(|name| named(name)).collect(),
        };
        for key in &limits {
            if !self.resources.rate_limit_policies.contains_key(key) {
                problems.push(missing("RateLimitPolicy", key));
            }
        }
        let guards = Guards {
            auth: note(&mut self.used_auth, auth, gateway).iter().map(names::auth).collect(),
            limits: note(&mut self.used_limits, limits, gateway).iter().map(names::rate_limit).collect(),
        };
        (guards, Problem::join(problems))
    }

    /// Puts every policy that is used into the configurations, and what became of each into its status.
    pub(super) fn emit(
        &self,
        configs: &mut BTreeMap<ObjectKey, Config>,
        namespaces: &mut Namespaces,
        statuses: &mut Statuses,
    ) {
        for (key, gateways) in &self.used_auth {
            for gateway in gateways {
                namespaces.entry(gateway.clone()).or_default().insert(key.namespace.clone());
            }
        }
        let resources = self.resources;
        let compiled = |key: &ObjectKey| {
            let (config, findings) = auth::config(key, resources);
            (Kind::Auth(config), findings)
        };
        let auth =
            Emission { kind: "AuthPolicy", name: names::auth, index: &self.auth, used: &self.used_auth };
        self.emit_kind(&auth, resources.auth_policies.keys(), compiled, configs, statuses);
        let compiled = |key: &ObjectKey| {
            let (config, findings) = limit::config(key, resources);
            (Kind::RateLimit(config), findings)
        };
        let limits = Emission {
            kind: "RateLimitPolicy",
            name: names::rate_limit,
            index: &self.limits,
            used: &self.used_limits,
        };
        self.emit_kind(&limits, resources.rate_limit_policies.keys(), compiled, configs, statuses);
    }

    /// Those that exist, and those that routes name although they don't.
    fn emit_kind<'k>(
        &self,
        emission: &Emission<'_>,
        existing: impl Iterator<Item = &'k ObjectKey>,
        compile: impl Fn(&ObjectKey) -> (Kind, Findings),
        configs: &mut BTreeMap<ObjectKey, Config>,
        statuses: &mut Statuses,
    ) {
        let existing: BTreeSet<&ObjectKey> = existing.collect();
        for key in existing.iter().copied().chain(emission.used.keys()).collect::<BTreeSet<_>>() {
            let (config, findings) = compile(key);
            for gateway in emission.used.get(key).into_iter().flatten() {
                if let Some(state) = configs.get_mut(gateway) {
                    let mut config = config.clone();
                    if let Kind::RateLimit(limit) = &mut config
                        && let Some(replicas) = self.settings.replicas.get(gateway)
                    {
                        limit.replicas = *replicas;
                    }
                    state.insert((emission.name)(key), config);
                }
            }
            if existing.contains(key) {
                statuses.set(emission.kind, key, self.status(key, emission, &findings));
            }
        }
    }

    /// What policies want fetched; the shortest interval counts.
    pub(super) fn jwks_urls(&self) -> BTreeMap<String, Duration> {
        let mut urls: BTreeMap<String, Duration> = BTreeMap::new();
        let policies = self.resources.auth_policies.values();
        for jwks in policies
            .flat_map(|policy| &policy.spec.any_of)
            .filter_map(|method| method.jwt.as_ref()?.jwks.as_ref())
        {
            let interval = parse_duration(&jwks.refresh_interval).unwrap_or(Duration::from_secs(300));
            urls.entry(jwks.url.clone())
                .and_modify(|known| *known = interval.min(*known))
                .or_insert(interval);
        }
        urls
    }

    fn status(&self, key: &ObjectKey, emission: &Emission<'_>, findings: &Findings) -> ObjectStatus {
        let gateways = emission.used.get(key).into_iter().flatten();
        let mut parents: Vec<ParentStatus> = gateways
            .map(|gateway| ParentStatus {
                parent_ref: ParentRef {
                    group: Some(GATEWAY_GROUP.into()),
                    kind: Some("Gateway".into()),
                    namespace: Some(gateway.namespace.clone()),
                    name: gateway.name.clone(),
                    ..ParentRef::default()
                },
                conditions: conditions(findings, None),
            })
            .collect();
        for (target, winner) in emission.index.targets_of(key) {
            let refused = if !self.exists(&target, &key.namespace) {
                Some(Problem::new(
                    reason::TARGET_NOT_FOUND,
                    format!("targetRefs: {} {} does not exist", target.kind, target.name),
                ))
            } else if winner == key {
                None
            } else {
                Some(Problem::new(
                    reason::CONFLICTED,
                    format!("{winner} comes before it on the same target, {} {}", target.kind, target.name),
                ))
            };
            if refused.is_some() || !emission.used.contains_key(key) {
                parents.push(ParentStatus {
                    parent_ref: as_parent(&target),
                    conditions: conditions(findings, refused.as_ref()),
                });
            }
        }
        ObjectStatus { parents, ..ObjectStatus::default() }
    }

    fn exists(&self, target: &TargetRef, namespace: &str) -> bool {
        let key = ObjectKey::new(namespace, &target.name);
        let section = target.section_name.as_deref();
        match target.kind.as_str() {
            "Gateway" => {
                let implied = self.implied.get(&key).map(|(gateway, _)| gateway);
                implied.or_else(|| self.resources.gateways.get(&key)).is_some_and(|gateway| {
                    section.is_none_or(|section| {
                        gateway.spec.listeners.iter().any(|listener| listener.name == section)
                    })
                })
            }
            "HTTPRoute" => self.resources.http_routes.get(&key).is_some_and(|route| {
                section.is_none_or(|section| {
                    route.spec.rules.iter().any(|rule| rule.name.as_deref() == Some(section))
                })
            }),
            "GatewayRoute" => self.resources.gateway_routes.get(&key).is_some_and(|route| {
                section.is_none_or(|section| {
                    route.spec.rules.iter().any(|rule| rule.name.as_deref() == Some(section))
                })
            }),
            _ => false,
        }
    }
}

fn missing(kind: &str, key: &ObjectKey) -> Problem {
    Problem::new(reason::POLICY_NOT_FOUND, format!("{kind} {key} does not exist, so the rule answers 503"))
}

/// Each once, in their order.
fn note(used: &mut Used, policies: Vec<ObjectKey>, gateway: &ObjectKey) -> Vec<ObjectKey> {
    let mut once = Vec::new();
    for key in policies {
        if !once.contains(&key) {
            used.entry(key.clone()).or_default().insert(gateway.clone());
            once.push(key);
        }
    }
    once
}

/// `refused`: what is wrong with one target.
fn conditions(findings: &Findings, refused: Option<&Problem>) -> Vec<Condition> {
    let accepted = match refused.or(findings.unaccepted.as_ref()) {
        None => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
        Some(problem) => Condition::not(ConditionType::Accepted, problem.clone()),
    };
    let resolved = match &findings.unresolved {
        None => Condition {
            message: findings.notes.join("; "),
            ..Condition::is(ConditionType::ResolvedRefs, reason::RESOLVED_REFS)
        },
        Some(problem) => Condition::not(ConditionType::ResolvedRefs, problem.clone()),
    };
    vec![accepted, resolved]
}

fn as_parent(target: &TargetRef) -> ParentRef {
    ParentRef {
        group: Some(target.group.clone()),
        kind: Some(target.kind.clone()),
        name: target.name.clone(),
        section_name: target.section_name.clone(),
        ..ParentRef::default()
    }
}
