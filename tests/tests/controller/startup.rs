//! From nothing to statuses.

use gatehouse_tests::apiserver::documents;
use serde_json::json;

use crate::rig::{condition, start};

const ROUTE: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: gatehouse
  listeners: [{name: http, protocol: HTTP, port: 8080}]
---
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {name: orders}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /}}]
    backendRefs: [{name: nowhere, port: 80}]
";

#[tokio::test(flavor = "multi_thread")]
async fn statuses_say_what_is_and_what_is_not() {
    let (server, _controller) = start().await;
    let class = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "gatehouse"}});
    condition(&server, &class, "/status/conditions", "Accepted", "True").await;
    server.apply_all(ROUTE).await;
    let objects = documents(ROUTE);
    let accepted = condition(&server, &objects[0], "/status/conditions", "Accepted", "True").await;
    assert_eq!(accepted["observedGeneration"], 1);
    let pointer = "/status/parents/0/conditions";
    let unresolved = condition(&server, &objects[1], pointer, "ResolvedRefs", "False").await;
    assert_eq!(unresolved["reason"], "BackendNotFound");
    let programmed = condition(&server, &objects[1], pointer, "gatehouse.dev/Programmed", "False").await;
    assert_eq!(programmed["reason"], "Pending", "there is no dataplane: {programmed}");
    // What a dataplane needs has been made.
    for (version, kind) in
        [("apps/v1", "Deployment"), ("v1", "Service"), ("v1", "ConfigMap"), ("v1", "ServiceAccount")]
    {
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": "edge-gatehouse"}});
        gatehouse_tests::eventually(kind, async || server.get(&object).await).await;
    }
}
