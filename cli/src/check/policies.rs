//! Policies that apply to no route, and those of Services that no route leads to.

use std::collections::BTreeSet;

use gatehouse_controller::{
    resources::Resources,
    translate::{ObjectId, Translation, object_of},
};

use super::{
    all_routes,
    findings::{Code, Findings},
};
use crate::{
    manifests::{Identity, Severity},
    offline::Places,
};

pub(super) fn unused(
    resources: &Resources,
    translation: &Translation,
    places: &Places<'_>,
    findings: &mut Findings,
) {
    let used = all_routes(&translation.gateways)
        .flat_map(|(_, route)| route.auth.iter().chain(&route.rate_limits))
        .filter_map(|name| object_of(name));
    // What its status complains of is told with the reason.
    let told = translation.statuses.problems().map(|(id, ..)| id.clone());
    let accounted_for: BTreeSet<ObjectId> = used.chain(told).collect();
    let auth = resources.auth_policies.keys().map(|key| ("AuthPolicy", key));
    let limits = resources.rate_limit_policies.keys().map(|key| ("RateLimitPolicy", key));
    let about = ": applies to no route: no target of it has one, and no GatewayRoute names it";
    for (kind, key) in auth.chain(limits) {
        if !accounted_for.contains(&ObjectId { kind, key: key.clone() }) {
            let identity = Identity::new(kind, key);
            findings.add(Code::UnusedPolicy, places.problem(&identity, Severity::Warning, about));
        }
    }
    for key in resources.traffic_policies.keys() {
        let id = ObjectId { kind: "TrafficPolicy", key: key.clone() };
        // Without an entry for a Gateway or a problem there is none at all.
        if translation.statuses.0.get(&id).is_none_or(|status| status.parents.is_empty()) {
            let identity = Identity::new(id.kind, key);
            let about = ": applies to nothing: no route leads to a Service that it targets";
            findings.add(Code::UnusedPolicy, places.problem(&identity, Severity::Warning, about));
        }
    }
}
