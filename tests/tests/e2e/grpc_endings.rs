//! How calls end: the code, the message and the details that the service gave reach its client, whatever came before.

use bytes::Bytes;
use futures_util::stream;
use gatehouse_tests::{
    backend::{Backend, Body},
    certs::Authority,
    client::{Answer, get},
    gateway::{EDGE, Gateway, service},
};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use crate::route;

/// What comes before the end.
const FORMS: [&str; 5] = ["nothing", "headers", "messages", "details", "empty-message"];
/// OK, NOT_FOUND, ABORTED, UNAUTHENTICATED.
const CODES: [&str; 4] = ["0", "5", "10", "16"];
const MESSAGE: &[u8] = b"\0\0\0\0\x02hi";
const EMPTY_MESSAGE: &[u8] = b"\0\0\0\0\0";

fn messages(form: &str) -> Vec<&'static [u8]> {
    match form {
        "messages" => vec![MESSAGE, MESSAGE],
        "details" => vec![MESSAGE],
        "empty-message" => vec![EMPTY_MESSAGE],
        _ => Vec::new(),
    }
}

fn end(form: &str, code: &str) -> HeaderMap {
    let mut end = HeaderMap::new();
    end.insert("grpc-status", HeaderValue::from_str(code).unwrap());
    end.insert("grpc-message", HeaderValue::from_static("said%20so"));
    if form == "details" {
        end.insert("grpc-status-details-bin", HeaderValue::from_static("CAUSBWhlbGxv"));
    }
    end
}

/// `/shop.Endings/FORM.CODE` ends so.
async fn endings() -> Backend {
    Backend::h2c(|parts, body| async move {
        let _ = body.collect().await;
        let (form, code) = parts.uri.path().rsplit('/').next().unwrap().split_once('.').unwrap();
        let end = end(form, code);
        let mut frames: Vec<_> =
            messages(form).into_iter().map(|message| Frame::data(Bytes::from(message))).collect();
        let mut headers = HeaderMap::new();
        if form == "nothing" {
            headers = end;
        } else {
            frames.push(Frame::trailers(end));
        }
        let frames = stream::iter(frames.into_iter().map(Ok));
        let mut response: Response<Body> = Response::new(BodyExt::boxed(StreamBody::new(frames)));
        *response.headers_mut() = headers;
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    })
    .await
}

fn check(answer: &Answer, form: &str, code: &str, what: &str) {
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/grpc")), "{what}");
    assert_eq!(answer.body, messages(form).concat(), "{what}");
    // With nothing before it the end may stand in the head.
    let told = answer.trailers.as_ref().unwrap_or(&answer.headers);
    for (name, value) in &end(form, code) {
        assert_eq!(told.get(name), Some(value), "{what}: {name}");
    }
}

#[tokio::test]
async fn clients_see_the_end_that_the_service_gave() {
    let (authority, endings) = (Authority::default(), endings().await);
    let edge = EDGE.replace(
        "  - {name: http,",
        "  - {name: https, protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: pair}]}}\n  - {name: http,",
    );
    let gateway = Gateway::builder()
        .file("edge.yaml", edge)
        .file("pair.yaml", authority.issue(&["localhost"]).secret("pair"))
        .file("routes.yaml", route("- backendRefs: [{name: endings, port: 80}]"))
        .file(
            "service.yaml",
            service("endings").replace("{port: 80}", "{port: 80, appProtocol: kubernetes.io/h2c}"),
        )
        .endpoint("endings", endings.address)
        .start()
        .await;
    for form in FORMS {
        for code in CODES {
            let call = |address| {
                get(address, &format!("/shop.Endings/{form}.{code}"))
                    .method("POST")
                    .header("content-type", "application/grpc")
                    .header("te", "trailers")
                    .body(MESSAGE)
            };
            let clear = call(gateway.http()).send_h2c().await;
            check(&clear, form, code, &format!("{form} {code} in clear text"));
            let encrypted = call(gateway.listener("https")).host("localhost");
            let encrypted = encrypted.send_tls("localhost", &authority.root, &["h2"]).await.unwrap();
            check(&encrypted, form, code, &format!("{form} {code} over TLS"));
        }
    }
}
