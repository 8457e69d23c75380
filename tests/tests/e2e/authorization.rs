//! Who of those that are known may pass, and from where.

use gatehouse_tests::{
    backend::Backend,
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
    tokens::{Signer, claims, jwks, secret},
};
use serde_json::json;

use crate::route;

const CONFIG: &str = "---\napiVersion: gatehouse.dev/v1alpha1\nkind: GatewayConfig\nmetadata: {name: config}\nspec: {trustedProxies: \
                      [127.0.0.0/8]}\n";

const POLICIES: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: staff}
spec:
  anyOf:
  - jwt: {issuer: 'https://issuer.test', algorithms: [ES256], secretRef: {name: keys}}
  - apiKey: {}
  authorize:
  - groups: [staff]
  - tiers: [gold]
    clientIPs: [192.0.2.0/24]
  - claims: [{name: roles, anyOf: [admin]}]
  denyClientIPs: [198.51.100.0/24]
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: inside}
spec: {anonymous: Allow, authorize: [{clientIPs: [192.0.2.0/24, '2001:db8::/32']}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: required}
spec:
  targetRefs: [{group: gatehouse.dev, kind: GatewayRoute, name: r, sectionName: both}]
  enforcement: Required
  anyOf: [{apiKey: {}}]
  authorize: [{groups: [staff]}]
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: alice}
spec: {groups: [staff], credentials: [{name: k, apiKey: {secretRef: {name: s, key: alice}}}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: bob}
spec: {tier: gold, groups: [guests], credentials: [{name: k, apiKey: {secretRef: {name: s, key: bob}}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {alice: alices-key, bob: bobs-key}
";

const RULES: &str = "
- name: staff
  matches: [{path: {value: /staff}}]
  auth: {policyRef: {name: staff}}
  backendRefs: [{name: echo, port: 80}]
- name: inside
  matches: [{path: {value: /inside}}]
  auth: {policyRef: {name: inside}}
  backendRefs: [{name: echo, port: 80}]
- name: both
  matches: [{path: {value: /both}}]
  auth: {policyRef: {name: inside}}
  backendRefs: [{name: echo, port: 80}]";

#[tokio::test]
async fn rules_admit_by_group_tier_claim_and_address() {
    let signer = Signer::p256("one");
    let backend = Backend::echo("echo").await;
    let edge = EDGE.replace(
        "  listeners:",
        "  infrastructure: {parametersRef: {group: gatehouse.dev, kind: GatewayConfig, name: config}}\n  listeners:",
    );
    let gateway = Gateway::builder()
        .file("edge.yaml", edge)
        .file("config.yaml", CONFIG)
        .file("routes.yaml", format!("{}{POLICIES}", route(RULES)))
        .file("service.yaml", service("echo"))
        .file("keys.json", secret("keys", "jwks.json", &jwks(&[&signer])))
        .endpoint("echo", backend.address)
        .start()
        .await;
    let token = |roles: &[&str]| {
        let mut all = claims();
        all["roles"] = json!(roles);
        format!("Bearer {}", signer.token(&all))
    };
    let (admin, user) = (token(&["user", "admin"]), token(&["user"]));
    let (alice, bob) = (("x-api-key", "alices-key"), ("x-api-key", "bobs-key"));
    for (path, credential, client, wanted) in [
        ("/staff", Some(alice), "203.0.113.1", 200),
        ("/staff", Some(bob), "203.0.113.1", 403),
        ("/staff", Some(bob), "192.0.2.1", 200),
        // The one next to the proxy counts, not what a client puts before it.
        ("/staff", Some(bob), "192.0.2.1, 203.0.113.1", 403),
        ("/staff", Some(("authorization", &*admin)), "203.0.113.1", 200),
        ("/staff", Some(("authorization", &*user)), "203.0.113.1", 403),
        ("/staff", None, "203.0.113.1", 401),
        ("/staff", Some(("x-api-key", "guess")), "203.0.113.1", 401),
        ("/staff", Some(alice), "198.51.100.1", 403),
        ("/staff", None, "198.51.100.1", 403),
        ("/inside", None, "192.0.2.1", 200),
        ("/inside", None, "2001:db8::1", 200),
        ("/inside", None, "203.0.113.1", 403),
        // What is required stays required, and both must hold.
        ("/both", Some(alice), "192.0.2.1", 200),
        ("/both", Some(bob), "192.0.2.1", 403),
        ("/both", Some(alice), "203.0.113.1", 403),
        ("/both", None, "192.0.2.1", 401),
    ] {
        let ask = get(gateway.http(), path).header("x-forwarded-for", client);
        let ask = credential.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
        let before = backend.seen().len();
        let answer = ask.send().await;
        assert_eq!(answer.status, wanted, "{path} {credential:?} {client}");
        assert_eq!(backend.seen().len() - before, usize::from(wanted == 200), "{path}: what the backend saw");
        if wanted == 403 {
            let problem = answer.json();
            assert_eq!(problem["reason"], "forbidden");
            assert_eq!(problem["detail"], "The request is not allowed.", "and nothing of why");
            assert!(answer.header("www-authenticate").is_none());
        }
    }
    let ask = get(gateway.http(), "/staff").header("x-request-id", "r-bob").header("x-api-key", "bobs-key");
    assert_eq!(ask.send().await.status, 403);
    let line = gateway.logged("r-bob").await;
    assert_eq!([&line["reason"], &line["consumer"]], ["forbidden", "default/bob"], "{line}");
}

#[tokio::test]
async fn who_leaves_a_group_is_refused_at_once() {
    let signer = Signer::p256("one");
    let backend = Backend::echo("echo").await;
    let manifests = [route(RULES), POLICIES.to_owned()].concat();
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", manifests.replace("groups: [staff], credentials", "groups: [], credentials"))
        .file("service.yaml", service("echo"))
        .file("keys.json", secret("keys", "jwks.json", &jwks(&[&signer])))
        .endpoint("echo", backend.address)
        .start()
        .await;
    let status = async || get(gateway.http(), "/staff").header("x-api-key", "alices-key").send().await.status;
    assert_eq!(status().await, 403);
    gateway.write("routes.yaml", &manifests);
    eventually("alice is staff", async || (status().await == 200).then_some(())).await;
    gateway
        .write("routes.yaml", &manifests.replace("groups: [staff], credentials", "groups: [], credentials"));
    eventually("alice is none", async || (status().await == 403).then_some(())).await;
}
