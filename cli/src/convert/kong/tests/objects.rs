//! The form that Kong's ingress controller reads.

use serde_json::{Value, json};

use super::{Outcome, told};
use crate::convert::report::Verdict;

const SHOP: &str = r#"apiVersion: v1
kind: List
items:
- apiVersion: configuration.konghq.com/v1
  kind: KongPlugin
  metadata: {name: keys}
  plugin: key-auth
  config: {key_names: [x-key]}
- apiVersion: configuration.konghq.com/v1
  kind: KongPlugin
  metadata: {name: few}
  plugin: rate-limiting
  config: {minute: 5, policy: local}
- apiVersion: configuration.konghq.com/v1
  kind: KongClusterPlugin
  metadata: {name: metrics, labels: {global: "true"}}
  plugin: prometheus
- apiVersion: configuration.konghq.com/v1
  kind: KongConsumer
  metadata: {name: alice}
  username: alice
  credentials: [alice-key, lost]
- apiVersion: v1
  kind: Secret
  metadata: {name: alice-key, labels: {konghq.com/credential: key-auth}}
  data: {key: YWxpY2Vz}
- apiVersion: v1
  kind: Service
  metadata: {name: orders, annotations: {konghq.com/plugins: few, konghq.com/path: /v1, other: x}}
  spec: {ports: [{name: web, port: 80}]}
- apiVersion: networking.k8s.io/v1
  kind: Ingress
  metadata:
    name: shop
    annotations: {konghq.com/plugins: keys, konghq.com/strip-path: "true", konghq.com/methods: "GET,POST", konghq.com/unknown: x}
  spec:
    ingressClassName: kong
    tls: [{hosts: [shop.example.com], secretName: shop-tls}]
    rules:
    - host: shop.example.com
      http:
        paths:
        - {path: /orders, pathType: Prefix, backend: {service: {name: orders, port: {name: web}}}}
        - {path: /status, pathType: Exact, backend: {service: {name: orders, port: {number: 80}}}}
        - {path: "/~/v[0-9]+$", pathType: ImplementationSpecific, backend: {service: {name: orders, port: {number: 80}}}}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: orders}
  spec: {replicas: 1}
- apiVersion: configuration.konghq.com/v1beta1
  kind: TCPIngress
  metadata: {name: raw}
"#;

fn paths(converted: &Outcome) -> Vec<Value> {
    let routes = converted.objects.iter().filter(|object| object["kind"] == "GatewayRoute");
    routes.map(|route| route["spec"]["rules"][0]["matches"][0]["path"].clone()).collect()
}

#[test]
fn becomes_what_the_file_would() {
    let converted = super::converted(SHOP);
    // The certificate's Secret is in the cluster.
    let told = told(&converted);
    assert!(told.iter().all(|told| told.contains("shop-tls") || told.contains("https")), "{told:?}");
    let path = |kind: &str, value: &str| json!({"type": kind, "value": value});
    assert_eq!(
        paths(&converted),
        [
            path("PathPrefix", "/orders"),
            path("Exact", "/status"),
            path("RegularExpression", "(?:/v[0-9]+$).*"),
        ]
    );
    let first = converted.spec("GatewayRoute", "shop-1");
    assert_eq!(first["hostnames"], json!(["shop.example.com"]));
    assert_eq!(first["defaults"]["auth"]["policyRef"]["name"], "key-auth");
    assert_eq!(first["defaults"]["rateLimits"][0]["name"], "orders-rate-limiting");
    assert_eq!(first["rules"][0]["matches"][1]["method"], "POST");
    assert_eq!(
        first["rules"][0]["rewrite"],
        json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v1"}})
    );
    assert_eq!(first["rules"][0]["backendRefs"][0]["name"], "orders");
    let exact = converted.spec("GatewayRoute", "shop-2");
    assert_eq!(exact["rules"][0]["rewrite"]["path"]["replaceFullPath"], "/v1");
    assert_eq!(converted.object("Secret", "consumer-alice").unwrap()["stringData"]["key-1"], "alices");
    assert_eq!(
        converted.spec("Gateway", "kong")["listeners"][1]["tls"]["certificateRefs"][0]["name"],
        "shop-tls"
    );
    let refused: Vec<(&str, &str)> = converted
        .entries
        .iter()
        .filter(|entry| entry.verdict == Verdict::Refused)
        .map(|entry| (&*entry.object, &*entry.field))
        .collect();
    assert_eq!(
        refused,
        [
            ("KongConsumer default/alice", "credentials[1]"),
            ("Ingress default/shop", "metadata.annotations.konghq.com/unknown"),
            ("TCPIngress default/raw", "apiVersion"),
            ("TCPIngress default/raw", "kind"),
            ("TCPIngress default/raw", "metadata.name"),
        ]
    );
}

#[test]
fn what_is_not_known_closes_the_route() {
    for (from, to) in [
        ("  config: {key_names: [x-key]}", "  configFrom: {secretKeyRef: {name: a, key: b}}"),
        ("konghq.com/plugins: keys,", "konghq.com/plugins: missing,"),
        ("  metadata: {name: alice}", "  metadata: {name: alice, annotations: {konghq.com/plugins: keys}}"),
        ("konghq.com/strip-path: \"true\"", "konghq.com/rewrite: /x"),
    ] {
        assert!(SHOP.contains(from), "{from}");
        let converted = super::converted(&SHOP.replace(from, to));
        let open = converted.objects.iter().filter(|object| {
            object["kind"] == "GatewayRoute"
                && object["metadata"]["annotations"]["gatehouse.dev/unconverted"].is_null()
        });
        assert_eq!(open.count(), 0, "{to}");
    }
}
