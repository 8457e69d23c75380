//! Which AuthPolicies guard the rules of a route on a Gateway, and which rules nobody guards: for its status.
//!
//! Nothing is said where nobody uses AuthPolicies, neither in the route's namespace nor in the Gateway's.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_crds::Enforcement;

use crate::{
    resources::{ObjectKey, Resources},
    translate::conditions::{Condition, ConditionType, Problem, reason},
};

/// A status that nobody can read to its end helps nobody.
const MESSAGE_BYTES: usize = 2000;

#[derive(Debug, Default)]
pub(super) struct Protection {
    /// Rules by the resource names of what guards them. None: nobody.
    guarded: BTreeMap<Vec<String>, BTreeSet<(usize, String)>>,
    /// Rules that say so themselves.
    public: BTreeSet<(usize, String)>,
}

impl Protection {
    /// `place`: how messages call the rule. `policies`: the resource names of those that guard it.
    pub(super) fn note(&mut self, index: usize, place: String, policies: &[String], is_public: bool) {
        let rules = if policies.is_empty() && is_public {
            &mut self.public
        } else {
            self.guarded.entry(policies.to_vec()).or_default()
        };
        rules.insert((index, place));
    }

    pub(super) fn condition(
        &self,
        route: &ObjectKey,
        gateway: &ObjectKey,
        resources: &Resources,
    ) -> Option<Condition> {
        if !(uses_auth(&route.namespace, resources) || uses_auth(&gateway.namespace, resources)) {
            return None;
        }
        if let Some(rules) = self.guarded.get(&Vec::new()) {
            let message = format!(
                "{}: no AuthPolicy covers it; attach one, or let a GatewayRoute say auth: {{public: true}}",
                places(rules)
            );
            let problem = Problem::new(reason::NO_AUTH_POLICY, short(message));
            return Some(Condition::not(ConditionType::Protected, problem));
        }
        let of_policies = self.guarded.iter().map(|(policies, rules)| {
            let policies: Vec<String> = policies.iter().map(|name| told(name, resources)).collect();
            format!("{}: {}", places(rules), policies.join(", "))
        });
        let public = (!self.public.is_empty()).then(|| format!("{}: public", places(&self.public)));
        let parts: Vec<String> = of_policies.chain(public).collect();
        if parts.is_empty() {
            return None;
        }
        let message = short(parts.join("; "));
        Some(Condition { message, ..Condition::is(ConditionType::Protected, reason::PROTECTED) })
    }
}

fn uses_auth(namespace: &str, resources: &Resources) -> bool {
    let mut others = resources.auth_policies.range(ObjectKey::new(namespace, "")..);
    others.next().is_some_and(|(key, _)| key.namespace == namespace)
}

fn places(rules: &BTreeSet<(usize, String)>) -> String {
    rules.iter().map(|(_, place)| place.as_str()).collect::<Vec<_>>().join(", ")
}

/// A policy by its resource name.
fn told(name: &str, resources: &Resources) -> String {
    let policy = name.strip_prefix("auth/").unwrap_or(name);
    let key = policy.split_once('/').map(|(namespace, name)| ObjectKey::new(namespace, name));
    let found = key.as_ref().and_then(|key| resources.auth_policies.get(key));
    match found.map(|found| found.spec.enforcement) {
        Some(Enforcement::Required) => format!("{policy} (required)"),
        Some(Enforcement::Default) => policy.to_owned(),
        None => format!("{policy} (missing: 503)"),
    }
}

fn short(mut text: String) -> String {
    if text.len() > MESSAGE_BYTES {
        let end = (0..=MESSAGE_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}
