//! Clients: one that writes exact bytes, and one that speaks HTTP/1, HTTP/2 and TLS.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{PATIENCE, certs::Pair};

/// A whole response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// # Panics
    /// If the body is no JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

/// One request on one connection.
#[derive(Debug, Clone)]
pub struct Ask {
    address: SocketAddr,
    method: String,
    uri: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

pub fn get(address: SocketAddr, path: &str) -> Ask {
    Ask {
        address,
        method: "GET".into(),
        uri: path.into(),
        headers: vec![("host".into(), "test.example".into())],
        body: Bytes::new(),
    }
}

impl Ask {
    #[must_use]
    pub fn method(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    #[must_use]
    pub fn host(mut self, host: &str) -> Self {
        self.headers.retain(|(name, _)| name != "host");
        self.header("host", host)
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Over HTTP/1.
    pub async fn send(self) -> Answer {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        self.over_http1(stream).await
    }

    /// Over HTTP/2 without TLS.
    pub async fn send_h2c(self) -> Answer {
        let stream = TcpStream::connect(self.address).await.expect("connects");
        self.over_http2(stream, "http").await
    }

    /// Over TLS, by whichever protocol the server chooses from `alpn`.
    pub async fn send_tls(
        self,
        sni: &str,
        root: &CertificateDer<'static>,
        alpn: &[&str],
    ) -> Result<Answer, String> {
        let stream = tls(self.address, sni, root, alpn).await?;
        Ok(if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.over_http2(stream, "https").await
        } else {
            self.over_http1(stream).await
        })
    }

    pub async fn over_http1(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Answer {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
        tokio::spawn(connection);
        let mut request = Request::builder().method(&*self.method).uri(&self.uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).expect("a request");
        whole(
            timeout(PATIENCE, sender.send_request(request))
                .await
                .expect("an answer in time")
                .expect("an answer"),
        )
        .await
    }

    pub async fn over_http2(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: &str,
    ) -> Answer {
        self.through(&mut http2(stream).await, scheme).await
    }

    /// Over a connection that carries others as well.
    pub async fn through(self, sender: &mut Http2, scheme: &str) -> Answer {
        let host =
            self.headers.iter().find(|(name, _)| name == "host").map_or("test.example", |(_, host)| host);
        let mut request =
            Request::builder().method(&*self.method).uri(format!("{scheme}://{host}{}", self.uri));
        for (name, value) in self.headers.iter().filter(|(name, _)| name != "host") {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body.clone())).expect("a request");
        whole(
            timeout(PATIENCE, sender.send_request(request))
                .await
                .expect("an answer in time")
                .expect("an answer"),
        )
        .await
    }
}

/// A connection for many requests.
pub type Http2 = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

pub async fn http2(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Http2 {
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("a handshake");
    tokio::spawn(connection);
    sender
}

async fn whole(response: Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let collected = timeout(PATIENCE, body.collect()).await.expect("a body in time").expect("a whole body");
    let trailers = collected.trailers().cloned();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body: collected.to_bytes(), trailers }
}

/// A TLS connection that trusts `root` alone.
pub async fn tls(
    address: SocketAddr,
    sni: &str,
    root: &CertificateDer<'static>,
    alpn: &[&str],
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    connect(address, sni, trusting(root, None, alpn)).await
}

/// A client that trusts `root` alone, and shows a certificate or none.
pub fn trusting(root: &CertificateDer<'static>, shows: Option<&Pair>, alpn: &[&str]) -> Arc<ClientConfig> {
    crate::install_crypto();
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match shows {
        None => builder.with_no_client_auth(),
        Some(pair) => builder.with_client_auth_cert(pair.chain(), pair.private_key()).expect("a pair"),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A TLS connection; connections with one `config` resume each other's sessions.
pub async fn connect(
    address: SocketAddr,
    sni: &str,
    config: Arc<ClientConfig>,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = ServerName::try_from(sni.to_owned()).map_err(|error| error.to_string())?;
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let connector = tokio_rustls::TlsConnector::from(config);
    connector.connect(name, stream).await.map_err(|error| error.to_string())
}

/// Writes bytes as they are and gives all that comes back until the server closes, or is silent for `quiet`.
pub async fn raw(address: SocketAddr, bytes: &[u8], quiet: Duration) -> Raw {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    // A server that refuses early may close before all is written.
    let _ = stream.write_all(bytes).await;
    read_raw(&mut stream, quiet).await
}

pub async fn read_raw(stream: &mut TcpStream, quiet: Duration) -> Raw {
    let mut received = Vec::new();
    let mut piece = [0; 4096];
    let closed = loop {
        match timeout(quiet, stream.read(&mut piece)).await {
            Err(_) => break false,
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(count)) => received.extend_from_slice(&piece[..count]),
        }
    };
    Raw { text: String::from_utf8_lossy(&received).into_owned(), closed }
}

/// What came back, as it came.
#[derive(Debug)]
pub struct Raw {
    pub text: String,
    /// The server closed the connection.
    pub closed: bool,
}

impl Raw {
    /// Of every response, in their order.
    pub fn statuses(&self) -> Vec<u16> {
        let heads = self.text.split("HTTP/1.1 ").skip(1);
        heads.filter_map(|head| head.get(..3)?.parse().ok()).collect()
    }
}

/// `true` for 2xx.
pub fn is_success(status: u16) -> bool {
    StatusCode::from_u16(status).is_ok_and(|status| status.is_success())
}
