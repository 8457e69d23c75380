//! The example that everybody learns Kong with.

use serde_json::json;

use super::{Outcome, converted, told};
use crate::convert::report::Verdict;

pub(super) const ORDERS: &str = r#"_format_version: "3.0"
services:
- name: orders
  url: http://orders-svc:3000
  routes:
  - name: orders
    paths: [/api/orders]
  plugins:
  - name: jwt
  - name: rate-limiting
    config:
      minute: 100
      policy: redis
      redis: {host: redis, port: 6379}
consumers:
- username: alice
  jwt_secrets:
  - key: alice-key
    secret: a-secret-of-thirty-two-bytes-or-more
"#;

fn orders() -> Outcome {
    converted(ORDERS)
}

#[test]
fn becomes_a_route_with_its_policies() {
    let converted = orders();
    assert_eq!(told(&converted), [""; 0]);
    let route = converted.spec("GatewayRoute", "orders");
    assert_eq!(
        route["defaults"],
        json!({"auth": {"policyRef": {"name": "jwt"}}, "rateLimits": [{"name": "orders-rate-limiting"}]})
    );
    let rule = &route["rules"][0];
    assert_eq!(rule["matches"][0]["path"], json!({"type": "PathPrefix", "value": "/api/orders"}));
    assert_eq!(
        rule["rewrite"],
        json!({"hostname": "orders-svc", "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}})
    );
    assert_eq!(rule["backendRefs"][0]["name"], "orders-svc");
    assert_eq!(rule["backendRefs"][0]["port"], 3000);
    let limits = converted.spec("RateLimitPolicy", "orders-rate-limiting");
    assert_eq!((&limits["store"], &limits["onStoreFailure"]), (&json!("Redis"), &json!("Allow")));
    assert_eq!(limits["limits"][0]["requests"], 100);
    assert_eq!(limits["limits"][0]["key"], json!([{"consumer": {}}]));
    let jwt = &converted.spec("AuthPolicy", "jwt")["anyOf"][0]["jwt"];
    assert_eq!((&jwt["issuer"], &jwt["algorithms"]), (&json!("alice-key"), &json!(["HS256"])));
    assert_eq!(
        converted.spec("Consumer", "alice")["credentials"][0]["jwt"],
        json!({"issuer": "alice-key", "subject": "*"})
    );
    assert_eq!(converted.spec("GatewayConfig", "kong")["redis"]["url"], "redis://redis:6379");
}

/// Nobody waits for Redis where nobody did.
#[test]
fn counts_that_were_told_later_are_fast() {
    for (rate, accuracy) in [("0.5", "Fast"), ("10", "Fast"), ("-1", "Strict"), ("0", "Strict")] {
        let source = ORDERS.replace("policy: redis", &format!("policy: redis\n      sync_rate: {rate}"));
        let converted = converted(&source);
        assert_eq!(told(&converted), [""; 0]);
        assert_eq!(converted.spec("RateLimitPolicy", "orders-rate-limiting")["accuracy"], accuracy, "{rate}");
    }
}

#[test]
fn every_field_is_told_of() {
    let converted = orders();
    let fields: Vec<(&str, Verdict)> =
        converted.entries.iter().map(|entry| (&*entry.field, entry.verdict)).collect();
    use Verdict::{Exact, Warning};
    assert_eq!(
        fields,
        [
            ("_format_version", Exact),
            ("services[0].name", Exact),
            ("services[0].url", Warning),
            ("services[0].routes[0].name", Exact),
            ("services[0].routes[0].paths[0]", Warning),
            ("services[0].plugins[0].name", Warning),
            ("services[0].plugins[1].name", Exact),
            ("services[0].plugins[1].config.minute", Warning),
            ("services[0].plugins[1].config.policy", Exact),
            ("services[0].plugins[1].config.redis.host", Exact),
            ("services[0].plugins[1].config.redis.port", Exact),
            ("consumers[0].username", Exact),
            ("consumers[0].jwt_secrets[0].key", Warning),
            ("consumers[0].jwt_secrets[0].secret", Exact),
        ]
    );
    let jwt = converted.entry("services[0].plugins[0].name");
    assert!(jwt.changes.contains("Tokens without `exp` get 401"), "{}", jwt.changes);
    assert_eq!((jwt.line, &*jwt.object), (9, "plugin jwt"));
}
