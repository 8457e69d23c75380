//! Authentication, limits and identity hold for an aggregate as for any route, and its templates know who asks.

use gatehouse_tests::{
    backend::{Backend, header},
    client::get,
    gateway::{EDGE, Gateway, service},
    tokens::{Signer, claims, jwks, secret},
};
use serde_json::json;

use crate::route;

const POLICIES: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: clients}
spec:
  anonymous: Allow
  anyOf:
  - jwt: {issuer: 'https://issuer.test', algorithms: [ES256], secretRef: {name: keys}}
  - apiKey: {sources: [{query: {name: apikey}}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: known}
spec:
  anyOf:
  - apiKey: {sources: [{query: {name: apikey}}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: few}
spec:
  store: Local
  limits: [{name: few, key: [{consumer: {}}], requests: 2, per: 1h}]
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: bob}
spec:
  username: Bob B/../
  customId: '7'
  tier: gold
  credentials: [{name: good, apiKey: {secretRef: {name: bob}}}]
---
apiVersion: v1
kind: Secret
metadata: {name: bob}
stringData: {key: bobs-key}
";

const RULES: &str = r#"
- matches: [{path: {value: /known}}]
  auth: {policyRef: {name: known}}
  rateLimits: [{name: few}]
  aggregate: {parts: [{name: a, backendRef: {name: echo, port: 80}, path: "/tier/{consumer.tier}"}]}
- auth: {policyRef: {name: clients}}
  aggregate:
    parts:
    - name: mine
      backendRef: {name: echo, port: 80}
      path: "/mine/{claim.sub}?country={claim.address.country}&level={claim.level}&roles={claim.roles}"
      onFailure: Omit
    - {name: name, backendRef: {name: echo, port: 80}, path: "/name/{consumer.username}", onFailure: "Null"}
    - {name: all, backendRef: {name: echo, port: 80}, path: "/all?id={consumer.customId}&key={query.apikey}&q={query.q}"}
"#;

#[tokio::test]
async fn templates_know_who_asks_and_no_credential_goes_on() {
    let (echo, signer) = (Backend::echo("echo").await, Signer::p256("a"));
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", route(RULES))
        .file("policies.yaml", POLICIES)
        .file("keys.yaml", secret("keys", "jwks.json", &jwks(&[&signer])))
        .file("echo.yaml", service("echo"))
        .endpoint("echo", echo.address)
        .start()
        .await;
    let mut payload = claims();
    payload["sub"] = json!("a/b?c");
    payload["level"] = json!(3);
    payload["roles"] = json!(["x"]);
    payload["address"] = json!({"country": "NZ"});
    let token = signer.token(&payload);
    let paths = |answer: &gatehouse_tests::client::Answer| {
        let whole = answer.json();
        ["mine", "name", "all"].map(|part| whole[part]["path"].as_str().map(str::to_owned))
    };
    let by_token =
        get(gateway.http(), "/?q=1").header("authorization", &format!("Bearer {token}")).send().await;
    assert_eq!(by_token.status, 200, "{:?}", by_token.body);
    assert_eq!(
        paths(&by_token).each_ref().map(Option::as_deref),
        [Some("/mine/a%2Fb%3Fc?country=NZ&level=3"), None, Some("/all?q=1")]
    );
    assert_eq!(by_token.header("x-gatehouse-partial"), Some("name"));
    let all = &by_token.json()["all"];
    assert_eq!(header(all, "authorization"), None);
    assert!(header(all, "x-consumer-credential").is_some());

    // Whatever a name is, it leads nowhere else.
    let by_key = get(gateway.http(), "/?apikey=bobs-key&q=2").send().await;
    assert_eq!(paths(&by_key).each_ref().map(Option::as_deref), [None, None, Some("/all?id=7&q=2")]);
    assert_eq!(header(&by_key.json()["all"], "x-consumer-tier"), Some("gold"));

    let anonymous = get(gateway.http(), "/?q=..%2F").send().await;
    assert_eq!(paths(&anonymous).each_ref().map(Option::as_deref), [None, None, Some("/all?q=..%2F")]);
    assert_eq!(get(gateway.http(), "/?apikey=wrong").send().await.status, 401);

    assert_eq!(get(gateway.http(), "/known").send().await.status, 401);
    for left in ["1", "0"] {
        let answer = get(gateway.http(), "/known?apikey=bobs-key").send().await;
        assert_eq!((answer.status, &answer.json()["a"]["path"]), (200, &"/tier/gold".into()));
        assert!(
            answer.header("ratelimit").is_some_and(|limit| limit.contains(&format!("r={left}"))),
            "{answer:?}"
        );
    }
    let asked = echo.seen().len();
    assert_eq!(get(gateway.http(), "/known?apikey=bobs-key").send().await.status, 429);
    assert_eq!(echo.seen().len(), asked, "one request counts once, and asks nobody once they are used up");
}
