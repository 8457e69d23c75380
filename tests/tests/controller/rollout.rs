//! Rollouts beside a real API server: what stands in the status is all the memory there is.

use gatehouse_tests::{apiserver::documents, eventually};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use serde_json::{Value, json};

use crate::rig::{Controller, start};

const OBJECTS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: gatehouse
  listeners: [{name: http, protocol: HTTP, port: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: v1}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: v2}
spec: {ports: [{port: 80}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}]
  rules:
  - name: all
    matches: [{path: {type: PathPrefix, value: /}}]
    backendRefs: [{name: v1, port: 80}]
    rollout:
      canary:
        backendRef: {name: v2, port: 80}
        steps: [{weight: 5, hold: 1s}, {weight: 50, hold: 1h}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_survives_its_controller() {
    let (server, controller) = start().await;
    server.apply_all(OBJECTS).await;
    let route = documents(OBJECTS).remove(3);
    let rollout = async |what: &str, is_it: &dyn Fn(&Value) -> bool| {
        eventually(what, async || {
            let found = server.get(&route).await?;
            found.pointer("/status/rollouts/0").filter(|rollout| is_it(rollout)).cloned()
        })
        .await
    };
    let second = rollout("the second step", &|rollout| rollout["step"] == 2).await;
    assert_eq!((&second["phase"], &second["weight"]), (&json!("Progressing"), &json!(50)), "{second}");
    drop(controller);
    let _other = Controller::start(&server, "one");
    let mut paused = route.clone();
    paused["metadata"]["annotations"] = json!({"gatehouse.dev/rollout": "pause"});
    server.apply(&paused).await.unwrap();
    let stopped = rollout("a pause", &|rollout| rollout["phase"] == "Paused").await;
    assert_eq!((&stopped["step"], &stopped["weight"]), (&json!(2), &json!(50)), "{stopped}");
    paused["metadata"]["annotations"] = json!({"gatehouse.dev/rollout": "all=abort"});
    server.apply(&paused).await.unwrap();
    let aborted = rollout("the end", &|rollout| rollout["phase"] == "RolledBack").await;
    assert_eq!((&aborted["reason"], &aborted["weight"]), (&json!("Aborted"), &json!(0)), "{aborted}");
    let events: Api<Event> = Api::namespaced(server.client.clone(), "default");
    eventually("all of it is told by events", async || {
        let told = events.list(&Default::default()).await.ok()?;
        let reasons: Vec<String> = told.items.into_iter().filter_map(|event| event.reason).collect();
        let wanted = ["RolloutProgressing", "RolloutPaused", "RolloutRolledBack"];
        wanted.iter().all(|one| reasons.iter().any(|reason| reason == one)).then_some(())
    })
    .await;
    // Without a rollout there is no status of one.
    let mut without = route.clone();
    without["spec"]["rules"][0].as_object_mut().unwrap().remove("rollout");
    server.apply(&without).await.unwrap();
    eventually("the status forgets it", async || {
        let found = server.get(&route).await?;
        found.pointer("/status/rollouts").and_then(Value::as_array).is_none_or(Vec::is_empty).then_some(())
    })
    .await;
}
