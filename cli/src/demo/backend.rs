//! A service that answers with what it saw, so that one sees what the gateway made of a request.

use std::{convert::Infallible, io, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};

/// Serves on a free port of this machine, on a thread of its own, as long as the process lives.
pub(super) fn start(service: &'static str) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("demo-{service}")).spawn(move || {
        runtime.block_on(async {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => serve(service, listener).await,
                Err(error) => eprintln!("demo {service}: {error}"),
            }
        });
    })?;
    Ok(address)
}

async fn serve(service: &'static str, listener: tokio::net::TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let response = answer(service, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            // A client that breaks off is none of the demo's business.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn answer(service: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let headers: Map<String, Value> = request
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let seen = json!({
        "service": service,
        "method": request.method().as_str(),
        "path": request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
        "headers": headers,
    });
    let mut response = Response::new(Full::new(format!("{seen:#}\n").into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
