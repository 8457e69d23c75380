//! Which dataplanes of a Gateway are ready, by the EndpointSlices of its Service.

use std::collections::BTreeSet;

use crate::resources::{ObjectKey, Resources};

/// Names of the pods behind a Service that take traffic now. A dataplane is called by its pod's name. One that terminates
/// is not ready.
pub fn ready(resources: &Resources, service: &ObjectKey) -> BTreeSet<String> {
    resources
        .slices_of(service)
        .flat_map(|slice| &slice.endpoints)
        .filter(|endpoint| {
            // Unknown counts as ready (EndpointConditions).
            endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        })
        .filter_map(|endpoint| endpoint.target_ref.as_ref())
        .filter(|target| target.kind.as_deref() == Some("Pod"))
        .filter_map(|target| target.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::ready;
    use crate::resources::{ObjectKey, Resources};

    #[test]
    fn ready_pods_of_the_service_alone() {
        let slice = |name: &str, namespace: &str, service: &str, endpoints: serde_json::Value| {
            json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
                "endpoints": endpoints})
        };
        let pod = |name: &str, conditions: serde_json::Value| json!({"addresses": ["10.0.0.1"], "conditions": conditions, "targetRef": {"kind": "Pod", "name": name}});
        let mut resources = Resources::default();
        for object in [
            slice(
                "a",
                "shop",
                "edge-gatehouse",
                json!([
                    pod("a-1", json!({"ready": true})),
                    pod("a-2", json!({"ready": false, "serving": true, "terminating": true})),
                    pod("a-3", json!({})),
                    json!({"addresses": ["10.0.0.9"]}),
                ]),
            ),
            slice(
                "b",
                "shop",
                "edge-gatehouse",
                json!([pod("b-1", json!({"ready": true})), pod("a-1", json!({}))]),
            ),
            slice("c", "shop", "other", json!([pod("c-1", json!({"ready": true}))])),
            slice("d", "else", "edge-gatehouse", json!([pod("d-1", json!({"ready": true}))])),
        ] {
            resources.apply(object).unwrap();
        }
        let names = ready(&resources, &ObjectKey::new("shop", "edge-gatehouse"));
        assert_eq!(names, BTreeSet::from(["a-1".into(), "a-3".into(), "b-1".into()]));
    }
}
