//! How a gateway ends: what runs finishes, and nobody who asks nothing is waited for.

use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use gatehouse_tests::{
    PATIENCE,
    backend::Backend,
    certs::Authority,
    gateway::{EDGE, Gateway, service},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_tungstenite::tungstenite::Message;

use crate::{route, to_echo};

#[tokio::test]
async fn a_drain_waits_for_nobody_who_asks_nothing() {
    let authority = Authority::default();
    let edge = EDGE.replace(
        "  - {name: http,",
        "  - {name: https, protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: pair}]}}\n  - {name: http,",
    );
    let sockets = Backend::accepting(|stream, _| async move {
        let Ok(mut socket) = tokio_tungstenite::accept_async(stream).await else { return };
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await;
    let mut gateway = Gateway::builder()
        .file("edge.yaml", edge)
        .file("pair.yaml", authority.issue(&["localhost"]).secret("pair"))
        .file("routes.yaml", to_echo())
        .file("service.yaml", service("echo"))
        .endpoint("echo", sockets.address)
        .start()
        .await;
    let (http, https) = (gateway.http(), gateway.listener("https"));
    // Each of these used to hold the drain up: nothing sent, half a preface, half a handshake, a WebSocket.
    let _silent = TcpStream::connect(http).await.unwrap();
    let mut half = TcpStream::connect(http).await.unwrap();
    half.write_all(b"PRI").await.unwrap();
    let _unshaken = TcpStream::connect(https).await.unwrap();
    let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{http}/ws")).await.unwrap();
    socket.send(Message::text("one")).await.unwrap();
    assert!(timeout(PATIENCE, socket.next()).await.unwrap().unwrap().is_ok());

    let began = Instant::now();
    gateway.interrupt();
    let told = timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
    let Message::Close(Some(frame)) = told else { panic!("{told:?}") };
    assert_eq!(u16::from(frame.code), 1001);
    assert_eq!(gateway.ended().await, Some(0));
    assert!(began.elapsed() < Duration::from_secs(4), "it took {:?}", began.elapsed());
}

#[tokio::test]
async fn a_signal_right_behind_the_announcement_drains() {
    let mut gateway = Gateway::with(&route("- respond: {status: 204}"), &[]).await;
    gateway.interrupt();
    assert_eq!(gateway.ended().await, Some(0));
}
