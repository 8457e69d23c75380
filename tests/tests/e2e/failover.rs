//! Services that stand in for a rule's backends: when requests go there, and when they come back.

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

use super::route;

/// An endpoint of a Service.
fn slice(service: &str, name: &str, address: SocketAddr) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: \
         {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\nports: [{{port: {}}}]\nendpoints: [{{addresses: [{}]}}]\n",
        address.port(),
        address.ip()
    )
}

fn policy(fields: &str) -> String {
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: p}}\nspec:\n  targetRefs: [{{name: app}}]\n  \
         {fields}\n"
    )
}

/// A gateway whose rule leads to the Service `app`, and else to `standby`, before these endpoints of `app`.
async fn before(endpoints: &[(&str, SocketAddr)], standby: &Backend, policed: &str) -> Gateway {
    let rule = "- {backendRefs: [{name: app, port: 80}], failover: [{name: standby, port: 80}]}";
    let builder = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("route.yaml", route(rule))
        .file("app.yaml", service("app"))
        .file("standby.yaml", service("standby"))
        .file("policy.yaml", policy(policed))
        .endpoint("standby", standby.address);
    let slices =
        endpoints.iter().map(|(name, address)| (format!("{name}.yaml"), slice("app", name, *address)));
    slices.fold(builder, |builder, (name, slice)| builder.file(&name, slice)).start().await
}

/// A backend `app` that can be made to fail: all of it, or what asks for its health.
async fn failing(only_checks: bool) -> (Backend, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let does = Arc::clone(&fails);
    let backend = Backend::answering(move |seen| {
        if does.load(Ordering::SeqCst) && (seen.path == "/healthz" || !only_checks) {
            return status(503);
        }
        Response::new(full(r#"{"name":"app"}"#))
    })
    .await;
    (backend, fails)
}

async fn taker(gateway: &Gateway) -> String {
    let answer = get(gateway.http(), "/").send().await;
    assert_eq!(answer.status, 200);
    answer.json()["name"].as_str().unwrap().to_owned()
}

/// All of 20 requests one after the other, sooner or later.
async fn is_taken_by(gateway: &Gateway, name: &str) {
    eventually(&format!("{name} takes all"), async || {
        for _ in 0..20 {
            if taker(gateway).await != name {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// No request is lost on the way there and back.
#[tokio::test]
async fn endpoints_that_are_gone_are_stood_in_for() {
    let (app, standby) = (Backend::echo("app").await, Backend::echo("standby").await);
    let plain = "loadBalancing: {type: RoundRobin}";
    let gateway = before(&[("a", app.address)], &standby, plain).await;
    for _ in 0..20 {
        assert_eq!(taker(&gateway).await, "app");
    }
    gateway.remove("a.yaml");
    is_taken_by(&gateway, "standby").await;
    gateway.write("a.yaml", &slice("app", "a", app.address));
    is_taken_by(&gateway, "app").await;

    // Nobody has been told yet: where nobody of `app` can be connected to, the request goes on.
    let closed = async || TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for count in [1, 4] {
        let mut endpoints = Vec::new();
        for name in &["a", "b", "c", "d"][..count] {
            endpoints.push((*name, closed().await));
        }
        let gateway = before(&endpoints, &standby, plain).await;
        let answer = get(gateway.http(), "/").header("x-request-id", "the-one").send().await;
        assert_eq!((answer.status, &answer.json()["name"]), (200, &"standby".into()), "{count} are closed");
        let line = gateway.logged("the-one").await;
        assert_eq!(
            (&line["attempts"], &line["service"]),
            (&(count + 1).min(3).into(), &"default/standby/80".into())
        );
    }
}

#[tokio::test]
async fn endpoints_that_checks_find_unfit_are_stood_in_for() {
    let ((first, fails), (second, second_fails)) = (failing(true).await, failing(true).await);
    let standby = Backend::echo("standby").await;
    let check = "healthCheck: {active: {http: {path: /healthz}, interval: 300ms, timeout: 300ms, unhealthyThreshold: 1}}";
    let gateway = before(&[("a", first.address), ("b", second.address)], &standby, check).await;
    assert_eq!(taker(&gateway).await, "app");
    fails.store(true, Ordering::SeqCst);
    second_fails.store(true, Ordering::SeqCst);
    is_taken_by(&gateway, "standby").await;
    second_fails.store(false, Ordering::SeqCst);
    eventually("app takes some", async || (taker(&gateway).await == "app").then_some(())).await;
    // Of two endpoints one is fit: 70 % of the requests, give or take six standard deviations.
    let mut takers = BTreeMap::<String, usize>::new();
    for _ in 0..300 {
        *takers.entry(taker(&gateway).await).or_default() += 1;
    }
    assert!((162..258).contains(&takers["app"]), "{takers:?}");
    fails.store(false, Ordering::SeqCst);
    is_taken_by(&gateway, "app").await;
}

#[tokio::test]
async fn endpoints_that_are_ejected_are_stood_in_for() {
    let (app, fails) = failing(false).await;
    let standby = Backend::echo("standby").await;
    let passive =
        "healthCheck: {passive: {consecutive5xxErrors: 3, baseEjectionTime: 5s, maxEjectionPercent: 100}}";
    let gateway = before(&[("a", app.address)], &standby, passive).await;
    assert_eq!(taker(&gateway).await, "app");
    fails.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(get(gateway.http(), "/").send().await.status, 503);
    }
    fails.store(false, Ordering::SeqCst);
    assert_eq!(taker(&gateway).await, "standby");
    // Nothing but the end of its time brings it back.
    is_taken_by(&gateway, "app").await;
}

/// A first Service that is not there is as one without endpoints; one that stands in and is not there is passed over.
#[tokio::test]
async fn references_that_lead_nowhere_are_passed_over() {
    let standby = Backend::echo("standby").await;
    let rule = "- {backendRefs: [{name: gone, port: 80}], failover: [{name: gone-too, port: 80}, {name: standby, port: 80}]}";
    let gateway = Gateway::with(&route(rule), &[("standby", standby.address)]).await;
    assert_eq!(taker(&gateway).await, "standby");
    gateway.said("failover[0]: Service default/gone-too does not exist").await;
    gateway.write(
        "routes.yaml",
        &route("- {backendRefs: [{name: gone, port: 80}], failover: [{name: gone-too, port: 80}]}"),
    );
    eventually("nobody is left", async || {
        (get(gateway.http(), "/").send().await.status == 500).then_some(())
    })
    .await;
}
