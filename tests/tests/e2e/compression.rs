//! Answers that are compressed on their way, and those that are not.

use std::{convert::Infallible, io::Read, pin::Pin};

use bytes::Bytes;
use futures_util::stream;
use gatehouse_tests::{
    PATIENCE,
    backend::{Backend, Body, full, seen},
    client::get,
    gateway::Gateway,
};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};

use crate::to_echo;

fn policy(fields: &str) -> String {
    format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {{name: echo}}\nspec: {{targetRefs: [{{name: \
         echo}}], compression: {{{fields}}}}}\n"
    )
}

fn typed(content_type: &'static str, mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
    response
}

fn decode(coding: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    match coding {
        "gzip" => flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text).unwrap(),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_string(&mut text).unwrap(),
        "zstd" => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_string(&mut text).unwrap(),
        other => unreachable!("{other}"),
    };
    text
}

#[tokio::test]
async fn clients_get_the_coding_that_they_like() {
    let page = "all of it is the same again and again. ".repeat(2000);
    let sent = page.clone();
    let backend = Backend::answering(move |seen| match &*seen.path {
        "/page" => typed("text/html; charset=utf-8", Response::new(full(sent.clone()))),
        "/short" => typed("text/html", Response::new(full("short"))),
        "/picture" => typed("image/png", Response::new(full(sent.clone()))),
        other => unreachable!("{other}"),
    })
    .await;
    let manifests = format!("{}{}", to_echo(), policy(""));
    let gateway = Gateway::with(&manifests, &[("echo", backend.address)]).await;
    for (accepts, coding) in
        [("gzip", "gzip"), ("gzip, br", "br"), ("br, zstd, gzip", "zstd"), ("gzip, br;q=0.1", "gzip")]
    {
        let ask = || get(gateway.http(), "/page").header("accept-encoding", accepts);
        for answer in [ask().send().await, ask().send_h2c().await] {
            assert_eq!(answer.header("content-encoding"), Some(coding), "{accepts}");
            assert_eq!(
                (answer.header("vary"), answer.header("content-length")),
                (Some("Accept-Encoding"), None)
            );
            assert!(answer.body.len() < page.len() / 20, "{}", answer.body.len());
            assert_eq!(decode(coding, &answer.body), page, "{accepts}");
        }
    }
    let plain = get(gateway.http(), "/page").send().await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), (None, Some("Accept-Encoding")));
    assert_eq!(plain.body, page);
    for path in ["/short", "/picture"] {
        let answer = get(gateway.http(), path).header("accept-encoding", "gzip").send().await;
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None), "{path}");
    }
    let head = get(gateway.http(), "/page").method("HEAD").header("accept-encoding", "gzip").send().await;
    assert_eq!((head.status, head.header("content-encoding")), (200, None));
    // The pool's connections are good for more.
    assert_eq!(get(gateway.http(), "/page").send().await.body, page);
}

#[tokio::test]
async fn what_has_come_is_not_held_back_for_more() {
    let (pieces, frames) = mpsc::unbounded_channel::<Bytes>();
    let frames = std::sync::Mutex::new(Some(frames));
    let backend = Backend::serving(move |parts, _| {
        let frames = frames.lock().unwrap().take().expect("it is asked once");
        let frames = stream::unfold(frames, async |mut frames| {
            Some((Ok::<_, Infallible>(Frame::data(frames.recv().await?)), frames))
        });
        let frames: Pin<Box<dyn stream::Stream<Item = _> + Send + Sync>> = Box::pin(frames);
        let response = typed("text/event-stream", Response::new(BodyExt::boxed(StreamBody::new(frames))));
        async move { (seen(&parts, Bytes::new()), response) }
    })
    .await;
    let manifests = format!("{}{}", to_echo(), policy("contentTypes: ['text/*']"));
    let gateway = Gateway::with(&manifests, &[("echo", backend.address)]).await;
    let connection = TcpStream::connect(gateway.http()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").header("host", "a").header("accept-encoding", "gzip");
    let request = request.body(Empty::<Bytes>::new()).unwrap();
    let response = timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut body = response.into_body();
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    for piece in ["data: one\n\n", "data: two\n\n", "data: three\n\n"] {
        pieces.send(piece.into()).unwrap();
        // The next one is not sent before this one can be read.
        while decoder.get_ref().is_empty() {
            let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
            std::io::Write::write_all(&mut decoder, &frame.into_data().unwrap()).unwrap();
            std::io::Write::flush(&mut decoder).unwrap();
        }
        assert_eq!(std::mem::take(decoder.get_mut()), piece.as_bytes());
    }
    drop(pieces);
    while let Some(frame) = timeout(PATIENCE, body.frame()).await.unwrap() {
        std::io::Write::write_all(&mut decoder, &frame.unwrap().into_data().unwrap()).unwrap();
    }
    decoder.try_finish().unwrap();
}
