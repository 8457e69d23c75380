//! User names and passwords (RFC 7617), and how they are changed.

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_tests::{
    backend::{Backend, header},
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
};

use crate::route;

const POLICY: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: users}
spec: {anyOf: [{basic: {}}]}
";

fn consumer(name: &str, credentials: &str) -> String {
    format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nmetadata: {{name: {name}}}\nspec:\n  groups: [g]\n  \
         credentials:\n{credentials}"
    )
}

fn secret(name: &str, password: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData: {{password: \"{password}\"}}\n"
    )
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[tokio::test]
async fn passwords_are_checked_changed_and_taken_back() {
    let backend = Backend::echo("echo").await;
    let one = "  - {name: one, basic: {passwordSecretRef: {name: one}}}\n";
    let two = "  - {name: two, basic: {passwordSecretRef: {name: two}}}\n";
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file(
            "routes.yaml",
            route("- auth: {policyRef: {name: users}}\n  backendRefs: [{name: echo, port: 80}]"),
        )
        .file("policy.yaml", POLICY)
        .file("alice.yaml", consumer("alice", one))
        .file(
            "mallory.yaml",
            consumer("mallory", "  - {name: k, basic: {username: alice, passwordSecretRef: {name: two}}}\n"),
        )
        .file("one.yaml", secret("one", "first:pass wörd\\n"))
        .file("two.yaml", secret("two", "second"))
        .file("service.yaml", service("echo"))
        .endpoint("echo", backend.address)
        .start()
        .await;
    let ask =
        |user: &str, password: &str| get(gateway.http(), "/").header("authorization", &basic(user, password));
    let status = async |user: &str, password: &str| ask(user, password).send().await.status;

    let echo = ask("alice", "first:pass wörd").send().await.json();
    for (name, wanted) in [
        ("x-consumer-username", Some("alice")),
        ("x-consumer-groups", Some("g")),
        ("x-consumer-credential", Some("default/alice#one")),
        ("authorization", None),
    ] {
        assert_eq!(header(&echo, name), wanted, "{name}");
    }
    for (user, password) in
        [("alice", "first"), ("alice", ""), ("alice", "second"), ("bob", "first:pass wörd"), ("", "")]
    {
        let answer = ask(user, password).send().await;
        assert_eq!(answer.status, 401, "{user} {password}");
        assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"gatehouse\", charset=\"UTF-8\""));
    }
    assert_eq!(backend.seen().len(), 1, "what was refused has not reached the backend");
    gateway.said("Consumer default/alice: Accepted=False DuplicateCredential").await;
    gateway.said("Consumer default/mallory: Accepted=False DuplicateCredential").await;

    // From one password to the next: never without a good one.
    gateway.remove("mallory.yaml");
    gateway.write("alice.yaml", &consumer("alice", &format!("{one}{two}")));
    eventually("both are good", async || (status("alice", "second").await == 200).then_some(())).await;
    assert_eq!(status("alice", "first:pass wörd").await, 200);
    gateway.write("alice.yaml", &consumer("alice", two));
    eventually("the old one is not", async || {
        (status("alice", "first:pass wörd").await == 401).then_some(())
    })
    .await;
    assert_eq!(status("alice", "second").await, 200);
    let log = gateway.access_log();
    assert!(!log.iter().any(|line| line.to_string().contains("second")), "passwords stay out of the log");
}
