//! What becomes of that which is not ours any more.

use gatehouse_tests::{apiserver::ApiServer, apiserver::documents, eventually};
use serde_json::{Value, json};

use crate::rig::{CLASS, condition, start};

const OBJECTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: other}
spec: {controllerName: example.com/other}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: gatehouse
  allowedListeners: {namespaces: {from: Same}}
  listeners: [{name: http, protocol: HTTP, port: 8080}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: team}
spec:
  parentRef: {name: edge}
  listeners: [{name: http, protocol: HTTP, port: 8080, hostname: team.example.com}]
";

const PROVISIONED: [(&str, &str, &str); 5] = [
    ("apps/v1", "Deployment", "edge-gatehouse"),
    ("v1", "Service", "edge-gatehouse"),
    ("v1", "Service", "edge-gatehouse-peers"),
    ("v1", "ConfigMap", "edge-gatehouse"),
    ("v1", "ServiceAccount", "edge-gatehouse"),
];

async fn stand(server: &ApiServer, expected: bool) {
    for (version, kind, name) in PROVISIONED {
        let object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}});
        eventually(&format!("{kind} {name}: {expected}"), async || {
            (server.get(&object).await.is_some() == expected).then_some(())
        })
        .await;
    }
}

/// Has our status, or that of what nobody has claimed.
async fn is_claimed(server: &ApiServer, object: &Value, expected: bool) {
    let status = if expected { "True" } else { "Unknown" };
    condition(server, object, "/status/conditions", "Accepted", status).await;
    let kind = &object["kind"];
    eventually(&format!("{kind} with listeners: {expected}"), async || {
        let object = server.get(object).await?;
        let listeners = object.pointer("/status/listeners").and_then(Value::as_array);
        (listeners.is_some_and(|listeners| !listeners.is_empty()) == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_leaves_keeps_nothing_of_ours() {
    let (server, _controller) = start().await;
    server.apply_all(OBJECTS).await;
    let objects = documents(OBJECTS);
    let (gateway, set) = (&objects[1], &objects[2]);
    is_claimed(&server, gateway, true).await;
    is_claimed(&server, set, true).await;
    eventually("the set counts as attached", async || {
        (server.get(gateway).await?["status"]["attachedListenerSets"] == 1).then_some(())
    })
    .await;
    stand(&server, true).await;

    // The set goes alone.
    let mut elsewhere = set.clone();
    elsewhere["spec"]["parentRef"]["name"] = json!("elsewhere");
    server.apply(&elsewhere).await.unwrap();
    is_claimed(&server, set, false).await;
    server.apply(set).await.unwrap();
    is_claimed(&server, set, true).await;

    // To another controller's class, with what it brought.
    let mut moved = gateway.clone();
    moved["spec"]["gatewayClassName"] = json!("other");
    server.apply(&moved).await.unwrap();
    is_claimed(&server, gateway, false).await;
    is_claimed(&server, set, false).await;
    stand(&server, false).await;
    server.apply(gateway).await.unwrap();
    is_claimed(&server, gateway, true).await;
    stand(&server, true).await;

    // The class goes.
    server.delete(&documents(CLASS)[0]).await;
    is_claimed(&server, gateway, false).await;
    stand(&server, false).await;
}
