//! Policies that apply to no route.

use std::collections::BTreeSet;

use gatehouse_controller::{
    resources::{ObjectKey, Resources},
    translate::{ObjectId, Translation},
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
    let used: BTreeSet<Identity> = all_routes(&translation.gateways)
        .flat_map(|(_, route)| route.auth.iter().chain(&route.rate_limits))
        .filter_map(|name| Identity::of_resource(name))
        .collect();
    let auth = resources.auth_policies.keys().map(|key| ("AuthPolicy", key));
    let limits = resources.rate_limit_policies.keys().map(|key| ("RateLimitPolicy", key));
    for (kind, key) in auth.chain(limits) {
        let identity = Identity::new(kind, key);
        // What its status complains of is told with the reason.
        if !used.contains(&identity) && !is_told(translation, kind, key) {
            let about = ": applies to no route: no target of it has one, and no GatewayRoute names it";
            findings.add(Code::UnusedPolicy, places.problem(&identity, Severity::Warning, about));
        }
    }
}

fn is_told(translation: &Translation, kind: &'static str, key: &ObjectKey) -> bool {
    let id = ObjectId { kind, key: key.clone() };
    translation.statuses.problems().any(|(told, ..)| *told == id)
}
