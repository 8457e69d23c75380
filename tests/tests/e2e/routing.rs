//! Which rule takes a request: the Gateway API's order, over both kinds of route.

use gatehouse_tests::{
    backend::Backend,
    client::get,
    gateway::{EDGE, Gateway, service},
};

use crate::route;

#[tokio::test]
async fn precedence_is_path_method_headers_queries() {
    let rule = |name: &str, matches: &str| {
        format!("- matches: [{matches}]\n  respond: {{status: 200, body: {name}}}\n")
    };
    let rules = [
        rule("root", "{path: {value: /}}"),
        rule("prefix", "{path: {value: /v2}}"),
        rule("longer", "{path: {value: /v2/deep/}}"),
        rule("exact", "{path: {type: Exact, value: /v2/deep}}"),
        rule("expression", "{path: {type: RegularExpression, value: '/v[0-9]+/any.*'}}"),
        rule("method", "{path: {value: /v2}, method: POST}"),
        rule("header", "{path: {value: /v2}, headers: [{name: X-A, value: '1'}]}"),
        rule("headers", "{path: {value: /v2}, headers: [{name: X-A, value: '1'}, {name: X-B, value: '2'}]}"),
        rule("query", "{path: {value: /v2}, queryParams: [{name: a, value: b c}]}"),
        rule(
            "pattern",
            "{path: {value: /v2}, headers: [{name: X-C, type: RegularExpression, value: 'v[0-9]'}]}",
        ),
    ]
    .concat();
    let gateway = Gateway::with(&route(&rules), &[]).await;
    for (ask, wanted) in [
        (get(gateway.http(), "/v2"), "prefix"),
        (get(gateway.http(), "/v2/x?y"), "prefix"),
        (get(gateway.http(), "/v2example"), "root"),
        (get(gateway.http(), "/V2"), "root"),
        (get(gateway.http(), "/v2%2Fx"), "root"),
        (get(gateway.http(), "/v2/deep"), "exact"),
        (get(gateway.http(), "/v2/deep/"), "longer"),
        (get(gateway.http(), "/v2/any/where"), "expression"),
        (get(gateway.http(), "/x/v2/any"), "root"),
        (get(gateway.http(), "/v2").method("POST").header("x-a", "1"), "method"),
        (get(gateway.http(), "/v2").header("x-a", "1"), "header"),
        (get(gateway.http(), "/v2").header("x-a", "1").header("x-b", "2"), "headers"),
        (get(gateway.http(), "/v2?a=b+c"), "query"),
        (get(gateway.http(), "/v2?a=b+c").header("x-a", "1"), "header"),
        (get(gateway.http(), "/v2").header("x-c", "v7"), "pattern"),
        (get(gateway.http(), "/v2").header("x-c", "v77"), "prefix"),
    ] {
        let answer = ask.clone().send().await;
        assert_eq!(answer.body, wanted, "{ask:?}");
    }
}

#[tokio::test]
async fn the_older_object_wins_a_tie_then_the_name() {
    let http_route = |name: &str, created: &str| {
        format!(
            "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}, creationTimestamp: \
             '{created}'}}\nspec:\n  parentRefs: [{{name: edge}}]\n  rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]\n"
        )
    };
    let (b, c) = (Backend::echo("b").await, Backend::echo("c").await);
    let old_c = [http_route("b", "2024-01-02T00:00:00Z"), http_route("c", "2024-01-01T00:00:00Z")].concat();
    let same = [http_route("c", "2024-01-01T00:00:00Z"), http_route("b", "2024-01-01T00:00:00Z")].concat();
    for (manifests, wanted) in [(old_c, "c"), (same, "b")] {
        let gateway = Gateway::with(&manifests, &[("b", b.address), ("c", c.address)]).await;
        assert_eq!(get(gateway.http(), "/").send().await.json()["name"], wanted);
    }
}

#[tokio::test]
async fn listeners_take_the_most_specific_host() {
    let gateway_manifest = EDGE.replace(
        "  - {name: http,",
        "  - {name: foo, hostname: foo.example.com, protocol: HTTP, port: 8080}\n  - {name: wild, hostname: '*.example.com', \
         protocol: HTTP, port: 8080}\n  - {name: http,",
    );
    let one = |section: &str| {
        route(&format!("- respond: {{status: 200, body: {section}}}"))
            .replace("{name: r}", &format!("{{name: {section}}}"))
            .replace("{name: edge}", &format!("{{name: edge, sectionName: {section}}}"))
    };
    let gateway = Gateway::builder()
        .file("edge.yaml", gateway_manifest)
        .file("routes.yaml", [one("foo"), one("wild"), one("http")].concat())
        .start()
        .await;
    for (host, wanted) in [
        ("foo.example.com", "foo"),
        ("bar.example.com", "wild"),
        ("x.foo.example.com", "wild"),
        ("example.com", "http"),
        ("other.org", "http"),
    ] {
        assert_eq!(get(gateway.http(), "/").host(host).send().await.body, wanted, "{host}");
    }
}

#[tokio::test]
async fn weights_broken_references_and_absent_endpoints() {
    let backend = Backend::echo("echo").await;
    let rules = "
- matches: [{path: {value: /split}}]
  backendRefs: [{name: echo, port: 80, weight: 90}, {name: missing, port: 80, weight: 10}]
- matches: [{path: {value: /broken}}]
  backendRefs: [{name: missing, port: 80}]
- matches: [{path: {value: /unweighted}}]
  backendRefs: [{name: echo, port: 80, weight: 1}, {name: missing, port: 80, weight: 0}]
- matches: [{path: {value: /nothing}}]
  backendRefs: [{name: echo, port: 80, weight: 0}]
- matches: [{path: {value: /empty}}]
  backendRefs: [{name: empty, port: 80}]";
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", route(rules))
        .file("echo.yaml", service("echo"))
        .file("empty.yaml", service("empty"))
        .endpoint("echo", backend.address)
        .start()
        .await;
    let mut broken = 0;
    for _ in 0..1000 {
        match get(gateway.http(), "/split").send().await.status {
            200 => {}
            500 => broken += 1,
            other => panic!("status {other}"),
        }
    }
    assert!((70..=130).contains(&broken), "{broken} of 1000 for a weight of 10 %");
    for (path, status) in [("/broken", 500), ("/unweighted", 200), ("/nothing", 503), ("/empty", 503)] {
        assert_eq!(get(gateway.http(), path).send().await.status, status, "{path}");
    }
    gateway
        .said("ResolvedRefs=False BackendNotFound: backendRefs: Service default/missing does not exist")
        .await;
}

#[tokio::test]
async fn references_across_namespaces_need_a_grant() {
    let backend = Backend::echo("echo").await;
    let rules = "- backendRefs: [{name: echo, namespace: other, port: 80}]";
    let service = service("echo").replace("{name: echo}", "{name: echo, namespace: other}");
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", route(rules))
        .file("service.yaml", service)
        .arg("--endpoint")
        .arg(&format!("other/echo={}", backend.address))
        .start()
        .await;
    assert_eq!(get(gateway.http(), "/").send().await.status, 500);
    gateway.said("RefNotPermitted").await;
    gateway.write(
        "grant.yaml",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: other}\nspec:\n  from: \
         [{group: gatehouse.dev, kind: GatewayRoute, namespace: default}]\n  to: [{group: '', kind: Service, name: echo}]\n",
    );
    gatehouse_tests::eventually("the grant takes effect", async || {
        (get(gateway.http(), "/").send().await.status == 200).then_some(())
    })
    .await;
}
