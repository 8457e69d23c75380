//! `timeouts.connect` and `timeouts.idle` of a GatewayRoute: what is cut off, and what goes on however long it takes.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use gatehouse_tests::{
    backend::Backend,
    client::{get, raw, read_raw},
    gateway::Gateway,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use crate::route;

/// As the rules say.
const IDLE: Duration = Duration::from_millis(600);
/// Between two pieces of what goes on.
const STEP: Duration = Duration::from_millis(200);
/// So long is nobody patient here.
const LONG: Duration = Duration::from_secs(30);

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Reads a head, then does what its path says.
async fn backend() -> Backend {
    let again = Arc::new(AtomicUsize::new(0));
    Backend::accepting(move |mut stream, _| {
        let again = Arc::clone(&again);
        async move {
            let head = head(&mut stream).await;
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\n";
            match path.as_str() {
                "/again" if again.fetch_add(1, Ordering::SeqCst) > 0 => {
                    let _ = stream.write_all(&[ok, &b"answered"[..]].concat()).await;
                }
                "/drops" => {
                    let _ = stream.write_all(ok).await;
                    for _ in 0..8 {
                        sleep(STEP).await;
                        let _ = stream.write_all(b"x").await;
                    }
                }
                "/stalls" => {
                    let _ = stream.write_all(&[ok, &b"x"[..]].concat()).await;
                    sleep(LONG).await;
                }
                "/upload" => {
                    let mut read = Vec::new();
                    while !read.ends_with(b"0\r\n\r\n") {
                        match stream.read_u8().await {
                            Ok(byte) => read.push(byte),
                            Err(_) => return,
                        }
                    }
                    let _ = stream.write_all(&[ok, &b"has come"[..]].concat()).await;
                }
                _ => sleep(LONG).await,
            }
        }
    })
    .await
}

fn idle() -> String {
    route(
        "- matches: [{path: {value: /again}}]\n  timeouts: {idle: 600ms}\n  retry: {attempts: 1, backoff: 1ms}\n  backendRefs: \
         [{name: shop, port: 80}]\n- timeouts: {idle: 600ms}\n  backendRefs: [{name: shop, port: 80}]",
    )
}

#[tokio::test]
async fn what_moves_goes_on_and_silence_is_cut_off() {
    let shop = backend().await;
    let gateway = Gateway::with(&idle(), &[("shop", shop.address)]).await;
    let began = Instant::now();
    let answer = get(gateway.http(), "/silent").send().await;
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (504, Some("upstream_timeout")));
    assert!((IDLE..LONG / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    let answer = get(gateway.http(), "/again").send().await;
    assert_eq!((answer.status, &*answer.body), (200, &b"answered"[..]));

    // Both take more than twice as long as silence may.
    let began = Instant::now();
    let answer = get(gateway.http(), "/drops").send().await;
    assert_eq!((answer.status, &*answer.body), (200, &b"xxxxxxxx"[..]));
    assert!(began.elapsed() > 2 * IDLE, "{:?}", began.elapsed());
    let began = Instant::now();
    let mut client = TcpStream::connect(gateway.http()).await.unwrap();
    client
        .write_all(b"POST /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    for _ in 0..8 {
        sleep(STEP).await;
        client.write_all(b"1\r\nx\r\n").await.unwrap();
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let answer = timeout(LONG, read_raw(&mut client, 2 * IDLE)).await.unwrap();
    assert!(began.elapsed() > 2 * IDLE && answer.text.ends_with("has come"), "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_stalls_breaks_off_and_the_log_says_why() {
    let shop = backend().await;
    let gateway = Gateway::with(&idle(), &[("shop", shop.address)]).await;
    let request = b"GET /stalls HTTP/1.1\r\nHost: h\r\nX-Request-Id: stalled\r\n\r\n";
    let answer = raw(gateway.http(), request, LONG).await;
    assert!(answer.closed && answer.text.ends_with("\r\n\r\nx"), "{answer:?}");
    let line = gateway.logged("stalled").await;
    assert_eq!((line["status"].as_i64(), line["reason"].as_str()), (Some(200), Some("upstream_timeout")));
}

#[tokio::test]
async fn a_silent_websocket_ends_and_one_that_talks_does_not() {
    let talks = Backend::accepting(|stream, _| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && futures_util::SinkExt::send(&mut socket, message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let gateway = Gateway::with(&idle(), &[("shop", talks.address)]).await;
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/", gateway.http())).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < 2 * IDLE {
        sleep(STEP).await;
        futures_util::SinkExt::send(&mut socket, "hello".into()).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap().is_text());
    }
    let ended = timeout(LONG, socket.next()).await.expect("silence ends it");
    assert!(!matches!(ended, Some(Ok(ref message)) if message.is_text()), "{ended:?}");
}

/// Who listens and takes no connection: the kernel answers no SYN while the queue of a listener is full.
async fn deaf() -> (SocketAddr, Vec<TcpStream>, tokio::net::TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let (address, mut taken) = (listener.local_addr().unwrap(), Vec::new());
    while let Ok(stream) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
        taken.push(stream.unwrap());
    }
    (address, taken, listener)
}

#[tokio::test]
async fn connecting_takes_as_long_as_the_rule_says() {
    let (address, _taken, _listener) = deaf().await;
    let rules = "- timeouts: {connect: 100ms}\n  backendRefs: [{name: deaf, port: 80}]";
    let gateway = Gateway::with(&route(rules), &[("deaf", address)]).await;
    let began = Instant::now();
    let answer = get(gateway.http(), "/").send().await;
    assert_eq!((answer.status, answer.json()["reason"].as_str()), (502, Some("connect_failed")));
    // One endpoint, three tries, which take 9 seconds where no rule says otherwise.
    let took = began.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_secs(6)).contains(&took), "{took:?}");
}
