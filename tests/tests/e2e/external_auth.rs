//! Somebody else says whether requests may pass.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use gatehouse_tests::{
    backend::{Backend, full, header},
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
};
use http::Response;

use crate::route;

fn policy(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {{name: {name}}}\nspec:\n  anyOf:\n  - apiKey: {{}}\n  - \
         external:\n      backendRef: {{name: authz, port: 80}}\n      path: /verify\n      forwardHeaders: [Authorization, X-Want]\n      \
         copyHeaders: [X-Auth-User, X-Auth-Role]\n      identityHeader: X-Auth-User\n      timeout: 300ms\n{more}"
    )
}

const CONSUMER: &str = "---\napiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nmetadata: {name: c}\nspec: {credentials: [{name: k, apiKey: \
                        {secretRef: {name: k}}}]}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: k}\nstringData: {key: v}\n";

/// Answers what the field `X-Want` asks for, and counts.
async fn authorizer(asked: Arc<AtomicUsize>) -> Backend {
    Backend::serving(move |parts, _| {
        asked.fetch_add(1, Ordering::SeqCst);
        async move {
            let want =
                parts.headers.get("x-want").and_then(|want| want.to_str().ok()).unwrap_or("200").to_owned();
            if want == "silence" {
                std::future::pending::<()>().await;
            }
            let status: u16 = want.parse().unwrap_or(500);
            let response = Response::builder()
                .status(status)
                .header("x-auth-user", "alice")
                .header("x-auth-role", "reader")
                .header("x-secret", "inside")
                .header("location", "https://login.example/")
                .header("set-cookie", "state=1")
                .header("www-authenticate", "Custom realm=x");
            let seen = gatehouse_tests::backend::seen(&parts, bytes::Bytes::new());
            (seen, response.body(full(format!("it says {status}"))).unwrap())
        }
    })
    .await
}

#[tokio::test]
async fn its_answers_admit_refuse_and_lead_elsewhere() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (authz, backend) = (authorizer(Arc::clone(&asked)).await, Backend::echo("echo").await);
    let rules = "
- matches: [{path: {value: /closed}}]
  auth: {policyRef: {name: closed}}
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /open}}]
  auth: {policyRef: {name: open}}
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /kept}}]
  auth: {policyRef: {name: kept}}
  backendRefs: [{name: echo, port: 80}]";
    let manifests = [
        route(rules),
        policy("closed", ""),
        policy("open", "      failureMode: Allow\n"),
        policy("kept", "      cacheTTL: 5m\n"),
        CONSUMER.to_owned(),
    ]
    .concat();
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", manifests)
        .file("echo.yaml", service("echo"))
        .file("authz.yaml", service("authz"))
        .endpoint("echo", backend.address)
        .endpoint("authz", authz.address)
        .start()
        .await;
    let ask = |path: &str, want: &str| get(gateway.http(), path).header("x-want", want);

    let echo = ask("/closed/x%2e/../y?a=1", "200")
        .header("authorization", "Bearer opaque")
        .header("cookie", "not=told")
        .header("x-auth-user", "root")
        .header("x_auth_role", "root")
        .header("x-forwarded-uri", "/public")
        .send()
        .await
        .json();
    for (name, wanted) in [
        ("x-auth-user", Some("alice")),
        ("x-auth-role", Some("reader")),
        ("x_auth_role", None),
        ("x-secret", None),
        ("x-consumer-credential", Some("external:alice")),
    ] {
        assert_eq!(header(&echo, name), wanted, "{name}: {echo}");
    }
    let told = authz.seen().pop().unwrap();
    assert_eq!((&*told.method, &*told.path), ("GET", "/verify"));
    for (name, wanted) in [
        ("authorization", Some("Bearer opaque")),
        ("x-forwarded-method", Some("GET")),
        // As the route was found by, and not what the client says.
        ("x-forwarded-uri", Some("/closed/y?a=1")),
        ("x-forwarded-host", Some("test.example")),
        ("x-forwarded-for", Some("127.0.0.1")),
        ("cookie", None),
    ] {
        let found = told.headers.get(name).and_then(|value| value.to_str().ok());
        assert_eq!(found, wanted, "{name}");
    }

    for (path, want, status, reason) in [
        ("/closed", "204", 200, None),
        ("/closed", "401", 401, Some("unauthenticated")),
        ("/closed", "403", 403, Some("forbidden")),
        ("/closed", "302", 302, Some("unauthenticated")),
        ("/closed", "404", 403, Some("forbidden")),
        ("/closed", "500", 503, Some("policy_unavailable")),
        ("/closed", "silence", 503, Some("policy_unavailable")),
        ("/open", "401", 401, Some("unauthenticated")),
        ("/open", "404", 403, Some("forbidden")),
        ("/open", "500", 200, None),
        ("/open", "silence", 200, None),
    ] {
        let answer =
            ask(path, want).header("x-request-id", &format!("r{path}-{want}").replace('/', "")).send().await;
        assert_eq!(answer.status, status, "{path} {want}");
        if ["401", "403", "302"].contains(&want) {
            assert_eq!(answer.header("location"), Some("https://login.example/"), "{want}");
            assert_eq!(answer.header("set-cookie"), Some("state=1"), "{want}");
            assert_eq!(answer.header("x-secret"), None);
            assert_eq!(String::from_utf8_lossy(&answer.body), format!("it says {want}"));
        }
        let line = gateway.logged(&format!("r{path}-{want}").replace('/', "")).await;
        assert_eq!(line["reason"].as_str(), reason, "{line}");
        if status == 200 && path == "/open" {
            assert_eq!(header(&answer.json(), "x-auth-user"), None, "nobody has said so");
        }
    }

    // Another method comes before it.
    let before = asked.load(Ordering::SeqCst);
    assert_eq!(ask("/closed", "401").header("x-api-key", "v").send().await.status, 200);
    assert_eq!(ask("/closed", "200").header("x-api-key", "guess").send().await.status, 401);
    assert_eq!(asked.load(Ordering::SeqCst), before);

    // An answer that admits is kept by each of the two workers for the same question alone.
    for _ in 0..20 {
        assert_eq!(ask("/kept", "200").send().await.status, 200);
    }
    let kept = asked.load(Ordering::SeqCst) - before;
    assert!(kept <= 2, "{kept}");
    assert_eq!(ask("/kept", "403").send().await.status, 403);
    assert_eq!(ask("/kept/other", "200").send().await.status, 200);
    assert!(asked.load(Ordering::SeqCst) >= before + kept + 2);
}

#[tokio::test]
async fn without_its_service_it_stays_closed() {
    let backend = Backend::echo("echo").await;
    let authz = authorizer(Arc::default()).await;
    let rules = "- auth: {policyRef: {name: closed}}\n  backendRefs: [{name: echo, port: 80}]";
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", format!("{}{}", route(rules), policy("closed", "")))
        .file("echo.yaml", service("echo"))
        .endpoint("echo", backend.address)
        .endpoint("authz", authz.address)
        .start()
        .await;
    let status = async || get(gateway.http(), "/").send().await.status;
    assert_eq!(status().await, 503);
    gateway.said("Service default/authz does not exist").await;
    backend.assert_untouched("nobody was asked");
    gateway.write("authz.yaml", &service("authz"));
    eventually("it is asked", async || (status().await == 200).then_some(())).await;
    gateway.remove("authz.yaml");
    eventually("it is closed again", async || (status().await == 503).then_some(())).await;
}
