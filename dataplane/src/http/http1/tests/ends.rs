//! How connections end.

use std::{future::pending, time::Duration};

use bytes::BytesMut;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

use super::{Body, Fake, GET, SETTINGS, answer, connect, connect_with, local, ok, rest, whole};
use crate::http::http1::{LAST_CHANCE, serve};

fn refused(reason: &str, status: &str) -> String {
    ok(reason).replace("200 OK", status).replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1)
}

#[tokio::test(start_paused = true)]
async fn the_refused_is_answered_once_and_nothing_behind_it_is_read() {
    local(async {
        let service = Fake::echo();
        let (mut client, running) = connect(&service);
        client.write_all(format!("{GET}GET / HTTP/1.1\nHost: a\r\n\r\n{GET}").as_bytes()).await.unwrap();
        let wanted = ok("/ ") + &refused("bad_request", "400 Bad Request");
        assert_eq!(rest(&mut client).await.unwrap(), wanted);
        running.await.unwrap().unwrap();
        assert_eq!(service.seen(), ["GET /", "bad_request"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_refused_and_silence_is_not_answered() {
    local(async {
        for (sent, after, wanted) in [
            ("", SETTINGS.idle_timeout, String::new()),
            ("\r\n", SETTINGS.idle_timeout, String::new()),
            (
                &GET[..GET.len() - 1],
                SETTINGS.header_timeout,
                refused("request_timeout", "408 Request Timeout"),
            ),
        ] {
            for before in ["", GET] {
                let service = Fake::echo();
                let (mut client, running) = connect(&service);
                client.write_all(before.as_bytes()).await.unwrap();
                let first = answer(&mut client).await;
                assert_eq!(first, if before.is_empty() { String::new() } else { ok("/ ") });
                sleep(Duration::from_secs(3)).await;
                // More requests move the end, whatever the timer was set to.
                if !before.is_empty() {
                    client.write_all(GET.as_bytes()).await.unwrap();
                    assert_eq!(answer(&mut client).await, ok("/ "));
                }
                let began = Instant::now();
                for byte in sent.bytes() {
                    client.write_all(&[byte]).await.unwrap();
                    sleep(Duration::from_millis(10)).await;
                }
                assert_eq!(rest(&mut client).await.unwrap(), wanted, "{sent:?} {before:?}");
                running.await.unwrap().unwrap();
                let took = began.elapsed();
                let early = if wanted.is_empty() && before.is_empty() {
                    Duration::from_secs(4)
                } else {
                    Duration::from_millis(20)
                };
                assert!(
                    took + early >= after && took <= after + Duration::from_secs(1),
                    "{sent:?} {before:?}: {took:?}"
                );
            }
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_takes_its_request_with_it() {
    local(async {
        let service = Fake::new(|_| pending());
        let (mut client, running) = connect(&service);
        client.write_all(GET.as_bytes()).await.unwrap();
        sleep(Duration::from_secs(100)).await;
        assert_eq!(service.dropped.get(), 0, "it may take its time");
        // Half a close is a whole one.
        client.shutdown().await.unwrap();
        running.await.unwrap().unwrap();
        assert_eq!(service.dropped.get(), 1);

        // In the middle of a response, too.
        let (sender, service) = Fake::streaming(HeaderMap::new());
        let (mut client, running) = connect(&service);
        client.write_all(GET.as_bytes()).await.unwrap();
        sender.send(Ok(Frame::data("first".into()))).unwrap();
        assert!(answer(&mut client).await.ends_with("first\r\n"));
        drop(client);
        running.await.unwrap().unwrap();
        assert!(sender.is_closed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_ahead_waits_with_the_client() {
    local(async {
        let service = Fake::new(|_| pending());
        let (mut client, _running) = connect_with(&service, 10_000);
        client.write_all(GET.as_bytes()).await.unwrap();
        let flood = tokio::time::timeout(Duration::from_secs(1), client.write_all(&[b'x'; 100_000])).await;
        assert!(flood.is_err(), "nobody takes it");
        assert_eq!(service.seen(), ["GET /"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn bodies_that_break_off_say_how() {
    local(async {
        for (framing, end, error) in [
            ("Content-Length: 10", Some("half"), "/ the client went away"),
            ("Transfer-Encoding: chunked", Some("5\r\nhel"), "/ the client went away"),
            ("Transfer-Encoding: chunked", None, "/ the chunks are malformed"),
        ] {
            let service = Fake::echo();
            let (mut client, running) = connect(&service);
            client
                .write_all(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n").as_bytes())
                .await
                .unwrap();
            sleep(Duration::from_millis(1)).await;
            client.write_all(end.unwrap_or("0x\r\n").as_bytes()).await.unwrap();
            if end.is_some() {
                client.shutdown().await.unwrap();
            }
            let text = rest(&mut client).await.unwrap();
            assert!(text.ends_with(error) && text.contains("connection: close"), "{text}");
            running.await.unwrap().unwrap();
            assert_eq!(service.seen().len(), 1);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_response_that_breaks_off_never_ends_cleanly() {
    local(async {
        let (sender, service) = Fake::streaming(HeaderMap::new());
        let (mut client, running) = connect(&service);
        client.write_all(GET.as_bytes()).await.unwrap();
        sender.send(Ok(Frame::data("hello".into()))).unwrap();
        sender.send(Err("broken")).unwrap();
        assert!(rest(&mut client).await.unwrap().ends_with("5\r\nhello\r\n"));
        running.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test]
async fn where_the_close_ends_the_body_a_break_is_a_reset() {
    local(async {
        for breaks in [false, true] {
            let (sender, service) = Fake::streaming(HeaderMap::new());
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let running = tokio::task::spawn_local(serve(server, BytesMut::new(), service, SETTINGS));
            client.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
            sender.send(Ok(Frame::data("hello".into()))).unwrap();
            let mut read = BytesMut::new();
            while !read.ends_with(b"hello") {
                assert!(client.read_buf(&mut read).await.unwrap() > 0);
            }
            if breaks {
                sender.send(Err("broken")).unwrap();
            }
            drop(sender);
            assert_eq!(client.read_buf(&mut read).await.is_err(), breaks);
            running.await.unwrap().unwrap();
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_may_finish_what_it_was_saying() {
    local(async {
        let service = Fake::echo();
        let (mut client, running) = connect_with(&service, 1000);
        client.write_all(b"nonsense\r\n\r\n").await.unwrap();
        let began = Instant::now();
        client.write_all(&[b'x'; 100_000]).await.unwrap();
        assert!(rest(&mut client).await.unwrap().starts_with("HTTP/1.1 400 "));
        // The client says no more, and does not go: it is left.
        running.await.unwrap().unwrap();
        assert_eq!(began.elapsed().as_millis(), 500);

        // Nor is it listened to for ever.
        let (mut client, _running) = connect_with(&service, 1000);
        client.write_all(b"nonsense\r\n\r\n").await.unwrap();
        assert!(client.write_all(&vec![b'x'; 1 << 20]).await.is_err());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_who_asks_nothing_and_lets_others_finish() {
    local(async {
        let (go, gone) = tokio::sync::watch::channel(false);
        let service = Fake::new(move |request: Request<Body>| {
            let mut gone = gone.clone();
            async move {
                if request.uri() == "/slow" {
                    gone.wait_for(|gone| *gone).await.unwrap();
                }
                drop(request.into_body().collect().await);
                whole("done")
            }
        });
        let (mut fresh, _fresh) = connect(&service);
        let (mut late, _late) = connect(&service);
        let (mut used, _used) = connect(&service);
        let (mut busy, _busy) = connect(&service);
        used.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(answer(&mut used).await, ok("done"));
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert_eq!(answer(&mut busy).await, "");
        let began = Instant::now();
        service.drain.send_replace(true);
        assert_eq!(rest(&mut used).await.unwrap(), "");
        assert_eq!(began.elapsed(), Duration::ZERO, "who has been served has had its chance");
        late.write_all(GET.as_bytes()).await.unwrap();
        assert_eq!(rest(&mut late).await.unwrap(), ok("done"), "a first request may be on its way");
        assert_eq!(rest(&mut fresh).await.unwrap(), "");
        assert!((LAST_CHANCE..LAST_CHANCE * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
        go.send_replace(true);
        assert_eq!(rest(&mut busy).await.unwrap(), ok("done"));
    })
    .await;
}

#[test]
fn what_a_connection_shares_with_its_body_is_small() {
    let wire = size_of::<super::super::wire::Wire<TcpStream>>();
    assert!(wire <= 296, "{wire}");
}
