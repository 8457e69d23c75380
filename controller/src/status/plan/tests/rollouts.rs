//! What becomes of rollouts stands beside the parents, and changes are told once.

use gatehouse_crds::RolloutStatus;
use serde_json::json;

use super::world::{Dataplane, World};
use crate::resources::ObjectKey;

const OBJECTS: &str = r"
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {name: shop, namespace: default}
spec:
  parentRefs: [{name: edge}]
  rules:
  - name: all
    backendRefs: [{name: v1, port: 80}]
    rollout: {canary: {backendRef: {name: v2, port: 80}, steps: [{weight: 5, hold: 1m}]}}
";

fn status(phase: &str, canary_requests: i64) -> RolloutStatus {
    serde_json::from_value(json!({"name": "all", "hash": "h", "phase": phase, "step": 1, "weight": 5,
        "since": "2026-01-01T00:00:00.000000Z", "reason": phase, "message": "m",
        "canary": {"requests": canary_requests, "errors": 0}}))
    .unwrap()
}

#[test]
fn a_rollout_is_written_and_its_changes_are_told() {
    let mut world = World::of(OBJECTS);
    assert!(world.settle(Dataplane::Acknowledges).is_empty(), "nobody has looked yet");
    let key = ObjectKey::new("default", "shop");
    for (now, news) in [
        (status("Progressing", 1), Some((false, "RolloutProgressing"))),
        (status("Progressing", 2), None),
        (status("RolledBack", 2), Some((true, "RolloutRolledBack"))),
    ] {
        world.rollouts.insert(key.clone(), vec![now.clone()]);
        let writes = world.settle(Dataplane::Acknowledges);
        assert_eq!(writes.len(), 1, "{writes:?}");
        let told: Vec<_> = writes[0].news.iter().map(|news| (news.warns, news.reason)).collect();
        assert_eq!(told, news.into_iter().collect::<Vec<_>>());
        assert_eq!(world.status("GatewayRoute", "default/shop")["rollouts"], json!([now]));
        assert!(world.settle(Dataplane::Acknowledges).is_empty(), "it is as it should be");
    }
    // A new leader has not looked yet: what is there stays.
    world.rollouts.clear();
    assert!(world.settle(Dataplane::Acknowledges).is_empty());
    // The rollout is taken out.
    let plain = OBJECTS.lines().filter(|line| !line.contains("rollout:")).collect::<Vec<_>>().join("\n");
    world.apply(serde_saphyr::from_str(&plain).unwrap());
    assert_eq!(world.settle(Dataplane::Acknowledges).len(), 1);
    assert_eq!(world.status("GatewayRoute", "default/shop")["rollouts"], json!([]));
}
