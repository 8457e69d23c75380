//! The orders example in a cluster, with Redis: unchanged but for host names and where Redis is.

use std::net::SocketAddr;

use gatehouse_tests::{
    client::get,
    tokens::{Signer, jwks, now, secret},
};
use serde_json::{Value, json};

use crate::{
    kubectl::{apply, condition, get as read, installed, kubectl, run, within},
    shop::{address, backend, namespace},
};

const NAMESPACE: &str = "orders";
pub(crate) const REDIS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      containers:
      - {name: redis, image: \"gatehouse.test/redis:7\", imagePullPolicy: Never, readinessProbe: {tcpSocket: {port: 6379}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec: {selector: {app: redis}, ports: [{port: 6379}]}
";

fn example(file: &str) -> String {
    std::fs::read_to_string(format!("{}/../examples/orders/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn ask(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(async {
        let ask = headers.iter().fold(get(address, path), |ask, (name, value)| ask.header(name, value));
        ask.send().await
    });
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

/// Of both dataplanes.
fn store_failures() -> u64 {
    let label = "gateway.networking.k8s.io/gateway-name=edge";
    let args = ["-n", NAMESPACE, "get", "pods", "-l", label, "-o", "jsonpath={.items[*].status.podIP}"];
    let addresses = kubectl(&args);
    let metrics = addresses.split_whitespace().map(|address| {
        run("curl", &["-sS", "-m", "5", &format!("http://{address}:18081/metrics")], "").unwrap()
    });
    metrics
        .filter_map(|text| {
            let name = "gatehouse_rate_limit_store_failures_total ";
            text.lines().find_map(|line| line.strip_prefix(name)?.parse::<u64>().ok())
        })
        .sum()
}

#[test]
fn the_orders_example_works_as_written() {
    installed();
    namespace(NAMESPACE);
    let issuer = Signer::p256("a");
    let certificate = gatehouse_tests::certs::Authority::default().issue(&["shop.example.com"]);
    let redis = format!("  redis: {{url: \"redis://redis.{NAMESPACE}.svc:6379\", timeout: 50ms}}\n");
    let manifests = [
        REDIS.to_owned(),
        backend("orders", 1),
        backend("users", 1),
        backend("catalog", 1),
        example("services.yaml"),
        example("consumers.yaml"),
        example("policies.yaml"),
        example("routes.yaml"),
        example("gateway.yaml").trim_end().to_owned() + "\n" + &redis,
        secret("issuer-keys", "jwks.json", &jwks(&[&issuer])),
        secret("bob-key", "key", "bobs-own-key"),
        certificate.secret("edge-certificate"),
    ];
    apply(NAMESPACE, &manifests.join("\n---\n"));
    let edge = address(NAMESPACE, "edge", 8080);
    for deployment in ["redis", "orders", "users", "catalog", "edge-gatehouse"] {
        kubectl(&[
            "-n",
            NAMESPACE,
            "rollout",
            "status",
            &format!("deployment/{deployment}"),
            "--timeout=60s",
        ]);
    }
    within(30, "the route is programmed", || {
        let route = read(NAMESPACE, &["gatewayroute", "shop"])?;
        let programmed = condition(&route, "/status/parents/0/conditions", "gatehouse.dev/Programmed")?;
        (programmed["status"] == "True").then_some(())
    });

    assert_eq!(ask(edge, "/api/orders/7", &[]).0, 401);
    let token = issuer.token(
        &json!({"iss": "https://issuer.example.com", "sub": "alice", "aud": "orders", "exp": now() + 600}),
    );
    let bearer = format!("Bearer {token}");
    let (status, seen) = ask(edge, "/api/orders/7", &[("authorization", &bearer)]);
    assert_eq!(status, 200, "{seen}");
    assert_eq!((&seen["service"], &seen["path"]), (&json!("orders"), &json!("/7")), "{seen}");
    assert_eq!(seen["headers"]["x-consumer-username"], "alice", "{seen}");
    let (status, seen) = ask(edge, "/api/users/1", &[("x-api-key", "bobs-own-key")]);
    assert_eq!((status, &seen["headers"]["x-consumer-username"]), (200, &json!("bob")), "{seen}");
    assert_eq!(ask(edge, "/catalog", &[]).0, 200);

    // Two dataplanes, one count. Both reach Redis before it is looked at; what they could not ask it, they count alone.
    within(30, "Redis is asked in time", || {
        let before = store_failures();
        (0..20).for_each(|_| drop(ask(edge, "/api/users/1", &[("x-api-key", "bobs-own-key")])));
        (store_failures() == before).then_some(())
    });
    let before = store_failures();
    let statuses: Vec<u16> =
        (0..120).map(|_| ask(edge, "/api/orders/7", &[("authorization", &bearer)]).0).collect();
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    if store_failures() == before {
        // A dataplane may still have a lease of an eighth while the other is refused.
        assert!((100 - 2 * 12..=100).contains(&admitted), "{admitted}: {statuses:?}");
    } else {
        eprintln!("Redis was too slow for an exact count: {admitted} admitted");
    }

    let table = kubectl(&["-n", NAMESPACE, "get", "gatewayroutes,ratelimitpolicies,authpolicies,consumers"]);
    eprintln!("{table}");
    for name in [
        "gatewayroute.gatehouse.dev/shop",
        "per-consumer",
        "authpolicy.gatehouse.dev/clients",
        "consumer.gatehouse.dev/alice",
    ] {
        let line =
            table.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {table}"));
        assert_eq!(line.matches("True").count(), 2, "accepted and programmed: {line}");
    }
    kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}
