//! The same bytes give the same response, wherever the network cuts them.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::Method;
use http_body_util::Empty;
use proptest::{
    collection::vec,
    prelude::{Strategy, proptest},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Got, run};
use crate::upstream::http1::Connection;

/// Gives its pieces one by one, never ready twice in a row, then ends or stays silent.
struct Cut {
    pieces: VecDeque<Vec<u8>>,
    ends: bool,
    ready: bool,
    written: Vec<u8>,
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ready = !self.ready;
        if !self.ready && (self.ends || !self.pieces.is_empty()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.pieces.pop_front() {
            Some(piece) => {
                let fits = piece.len().min(to.remaining());
                to.put_slice(&piece[..fits]);
                if fits < piece.len() {
                    self.pieces.push_front(piece[fits..].to_vec());
                }
                Poll::Ready(Ok(()))
            }
            None if self.ends => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // As little as a transport may take.
        let taken = bytes.len().min(7);
        self.written.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// `None`: it waits for ever. An error as its text, with whether it was silent.
fn read(method: &Method, bytes: &[u8], cuts: &[usize], ends: bool) -> Option<Result<Got, (String, bool)>> {
    let (mut pieces, mut from) = (VecDeque::new(), 0);
    for to in cuts.iter().copied().chain([bytes.len()]) {
        if to > from {
            pieces.push_back(bytes[from..to].to_vec());
            from = to;
        }
    }
    let stream = Cut { pieces, ends, ready: false, written: Vec::new() };
    let mut running = Box::pin(run(Connection::new(stream), method.clone(), Empty::<Bytes>::new()));
    let mut turns = 0..10_000;
    let done = turns.find_map(|_| running.as_mut().now_or_never())?;
    if let Ok((got, connection)) = &done
        && let Some(connection) = connection
    {
        assert!(got.clean);
        assert_eq!(connection.stream.written, format!("{method} / HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes());
    }
    Some(done.map(|(got, _)| got).map_err(|(error, silent)| (error.to_string(), silent)))
}

fn read_anyhow(method: &Method, bytes: &[u8], ends: bool) -> Option<Result<Got, (String, bool)>> {
    let whole = read(method, bytes, &[], ends);
    for cut in 1..bytes.len() {
        let mut got = read(method, bytes, &[cut], ends);
        // What comes behind a response and after it is seen before the next request, not by this one.
        if let (Some(Ok(got)), Some(Ok(whole))) = (&mut got, &whole)
            && got.free
        {
            got.free = whole.free;
        }
        assert_eq!(got, whole, "cut at {cut}: {:?}", String::from_utf8_lossy(bytes));
    }
    whole
}

#[test]
fn responses() {
    let (get, head) = (Method::GET, Method::HEAD);
    for (method, bytes, ends, status, data, free) in [
        (&get, &b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], false, 200, "ok", true),
        (&get, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", false, 200, "ok", false),
        (&get, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", false, 200, "ok", false),
        (&get, b"HTTP/1.1 204 No Content\r\n\r\n", false, 204, "", true),
        (&get, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, 304, "", true),
        (&head, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false, 200, "", true),
        (&head, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, 200, "", true),
        (&get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false, 200, "ok", true),
        (&get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n2\r\nko\r\n0\r\n\r\n", false, 200, "okko", true),
        (&get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false, 200, "", true),
        (&get, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore", false, 200, "ok", false),
        (&get, b"HTTP/1.1 200 OK\r\n\r\nuntil the end", true, 200, "until the end", false),
        (&get, b"HTTP/1.0 200 OK\r\n\r\n", true, 200, "", false),
        (&get, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 103 E\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, 200, "ok", true),
    ] {
        let got = read_anyhow(method, bytes, ends).unwrap().unwrap();
        let expected = Got { status, data: data.into(), trailers: None, clean: true, free };
        assert_eq!(got, expected, "{:?}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn trailers_come_last() {
    let bytes =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n";
    let got = read_anyhow(&Method::GET, bytes, false).unwrap().unwrap();
    assert_eq!((got.data, got.clean, got.free), ("ok".into(), true, true));
    assert_eq!(got.trailers.unwrap()["grpc-status"], "0");
}

#[test]
fn what_breaks_off_never_ends_cleanly() {
    for bytes in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX0\r\n\r\n",
    ] {
        let got = read_anyhow(&Method::GET, bytes, true).unwrap().unwrap();
        assert!(!got.clean && !got.free, "{got:?}");
        assert_eq!(got.data, "ok");
    }
}

#[test]
fn what_is_no_response_is_an_error() {
    for (bytes, silent) in [
        (&b""[..], true),
        (b"H", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", false),
        (b"HTTP/1.1 100 Continue\r\n\r\n", false),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk", false),
    ] {
        let (_, was_silent) = read_anyhow(&Method::GET, bytes, true).unwrap().unwrap_err();
        assert_eq!(was_silent, silent, "{bytes:?}");
    }
}

#[test]
fn large_bodies_are_whole() {
    let body: Vec<u8> = (0..700_000_u32).map(|at| at.to_le_bytes()[at as usize % 4]).collect();
    let fixed =
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(100_001) {
        chunked.extend(format!("{:X}\r\n", chunk.len()).bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let close = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &body].concat();
    for (bytes, ends) in [(fixed, false), (chunked, false), (close, true)] {
        for cuts in [vec![], vec![bytes.len() / 3], (0..bytes.len()).step_by(9_999).collect()] {
            let got = read(&Method::GET, &bytes, &cuts, ends).unwrap().unwrap();
            assert!(got.clean && got.free != ends && got.data == body);
        }
    }
}

proptest! {
    #[test]
    fn any_cuts_give_the_same(cuts in vec(1..140_usize, 0..20).prop_map(|mut cuts| { cuts.sort_unstable(); cuts })) {
        let bytes = b"HTTP/1.1 103 Early Hints\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\nt: 1\r\n\r\n";
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
        assert_eq!(read(&Method::GET, bytes, &cuts, false), read(&Method::GET, bytes, &[], false));
    }
}
