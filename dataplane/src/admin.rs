//! What operators ask of a running dataplane: `/metrics`, `/livez` and `/readyz`, on a port of its own that no route can
//! reach. Nothing on it is secret, and nothing on it changes anything.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE},
};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::debug;

const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that a connection lives: a reader that does not read must not hold its page for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
/// At once; more are closed.
const CONNECTIONS: usize = 256;
/// Out of file descriptors: closing connections frees some, spinning does not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const METRICS_TYPE: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
const TEXT_TYPE: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// What the pages say.
pub(crate) trait Pages: Send + Sync + 'static {
    /// May take long: it is called where blocking is allowed.
    fn metrics(&self) -> String;
    /// `Err`: why it is not ready.
    fn ready(&self) -> Result<(), &'static str>;
}

/// Runs until it is dropped.
pub(crate) async fn serve(listener: TcpListener, pages: Arc<impl Pages>) {
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
                let pages = Arc::clone(&pages);
                async move { Ok::<_, Infallible>(answer(&request, pages).await) }
            });
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
            let serving = builder.serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = timeout(CONNECTION_TIMEOUT, serving).await {
                debug!(%error, "admin connection");
            }
        });
    }
}

async fn answer<B>(request: &Request<B>, pages: Arc<impl Pages>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        // With many routes the text takes a while, in which this runtime has other things to do.
        "/metrics" => match spawn_blocking(move || pages.metrics()).await {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, metrics);
                response.headers_mut().insert(CONTENT_TYPE, METRICS_TYPE);
                response
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be shown\n"),
        },
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" => match pages.ready() {
            Ok(()) => text(StatusCode::OK, "ok\n"),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "pages: /metrics /livez /readyz\n"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT_TYPE);
    response
}

#[cfg(test)]
mod tests;
