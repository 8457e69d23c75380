//! One whole object of each kind of ours: it has every field of the schema, and the types keep each.

#![allow(clippy::unwrap_used, reason = "helpers of tests; clippy only knows the test functions")]

use gatehouse_crds::{AuthPolicy, Consumer, GatewayConfig, GatewayRoute, RateLimitPolicy, TrafficPolicy};
use kube::CustomResourceExt;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// Of two alternatives an example gives one.
const ALTERNATIVES: [&str; 19] = [
    "spec.healthCheck.active.tcp",
    "spec.healthCheck.active.grpc",
    "spec.loadBalancing.slowStart",
    "spec.loadBalancing.slowStart.window",
    "spec.loadBalancing.consistentHash.header",
    "spec.healthCheck.active.grpc.service",
    "spec.loadBalancing.consistentHash.clientIP",
    "spec.loadBalancing.consistentHash.consumer",
    "spec.redis.url",
    "spec.redis.sentinel",
    "spec.redis.sentinel.primary",
    "spec.redis.sentinel.addresses",
    "spec.redis.sentinel.username",
    "spec.redis.sentinel.passwordSecretRef",
    "spec.redis.cluster",
    "spec.redis.cluster.addresses",
    "spec.anyOf[].jwt.inline.pem",
    "spec.deployment.replicas",
    "spec.disruptionBudget.maxUnavailable",
];
/// Where a type stands a second time, or is Kubernetes' own, it is not filled in.
const SHOWN_ELSEWHERE: [&str; 7] = [
    "spec.rules[].responseHeaders",
    "spec.defaults.auth",
    "spec.anyOf[].apiKey.sources",
    "spec.deployment.affinity",
    "spec.redis.sentinel.passwordSecretRef",
    "spec.loadBalancing.consistentHash.clientIP",
    "spec.loadBalancing.consistentHash.header",
];

#[test]
fn whole_objects_survive_the_types() {
    survives::<GatewayRoute>(include_str!("examples/gatewayroute.yaml"));
    survives::<RateLimitPolicy>(include_str!("examples/ratelimitpolicy.yaml"));
    survives::<AuthPolicy>(include_str!("examples/authpolicy.yaml"));
    survives::<TrafficPolicy>(include_str!("examples/trafficpolicy.yaml"));
    survives::<Consumer>(include_str!("examples/consumer.yaml"));
    survives::<GatewayConfig>(include_str!("examples/gatewayconfig.yaml"));
}

/// The API server prunes unknown fields; an older controller must read what a newer CRD lets through.
#[test]
fn unknown_fields_do_no_harm() {
    let mut object: Value = serde_saphyr::from_str(include_str!("examples/consumer.yaml")).unwrap();
    object["spec"]["later"] = json!({"a": 1});
    let consumer: Consumer = serde_json::from_value(object).unwrap();
    assert_eq!(consumer.spec.tier.as_deref(), Some("gold"));
}

/// What `gatehouse run` without a schema, or a test, leaves out is what the schema would have filled in.
#[test]
fn the_types_have_the_defaults_of_the_schemas() {
    let route: GatewayRoute = read(
        r#"{"spec": {"parentRefs": [{"name": "g"}], "rules": [{"matches": [{}], "backendRefs": [{"name": "s"}]}]}}"#,
    );
    let filled = serde_json::to_value(&route.spec.rules[0]).unwrap();
    assert_eq!(filled["matches"][0]["path"], json!({"type": "PathPrefix", "value": "/"}));
    assert_eq!(filled["backendRefs"][0]["weight"], 1);

    let limits: RateLimitPolicy = read(
        r#"{"spec": {"limits": [{"name": "a", "requests": 1, "per": "1s", "key": [{"clientIP": {}}]}]}}"#,
    );
    let filled = serde_json::to_value(&limits.spec).unwrap();
    assert_eq!(filled["limits"][0]["algorithm"], "TokenBucket");
    assert_eq!(filled["limits"][0]["key"][0]["clientIP"], json!({"ipv4Prefix": 32, "ipv6Prefix": 64}));
    assert_eq!(
        [&filled["scope"], &filled["store"], &filled["accuracy"], &filled["onStoreFailure"]],
        ["Policy", "Redis", "Strict", "FallbackLocal"]
    );

    let policy: AuthPolicy = read(
        r#"{"spec": {"anyOf": [{"jwt": {"issuer": "i", "secretRef": {"name": "s"}}}], "identity": {}}}"#,
    );
    let filled = serde_json::to_value(&policy.spec).unwrap();
    assert_eq!(filled["anyOf"][0]["jwt"]["leewaySeconds"], 30);
    assert_eq!(
        filled["anyOf"][0]["jwt"]["secretRef"],
        json!({"name": "s", "key": "jwks.json", "format": "JWKS"})
    );
    assert_eq!([&filled["anonymous"], &filled["enforcement"]], ["Deny", "Default"]);
    assert_eq!(filled["identity"]["forwardCredential"], false);

    let traffic: TrafficPolicy = read(
        r#"{"spec": {"targetRefs": [{"name": "s"}], "loadBalancing": {},
            "healthCheck": {"passive": {"failurePercent": {"threshold": 9}}, "active": {"http": {}}}}}"#,
    );
    let filled = serde_json::to_value(&traffic.spec).unwrap();
    assert_eq!(filled["targetRefs"][0], json!({"group": "", "kind": "Service", "name": "s"}));
    assert_eq!(filled["loadBalancing"]["type"], "LeastRequest");

    let passive = &filled["healthCheck"]["passive"];
    assert_eq!(passive["failurePercent"], json!({"threshold": 9, "minimumRequests": 20, "interval": "10s"}));
    assert_eq!([&passive["consecutive5xxErrors"], &passive["consecutiveGatewayErrors"]], [5, 0]);
    assert_eq!((&passive["baseEjectionTime"], &passive["maxEjectionPercent"]), (&json!("30s"), &json!(50)));

    assert_eq!(
        filled["healthCheck"]["active"],
        json!({"http": {"path": "/"}, "interval": "3s", "timeout": "1s", "healthyThreshold": 1, "unhealthyThreshold": 3,
            "whenNoneHealthy": "UseAll"})
    );

    let config: GatewayConfig = read(
        r#"{"spec": {"redis": {"url": "redis://r"}, "accessLog": {}, "tracing": {"endpoint": "http://c"},
            "autoscaling": {"maxReplicas": 5}, "service": {}, "drain": {}}}"#,
    );
    let filled = serde_json::to_value(&config.spec).unwrap();
    assert_eq!(filled["redis"]["timeout"], "20ms");
    let secret: GatewayConfig = read(r#"{"spec": {"redis": {"passwordSecretRef": {"name": "r"}}}}"#);
    assert_eq!(serde_json::to_value(&secret.spec.redis).unwrap()["passwordSecretRef"]["key"], "password");
    assert_eq!(filled["accessLog"], json!({"enabled": true, "samplingPercent": 100.0}));
    assert_eq!(filled["tracing"]["samplingPercent"], 100.0);
    assert_eq!(filled["requireAuth"], false);
    assert_eq!(filled["autoscaling"], json!({"minReplicas": 2, "maxReplicas": 5, "cpuUtilization": 70}));
    assert_eq!(filled["service"]["type"], "LoadBalancer");
    assert_eq!(filled["drain"], json!({"delay": "5s", "timeout": "30s"}));
}

fn read<T: DeserializeOwned + CustomResourceExt>(json: &str) -> T {
    let mut object: Value = serde_json::from_str(json).unwrap();
    let resource = T::api_resource();
    object["apiVersion"] = json!(resource.api_version);
    object["kind"] = json!(resource.kind);
    object["metadata"] = json!({"name": "a"});
    serde_json::from_value(object).unwrap()
}

fn survives<T: Serialize + DeserializeOwned + CustomResourceExt>(text: &str) {
    let given: Value = serde_saphyr::from_str(text).unwrap();
    let object: T = serde_json::from_value(given.clone()).unwrap();
    assert_eq!(serde_json::to_value(&object).unwrap(), given);
    let crd = serde_json::to_value(T::crd()).unwrap();
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap();
    let mut unused = Vec::new();
    collect_unused(spec, &[&given["spec"]], "spec", &mut unused);
    assert!(unused.is_empty(), "the example of {} lacks {unused:?}", T::crd().spec.names.kind);
}

/// Fields that none of the values has.
fn collect_unused(schema: &Value, values: &[&Value], path: &str, unused: &mut Vec<String>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let values: Vec<&Value> = values.iter().filter_map(|value| value.get(name)).collect();
        if values.is_empty() && !ALTERNATIVES.contains(&path.as_str()) {
            unused.push(path);
        } else if !SHOWN_ELSEWHERE.contains(&path.as_str()) {
            collect_unused(schema, &values, &path, unused);
        }
    }
    let items: Vec<&Value> = values.iter().filter_map(|value| value.as_array()).flatten().collect();
    if schema["items"].is_object() && !items.is_empty() {
        collect_unused(&schema["items"], &items, &format!("{path}[]"), unused);
    }
}
