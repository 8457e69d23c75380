//! Whose an answer is: what one consumer got is nobody else's, unless the rule or the answer says so, and what guards the
//! rule guards what it keeps.

use gatehouse_tests::{
    backend::{Backend, full},
    client::{Ask, get},
    eventually,
    gateway::{EDGE, Gateway, service},
    tokens::{Signer, claims, jwks, secret},
};
use http::{HeaderValue, Response};
use serde_json::json;

use super::{asked_until_hit, backend, status, text};
use crate::route;

const POLICIES: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: clients}
spec:
  anyOf:
  - jwt: {issuer: 'https://issuer.test', algorithms: [ES256], secretRef: {name: keys}}
  - apiKey: {sources: [{header: {name: X-API-Key}}, {query: {name: key}}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: some}
spec: {anonymous: Allow, anyOf: [{apiKey: {sources: [{header: {name: X-API-Key}}]}}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: five}
spec: {store: Local, limits: [{name: hour, key: [{consumer: {}}], requests: 5, per: 1h}]}
";

const RULES: &str = "
- name: own
  matches: [{path: {value: /own}}]
  auth: {policyRef: {name: clients}}
  cache: {}
  backendRefs: [{name: echo, port: 80}]
- name: shared
  matches: [{path: {value: /shared}}]
  auth: {policyRef: {name: clients}}
  cache: {shared: true}
  backendRefs: [{name: echo, port: 80}]
- name: some
  matches: [{path: {value: /some}}]
  auth: {policyRef: {name: some}}
  cache: {}
  backendRefs: [{name: echo, port: 80}]
- name: limited
  matches: [{path: {value: /limited}}]
  auth: {policyRef: {name: clients}}
  rateLimits: [{name: five}]
  cache: {shared: true}
  backendRefs: [{name: echo, port: 80}]
- name: open
  matches: [{path: {value: /open}}]
  cache: {}
  backendRefs: [{name: echo, port: 80}]";

fn consumer(name: &str) -> String {
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nmetadata: {{name: {name}}}\nspec: {{credentials: [{{name: k, apiKey: \
         {{secretRef: {{name: {name}}}}}}}]}}\n"
    )
}

async fn start(backend: &Backend, signer: &Signer) -> Gateway {
    let mut builder = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", format!("{}{POLICIES}", route(RULES)))
        .file("service.yaml", service("echo"))
        .file("keys.json", secret("keys", "jwks.json", &jwks(&[signer])));
    for name in ["ann", "bob"] {
        builder = builder
            .file(&format!("{name}.yaml"), consumer(name))
            .file(&format!("{name}.json"), secret(name, "key", &format!("{name}s-key")));
    }
    builder.endpoint("echo", backend.address).start().await
}

fn as_key(ask: Ask, name: &str) -> Ask {
    ask.header("x-api-key", &format!("{name}s-key"))
}

#[tokio::test]
async fn what_one_got_is_nobody_elses() {
    // It says to each who asks, and that this may be kept.
    let backend = Backend::answering(|seen| {
        let of = |name: &str| seen.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let who = [of("x-consumer-credential"), of("authorization"), of("cookie")].join(" ");
        let mut response = Response::new(full(who));
        let said = if seen.path.contains("public") { "public, max-age=60" } else { "max-age=60" };
        response.headers_mut().insert("cache-control", HeaderValue::from_static(said));
        response
    })
    .await;
    let signer = Signer::p256("a");
    let gateway = start(&backend, &signer).await;
    let token = |subject: &str| {
        let mut claims = claims();
        claims["iss"] = json!("https://issuer.test");
        claims["sub"] = json!(subject);
        format!("Bearer {}", signer.token(&claims))
    };
    let (carol, dave) = (token("carol"), token("dave"));
    let own = || get(gateway.http(), "/own");
    let clients = [
        ("default/ann#k  ", "x-api-key", "anns-key"),
        ("default/bob#k  ", "x-api-key", "bobs-key"),
        ("jwt:https://issuer.test#carol  ", "authorization", &*carol),
        ("jwt:https://issuer.test#dave  ", "authorization", &*dave),
    ];
    for (who, name, value) in clients {
        assert_eq!(text(&own().header(name, value).send().await), who);
    }
    for (who, name, value) in clients {
        let hit = own().header(name, value).send().await;
        assert_eq!((text(&hit).as_str(), status(&hit).starts_with("gatehouse; hit")), (who, true));
    }
    assert_eq!(own().send().await.status, 401);
    // The key in the query is taken out, and the answer is the consumer's all the same.
    assert_eq!(text(&as_key(get(gateway.http(), "/own?a=1"), "ann").send().await), "default/ann#k  ");
    for key in ["anns", "bobs"] {
        let by_query = get(gateway.http(), &format!("/own?a=1&key={key}-key")).send().await;
        let is_hit = status(&by_query).starts_with("gatehouse; hit");
        assert_eq!((text(&by_query) == "default/ann#k  ", is_hit), (key == "anns", key == "anns"));
    }
    assert!(backend.seen().iter().all(|seen| !seen.path.contains("key")));

    // Nobody is known: they have the same, and those who are known have their own.
    let some = || get(gateway.http(), "/some");
    for _ in 0..2 {
        assert_eq!(text(&some().send().await), "  ");
        assert_eq!(text(&as_key(some(), "ann").send().await), "default/ann#k  ");
        assert_eq!(
            text(&as_key(some(), "bob").header("authorization", "x").send().await),
            "default/bob#k x "
        );
        assert_eq!(
            text(&as_key(some(), "bob").header("authorization", "y").send().await),
            "default/bob#k y "
        );
    }
    // Without a policy, what answers a credential is kept only if it says that it is for all.
    let open = |path: &str, value: &str| get(gateway.http(), path).header("authorization", value);
    assert_eq!(text(&open("/open", "x").send().await), " x ");
    assert_eq!(text(&open("/open", "y").send().await), " y ");
    assert_eq!(text(&get(gateway.http(), "/open").header("cookie", "a=b").send().await), "  a=b");
    assert_eq!(text(&get(gateway.http(), "/open").send().await), "  ");
    assert_eq!(text(&open("/open/public", "x").send().await), " x ");
    assert_eq!(text(&open("/open/public", "y").send().await), " x ");
}

#[tokio::test]
async fn what_guards_a_rule_guards_what_it_keeps() {
    let backend = backend().await;
    let gateway = start(&backend, &Signer::p256("a")).await;
    let shared = || get(gateway.http(), "/shared?cache-control=max-age=60");
    assert_eq!(text(&as_key(shared(), "ann").send().await), "answer 1");
    assert_eq!(text(&asked_until_hit(|| as_key(shared(), "bob")).await), "answer 1");
    assert_eq!(shared().send().await.status, 401);

    let limited = || as_key(get(gateway.http(), "/limited?cache-control=max-age=60"), "ann");
    for _ in 0..5 {
        let answer = limited().send().await;
        assert_eq!((answer.status, &*text(&answer)), (200, "answer 2"));
        assert!(answer.header("ratelimit").is_some());
    }
    assert_eq!(limited().send().await.status, 429);

    gateway.remove("bob.yaml");
    eventually("bob is nobody any more", async || {
        (as_key(shared(), "bob").send().await.status == 401).then_some(())
    })
    .await;
    assert_eq!(text(&asked_until_hit(|| as_key(shared(), "ann")).await), "answer 1");
    assert_eq!(backend.seen().len(), 2);
}
