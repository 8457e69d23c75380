//! Requests and responses.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::TRAILER};
use http_body::{Body as _, Frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::sleep,
};

use super::{Fake, GET, Reply, answer, connect, connect_with, data, last, local, ok, rest, switching, whole};

#[tokio::test(start_paused = true)]
async fn pipelined_requests_are_answered_in_their_order() {
    let stream = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                  PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nde\r\n1\r\nf\r\n0\r\n\r\n\
                  GET /d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n";
    let wanted = [ok("/a "), ok("/b abc"), ok("/c def"), last("/d ")].concat();
    for size in [1, 2, 7, 64, stream.len()] {
        local(async {
            let service = Fake::echo();
            let (mut client, running) = connect(&service);
            for piece in stream.as_bytes().chunks(size) {
                let _ = client.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            assert_eq!(rest(&mut client).await.unwrap(), wanted, "{size}");
            running.await.unwrap().unwrap();
            assert_eq!(service.seen(), ["GET /a", "POST /b", "PUT /c", "GET /d"]);
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn old_clients_are_answered_in_their_version() {
    local(async {
        for (field, size, wanted) in [
            ("", true, "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"),
            (
                "Connection: keep-alive\r\n",
                true,
                "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok",
            ),
            ("Connection: keep-alive\r\n", false, "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\nok"),
        ] {
            let service = Fake::new(move |_| async move {
                if size {
                    return whole("ok");
                }
                let (sender, frames) = mpsc::unbounded_channel();
                sender.send(Ok(Frame::data("ok".into()))).unwrap();
                Response::new(Reply::Stream(frames))
            });
            let (mut client, _running) = connect(&service);
            client.write_all(format!("GET / HTTP/1.0\r\n{field}\r\n").as_bytes()).await.unwrap();
            assert_eq!(answer(&mut client).await, wanted, "{field} {size}");
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_streams_as_it_comes_and_its_trailers_follow() {
    local(async {
        let announced = [(TRAILER, HeaderValue::from_static("x-sum"))].into_iter().collect();
        let (sender, service) = Fake::streaming(announced);
        let (mut client, _running) = connect(&service);
        client.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(
            answer(&mut client).await,
            "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let send =
            |text: &'static str| sender.send(Ok(Frame::data(Bytes::from_static(text.as_bytes())))).unwrap();
        send("first");
        assert_eq!(answer(&mut client).await, "5\r\nfirst\r\n");
        send("");
        send("second");
        send("third");
        assert_eq!(answer(&mut client).await, "6\r\nsecond\r\n5\r\nthird\r\n");
        let trailers: HeaderMap =
            [(HeaderName::from_static("x-sum"), HeaderValue::from_static("3"))].into_iter().collect();
        sender.send(Ok(Frame::trailers(trailers))).unwrap();
        assert_eq!(answer(&mut client).await, "0\r\nx-sum: 3\r\n\r\n");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn large_bodies_arrive_whole_and_are_not_gathered_up() {
    local(async {
        let left = Rc::new(Cell::new(10));
        let pieces = Rc::clone(&left);
        let service = Fake::new(move |_| {
            let response = Response::new(Reply::Pieces(Rc::clone(&pieces)));
            async { response }
        });
        // The client takes little at a time.
        let (mut client, _running) = connect_with(&service, 1000);
        client.write_all(GET.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(left.get(), 9, "what the client does not take stays with the body");
        let mut all = Vec::new();
        while !all.ends_with(b"0\r\n\r\n") {
            client.read_buf(&mut all).await.unwrap();
        }
        assert_eq!(all.iter().filter(|byte| **byte == b'x').count(), 1_000_000);
        client.write_all(b"nonsense\r\n\r\n").await.unwrap();
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 400 "), "the stream is in step");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_may_be_read_by_another_task_and_after_the_response() {
    local(async {
        let (done, mut read) = mpsc::unbounded_channel();
        let service = Fake::new(move |request: http::Request<super::Body>| {
            let done = done.clone();
            async move {
                if request.body().is_end_stream() {
                    return whole("none");
                }
                let mut body = request.into_body();
                tokio::task::spawn_local(async move {
                    while let Some(piece) = data(&mut body).await {
                        done.send(piece.unwrap()).unwrap();
                    }
                });
                whole("early")
            }
        });
        let (mut client, _running) = connect(&service);
        client.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc").await.unwrap();
        assert_eq!(answer(&mut client).await, ok("early"));
        assert_eq!(read.recv().await.unwrap(), "abc");
        client.write_all(b"def").await.unwrap();
        client.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(read.recv().await.unwrap(), "def");
        assert_eq!(answer(&mut client).await, ok("none"));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_is_dropped_or_ends_the_connection() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for (length, sent, goes_on) in [
        (smuggled.len(), smuggled.to_owned(), true),
        (smuggled.len() + 1, smuggled.to_owned(), false),
        (200_000, smuggled.repeat(10), false),
        (200_000, "x".repeat(200_000), false),
    ] {
        local(async {
            let service = Fake::new(|_| async { whole("early") });
            let (mut client, running) = connect(&service);
            let request = format!("POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{sent}");
            client.write_all(request.as_bytes()).await.unwrap();
            if goes_on {
                assert_eq!(answer(&mut client).await, ok("early"));
                client.write_all(GET.as_bytes()).await.unwrap();
                assert_eq!(answer(&mut client).await, ok("early"));
                assert_eq!(service.seen(), ["POST /one", "GET /"]);
            } else {
                assert_eq!(rest(&mut client).await.unwrap(), last("early"), "{length}");
                running.await.unwrap().unwrap();
                assert_eq!(service.seen(), ["POST /one"]);
            }
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_leave_gets_it_when_the_body_is_wanted() {
    local(async {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        let service = Fake::echo();
        let (mut client, _running) = connect(&service);
        client.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(answer(&mut client).await, "HTTP/1.1 100 Continue\r\n\r\n");
        client.write_all(b"ab").await.unwrap();
        assert_eq!(answer(&mut client).await, ok("/ ab"));
        // Who does not wait needs none.
        client.write_all(format!("{head}cd").as_bytes()).await.unwrap();
        assert_eq!(answer(&mut client).await, ok("/ cd"));

        let service = Fake::new(|_| async { whole("no") });
        let (mut client, _running) = connect(&service);
        client.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut client).await.unwrap(), last("no"), "whether the body comes is not known");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_takes_the_connection_and_what_came_early() {
    let ask = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    local(async {
        let service = Fake::new(|_| async { switching() });
        let (mut client, running) = connect(&service);
        client.write_all(format!("{ask}early").as_bytes()).await.unwrap();
        assert_eq!(
            answer(&mut client).await,
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\nthrough the tunnel"
        );
        client.write_all(b"more").await.unwrap();
        client.shutdown().await.unwrap();
        running.await.unwrap().unwrap();
        assert_eq!(service.seen(), ["GET /ws", "tunnel early", "more"]);

        // RFC 9931: what follows a request that was not granted is no request.
        let service = Fake::echo();
        let (mut client, running) = connect(&service);
        client.write_all(format!("{ask}{GET}").as_bytes()).await.unwrap();
        assert_eq!(rest(&mut client).await.unwrap(), last("/ws "));
        running.await.unwrap().unwrap();
        assert_eq!(service.seen(), ["GET /ws"]);

        // Nobody asked for one.
        let service = Fake::new(|_| async { switching() });
        let (mut client, _running) = connect(&service);
        client.write_all(GET.as_bytes()).await.unwrap();
        assert!(answer(&mut client).await.starts_with("HTTP/1.1 500 "));
    })
    .await;
}
