//! Active checks of a TrafficPolicy: who asks, how often, and where requests go.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use gatehouse_tests::{
    backend::{Backend, Body, status},
    client::get,
    eventually,
    gateway::{EDGE, Gateway, service},
};
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, Full};

use super::route;

fn policy(check: &str) -> String {
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: p}}\nspec:\n  targetRefs: [{{name: app}}]\n  \
         loadBalancing: {{type: RoundRobin}}\n  healthCheck: {{active: {{{check}, interval: 300ms, timeout: 300ms}}}}\n"
    )
}

async fn before(backends: &[&Backend], port: &str, check: &str) -> Gateway {
    let builder = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("route.yaml", route("- backendRefs: [{name: app, port: 80}]"))
        .file("service.yaml", service("app").replace("port: 80", port))
        .file("policy.yaml", policy(check));
    backends.iter().fold(builder, |builder, one| builder.endpoint("app", one.address)).start().await
}

/// Answers `/healthz` with 200 or 503, and all else with 200.
async fn with_health() -> (Backend, Arc<AtomicBool>) {
    let fit = Arc::new(AtomicBool::new(true));
    let is_fit = Arc::clone(&fit);
    let backend = Backend::answering(move |seen| {
        status(if seen.path == "/healthz" && !is_fit.load(Ordering::SeqCst) { 503 } else { 200 })
    })
    .await;
    (backend, fit)
}

async fn unhealthy(gateway: &Gateway, count: usize) {
    let line =
        format!("gatehouse_service_endpoints{{service=\"default/app/80\",state=\"unhealthy\"}} {count}");
    eventually(&line, async || {
        let metrics = get(gateway.admin(), "/metrics").send().await;
        String::from_utf8_lossy(&metrics.body).lines().any(|one| one == line).then_some(())
    })
    .await;
}

fn asked(backend: &Backend, path: &str) -> usize {
    backend.seen().iter().filter(|seen| seen.path == path).count()
}

#[tokio::test]
async fn who_is_unfit_gets_no_requests_until_it_is_fit() {
    let ((first, fit), (second, _)) = (with_health().await, with_health().await);
    fit.store(false, Ordering::SeqCst);
    let gateway =
        before(&[&first, &second], "port: 80", "http: {path: /healthz}, unhealthyThreshold: 2").await;
    unhealthy(&gateway, 1).await;
    gateway.said("endpoint is unhealthy").await;
    let before = asked(&first, "/");
    for _ in 0..10 {
        assert_eq!(get(gateway.http(), "/").send().await.status, 200);
    }
    assert_eq!(asked(&first, "/"), before);
    fit.store(true, Ordering::SeqCst);
    unhealthy(&gateway, 0).await;
    eventually("it gets requests", async || {
        assert_eq!(get(gateway.http(), "/").send().await.status, 200);
        (asked(&first, "/") > before + 2).then_some(())
    })
    .await;
    let check = first.seen().into_iter().find(|seen| seen.path == "/healthz").unwrap();
    assert_eq!(check.headers["user-agent"], "gatehouse-health-check");
    assert_eq!(check.headers["host"].to_str().unwrap(), first.address.to_string());
}

/// Two workers, and two more routes: still one check in an interval.
#[tokio::test]
async fn an_endpoint_is_asked_once() {
    let (backend, _) = with_health().await;
    let gateway = before(&[&backend], "port: 80", "http: {path: /healthz}").await;
    gateway.write(
        "more.yaml",
        &route("- backendRefs: [{name: app, port: 80}]").replace("name: r", "name: more"),
    );
    gateway.write(
        "most.yaml",
        &route("- backendRefs: [{name: app, port: 80}]").replace("name: r", "name: most"),
    );
    let (began, before) = (Instant::now(), asked(&backend, "/healthz"));
    eventually("it is asked 5 times", async || (asked(&backend, "/healthz") >= before + 5).then_some(()))
        .await;
    // Four intervals of 270 ms and more, and some of the first may be over; twice as many would need half of it.
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn while_none_is_fit_requests_go_to_any_or_nowhere() {
    let (backend, fit) = with_health().await;
    fit.store(false, Ordering::SeqCst);
    let check = "http: {path: /healthz}, unhealthyThreshold: 1";
    let gateway = before(&[&backend], "port: 80", check).await;
    unhealthy(&gateway, 1).await;
    assert_eq!(get(gateway.http(), "/").send().await.status, 200);
    gateway.write("policy.yaml", &policy(&format!("{check}, whenNoneHealthy: Refuse")));
    let refused = eventually("it refuses", async || {
        let answer = get(gateway.http(), "/").header("x-request-id", "refused").send().await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(refused.json()["reason"], "no_endpoints");
    // Without the policy nobody is checked, and each is as good as another.
    gateway.remove("policy.yaml");
    eventually("it does not refuse", async || {
        (get(gateway.http(), "/").send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn statuses_and_hosts_are_as_the_check_says() {
    let backend =
        Backend::answering(|seen| status(if seen.headers["host"] == "app.example.com" { 204 } else { 404 }))
            .await;
    let gateway = before(
        &[&backend],
        "port: 80",
        "http: {path: /up, host: app.example.com, expectedStatuses: [200]}, unhealthyThreshold: 1",
    )
    .await;
    unhealthy(&gateway, 1).await;
    gateway.said("status 204").await;
    gateway.write(
        "policy.yaml",
        &policy("http: {path: /up, host: app.example.com, expectedStatuses: [200, 204]}"),
    );
    unhealthy(&gateway, 0).await;
    gateway.write("policy.yaml", &policy("http: {path: /up}, unhealthyThreshold: 1"));
    unhealthy(&gateway, 1).await;
}

#[tokio::test]
async fn over_http2_and_by_grpc() {
    let serving = Arc::new(Mutex::new(1_u8));
    let told = Arc::clone(&serving);
    let backend = Backend::h2c(move |parts, body| {
        let told = Arc::clone(&told);
        async move {
            let _ = body.collect().await;
            if parts.uri.path() != "/grpc.health.v1.Health/Check" {
                return status(200);
            }
            let serving = *told.lock().unwrap();
            let body: Body = Full::new(vec![0, 0, 0, 0, 2, 8, serving].into()).boxed();
            let mut answer = Response::new(body);
            answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            answer
        }
    })
    .await;
    let h2c = "port: 80, appProtocol: kubernetes.io/h2c";
    let gateway = before(&[&backend], h2c, "grpc: {service: shop.Orders}, unhealthyThreshold: 1").await;
    eventually("it is asked", async || (!backend.seen().is_empty()).then_some(())).await;
    unhealthy(&gateway, 0).await;
    *serving.lock().unwrap() = 2;
    unhealthy(&gateway, 1).await;
    gateway.write("policy.yaml", &policy("http: {path: /healthz}"));
    unhealthy(&gateway, 0).await;
    let check = backend.seen().into_iter().rfind(|seen| seen.path.ends_with("/healthz"));
    assert!(check.is_some());
}

#[tokio::test]
async fn by_connecting() {
    let (first, second) = (Backend::echo("a").await, Backend::echo("b").await);
    let gateway = before(&[&first, &second], "port: 80", "tcp: {}").await;
    drop(first);
    unhealthy(&gateway, 1).await;
    for count in 0..6 {
        let id = format!("try-{count}");
        assert_eq!(get(gateway.http(), "/").header("x-request-id", &id).send().await.status, 200);
        assert_eq!(gateway.logged(&id).await["attempts"], 1);
    }
}
