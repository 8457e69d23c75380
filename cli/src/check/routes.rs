//! Rules that get no request, and rules that anybody may reach.

use std::collections::BTreeMap;

use gatehouse_controller::translate::Config;
use gatehouse_dataplane::inspect::Inspected;
use gatehouse_proto::config::v1::{self, route::Action};

use super::{
    Configs, all_routes,
    findings::{Code, Findings},
};
use crate::{
    explain::rule,
    manifests::{Identity, Severity},
    offline::{self, Places},
};

pub(super) fn shadowed(inspected: &Inspected, config: &Config, places: &Places<'_>, findings: &mut Findings) {
    let route = |name: &str| offline::route(config, name);
    for one in inspected.shadowed() {
        let Some(identity) = Identity::of_resource(&one.route) else { continue };
        let (Some(loser), Some(winner)) = (route(&one.route), route(&one.by)) else { continue };
        let taker = Identity::text_of_resource(&one.by);
        let about = format!(
            ": {} match {} gets no request: {} of {taker} has the same match and is tried first",
            rule(loser),
            one.index,
            rule(winner),
        );
        findings.add(Code::ShadowedRule, places.problem(&identity, Severity::Warning, &about));
    }
}

/// No policy can look into what it passes on.
fn is_of_streams(route: &v1::Route) -> bool {
    ["TCPRoute/", "TLSRoute/", "UDPRoute/"].iter().any(|kind| route.object.starts_with(kind))
}

/// Rules that lead to a backend and have no AuthPolicy.
pub(super) fn unguarded(configs: &Configs, places: &Places<'_>, findings: &mut Findings) {
    let mut open: BTreeMap<Identity, Vec<String>> = BTreeMap::new();
    for (name, route) in all_routes(configs) {
        let forwards = matches!(route.action, Some(Action::Forward(_) | Action::Aggregate(_)));
        let forwards = forwards && !is_of_streams(route);
        if !forwards || !route.auth.is_empty() || route.attachments.is_empty() {
            continue;
        }
        let Some(identity) = Identity::of_resource(name) else { continue };
        let rules = open.entry(identity).or_default();
        if !rules.contains(&rule(route)) {
            rules.push(rule(route));
        }
    }
    for (identity, rules) in open {
        let about = format!(": no AuthPolicy covers {}: anybody may reach its backends", rules.join(", "));
        findings.add(Code::NoAuth, places.problem(&identity, Severity::Note, &about));
    }
}
