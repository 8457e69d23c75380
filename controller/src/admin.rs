//! What operators ask of a running controller: `/livez`, `/readyz` and `/metrics`. Nothing on it is secret, and nothing
//! on it changes anything.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

use crate::metrics::Metrics;

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a connection lives.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// At once; more are closed.
const CONNECTIONS: usize = 256;
/// Out of file descriptors: spinning does not give any back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const METRICS_TYPE: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What the pages are made from.
#[derive(Debug)]
pub struct Pages {
    pub metrics: Arc<Metrics>,
    /// The first state has been published.
    pub ready: watch::Receiver<bool>,
}

/// Runs until it is dropped.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(move |request: Request<Incoming>| {
                let response = pages.answer(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            // A prober that goes away is none of our business.
            let _ =
                timeout(CONNECTION_TIMEOUT, builder.serve_connection(TokioIo::new(stream), service)).await;
        });
    }
}

impl Pages {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        }
        match request.uri().path() {
            "/metrics" => {
                let mut response = text(StatusCode::OK, self.metrics.render());
                response.headers_mut().insert(CONTENT_TYPE, METRICS_TYPE);
                response
            }
            "/livez" => text(StatusCode::OK, "ok\n"),
            "/readyz" if *self.ready.borrow() => text(StatusCode::OK, "ok\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not every kind has been listed yet\n"),
            _ => text(StatusCode::NOT_FOUND, "pages: /metrics /livez /readyz\n"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn pages_say_how_it_stands() {
        let (ready, receiver) = watch::channel(false);
        let pages = Pages { metrics: Arc::default(), ready: receiver };
        let get = |path: &str| pages.answer(&Request::get(path).body(()).unwrap());
        assert_eq!(get("/livez").status(), StatusCode::OK);
        assert_eq!(get("/readyz").status(), StatusCode::SERVICE_UNAVAILABLE);
        ready.send_replace(true);
        assert_eq!(get("/readyz").status(), StatusCode::OK);
        assert_eq!(get("/x").status(), StatusCode::NOT_FOUND);
        let body = get("/metrics").into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("gatehouse_controller_leader 0"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
        let post = pages.answer(&Request::post("/livez").body(()).unwrap());
        assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
