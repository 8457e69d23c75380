//! Exchanges over loopback with a backend that follows a script.

use std::{convert::Infallible, io::Cursor, pin::pin, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, join, stream};
use http::Method;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

use super::{request, run};
use crate::upstream::http1::{Answered, Connection, Outcome, Scratch, exchange};

const PATIENCE: Duration = Duration::from_secs(10);
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

async fn pair() -> (Connection<TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (near, far) = join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    (Connection::new(near.unwrap()), far.unwrap().0)
}

/// Reads until what was read ends like this.
async fn read_until(backend: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    timeout(PATIENCE, async {
        while !read.ends_with(end) {
            read.push(backend.read_u8().await.unwrap());
        }
    })
    .await
    .unwrap_or_else(|_| panic!("only this came: {:?}", String::from_utf8_lossy(&read)));
    read
}

async fn becomes_noisy(connection: &mut Connection<TcpStream>) {
    timeout(PATIENCE, async {
        while connection.is_quiet() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_connection_serves_again_until_its_peer_says_something() {
    let (mut connection, mut backend) = pair().await;
    for _ in 0..3 {
        assert!(connection.is_quiet());
        let answering = async {
            read_until(&mut backend, b"\r\n\r\n").await;
            backend.write_all(OK).await.unwrap();
        };
        let (ran, ()) = join!(run(connection, Method::GET, Empty::new()), answering);
        connection = ran.unwrap().1.unwrap();
    }
    assert!(connection.is_quiet());
    backend.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
    becomes_noisy(&mut connection).await;

    let (mut closed, backend) = pair().await;
    assert!(closed.is_quiet());
    drop(backend);
    becomes_noisy(&mut closed).await;
}

#[tokio::test]
async fn a_backend_that_closes_without_a_word_is_silent() {
    let (connection, mut backend) = pair().await;
    let closing = async {
        read_until(&mut backend, b"\r\n\r\n").await;
        drop(backend);
    };
    let (ran, ()) = join!(run(connection, Method::GET, Empty::<Bytes>::new()), closing);
    assert!(ran.unwrap_err().1);
}

#[tokio::test]
async fn bodies_are_framed_by_what_is_known_of_them() {
    let pieces = |sizes: &'static [usize]| {
        let frames =
            sizes.iter().map(|size| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; *size]))));
        StreamBody::new(stream::iter(frames))
    };
    let (connection, mut backend) = pair().await;
    let answering = async {
        let all = read_until(&mut backend, b"\r\n0\r\n\r\n").await;
        backend.write_all(OK).await.unwrap();
        String::from_utf8(all).unwrap()
    };
    let (ran, seen) = join!(run(connection, Method::POST, pieces(&[3, 0, 20_000, 1])), answering);
    let long = "x".repeat(20_000);
    let expected = format!("3\r\nxxx\r\n4e20\r\n{long}\r\n1\r\nx\r\n0\r\n\r\n");
    assert!(seen.ends_with(&format!("\r\ntransfer-encoding: chunked\r\n\r\n{expected}")), "{seen}");
    let mut connection = ran.unwrap().1.unwrap();

    for size in [1, 5_000, 3_000_000] {
        let serving = async {
            let head = read_until(&mut backend, b"\r\n\r\n").await;
            let mut body = vec![0; size];
            backend.read_exact(&mut body).await.unwrap();
            backend.write_all(OK).await.unwrap();
            (head, body)
        };
        let (ran, (head, body)) = join!(run(connection, Method::PUT, Full::from(vec![b'x'; size])), serving);
        assert!(head.ends_with(format!("\r\ncontent-length: {size}\r\n\r\n").as_bytes()));
        assert!(body.iter().all(|byte| *byte == b'x'));
        connection = ran.unwrap().1.unwrap();
    }
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_request() {
    for answer in [
        &b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"[..],
        b"HTTP/1.1 413 Content Too Large\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nn\r\n1\r\no\r\n0\r\n\r\n",
    ] {
        let (connection, mut backend) = pair().await;
        let (pieces, body) = mpsc::unbounded_channel();
        let body = StreamBody::new(stream_of(body));
        pieces.send(Bytes::from_static(b"first")).unwrap();
        let answering = async {
            read_until(&mut backend, b"first\r\n").await;
            backend.write_all(answer).await.unwrap();
        };
        let (head, scratch) = (request(Method::POST), Scratch::default());
        let (sent, ()) = join!(exchange(connection, &head, body, &scratch), answering);
        let Answered { response, over } = sent.unwrap();
        assert_eq!(response.status(), 413);
        let mut body = response.into_body();
        let mut data = Vec::new();
        while let Some(frame) = timeout(PATIENCE, body.frame()).await.unwrap() {
            data.extend(frame.unwrap().into_data().unwrap());
        }
        assert_eq!(data, b"no");
        // Not to be used again; but the backend may have the rest.
        let Some(Outcome::Sending(link)) = over.or_else(|| body.take_outcome()) else {
            panic!("not sending")
        };
        let rest = async {
            pieces.send(Bytes::from_static(b"second")).unwrap();
            read_until(&mut backend, b"second\r\n").await;
            drop(pieces);
            read_until(&mut backend, b"0\r\n\r\n").await;
        };
        let (finished, ()) = join!(timeout(PATIENCE, link.finish_sending()), rest);
        finished.unwrap();
    }
}

fn stream_of(
    pieces: mpsc::UnboundedReceiver<Bytes>,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin {
    Box::pin(stream::unfold(pieces, async |mut pieces| {
        let piece = pieces.recv().await?;
        Some((Ok(Frame::data(piece)), pieces))
    }))
}

#[tokio::test]
async fn both_ways_flow_at_once() {
    let (connection, mut backend) = pair().await;
    let (pieces, body) = mpsc::unbounded_channel();
    let body = StreamBody::new(stream_of(body));
    let echoing = async {
        read_until(&mut backend, b"\r\n\r\n").await;
        backend.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        loop {
            let size = read_until(&mut backend, b"\r\n").await;
            let rest = read_until(&mut backend, b"\r\n").await;
            backend.write_all(&[&size[..], &rest].concat()).await.unwrap();
            if size == b"0\r\n" {
                break;
            }
        }
    };
    let asking = async {
        let sent = exchange(connection, &request(Method::POST), body, &Scratch::default()).await;
        let mut body = sent.unwrap().response.into_body();
        for piece in ["one", "two", "three"] {
            pieces.send(Bytes::from_static(piece.as_bytes())).unwrap();
            let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        drop(pieces);
        assert!(timeout(PATIENCE, body.frame()).await.unwrap().is_none());
        assert!(matches!(body.take_outcome(), Some(Outcome::Free(_))));
    };
    join!(echoing, asking);
}

#[tokio::test]
async fn a_backend_that_takes_no_more_is_still_heard() {
    let (connection, mut backend) = pair().await;
    let refusing = async {
        read_until(&mut backend, b"\r\n\r\n").await;
        backend
            .write_all(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            .await
            .unwrap();
        backend.shutdown().await.unwrap();
        // Reads on for as long as there is something, as servers that linger do.
        let mut sink = vec![0; 64 << 10];
        while backend.read(&mut sink).await.is_ok_and(|read| read > 0) {}
    };
    let body = Full::from(vec![b'x'; 4_000_000]);
    let (ran, ()) = join!(run(connection, Method::POST, body), refusing);
    let (got, _) = ran.unwrap();
    assert_eq!((got.status, &got.data[..], got.free), (413, &b"no"[..], false));
}

#[tokio::test]
async fn the_request_may_break_off() {
    let (connection, mut backend) = pair().await;
    let pieces = stream::iter([Ok(Frame::data(Bytes::from_static(b"half"))), Err("gone")]);
    // The error must not be waited for in vain.
    let (ran, _) =
        join!(timeout(PATIENCE, run(connection, Method::POST, StreamBody::new(pieces.boxed()))), async {
            let mut all = Vec::new();
            let _ = backend.read_to_end(&mut all).await;
            assert!(!all.ends_with(b"0\r\n\r\n"), "a broken body never ends cleanly");
        });
    assert!(matches!(ran.unwrap().unwrap_err(), (crate::upstream::http1::Error::Request(_), true)));
}

#[tokio::test]
async fn after_101_the_bytes_behind_the_head_belong_to_the_other_protocol() {
    let (connection, mut backend) = pair().await;
    let switching = async {
        read_until(&mut backend, b"\r\n\r\n").await;
        backend
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst",
            )
            .await
            .unwrap();
        read_until(&mut backend, b"ping").await;
        backend.write_all(b" second").await.unwrap();
        backend.shutdown().await.unwrap();
    };
    let asking = async {
        let head = request(Method::GET);
        let sent = exchange(connection, &head, Empty::<Bytes>::new(), &Scratch::default()).await.unwrap();
        assert!(sent.over.is_none());
        assert_eq!(sent.response.status(), 101);
        let (mut stream, first) = sent.response.into_body().into_switched().unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut all = String::new();
        pin!(Cursor::new(first).chain(stream)).read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "first second");
    };
    join!(switching, asking);
}

#[tokio::test]
async fn nobody_switches_before_the_request_is_whole() {
    let (connection, mut backend) = pair().await;
    let switching = async {
        read_until(&mut backend, b"\r\n\r\n").await;
        backend.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").await.unwrap();
    };
    let (_pieces, body) = mpsc::unbounded_channel();
    let body = StreamBody::new(stream_of(body));
    let (ran, ()) = join!(timeout(PATIENCE, run(connection, Method::POST, body)), switching);
    assert!(ran.unwrap().is_err());
}

#[tokio::test]
async fn half_closed_backends_end_their_bodies() {
    for (answer, clean) in [
        (&b"HTTP/1.1 200 OK\r\n\r\nok"[..], true),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", false),
    ] {
        let (connection, mut backend) = pair().await;
        let answering = async {
            read_until(&mut backend, b"\r\n\r\n").await;
            backend.write_all(answer).await.unwrap();
            backend.shutdown().await.unwrap();
            backend
        };
        let (ran, _open) =
            join!(timeout(PATIENCE, run(connection, Method::GET, Empty::<Bytes>::new())), answering);
        let (got, _) = ran.unwrap().unwrap();
        assert_eq!((&got.data[..], got.clean, got.free), (&b"ok"[..], clean, false));
    }
}
