//! Services of type ExternalName: who looks their names up, when again, and what is never connected to.

use std::{collections::BTreeSet, net::SocketAddr};

use gatehouse_tests::{
    backend::{Backend, header},
    certs::Authority,
    client::get,
    dns::Dns,
    eventually,
    gateway::{Builder, EDGE, Gateway},
};
use tokio::net::{TcpListener, TcpStream};

use crate::route;

const NAME: &str = "api.example.com";
const LOOPBACK: &str = "allowedAddresses: [127.0.0.0/8, '::1']";

/// A Gateway `edge` that serves ExternalNames with these settings besides.
fn edge(dns: &Dns, more: &str) -> String {
    let server = dns.address;
    let config = format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: GatewayConfig\nmetadata: {{name: edge}}\nspec: {{externalNames: \
         {{enabled: true, nameServers: ['{server}'], {more}}}}}\n"
    );
    let reference =
        "  infrastructure: {parametersRef: {group: gatehouse.dev, kind: GatewayConfig, name: edge}}\n";
    [EDGE, reference, &config].concat()
}

/// A Service `api`.
fn named(name: &str, ports: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: api}}\nspec: {{type: ExternalName, externalName: {name}, ports: [{ports}]}}\n"
    )
}

/// One that is connected to on the port of `address`.
fn leading_to(name: &str, address: SocketAddr) -> String {
    named(name, &format!("{{port: 80, targetPort: {}}}", address.port()))
}

fn to_api() -> String {
    route("- backendRefs: [{name: api, port: 80}]")
}

fn serving(dns: &Dns, more: &str, service: &str) -> Builder {
    Gateway::builder()
        .file("edge.yaml", edge(dns, more))
        .file("routes.yaml", to_api())
        .file("service.yaml", service)
}

/// What comes to the port of `address` on `::1` goes to `to`.
async fn twin(address: SocketAddr, to: SocketAddr) {
    let listener = TcpListener::bind(("::1", address.port())).await.expect("the same port");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut backend = TcpStream::connect(to).await.expect("the backend");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut backend).await;
            });
        }
    });
}

async fn status(gateway: &Gateway) -> u16 {
    get(gateway.http(), "/").send().await.status
}

async fn becomes(gateway: &Gateway, wanted: u16) {
    eventually(&format!("{wanted}"), async || (status(gateway).await == wanted).then_some(())).await;
}

/// Names of backends that answer a few requests.
async fn answering(gateway: &Gateway) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..12 {
        let answer = get(gateway.http(), "/").send().await;
        assert_eq!(answer.status, 200);
        names.insert(answer.json()["name"].as_str().unwrap().to_owned());
    }
    names
}

async fn come_to_answer(gateway: &Gateway, wanted: &[&str]) {
    let wanted = wanted.iter().map(|name| (*name).to_owned()).collect();
    eventually(&format!("{wanted:?}"), async || (answering(gateway).await == wanted).then_some(())).await;
}

#[tokio::test]
async fn a_name_is_all_its_addresses_for_as_long_as_dns_says() {
    let (four, six) = (Backend::echo("four").await, Backend::echo("six").await);
    twin(four.address, six.address).await;
    let dns = Dns::start().await;
    dns.set(NAME, &["127.0.0.1"], 1);
    let gateway = serving(&dns, LOOPBACK, &leading_to(NAME, four.address)).start().await;
    becomes(&gateway, 200).await;
    let answer = get(gateway.http(), "/x").host("shop.example.com").send().await.json();
    assert_eq!(header(&answer, "host"), Some("shop.example.com"));

    dns.set(NAME, &["::1"], 1);
    come_to_answer(&gateway, &["six"]).await;
    dns.set(NAME, &["127.0.0.1", "::1"], 1);
    come_to_answer(&gateway, &["four", "six"]).await;

    // Nobody answers: what was known stays.
    dns.fail(NAME);
    let asked = dns.asked(NAME);
    eventually("it is asked for again", async || (dns.asked(NAME) >= asked + 8).then_some(())).await;
    assert_eq!(answering(&gateway).await.len(), 2);
    // But an answer that there is nothing is an answer.
    dns.remove(NAME);
    becomes(&gateway, 503).await;
    dns.set(NAME, &["127.0.0.1"], 1);
    becomes(&gateway, 200).await;
    assert_eq!(answering(&gateway).await.len(), 1);
}

#[tokio::test]
async fn another_name_serves_at_once() {
    let (one, other) = (Backend::echo("one").await, Backend::echo("other").await);
    let dns = Dns::start().await;
    dns.set(NAME, &["127.0.0.1"], 3600);
    dns.set("other.example.com", &["127.0.0.1"], 3600);
    let gateway = serving(&dns, LOOPBACK, &leading_to(NAME, one.address)).start().await;
    becomes(&gateway, 200).await;
    assert_eq!(answering(&gateway).await.len(), 1);
    gateway.write("service.yaml", &leading_to("other.example.com", other.address));
    // No request fails in between.
    come_to_answer(&gateway, &["other"]).await;
    assert_eq!(dns.asked(NAME), 2, "once for each family");
    // Nor when it stays as it is.
    gateway.write("routes.yaml", &route("- backendRefs: [{name: api, port: 80, weight: 2}]"));
    assert_eq!(answering(&gateway).await.len(), 1);
    // Without a name, there is nothing.
    gateway.write("service.yaml", &leading_to("gone.example.com", other.address));
    becomes(&gateway, 503).await;
}

/// HTTPRoute and Ingress, and a Service that lists no ports.
#[tokio::test]
async fn every_kind_of_route_leads_there() {
    let backend = Backend::echo("api").await;
    let dns = Dns::start().await;
    dns.set(NAME, &["127.0.0.1"], 60);
    let port = backend.address.port();
    let routes = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: h}}\nspec:\n  parentRefs: [{{name: edge}}]\n  \
         rules:\n  - matches: [{{path: {{value: /http}}}}]\n    backendRefs: [{{name: api, port: {port}}}]\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: IngressClass\nmetadata: {{name: gatehouse}}\nspec: {{controller: \
         gatehouse.dev/ingress-controller, parameters: {{apiGroup: gatehouse.dev, kind: GatewayConfig, scope: Namespace, \
         namespace: default, name: edge}}}}\n---\n\
         apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: i}}\nspec: {{ingressClassName: gatehouse, \
         defaultBackend: {{service: {{name: api, port: {{number: {port}}}}}}}}}\n"
    );
    let gateway = serving(&dns, LOOPBACK, &named(NAME, "")).file("others.yaml", routes).start().await;
    let ingress = eventually("the Ingress is served", async || {
        let serving = gateway.serving();
        let line = serving
            .iter()
            .find(|line| line["gateway"].as_str().is_some_and(|name| name.ends_with("-ingress")))?;
        line["listeners"]["http"].as_str()?.parse::<SocketAddr>().ok()
    })
    .await;
    for (address, path) in [(gateway.http(), "/http"), (ingress, "/")] {
        eventually(path, async || (get(address, path).send().await.status == 200).then_some(())).await;
    }
}

#[tokio::test]
async fn nothing_is_served_that_is_not_switched_on() {
    let backend = Backend::echo("api").await;
    let dns = Dns::start().await;
    dns.set(NAME, &["127.0.0.1"], 60);
    let service = leading_to(NAME, backend.address);
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", to_api())
        .file("service.yaml", service)
        .start()
        .await;
    assert_eq!(status(&gateway).await, 500);
    gateway.said("its GatewayConfig would have to set externalNames.enabled").await;
    gateway.write("edge.yaml", &edge(&dns, &format!("hosts: ['*.example.org'], {LOOPBACK}")));
    gateway.said("it is none of the externalNames.hosts").await;
    assert_eq!(status(&gateway).await, 500);
    backend.assert_untouched("it is not switched on");
    assert_eq!(dns.asked(NAME), 0);
    gateway.write("edge.yaml", &edge(&dns, &format!("hosts: ['*.example.com'], {LOOPBACK}")));
    becomes(&gateway, 200).await;
    gateway.write("edge.yaml", EDGE);
    becomes(&gateway, 500).await;
}

#[tokio::test]
async fn no_name_leads_to_the_gateway_itself() {
    let backend = Backend::echo("api").await;
    let dns = Dns::start().await;
    dns.set(NAME, &["127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1"], 60);
    let gateway = serving(&dns, "", &leading_to(NAME, backend.address)).start().await;
    gateway.said("can't be used as a whole").await;
    assert_eq!(status(&gateway).await, 503);
    backend.assert_untouched("it is on loopback");
    let metrics = get(gateway.admin(), "/metrics").send().await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(metrics.contains("gatehouse_dns_addresses_refused_total 4"), "{metrics}");
    assert!(metrics.contains("gatehouse_dns_lookups_total 2"), "{metrics}");
}

#[tokio::test]
async fn it_is_spoken_to_as_its_policies_say() {
    let authority = Authority::default();
    let backend = Backend::tls(authority.issue(&[NAME]).server(&authority)).await;
    let dns = Dns::start().await;
    dns.set(NAME, &["127.0.0.1"], 60);
    let policy = format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {{name: api}}\nspec:\n  targetRefs: \
         [{{group: '', kind: Service, name: api}}]\n  validation: {{caCertificateRefs: [{{group: '', kind: ConfigMap, name: \
         authority}}], hostname: {NAME}}}\n"
    );
    let gateway = serving(&dns, LOOPBACK, &leading_to(NAME, backend.address))
        .file("authority.json", authority.config_map("authority"))
        .file("policy.yaml", policy)
        .start()
        .await;
    becomes(&gateway, 200).await;
    assert_eq!(get(gateway.http(), "/").send().await.json()["sni"], NAME);
}
