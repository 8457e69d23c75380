//! Backends on free ports. Each records what it saw.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

pub type Body = BoxBody<Bytes, Infallible>;

/// A backend. Ends when it is dropped.
#[derive(Debug)]
pub struct Backend {
    pub address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Backend {
    /// Answers 200 with what it saw, as JSON: `name`, `method`, `path`, `headers` (lists), `body`.
    pub async fn echo(name: &'static str) -> Backend {
        Backend::answering(move |seen| {
            let headers: BTreeHeaders = headers(&seen.headers);
            let body = json!({
                "name": name, "method": seen.method, "path": seen.path, "headers": headers,
                "body": String::from_utf8_lossy(&seen.body),
            });
            let mut response = Response::new(full(body.to_string()));
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/json"));
            response
        })
        .await
    }

    /// Reads the whole request, then answers. HTTP/1.
    pub async fn answering(answer: impl Fn(&Seen) -> Response<Body> + Send + Sync + 'static) -> Backend {
        let answer = Arc::new(answer);
        Backend::serving(move |parts, body| {
            let answer = Arc::clone(&answer);
            async move {
                let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                let seen = seen(&parts, body);
                (seen.clone(), answer(&seen))
            }
        })
        .await
    }

    /// Handles the head and the body as they come. HTTP/1.
    pub async fn serving<F>(handle: impl Fn(Parts, Incoming) -> F + Send + Sync + 'static) -> Backend
    where
        F: Future<Output = (Seen, Response<Body>)> + Send + 'static,
    {
        let handle = Arc::new(handle);
        Backend::accepting(move |stream, seen| {
            let handle = Arc::clone(&handle);
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (parts, body) = request.into_parts();
                    let (handled, seen) = (handle(parts, body), Arc::clone(&seen));
                    async move {
                        let (one, response) = handled.await;
                        seen.lock().unwrap().push(one);
                        Ok::<_, Infallible>(response)
                    }
                });
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            }
        })
        .await
    }

    /// HTTP/1 over TLS. Answers 200 with the connection as it saw it, as JSON: `sni`, and `certificate`, whether the client
    /// showed one.
    pub async fn tls(config: Arc<ServerConfig>) -> Backend {
        Backend::accepting(move |stream, all| {
            let acceptor = TlsAcceptor::from(Arc::clone(&config));
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let session = stream.get_ref().1;
                let told = json!({
                    "sni": session.server_name(), "certificate": session.peer_certificates().is_some(),
                })
                .to_string();
                let service = service_fn(move |request: Request<Incoming>| {
                    let (parts, _) = request.into_parts();
                    all.lock().unwrap().push(seen(&parts, Bytes::new()));
                    let response = Response::new(full(told.clone()));
                    async move { Ok::<_, Infallible>(response) }
                });
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }

    /// HTTP/2 without TLS.
    pub async fn h2c<F>(handle: impl Fn(Parts, Incoming) -> F + Send + Sync + 'static) -> Backend
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let handle = Arc::new(handle);
        Backend::accepting(move |stream, all| {
            let handle = Arc::clone(&handle);
            async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let (parts, body) = request.into_parts();
                    all.lock().unwrap().push(seen(&parts, Bytes::new()));
                    let handled = handle(parts, body);
                    async move { Ok::<_, Infallible>(handled.await) }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            }
        })
        .await
    }

    /// Reads until the end of a head, writes the given bytes as they are, and closes.
    pub async fn raw(response: &'static [u8]) -> Backend {
        Backend::accepting(move |mut stream, seen| async move {
            let mut head = Vec::new();
            let mut piece = [0; 4096];
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                match stream.read(&mut piece).await {
                    Ok(0) | Err(_) => return,
                    Ok(count) => head.extend_from_slice(&piece[..count]),
                }
            }
            let text = String::from_utf8_lossy(&head).into_owned();
            let mut words = text.split(' ');
            seen.lock().unwrap().push(Seen {
                method: words.next().unwrap_or("").into(),
                path: words.next().unwrap_or("").into(),
                headers: HeaderMap::new(),
                body: head.into(),
            });
            let _ = stream.write_all(response).await;
            let _ = stream.shutdown().await;
        })
        .await
    }

    /// Handles each connection by itself.
    pub async fn accepting<F>(
        handle: impl Fn(TcpStream, Arc<Mutex<Vec<Seen>>>) -> F + Send + Sync + 'static,
    ) -> Backend
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::default();
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::spawn(handle(stream, Arc::clone(&all)));
            }
        });
        Backend { address, seen, task }
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// # Panics
    /// If a request has reached it.
    pub fn assert_untouched(&self, why: &str) {
        let seen = self.seen();
        assert!(seen.is_empty(), "{why}: the backend saw {seen:?}");
    }
}

type BTreeHeaders = std::collections::BTreeMap<String, Vec<String>>;

/// Every value of every name.
fn headers(headers: &HeaderMap) -> BTreeHeaders {
    let mut all = BTreeHeaders::new();
    for (name, value) in headers {
        all.entry(name.to_string()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    all
}

/// What a handler saw.
pub fn seen(parts: &Parts, body: Bytes) -> Seen {
    Seen {
        method: parts.method.to_string(),
        path: parts.uri.path_and_query().map_or_else(String::new, ToString::to_string),
        headers: parts.headers.clone(),
        body,
    }
}

pub fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).boxed()
}

pub fn status(code: u16) -> Response<Body> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::from_u16(code).expect("a status");
    response
}

/// The first value of a header in an echo's answer.
pub fn header<'a>(echo: &'a Value, name: &str) -> Option<&'a str> {
    echo["headers"][name][0].as_str()
}
