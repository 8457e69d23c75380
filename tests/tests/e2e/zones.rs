//! Endpoints of the gateway's own zone, which are preferred where the Service or a TrafficPolicy says so.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use gatehouse_tests::{
    backend::{Backend, full, status},
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
};
use http::Response;
use tokio::net::TcpListener;

use super::to_echo;

/// One endpoint of the Service `echo`, with these fields.
fn slice(name: &str, address: SocketAddr, fields: &str) -> String {
    let (address, port) = (address.ip(), address.port());
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: \
         {{kubernetes.io/service-name: echo}}}}\naddressType: IPv4\nports: [{{port: {port}}}]\nendpoints: [{{addresses: \
         [{address}], {fields}}}]\n"
    )
}

fn distributed(how: &str) -> String {
    service("echo").replace("spec: {", &format!("spec: {{{how}"))
}

fn policy(fields: &str) -> String {
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: p}}\nspec:\n  targetRefs: [{{name: echo}}]\n  \
         {fields}\n"
    )
}

/// A gateway in zone `a` before these endpoints.
async fn in_zone_a(service: String, endpoints: &[(&str, &Backend, &str)]) -> Gateway {
    let builder = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("route.yaml", to_echo())
        .file("service.yaml", service)
        .arg("--zone")
        .arg("a");
    let slices = endpoints.iter().map(|(name, backend, fields)| (name, slice(name, backend.address, fields)));
    slices.fold(builder, |builder, (name, slice)| builder.file(&format!("{name}.yaml"), slice)).start().await
}

/// Who answers 40 requests, and how many.
async fn takers(gateway: &Gateway) -> BTreeMap<String, usize> {
    let mut takers = BTreeMap::new();
    for _ in 0..40 {
        let answer = get(gateway.http(), "/").send().await;
        assert_eq!(answer.status, 200);
        *takers.entry(answer.json()["name"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    takers
}

async fn are_taken_by(gateway: &Gateway, names: &[&str]) {
    eventually(&format!("{names:?} take the requests"), async || {
        takers(gateway).await.keys().eq(names).then_some(())
    })
    .await;
}

/// As Kubernetes users say it, and as a policy does, which goes before.
#[tokio::test]
async fn the_own_zone_is_preferred_where_it_is_said() {
    let (near, far) = (Backend::echo("near").await, Backend::echo("far").await);
    let endpoints = [("near", &near, "zone: a"), ("far", &far, "zone: b")];
    let gateway = in_zone_a(distributed("trafficDistribution: PreferClose, "), &endpoints).await;
    assert_eq!(takers(&gateway).await.into_keys().collect::<Vec<_>>(), ["near"]);
    gateway.write("policy.yaml", &policy("loadBalancing: {trafficDistribution: Anywhere}"));
    are_taken_by(&gateway, &["far", "near"]).await;
    gateway.write("service.yaml", &distributed(""));
    gateway.write("policy.yaml", &policy("loadBalancing: {trafficDistribution: PreferSameZone}"));
    are_taken_by(&gateway, &["near"]).await;
    gateway.remove("policy.yaml");
    are_taken_by(&gateway, &["far", "near"]).await;
    // By hints for zones (KEP-2433), whatever the zones of the endpoints themselves.
    gateway.write("near.yaml", &slice("near", near.address, "zone: a, hints: {forZones: [{name: b}]}"));
    gateway
        .write("far.yaml", &slice("far", far.address, "zone: b, hints: {forZones: [{name: c}, {name: a}]}"));
    are_taken_by(&gateway, &["far"]).await;
    // One that has none takes them from all.
    gateway.write("near.yaml", &slice("near", near.address, "zone: a"));
    are_taken_by(&gateway, &["far", "near"]).await;
}

/// Nothing is lost while the zone is found to be away, and nothing afterwards.
#[tokio::test]
async fn other_zones_take_what_the_own_can_t() {
    let (near, far) = (Backend::echo("near").await, Backend::echo("far").await);
    let endpoints = [("near", &near, "zone: a"), ("far", &far, "zone: b")];
    let gateway = in_zone_a(distributed("trafficDistribution: PreferSameZone, "), &endpoints).await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    gateway.write("closed.yaml", &slice("closed", closed, "zone: a"));
    gateway.remove("near.yaml");
    are_taken_by(&gateway, &["far"]).await;
    gateway.remove("closed.yaml");
    are_taken_by(&gateway, &["far"]).await;
    gateway.write("near.yaml", &slice("near", near.address, "zone: a"));
    are_taken_by(&gateway, &["near"]).await;
}

#[tokio::test]
async fn a_zone_that_is_not_fit_is_left_for_as_long() {
    let fit = Arc::new(AtomicBool::new(true));
    let is_fit = Arc::clone(&fit);
    let near = Backend::answering(move |seen| {
        if seen.path == "/healthz" && !is_fit.load(Ordering::SeqCst) {
            return status(503);
        }
        Response::new(full(r#"{"name":"near"}"#))
    })
    .await;
    let far = Backend::echo("far").await;
    let endpoints = [("near", &near, "zone: a"), ("far", &far, "zone: b")];
    let gateway = in_zone_a(distributed(""), &endpoints).await;
    let check = "healthCheck: {active: {http: {path: /healthz}, interval: 300ms, timeout: 300ms, unhealthyThreshold: 1}}";
    gateway.write(
        "policy.yaml",
        &policy(&format!("loadBalancing: {{trafficDistribution: PreferSameZone}}\n  {check}")),
    );
    are_taken_by(&gateway, &["near"]).await;
    fit.store(false, Ordering::SeqCst);
    are_taken_by(&gateway, &["far"]).await;
    fit.store(true, Ordering::SeqCst);
    are_taken_by(&gateway, &["near"]).await;
}
