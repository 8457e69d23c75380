//! What was taken back, is over, was exchanged or renamed, is not served from what a worker remembers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatehouse_tests::{
    backend::{Backend, header},
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
    tokens::{Signer, claims, jwks, now, secret},
};
use serde_json::json;

use crate::route;

const POLICY: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: clients}
spec:
  anyOf:
  - jwt: {issuer: 'https://issuer.test', algorithms: [ES256], secretRef: {name: keys}, leewaySeconds: 0}
  - apiKey: {}
";

fn consumer(username: &str, credentials: &str) -> String {
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nmetadata: {{name: alice}}\nspec:\n  username: {username}\n  credentials:\n{credentials}"
    )
}

const BY_KEY: &str = "  - {name: k, apiKey: {secretRef: {name: k}}}\n";
const BY_TOKEN: &str = "  - {name: t, jwt: {issuer: 'https://issuer.test', subject: alice}}\n";

struct World {
    gateway: Gateway,
    _backend: Backend,
}

impl World {
    async fn new(signer: &Signer, credentials: &str) -> World {
        let backend = Backend::echo("echo").await;
        let rules = "- auth: {policyRef: {name: clients}}\n  backendRefs: [{name: echo, port: 80}]";
        let gateway = Gateway::builder()
            .file("edge.yaml", EDGE)
            .file("routes.yaml", format!("{}{POLICY}", route(rules)))
            .file("service.yaml", service("echo"))
            .file("keys.json", secret("keys", "jwks.json", &jwks(&[signer])))
            .file("alice.yaml", consumer("alice", credentials))
            .file("k.json", secret("k", "key", "first"))
            .endpoint("echo", backend.address)
            .start()
            .await;
        World { gateway, _backend: backend }
    }

    /// The status, and whom the backend saw. Enough of them that each of the two workers has seen the credential.
    async fn ask(&self, name: &str, value: &str) -> (u16, Option<String>) {
        let mut answers = Vec::new();
        for _ in 0..8 {
            let answer = get(self.gateway.http(), "/").header(name, value).send().await;
            let user = (answer.status == 200)
                .then(|| header(&answer.json(), "x-consumer-username").map(str::to_owned))
                .flatten();
            answers.push((answer.status, user));
        }
        answers.dedup();
        // While a change spreads, workers may differ.
        if answers.len() == 1 { answers.remove(0) } else { (0, None) }
    }

    async fn becomes(&self, what: &str, name: &str, value: &str, wanted: (u16, Option<&str>)) {
        eventually(what, async || {
            let (status, user) = self.ask(name, value).await;
            ((status, user.as_deref()) == wanted).then_some(())
        })
        .await;
    }

    /// Unix seconds.
    async fn is_good_until(&self, end: u64, name: &str, value: &str) {
        let time = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        loop {
            let asked = time();
            let status = get(self.gateway.http(), "/").header(name, value).send().await.status;
            if status == 401 {
                assert!(time() >= Duration::from_secs(end), "{name} is refused before {end}");
                break;
            }
            assert_eq!(status, 200, "{name}");
            assert!(asked < Duration::from_secs(end), "{name} is good at {asked:?}, after {end}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(self.ask(name, value).await.0, 401, "{name}: by both workers");
    }
}

#[tokio::test]
async fn keys_that_are_taken_back_are_refused() {
    let signer = Signer::p256("one");
    let known = (200, Some("alice"));
    let world = World::new(&signer, BY_KEY).await;
    let key = "x-api-key";
    assert_eq!(world.ask(key, "first").await, (200, Some("alice".to_owned())));

    // Another content of the Secret.
    world.gateway.write("k.json", &secret("k", "key", "second"));
    world.becomes("the new key is good", key, "second", known).await;
    world.becomes("the old key is not", key, "first", (401, None)).await;

    // The Secret goes, and comes back.
    world.gateway.remove("k.json");
    world.becomes("without its Secret the key is refused", key, "second", (401, None)).await;
    world.gateway.write("k.json", &secret("k", "key", "second"));
    world.becomes("it is good again", key, "second", known).await;

    // Of two live keys one is taken out.
    world.gateway.write("other.json", &secret("other", "key", "third"));
    let both = format!("{BY_KEY}  - {{name: other, apiKey: {{secretRef: {{name: other}}}}}}\n");
    world.gateway.write("alice.yaml", &consumer("alice", &both));
    world.becomes("both keys are good", key, "third", known).await;
    assert_eq!(world.ask(key, "second").await.0, 200);
    world
        .gateway
        .write("alice.yaml", &consumer("alice", "  - {name: other, apiKey: {secretRef: {name: other}}}\n"));
    world.becomes("what was taken out is refused", key, "second", (401, None)).await;
    assert_eq!(world.ask(key, "third").await.0, 200, "the other is good throughout");

    // Renamed, and gone.
    world
        .gateway
        .write("alice.yaml", &consumer("bob", "  - {name: other, apiKey: {secretRef: {name: other}}}\n"));
    world.becomes("backends see the new name", key, "third", (200, Some("bob"))).await;
    world.gateway.remove("alice.yaml");
    world.becomes("who is gone is refused", key, "third", (401, None)).await;
}

#[tokio::test]
async fn what_a_token_stands_for_is_looked_up_at_each_request() {
    let (signer, other) = (Signer::p256("one"), Signer::p256("two"));
    let world = World::new(&signer, BY_TOKEN).await;
    let name = "authorization";
    let bearer = format!("Bearer {}", signer.token(&claims()));
    assert_eq!(
        world.ask(name, &bearer).await,
        (200, Some("alice".to_owned())),
        "and both workers know it now"
    );

    world.gateway.write("alice.yaml", &consumer("Alice", BY_TOKEN));
    world.becomes("backends see the new name", name, &bearer, (200, Some("Alice"))).await;
    world.gateway.remove("alice.yaml");
    world.becomes("the token is nobody's", name, &bearer, (200, None)).await;
    world.gateway.write("alice.yaml", &consumer("alice", BY_TOKEN));
    world.becomes("it is hers again", name, &bearer, (200, Some("alice"))).await;

    // The key that it was signed with goes.
    world.gateway.write("keys.json", &secret("keys", "jwks.json", &jwks(&[&signer, &other])));
    let by_other = format!("Bearer {}", other.token(&claims()));
    world.becomes("both keys are good", name, &by_other, (200, Some("alice"))).await;
    assert_eq!(world.ask(name, &bearer).await.0, 200);
    world.gateway.write("keys.json", &secret("keys", "jwks.json", &jwks(&[&other])));
    world.becomes("a token of a key that is gone is refused", name, &bearer, (401, None)).await;
    assert_eq!(world.ask(name, &by_other).await.0, 200);

    // Another key under the name of the first.
    let same_name = Signer::p256("two");
    world.gateway.write("keys.json", &secret("keys", "jwks.json", &jwks(&[&same_name])));
    world.becomes("its name does not save it", name, &by_other, (401, None)).await;
}

#[tokio::test]
async fn what_is_over_is_refused_however_often_it_was_good() {
    let signer = Signer::p256("one");
    let world = World::new(&signer, BY_KEY).await;
    let end = now() + 2;
    let mut ends = claims();
    ends["exp"] = json!(end);
    world.is_good_until(end, "authorization", &format!("Bearer {}", signer.token(&ends))).await;

    let end = now() + 3;
    let time = timestamp(end);
    let expiring = format!("  - {{name: k, apiKey: {{secretRef: {{name: k}}, expires: '{time}'}}}}\n");
    world.gateway.write("alice.yaml", &consumer("alice", &expiring));
    world.is_good_until(end, "x-api-key", "first").await;
}

/// RFC 3339.
fn timestamp(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap();
    k8s_openapi::jiff::Timestamp::from_second(seconds).unwrap().to_string()
}
