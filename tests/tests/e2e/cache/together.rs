//! Requests for the same at once: one goes to the backend, and nobody waits for what is of no use.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{future::join_all, stream};
use gatehouse_tests::{
    PATIENCE,
    backend::{Backend, full, seen},
    client::get,
    eventually,
    gateway::Gateway,
};
use http::{HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Semaphore, mpsc},
    time::timeout,
};

use super::{status, text};
use crate::route;

async fn gateway(backend: &Backend) -> Gateway {
    let rules = "- cache: {}\n  timeouts: {request: 10s}\n  backendRefs: [{name: echo, port: 80}]";
    Gateway::with(&route(rules), &[("echo", backend.address)]).await
}

fn saying(said: &'static str, text: impl Into<Bytes>) -> Response<gatehouse_tests::backend::Body> {
    let mut response = Response::new(full(text));
    response.headers_mut().insert("cache-control", HeaderValue::from_static(said));
    response
}

/// Answers each request when the test lets it; the count is of those that have come.
async fn held(said: &'static str) -> (Backend, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (let_go, came) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, count) = (Arc::clone(&let_go), Arc::clone(&came));
    let backend = Backend::serving(move |parts, _| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            (seen(&parts, Bytes::new()), saying(said, format!("answer {number}")))
        }
    })
    .await;
    (backend, let_go, came)
}

async fn requests_under_way(gateway: &Gateway, wanted: usize) {
    eventually("they all wait", async || {
        let metrics = text(&get(gateway.admin(), "/metrics").send().await);
        let active =
            metrics.lines().find_map(|line| line.strip_prefix("gatehouse_requests_active ")).unwrap();
        (active.parse::<usize>().unwrap() == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn fifty_at_once_are_one_for_the_backend() {
    let (backend, let_go, came) = held("max-age=60").await;
    let gateway = gateway(&backend).await;
    let asking = join_all((0..50).map(|_| get(gateway.http(), "/").send()));
    let opening = async {
        requests_under_way(&gateway, 50).await;
        let_go.add_permits(50);
    };
    let (answers, ()) = tokio::join!(asking, opening);
    assert!(answers.iter().all(|answer| text(answer) == "answer 1"));
    assert_eq!(came.load(Ordering::SeqCst), 1);
    let hits = answers.iter().filter(|answer| status(answer).starts_with("gatehouse; hit")).count();
    assert_eq!(hits, 49);
}

#[tokio::test]
async fn nobody_waits_twice_for_what_is_not_kept() {
    let (backend, let_go, came) = held("no-store").await;
    let gateway = gateway(&backend).await;
    let asking = join_all((0..20).map(|_| get(gateway.http(), "/").send()));
    let opening = async {
        requests_under_way(&gateway, 20).await;
        assert_eq!(came.load(Ordering::SeqCst), 1);
        let_go.add_permits(1);
        // The others come all at once.
        eventually("nobody waits", async || (came.load(Ordering::SeqCst) == 20).then_some(())).await;
        let_go.add_permits(19);
    };
    let (answers, ()) = tokio::join!(asking, opening);
    assert!(answers.iter().all(|answer| answer.status == 200));
    // And for a while nobody waits at all.
    let asking = join_all((0..5).map(|_| get(gateway.http(), "/").send()));
    let opening = async {
        eventually("nobody waits", async || (came.load(Ordering::SeqCst) == 25).then_some(())).await;
        let_go.add_permits(5);
    };
    tokio::join!(asking, opening);
}

#[tokio::test]
async fn who_waits_for_one_that_leaves_takes_its_place() {
    // The first answer begins, and does not end; the others do.
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    let endless = Mutex::new(Vec::new());
    let backend = Backend::serving(move |parts, _| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        let mut response = saying("max-age=60", format!("answer {number}"));
        if number == 1 {
            let (pieces, frames) = mpsc::unbounded_channel::<Bytes>();
            pieces.send("beginning".into()).unwrap();
            endless.lock().unwrap().push(pieces);
            let frames = stream::unfold(frames, async |mut frames| {
                Some((Ok::<_, Infallible>(Frame::data(frames.recv().await?)), frames))
            });
            let frames: Pin<Box<dyn stream::Stream<Item = _> + Send + Sync>> = Box::pin(frames);
            *response.body_mut() = BodyExt::boxed(StreamBody::new(frames));
        }
        async move { (seen(&parts, Bytes::new()), response) }
    })
    .await;
    let gateway = gateway(&backend).await;
    let mut first = TcpStream::connect(gateway.http()).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nhost: test.example\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    while !received.windows(9).any(|piece| piece == b"beginning") {
        let mut piece = [0; 1024];
        let count = timeout(PATIENCE, first.read(&mut piece)).await.unwrap().unwrap();
        received.extend_from_slice(&piece[..count]);
    }
    let asking = join_all((0..10).map(|_| get(gateway.http(), "/").send()));
    let leaving = async {
        requests_under_way(&gateway, 11).await;
        assert_eq!(came.load(Ordering::SeqCst), 1);
        drop(first);
    };
    let began = Instant::now();
    let (answers, ()) = tokio::join!(asking, leaving);
    assert!(
        answers.iter().all(|answer| text(answer) == "answer 2"),
        "{:?}",
        answers.iter().map(text).collect::<Vec<_>>()
    );
    assert_eq!(came.load(Ordering::SeqCst), 2);
    assert!(began.elapsed() < Duration::from_secs(4), "they did not wait until they lost patience");
}

#[tokio::test]
async fn who_waits_has_a_time_limit_of_its_own() {
    let (backend, let_go, came) = held("max-age=60").await;
    let rules = "- cache: {}\n  timeouts: {request: 300ms}\n  backendRefs: [{name: echo, port: 80}]";
    let gateway = Gateway::with(&route(rules), &[("echo", backend.address)]).await;
    let answers = join_all((0..3).map(|_| get(gateway.http(), "/").send())).await;
    assert!(answers.iter().all(|answer| answer.status == 504), "{answers:?}");
    assert!(came.load(Ordering::SeqCst) <= 3);
    let_go.add_permits(50);
    let answer = get(gateway.http(), "/").send().await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_write_counts_although_its_client_has_left() {
    let (backend, let_go, came) = held("max-age=60").await;
    let gateway = gateway(&backend).await;
    let ask = || get(gateway.http(), "/");
    let_go.add_permits(1);
    assert_eq!(text(&ask().send().await), "answer 1");
    assert!(status(&ask().send().await).starts_with("gatehouse; hit"));
    let mut writer = TcpStream::connect(gateway.http()).await.unwrap();
    writer.write_all(b"DELETE / HTTP/1.1\r\nhost: test.example\r\n\r\n").await.unwrap();
    eventually("the backend has it", async || (came.load(Ordering::SeqCst) == 2).then_some(())).await;
    drop(writer);
    requests_under_way(&gateway, 0).await;
    // Nobody knows whether it was done.
    let_go.add_permits(50);
    assert_eq!(text(&ask().send().await), "answer 3");
}
