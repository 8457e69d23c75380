//! Ingresses, from the folder to the backend: hosts, paths, TLS and the default backend.

use gatehouse_tests::{
    backend::Backend,
    certs::Authority,
    client::{get, tls},
    eventually,
    gateway::{Gateway, service},
};

/// An Ingress of the class `gatehouse`; `spec` is YAML in flow style.
fn ingress(name: &str, created: u8, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: {name}, creationTimestamp: \
         '2026-01-{created:02}T00:00:00Z'}}\nspec: {{ingressClassName: gatehouse, {spec}}}\n"
    )
}

/// A path that leads to a Service, in flow style.
fn path(kind: &str, path: &str, service: &str) -> String {
    format!(
        "{{pathType: {kind}, path: {path}, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}"
    )
}

/// Serves Ingresses whose Services are `a`, `b` and `c`. Backends answer with their names.
async fn start(manifests: &str, authority: &Authority) -> (Gateway, [Backend; 3]) {
    let backends = [Backend::echo("a").await, Backend::echo("b").await, Backend::echo("c").await];
    let mut builder = Gateway::builder()
        .file("ingresses.yaml", manifests)
        .file("own.json", authority.issue(&["shop.example.com", "*.wild.example"]).secret("own"));
    for (name, backend) in ["a", "b", "c"].into_iter().zip(&backends) {
        builder = builder.file(&format!("{name}.yaml"), service(name)).endpoint(name, backend.address);
    }
    (builder.start().await, backends)
}

#[tokio::test]
async fn hosts_and_paths_choose_the_backend() {
    let shop = [
        path("Prefix", "/", "a"),
        path("Prefix", "/api/", "b"),
        path("Exact", "/api/exact", "c"),
        path("ImplementationSpecific", "/legacy", "c"),
    ]
    .join(", ");
    let manifests = [
        ingress("shop", 2, &format!("rules: [{{host: shop.example.com, http: {{paths: [{shop}]}}}}]")),
        ingress(
            "wild",
            2,
            &format!("rules: [{{host: '*.wild.example', http: {{paths: [{}]}}}}]", path("Prefix", "/", "b")),
        ),
        ingress("rest", 1, "defaultBackend: {service: {name: c, port: {number: 80}}}"),
        ingress("any", 3, &format!("rules: [{{http: {{paths: [{}]}}}}]", path("Prefix", "/any", "a"))),
        // Younger than `shop`, which has the path.
        ingress(
            "late",
            3,
            &format!(
                "rules: [{{host: shop.example.com, http: {{paths: [{}]}}}}]",
                path("Prefix", "/api", "c")
            ),
        ),
    ]
    .concat();
    let (gateway, _backends) = start(&manifests, &Authority::default()).await;
    for (host, path, wanted) in [
        ("shop.example.com", "/", "a"),
        ("shop.example.com", "/api", "b"),
        ("shop.example.com", "/api/x", "b"),
        ("shop.example.com", "/apis", "a"),
        ("shop.example.com", "/api/exact", "c"),
        ("shop.example.com", "/api/exact/x", "b"),
        ("shop.example.com", "/legacy/x", "c"),
        ("one.wild.example", "/any", "b"),
        ("two.labels.wild.example", "/", "c"),
        ("two.labels.wild.example", "/any", "a"),
        ("wild.example", "/", "c"),
        ("other.org", "/any/x", "a"),
        ("other.org", "/", "c"),
    ] {
        let answer = get(gateway.http(), path).host(host).send().await;
        assert_eq!(answer.json()["name"], wanted, "{host}{path}");
    }
    gateway.said("Ingress default/late (on gatehouse-ingress): Conflicted=True").await;
}

#[tokio::test]
async fn tls_hosts_have_their_certificates_and_rules() {
    let authority = Authority::default();
    let rules = |host: &str, service: &str| {
        format!("rules: [{{host: '{host}', http: {{paths: [{}]}}}}]", path("Prefix", "/", service))
    };
    let manifests = [
        ingress(
            "shop",
            1,
            &format!(
                "tls: [{{hosts: [shop.example.com], secretName: own}}], {}",
                rules("shop.example.com", "a")
            ),
        ),
        // Its hosts are those of its rules.
        ingress("wild", 1, &format!("tls: [{{secretName: own}}], {}", rules("*.wild.example", "b"))),
        ingress("plain", 1, &rules("plain.example.com", "c")),
    ]
    .concat();
    let (gateway, _backends) = start(&manifests, &authority).await;
    let address = gateway.listener("https-shop.example.com");
    for (host, alpn, wanted) in [
        ("shop.example.com", &["h2", "http/1.1"][..], "a"),
        ("shop.example.com", &[], "a"),
        ("x.wild.example", &["h2"], "b"),
    ] {
        let answer = get(address, "/").host(host).send_tls(host, &authority.root, alpn).await.unwrap();
        assert_eq!(answer.json()["name"], wanted, "{host}");
    }
    assert!(tls(address, "plain.example.com", &authority.root, &[]).await.is_err(), "it has no certificate");
    // Nobody is sent to HTTPS.
    let plain = get(gateway.http(), "/").host("shop.example.com").send().await;
    assert_eq!((plain.status, plain.json()["name"].as_str()), (200, Some("a")));

    // A host that is added later is served by the open port.
    let more = ingress(
        "more",
        2,
        &format!("tls: [{{hosts: [a.wild.example], secretName: own}}], {}", rules("a.wild.example", "c")),
    );
    gateway.write("more.yaml", &more);
    eventually("the new host is served over TLS", async || {
        let answer = get(address, "/").host("a.wild.example");
        let answer = answer.send_tls("a.wild.example", &authority.root, &[]).await.ok()?;
        (answer.status == 200 && answer.json()["name"] == "c").then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_is_broken_is_told_and_mends() {
    let paths = [path("Prefix", "/a", "a"), path("Prefix", "/missing", "missing")].join(", ");
    let manifests = ingress("shop", 1, &format!("rules: [{{http: {{paths: [{paths}]}}}}]"));
    let (gateway, backends) = start(&manifests, &Authority::default()).await;
    assert_eq!(get(gateway.http(), "/a").send().await.status, 200);
    assert_eq!(get(gateway.http(), "/missing").send().await.status, 500);
    gateway
        .said("ResolvedRefs=False BackendNotFound: backend.service: Service default/missing does not exist")
        .await;
    gateway.write("missing.yaml", &service("missing"));
    let slice = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: m, labels: {{kubernetes.io/service-name: \
         missing}}}}\naddressType: IPv4\nports: [{{name: '', port: {}}}]\nendpoints: [{{addresses: [127.0.0.1]}}]\n",
        backends[2].address.port()
    );
    gateway.write("slice.yaml", &slice);
    eventually("the Service is served", async || {
        let answer = get(gateway.http(), "/missing").send().await;
        (answer.status == 200 && answer.json()["name"] == "c").then_some(())
    })
    .await;
}
