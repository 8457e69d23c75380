//! From nothing to statuses.

use gatehouse_tests::apiserver::documents;
use serde_json::{Value, json};

use crate::rig::{CLASS, Controller, bare, condition, start};

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

const SHARED: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: gatehouse
  listeners: [{name: http, protocol: HTTP, port: 8080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders}
spec:
  parentRefs: [{name: edge}]
  rules:
  - backendRefs: [{name: orders, namespace: shop, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: routes, namespace: shop}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: \"\", kind: Service}]
---
apiVersion: v1
kind: Service
metadata: {name: orders, namespace: shop}
spec: {ports: [{port: 80}]}
";

/// The GatewayClass that all Gateways name.
fn class() -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "gatehouse"}})
}

/// Kinds are watched when they are installed, and are forgotten with their CRD, without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn kinds_come_and_go() {
    let server = bare().await;
    let _controller = Controller::start(&server, "one");
    server.install_crds("gateway-api").await;
    server.apply_all(CLASS).await;
    condition(&server, &class(), "/status/conditions", "Accepted", "True").await;
    server.install_crds("generated").await;
    server.apply_all(ROUTE).await;
    let objects = documents(ROUTE);
    let pointer = "/status/parents/0/conditions";
    condition(&server, &objects[1], pointer, "Accepted", "True").await;

    // Ours go; what they said is forgotten, and what is left is served.
    let name = "gatewayroutes.gatehouse.dev";
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}});
    let attached = async |expected: u64| {
        gatehouse_tests::eventually(&format!("{expected} attached routes"), async || {
            let gateway = server.get(&objects[0]).await?;
            let count = gateway.pointer("/status/listeners/0/attachedRoutes")?.as_u64()?;
            (count == expected).then_some(())
        })
        .await;
    };
    attached(1).await;
    server.delete(&crd).await;
    attached(0).await;
    gatehouse_tests::eventually("the CRD is gone", async || server.get(&crd).await.is_none().then_some(()))
        .await;
    server.install_crds("generated").await;
    server.apply_all(ROUTE).await;
    attached(1).await;
}

/// With the CRDs of an earlier release what they have is served: ReferenceGrants have no v1 there, HTTPRoutes no `retry`,
/// and there are no ListenerSets. The class says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_bundle_is_served_as_far_as_it_goes() {
    let server = bare().await;
    server.install_older_crds().await;
    server.apply_all(CLASS).await;
    server.apply_all(SHARED).await;
    let _controller = Controller::start(&server, "one");
    let unsupported = condition(&server, &class(), "/status/conditions", "SupportedVersion", "False").await;
    assert_eq!(unsupported["reason"], "UnsupportedVersion");
    assert!(unsupported["message"].as_str().unwrap().contains("httproutes of v1.4.1"), "{unsupported}");
    let class = server.get(&class()).await.unwrap();
    let features = class["status"]["supportedFeatures"].as_array().unwrap();
    let serves = |name: &str| features.iter().any(|feature| feature["name"] == name);
    for served in ["HTTPRoute", "HTTPRouteNamedRouteRule", "GRPCRoute", "ReferenceGrant", "BackendTLSPolicy"]
    {
        assert!(serves(served), "{served} is served: {features:?}");
    }
    for absent in ["HTTPRouteRetry", "HTTPRouteCORS", "ListenerSet", "TCPRoute", "TLSRoute", "UDPRoute"] {
        assert!(!serves(absent), "{absent} is not installed: {features:?}");
    }
    // A grant lets the route refer to the Service of another namespace.
    let route = &documents(SHARED)[2];
    condition(&server, route, "/status/parents/0/conditions", "ResolvedRefs", "True").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statuses_say_what_is_and_what_is_not() {
    let (server, _controller) = start().await;
    condition(&server, &class(), "/status/conditions", "Accepted", "True").await;
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
