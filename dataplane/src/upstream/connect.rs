//! Opens connections to endpoints.

use std::{io, rc::Rc, sync::Arc, time::Duration};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, task::spawn_local, time::timeout};
use tokio_rustls::TlsConnector;

use super::{Endpoint, RequestBody, Tls, stream::Stream};
use crate::worker::LocalExecutor;

/// A backend in the same cluster answers a SYN in a millisecond; one lost SYN is repeated after a second.
/// Where no rule says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Pings find dead peers of multiplexed connections.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a backend could not be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no answer in time")]
    Timeout,
    #[error("connect: {0}")]
    Io(#[from] io::Error),
    #[error("the backend did not agree on HTTP/2")]
    NoHttp2,
    #[error("handshake: {0}")]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Shared(#[from] Rc<ConnectError>),
}

/// A stream for HTTP/1, or for what [`http2()`] makes of it. `limit`: for the connection, and as long for TLS.
pub(super) async fn stream(
    endpoint: &Endpoint,
    tls: Option<&Tls>,
    limit: Option<Duration>,
) -> Result<Stream, ConnectError> {
    let limit = limit.unwrap_or(CONNECT_TIMEOUT);
    match tls {
        None => tcp_within(endpoint, limit).await.map(Stream::Plain),
        Some(tls) => Box::pin(encrypted(endpoint, tls, limit)).await,
    }
}

pub(super) async fn http2(
    endpoint: &Endpoint,
    tls: Option<&Tls>,
    limit: Option<Duration>,
) -> Result<http2::SendRequest<RequestBody>, ConnectError> {
    let stream = stream(endpoint, tls, limit).await?;
    if let Stream::Tls(stream) = &stream
        && stream.get_ref().1.alpn_protocol() != Some(b"h2")
    {
        return Err(ConnectError::NoHttp2);
    }
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(TokioIo::new(stream))
        .await?;
    spawn_local(async move {
        let _ = connection.await;
    });
    Ok(sender)
}

pub(crate) async fn tcp(endpoint: &Endpoint) -> Result<TcpStream, ConnectError> {
    tcp_within(endpoint, CONNECT_TIMEOUT).await
}

async fn tcp_within(endpoint: &Endpoint, limit: Duration) -> Result<TcpStream, ConnectError> {
    let stream =
        timeout(limit, TcpStream::connect(endpoint.address)).await.map_err(|_| ConnectError::Timeout)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn encrypted(endpoint: &Endpoint, tls: &Tls, limit: Duration) -> Result<Stream, ConnectError> {
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let handshake = connector.connect(tls.name.clone(), tcp_within(endpoint, limit).await?);
    let stream = timeout(limit, handshake).await.map_err(|_| ConnectError::Timeout)??;
    Ok(Stream::Tls(Box::new(stream)))
}
