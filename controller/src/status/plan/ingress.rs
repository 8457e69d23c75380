//! `status.loadBalancer` of Ingresses: where the Gateway that their class implies can be reached.

use k8s_openapi::api::networking::v1::{Ingress, IngressLoadBalancerIngress};
use serde_json::json;

use super::{Input, Write, status_of, write};
use crate::{resources::ObjectKey, translate::ConditionType};

pub(super) fn plan(input: &Input<'_>, key: &ObjectKey, ingress: &Ingress) -> Option<Write> {
    // One of another class is another controller's.
    let wanted = addresses(input, key)?;
    if wanted == observed(ingress) {
        return None;
    }
    let status = json!({ "loadBalancer": { "ingress": wanted } });
    write("Ingress", key, ingress, status, Vec::new())
}

/// None while it is not accepted: it leads nowhere.
fn addresses(input: &Input<'_>, key: &ObjectKey) -> Option<Vec<IngressLoadBalancerIngress>> {
    let status = status_of(input, "Ingress", key)?;
    let is_accepted = |conditions: &[crate::translate::Condition]| {
        conditions.iter().any(|one| one.kind == ConditionType::Accepted && one.status)
    };
    let parents = status.parents.iter().filter(|parent| is_accepted(&parent.conditions));
    let facts = parents.filter_map(|parent| input.facts.get(parent.gateway.as_ref()?));
    let addresses = facts.flat_map(|facts| &facts.addresses).map(|address| {
        let is_name = address.kind.as_deref() == Some("Hostname");
        IngressLoadBalancerIngress {
            hostname: is_name.then(|| address.value.clone()),
            ip: (!is_name).then(|| address.value.clone()),
            ports: None,
        }
    });
    Some(addresses.collect())
}

fn observed(ingress: &Ingress) -> Vec<IngressLoadBalancerIngress> {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.clone()).unwrap_or_default()
}
