//! Which pages of other origins may use a rule. The cases are those of the Gateway API's conformance test, and what
//! browsers need beside them.

use gatehouse_tests::{
    backend::{Backend, full},
    client::{Answer, Ask, get},
    gateway::{EDGE, Gateway, service},
};
use http::{HeaderValue, Response};

use crate::route;

const ROUTES: &str = r#"---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: cors}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {value: /cors-1}}]
    filters:
    - type: CORS
      cors:
        allowOrigins: ["https://www.foo.com", "https://*.bar.com"]
        allowMethods: [GET, OPTIONS]
        allowHeaders: [x-header-1, x-header-2]
        exposeHeaders: [x-header-3, x-header-4]
        allowCredentials: true
        maxAge: 3600
    backendRefs: [{name: echo, port: 80}]
  - matches: [{path: {value: /cors-2}}]
    filters: [{type: CORS, cors: {allowOrigins: ["https://www.foo.com"], allowMethods: ["*"]}}]
    backendRefs: [{name: echo, port: 80}]
  - matches: [{path: {value: /open}}]
    filters: [{type: CORS, cors: {allowOrigins: ["*"], allowMethods: [PUT]}}]
    backendRefs: [{name: echo, port: 80}]
  - matches: [{path: {value: /any}}]
    filters:
    - type: CORS
      cors: {allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"], allowCredentials: true}
    backendRefs: [{name: echo, port: 80}]
  - matches: [{path: {value: /plain}}]
    backendRefs: [{name: echo, port: 80}]
"#;

/// Says of other origins what only the gateway may say.
async fn talkative() -> Backend {
    Backend::answering(|_| {
        let mut response = Response::new(full("answer"));
        let fields = response.headers_mut();
        fields.insert("access-control-allow-origin", HeaderValue::from_static("https://evil.example"));
        fields.insert("access-control-allow-credentials", HeaderValue::from_static("true"));
        response
    })
    .await
}

async fn started(backend: &Backend) -> Gateway {
    Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", ROUTES)
        .file("service.yaml", service("echo"))
        .endpoint("echo", backend.address)
        .start()
        .await
}

fn preflight(gateway: &Gateway, path: &str, origin: &str, method: &str) -> Ask {
    get(gateway.http(), path)
        .method("OPTIONS")
        .header("origin", origin)
        .header("access-control-request-method", method)
}

/// Its fields about other origins, without `access-control-`.
fn told(answer: &Answer) -> Vec<(String, String)> {
    let mut fields: Vec<_> = answer
        .headers
        .iter()
        .filter_map(|(name, value)| {
            Some((
                name.as_str().strip_prefix("access-control-")?.to_owned(),
                value.to_str().unwrap().to_owned(),
            ))
        })
        .collect();
    fields.sort();
    fields
}

fn fields(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test]
async fn preflight_requests_are_answered_by_the_gateway() {
    let backend = talkative().await;
    let gateway = started(&backend).await;
    let listed = |origin| {
        [
            ("allow-credentials", "true"),
            ("allow-headers", "x-header-1, x-header-2"),
            ("allow-methods", "GET, OPTIONS"),
            ("allow-origin", origin),
            ("expose-headers", "x-header-3, x-header-4"),
            ("max-age", "3600"),
        ]
    };
    for origin in ["https://www.foo.com", "https://www.bar.com", "https://xpto.www.bar.com"] {
        let answer = preflight(&gateway, "/cors-1", origin, "GET")
            .header("access-control-request-headers", "x-header-1, x-header-2")
            .send()
            .await;
        assert_eq!((answer.status, told(&answer)), (204, fields(&listed(origin))), "{origin}");
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
    for (path, origin, method, wanted) in [
        ("/cors-1", "https://foobar.com", "GET", &[][..]),
        (
            "/cors-2",
            "https://www.foo.com",
            "POST",
            &[("allow-methods", "POST"), ("allow-origin", "https://www.foo.com"), ("max-age", "5")],
        ),
        (
            "/open",
            "https://foobar.com:12345",
            "PUT",
            &[("allow-methods", "PUT"), ("allow-origin", "*"), ("max-age", "5")],
        ),
        (
            "/any",
            "https://other.foo.com",
            "PUT",
            &[
                ("allow-credentials", "true"),
                ("allow-headers", "x-header-1, x-header-2"),
                ("allow-methods", "PUT"),
                ("allow-origin", "https://other.foo.com"),
                ("max-age", "5"),
            ],
        ),
    ] {
        let ask = preflight(&gateway, path, origin, method);
        let ask = ask.header("access-control-request-headers", "x-header-1, x-header-2");
        for answer in [ask.clone().send().await, ask.send_h2c().await] {
            assert_eq!((answer.status, told(&answer)), (204, fields(wanted)), "{path} {origin}");
        }
    }
    assert!(backend.seen().is_empty());
    // What no browser asks is an ordinary request.
    let answer =
        get(gateway.http(), "/open").method("OPTIONS").header("origin", "https://a.example").send().await;
    assert_eq!((answer.status, &*answer.body), (200, &b"answer"[..]));
    assert_eq!(preflight(&gateway, "/plain", "https://a.example", "GET").send().await.body, "answer");
}

#[tokio::test]
async fn answers_say_who_may_read_them_whatever_the_backend_says() {
    let backend = talkative().await;
    let gateway = started(&backend).await;
    let named = |origin| {
        vec![
            ("allow-credentials", "true"),
            ("allow-origin", origin),
            ("expose-headers", "x-header-3, x-header-4"),
        ]
    };
    for (path, origin, wanted) in [
        ("/cors-1", "https://www.foo.com", named("https://www.foo.com")),
        ("/cors-1", "https://www.bar.com", named("https://www.bar.com")),
        ("/cors-1", "https://foobar.com", vec![]),
        ("/open", "https://foobar.com:12345", vec![("allow-origin", "*")]),
        (
            "/any",
            "https://a.example",
            vec![("allow-credentials", "true"), ("allow-origin", "https://a.example")],
        ),
    ] {
        let answer = get(gateway.http(), path).header("origin", origin).send().await;
        assert_eq!((answer.status, told(&answer)), (200, fields(&wanted)), "{path} {origin}");
    }
    let same_origin = get(gateway.http(), "/cors-1").send().await;
    assert_eq!((told(&same_origin), same_origin.header("vary")), (vec![], Some("Origin")));
    assert_eq!(told(&get(gateway.http(), "/plain").send().await).len(), 2);
}

/// A preflight request has no credentials, and asks about a method that the rule may be alone in taking.
#[tokio::test]
async fn preflight_goes_before_authentication_and_a_page_can_read_a_refusal() {
    let rules = "\
- matches: [{path: {value: /}, method: POST}]
  auth: {policyRef: {name: keys}}
  cors: {allowOrigins: ['https://www.foo.com'], allowHeaders: [X-API-Key]}
  respond: {status: 200, body: in}
- matches: [{path: {value: /}}]
  respond: {status: 200, body: other}
";
    let policy = "---\napiVersion: gatehouse.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {name: keys}\nspec:\n  anyOf: \
                  [{apiKey: {sources: [{header: {name: X-API-Key}}]}}]\n";
    let gateway = Gateway::with(&[policy, &route(rules)].concat(), &[]).await;
    let answer = preflight(&gateway, "/", "https://www.foo.com", "POST").send().await;
    assert_eq!(answer.status, 204);
    assert_eq!(
        told(&answer),
        fields(&[("allow-headers", "X-API-Key"), ("allow-origin", "https://www.foo.com"), ("max-age", "5"),])
    );
    let refused =
        get(gateway.http(), "/").method("POST").header("origin", "https://www.foo.com").send().await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://www.foo.com"));
    let other = preflight(&gateway, "/", "https://www.foo.com", "GET").send().await;
    assert_eq!((other.status, &*other.body, told(&other)), (200, &b"other"[..], vec![]));
}
