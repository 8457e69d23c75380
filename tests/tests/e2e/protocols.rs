//! HTTP/1.1, HTTP/2, gRPC, WebSocket, and bodies that flow as they come.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use gatehouse_tests::{
    PATIENCE,
    backend::{Backend, Body, full, header, status},
    client::{get, raw},
    gateway::{EDGE, Gateway, service},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::{route, to_echo};

#[tokio::test]
async fn http2_without_tls_and_http1_on_one_port() {
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    let one = get(gateway.http(), "/a?b").send().await.json();
    let two = get(gateway.http(), "/a?b").send_h2c().await.json();
    assert_eq!(one["path"], two["path"]);
    assert_eq!(header(&two, "host"), Some("test.example"), ":authority becomes Host");
    assert_eq!(get(gateway.http(), "/%2e%2e/x").send_h2c().await.status, 400);
    let old = raw(gateway.http(), b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", Duration::from_secs(3)).await;
    assert_eq!(
        (old.statuses().len(), old.closed),
        (0, true),
        "an old client is answered in its own version: {old:?}"
    );
    assert!(old.text.starts_with("HTTP/1.0 200"), "{old:?}");
}

fn stream(frames: mpsc::UnboundedReceiver<Frame<Bytes>>) -> Body {
    let frames = futures_util::stream::unfold(frames, async |mut frames| {
        let frame = frames.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(frame), frames))
    });
    BodyExt::boxed(StreamBody::new(
        Box::pin(frames) as Pin<Box<dyn futures_util::Stream<Item = _> + Send + Sync>>
    ))
}

#[tokio::test]
async fn bodies_flow_both_ways_as_they_come() {
    // Answers at once, and sends each piece back when it has come.
    let backend = Backend::serving(|parts, mut body| async move {
        let (pieces, frames) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    let _ = pieces.send(Frame::data(data));
                }
            }
        });
        let seen = gatehouse_tests::backend::Seen {
            method: parts.method.to_string(),
            path: String::new(),
            headers: parts.headers,
            body: Bytes::new(),
        };
        (seen, Response::new(stream(frames)))
    })
    .await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    let connection = TcpStream::connect(gateway.http()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.unwrap();
    tokio::spawn(connection);
    let (pieces, frames) = mpsc::unbounded_channel();
    let request = Request::post("/").header("host", "a").body(stream(frames)).unwrap();
    pieces.send(Frame::data("first".into())).unwrap();
    let mut response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap().into_body();
    for piece in ["first", "second", "third"] {
        if piece != "first" {
            pieces.send(Frame::data(piece.into())).unwrap();
        }
        // The next one is not sent before this one has come back.
        let frame = timeout(PATIENCE, response.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), piece);
    }
    drop(pieces);
    assert!(timeout(PATIENCE, response.frame()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_body_that_the_backend_breaks_off_never_ends_cleanly() {
    let backend = Backend::raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    let answer = raw(gateway.http(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Duration::from_secs(3)).await;
    assert!(answer.closed && answer.text.contains("hello"), "{answer:?}");
    assert!(!answer.text.ends_with("0\r\n\r\n"), "{answer:?}");
}

#[tokio::test]
async fn websockets_pass_and_only_after_a_matching_101() {
    let sockets = Backend::accepting(|stream, _| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let plain = Backend::echo("plain").await;
    let rules = "
- matches: [{path: {value: /plain}}]
  backendRefs: [{name: plain, port: 80}]
- backendRefs: [{name: sockets, port: 80}]";
    let gateway =
        Gateway::with(&route(rules), &[("sockets", sockets.address), ("plain", plain.address)]).await;
    let (mut socket, response) =
        tokio_tungstenite::connect_async(format!("ws://{}/ws", gateway.http())).await.unwrap();
    assert_eq!(response.status(), 101);
    for text in ["one", "two"] {
        socket.send(Message::text(text)).await.unwrap();
        let back = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(back.into_text().unwrap(), text);
    }
    // A change of other routes leaves it alone.
    gateway.write(
        "more.yaml",
        &route("- matches: [{path: {value: /new}}]\n  respond: {status: 204}")
            .replace("{name: r}", "{name: new}"),
    );
    gatehouse_tests::eventually("the new route serves", async || {
        (get(gateway.http(), "/new").send().await.status == 204).then_some(())
    })
    .await;
    socket.send(Message::text("three")).await.unwrap();
    assert!(timeout(PATIENCE, socket.next()).await.unwrap().unwrap().is_ok());
    socket.close(None).await.unwrap();

    // RFC 9931: what a client sends before the answer is dropped with the connection if the answer is no 101.
    let handshake = "GET /plain HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: \
                     13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let answer = raw(gateway.http(), handshake.as_bytes(), Duration::from_secs(3)).await;
    assert_eq!((answer.statuses(), answer.closed), (vec![200], true), "{answer:?}");
    assert_eq!(plain.seen().len(), 1);
}

/// A gRPC service in so far as the gateway sees one.
async fn grpc() -> Backend {
    Backend::h2c(|parts, body| async move {
        let message = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let trailers = |code: &'static str| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(code));
            trailers.insert("grpc-message", HeaderValue::from_static("said so"));
            trailers
        };
        let mut response = match parts.uri.path() {
            "/shop.Orders/TrailersOnly" => {
                let mut response = status(200);
                response.headers_mut().extend(trailers("5"));
                response
            }
            path => {
                let code = if path == "/shop.Orders/Fails" { "16" } else { "0" };
                let (frames, body) = mpsc::unbounded_channel();
                let _ = frames.send(Frame::data(message));
                let _ = frames.send(Frame::trailers(trailers(code)));
                Response::new(stream(body))
            }
        };
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    })
    .await
}

#[tokio::test]
async fn grpc_statuses_pass_and_our_own_errors_are_grpc_statuses() {
    let backend = grpc().await;
    let service = service("orders").replace("{port: 80}", "{port: 80, appProtocol: kubernetes.io/h2c}");
    let rules = "
- matches: [{path: {value: /shop.Locked}}]
  auth: {policyRef: {name: keys}}
  backendRefs: [{name: orders, port: 80}]
- matches: [{path: {value: /shop.Orders}}]
  backendRefs: [{name: orders, port: 80}]
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: keys}
spec: {anyOf: [{apiKey: {}}]}";
    let (rules, policy) = rules.split_once("---").unwrap();
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", format!("{}---{policy}", route(rules)))
        .file("service.yaml", service)
        .endpoint("orders", backend.address)
        .start()
        .await;
    let call = |path: &str| {
        let ask = get(gateway.http(), path)
            .method("POST")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        ask.body(&b"\0\0\0\0\x02hi"[..]).send_h2c()
    };
    for (path, code, message) in [
        ("/shop.Orders/Get", "0", &b"\0\0\0\0\x02hi"[..]),
        ("/shop.Orders/Fails", "16", b"\0\0\0\0\x02hi"),
        ("/shop.Orders/TrailersOnly", "5", b""),
        ("/shop.Locked/Get", "16", b""),
        ("/shop.Nothing/Get", "12", b""),
    ] {
        let answer = call(path).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/grpc"), "{path}");
        let told = answer.trailers.as_ref().unwrap_or(&answer.headers).get("grpc-status").cloned();
        assert_eq!(told.as_ref().and_then(|code| code.to_str().ok()), Some(code), "{path}: {answer:?}");
        assert_eq!(answer.body, message, "{path}");
    }
}

#[tokio::test]
async fn a_drain_lets_what_runs_finish() {
    let (release, released) = tokio::sync::watch::channel(false);
    let backend = Backend::serving(move |parts, _| {
        let mut released = released.clone();
        async move {
            let _ = released.wait_for(|released| *released).await;
            let seen = gatehouse_tests::backend::Seen {
                method: String::new(),
                path: parts.uri.path().into(),
                headers: parts.headers,
                body: Bytes::new(),
            };
            (seen, Response::new(full("finished")))
        }
    })
    .await;
    let mut gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    let http = gateway.http();
    let _idle = TcpStream::connect(http).await.unwrap();
    let running = tokio::spawn(get(http, "/").send());
    gatehouse_tests::eventually("the request is with the backend", async || {
        let metrics = get(gateway.admin(), "/metrics").send().await;
        String::from_utf8_lossy(&metrics.body).contains("gatehouse_connections_active 2").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    gateway.interrupt();
    gatehouse_tests::eventually("no new connections", async || TcpStream::connect(http).await.err()).await;
    release.send_replace(true);
    let answer = running.await.unwrap();
    assert_eq!((answer.status, &*answer.body), (200, &b"finished"[..]));
    assert_eq!(gateway.ended().await, Some(0));
    assert_eq!(gateway.access_log().len(), 1, "its line is written before the end");
}
