//! What a TrafficPolicy bounds over time: retries, connections, the share of those that have just come.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gatehouse_tests::{
    backend::{Backend, full, status},
    client::{get, http2},
    eventually,
    gateway::{EDGE, Gateway, service},
};
use http::Response;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, time::sleep};

use crate::{route, to_echo};

/// A TrafficPolicy for the Service `echo`, with these fields (YAML, as in a mapping).
fn policy(fields: &str) -> String {
    format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: echo}}\nspec: {{targetRefs: [{{name: \
         echo}}], {fields}}}\n"
    )
}

#[tokio::test]
async fn retries_are_made_while_there_is_room_for_them() {
    let failing = Backend::answering(|_| status(503)).await;
    let rules = "- retry: {codes: [503], attempts: 3, backoff: 1ms}\n  backendRefs: [{name: echo, port: 80}]";
    let bound = "retryConstraint: {budget: {percent: 0}, minRetryRate: {count: 5, interval: 1h}}";
    let manifests = format!("{}{}", route(rules), policy(bound));
    let gateway = Gateway::with(&manifests, &[("echo", failing.address)]).await;
    for _ in 0..20 {
        assert_eq!(get(gateway.http(), "/").send().await.status, 503);
    }
    assert_eq!(failing.seen().len(), 25);
    // The first request used three, the second two.
    let metrics = get(gateway.admin(), "/metrics").send().await.body;
    assert!(String::from_utf8_lossy(&metrics).contains("\ngatehouse_retries_refused_total 19\n"));

    // Of 40 and 10, a fifth are the 10.
    let bound = "retryConstraint: {budget: {percent: 20, interval: 1h}, minRetryRate: {count: 0}}";
    let manifests = format!("{}{}", route(rules), policy(bound));
    let gateway = Gateway::with(&manifests, &[("echo", failing.address)]).await;
    for _ in 0..40 {
        assert_eq!(get(gateway.http(), "/").send().await.status, 503);
    }
    assert_eq!(failing.seen().len(), 25 + 50);
}

/// Counts its connections.
async fn counting(is_http2: bool) -> (Backend, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    let backend = Backend::accepting(move |stream, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        let service = service_fn(|_: http::Request<Incoming>| async {
            Ok::<_, std::convert::Infallible>(Response::new(full("ok")))
        });
        async move {
            let stream = TokioIo::new(stream);
            if is_http2 {
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(stream, service).await;
            } else {
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
            }
        }
    })
    .await;
    (backend, count)
}

#[tokio::test]
async fn connections_are_kept_for_as_long_as_is_said() {
    for is_http2 in [false, true] {
        let (backend, connections) = counting(is_http2).await;
        let of_service = service("echo");
        let of_service = match is_http2 {
            true => of_service.replace("{port: 80}", "{port: 80, appProtocol: kubernetes.io/h2c}"),
            false => of_service,
        };
        let start = async |pool: &str| {
            let policy = policy(&format!("connectionPool: {{{pool}}}"));
            let builder = Gateway::builder()
                .file("edge.yaml", EDGE)
                .file("routes.yaml", format!("{}{policy}", to_echo()))
                .file("service.yaml", &*of_service)
                .endpoint("echo", backend.address);
            builder.start().await
        };
        // Milliseconds between requests; only the longest is too long.
        for (pool, pauses) in [("idleTimeout: 2s", [0, 1, 2200, 1]), ("maxAge: 2s", [0, 1, 2200, 1])] {
            let gateway = start(pool).await;
            // One thread has connections of its own.
            let mut client = http2(TcpStream::connect(gateway.http()).await.unwrap()).await;
            for pause in pauses {
                sleep(Duration::from_millis(pause)).await;
                assert_eq!(get(gateway.http(), "/").through(&mut client, "http").await.status, 200);
            }
            let opened = connections.swap(0, Ordering::SeqCst);
            assert_eq!(opened, 2, "{pool}, HTTP/2: {is_http2}");
        }
    }
}

/// A slice of the Service `echo`.
fn slice(name: &str, address: SocketAddr) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, labels: \
         {{kubernetes.io/service-name: echo}}}}\naddressType: IPv4\nports: [{{port: {}}}]\nendpoints: [{{addresses: [{}]}}]\n",
        address.port(),
        address.ip()
    )
}

#[tokio::test]
async fn one_that_comes_to_others_begins_slowly() {
    let (old, new) = (Backend::echo("old").await, Backend::echo("new").await);
    for kind in ["LeastRequest", "RoundRobin", "Random"] {
        let slowly = format!("loadBalancing: {{type: {kind}, slowStart: {{window: 1h}}}}");
        let gateway = Gateway::builder()
            .file("edge.yaml", EDGE)
            .file("routes.yaml", format!("{}{}", to_echo(), policy(&slowly)))
            .file("service.yaml", service("echo"))
            .file("old.yaml", slice("old", old.address))
            .start()
            .await;
        let to_new = async || get(gateway.http(), "/").send().await.json()["name"] == "new";
        assert!(!to_new().await);
        gateway.write("new.yaml", &slice("new", new.address));
        eventually("the new one is asked", async || to_new().await.then_some(())).await;
        let mut count = 0;
        for _ in 0..300 {
            count += usize::from(to_new().await);
        }
        // A tenth of a half, instead of 150; with more than six standard deviations.
        assert!(count < 50, "{kind}: {count} of 300");
    }
}
