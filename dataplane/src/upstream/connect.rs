//! Opens connections to endpoints.

use std::{io, rc::Rc, time::Duration};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, task::spawn_local, time::timeout};

use super::{Endpoint, RequestBody};
use crate::worker::LocalExecutor;

/// A backend in the same cluster answers a SYN in a millisecond; one lost SYN is repeated after a second.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Pings find dead peers of multiplexed connections.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a backend could not be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("no answer within {CONNECT_TIMEOUT:?}")]
    Timeout,
    #[error("connect: {0}")]
    Io(#[from] io::Error),
    #[error("handshake: {0}")]
    Http(#[from] hyper::Error),
    #[error(transparent)]
    Shared(#[from] Rc<ConnectError>),
}

pub(crate) async fn tcp(endpoint: &Endpoint) -> Result<TcpStream, ConnectError> {
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint.address))
        .await
        .map_err(|_| ConnectError::Timeout)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(super) async fn h2c(endpoint: &Endpoint) -> Result<http2::SendRequest<RequestBody>, ConnectError> {
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .handshake(TokioIo::new(tcp(endpoint).await?))
        .await?;
    spawn_local(async move {
        let _ = connection.await;
    });
    Ok(sender)
}
