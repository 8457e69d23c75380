//! HTTP/2 to backends: many streams on few connections, connections that end, and trailers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use gatehouse_tests::{
    PATIENCE,
    backend::{Backend, full, status},
    client::get,
    gateway::{EDGE, Gateway, service},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::{body::Frame, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::Barrier, time::timeout};

use crate::to_echo;

async fn gateway(backend: &Backend) -> Gateway {
    Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", to_echo())
        .file(
            "echo.yaml",
            service("echo").replace("{port: 80}", "{port: 80, appProtocol: kubernetes.io/h2c}"),
        )
        .endpoint("echo", backend.address)
        .start()
        .await
}

/// A server that allows 100 streams of a connection must not make others wait for them: they may never end.
#[tokio::test]
async fn more_streams_than_a_connection_takes_go_on_others() {
    const STREAMS: usize = 250;
    let (connections, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(STREAMS)));
    let opened = Arc::clone(&connections);
    let backend = Backend::accepting(move |stream, _| {
        opened.fetch_add(1, Ordering::Relaxed);
        let all = Arc::clone(&all);
        async move {
            let service = service_fn(move |_| {
                let all = Arc::clone(&all);
                async move {
                    // Nobody is answered before all are there.
                    all.wait().await;
                    Ok::<_, std::convert::Infallible>(status(204))
                }
            });
            let mut builder = http2::Builder::new(TokioExecutor::new());
            let _ = builder.max_concurrent_streams(100).serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
    let gateway = gateway(&backend).await;
    let asks = join_all((0..STREAMS).map(|_| get(gateway.http(), "/").send()));
    for answer in timeout(PATIENCE, asks).await.expect("no stream waits for another") {
        assert_eq!(answer.status, 204);
    }
    let connections = connections.load(Ordering::Relaxed);
    assert!(connections < STREAMS / 10, "{connections} connections");
}

/// RFC 9113, 6.8.
#[tokio::test]
async fn a_backend_that_says_goaway_costs_no_request() {
    let connections = Arc::new(AtomicUsize::new(0));
    let opened = Arc::clone(&connections);
    let backend = Backend::accepting(move |stream, _| {
        opened.fetch_add(1, Ordering::Relaxed);
        async move {
            let service = service_fn(async |request: Request<hyper::body::Incoming>| {
                let body = request.into_body().collect().await?.to_bytes();
                Ok::<_, hyper::Error>(Response::new(full(body)))
            });
            let builder = http2::Builder::new(TokioExecutor::new());
            let mut serving = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
            if timeout(Duration::from_millis(20), serving.as_mut()).await.is_err() {
                serving.as_mut().graceful_shutdown();
                let _ = serving.await;
            }
        }
    })
    .await;
    let gateway = gateway(&backend).await;
    let clients = (0..8).map(|_| async {
        for _ in 0..50 {
            let answer = get(gateway.http(), "/").method("POST").body(&b"hi"[..]).send().await;
            assert_eq!((answer.status, &*answer.body), (200, &b"hi"[..]));
        }
    });
    timeout(PATIENCE, join_all(clients)).await.unwrap();
    assert!(connections.load(Ordering::Relaxed) > 1, "it did say so");
}

#[tokio::test]
async fn trailers_of_requests_pass_but_for_what_only_a_head_may_say() {
    let backend = Backend::h2c(|_, body| async move {
        let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
        let names: Vec<String> = trailers.keys().map(ToString::to_string).collect();
        Response::new(full(names.join(",")))
    })
    .await;
    let gateway = gateway(&backend).await;
    let stream = TcpStream::connect(gateway.http()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut trailers = HeaderMap::new();
    for name in
        ["x-checksum", "x-consumer-username", "x_consumer_groups", "authorization", "x-forwarded-for", "host"]
    {
        trailers.insert(name, HeaderValue::from_static("1"));
    }
    let frames =
        [Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from("hi"))), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures_util::stream::iter(frames));
    let request = Request::post("http://test.example/").body(body).unwrap();
    let answer = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "x-checksum");
}
