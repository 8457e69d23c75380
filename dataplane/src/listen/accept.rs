//! Accepts connections and finds out what they speak.

use std::{
    convert::Infallible, future::poll_fn, io, net::SocketAddr, pin::pin, rc::Rc, sync::Arc, time::Duration,
};

use bytes::BytesMut;
use futures_util::FutureExt;
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::spawn_local,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::debug;

use super::{
    answers::Answers,
    hello,
    rewind::Rewind,
    tls::{self, Inside},
};
use crate::{
    http::{
        client_body::ClientBody,
        connection::{Connection, Scheme},
        http1::{self, LAST_CHANCE},
        pipeline,
    },
    snapshot::{Limits, Protocol, Speaks},
    stream::{self, Accepted},
    worker::{LocalExecutor, Worker},
};

/// RFC 9113, 3.4.
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Out of file descriptors: closing connections frees some, spinning does not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const HTTP2_STREAM_WINDOW: u32 = 256 << 10;
const HTTP2_CONNECTION_WINDOW: u32 = 1 << 20;
const HTTP2_HEADER_LIST: u32 = 32 << 10;
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(60);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Why a connection came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("no TLS handshake in time")]
    HandshakeTimeout,
    #[error("nothing came in time")]
    Silent,
}

/// Runs until the sender of `closed` is dropped.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    port: u16,
    socket: TcpListener,
    mut closed: watch::Receiver<()>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = socket.accept() => accepted,
            _ = closed.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let most = worker.snapshot().settings.limits.connections;
                let Some(counted) = worker.count_connection(most) else {
                    worker.sink.metrics().connections_refused.add(1);
                    continue;
                };
                let worker = Rc::clone(&worker);
                spawn_local(async move {
                    let _counted = counted;
                    if let Err(error) = connection(worker, port, stream, peer).await {
                        debug!(%peer, port, %error, "connection ended");
                    }
                });
            }
            Err(error) => {
                debug!(port, %error, "accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    worker: Rc<Worker>,
    port: u16,
    stream: TcpStream,
    peer: SocketAddr,
) -> Result<(), Failed> {
    stream.set_nodelay(true)?;
    let (limits, speaks) = {
        let snapshot = worker.snapshot();
        (snapshot.settings.limits, snapshot.ports.get(&port).map_or(Speaks::Http, |port| port.speaks))
    };
    worker.sink.metrics().connections.add(1);
    // What is rare or large is boxed: each connection's task is as large as the largest that it may hold.
    match speaks {
        Speaks::Http => plain(worker, port, stream, peer, limits).await,
        Speaks::Https => Box::pin(encrypted(worker, port, stream, peer, limits)).await,
        Speaks::Tls => Box::pin(by_server_name(worker, port, stream, peer, limits)).await,
        Speaks::Tcp => {
            let listener = tls::listener(&worker.snapshot(), port, None).cloned();
            let first = BytesMut::new();
            let accepted = Accepted { client: stream, peer, protocol: "TCP", host: "", first };
            Box::pin(stream::serve(worker, listener, accepted)).await;
            Ok(())
        }
    }
}

/// On a port where the server name tells what is to become of a connection.
async fn by_server_name(
    worker: Rc<Worker>,
    port: u16,
    mut stream: TcpStream,
    peer: SocketAddr,
    limits: Limits,
) -> Result<(), Failed> {
    let mut first = BytesMut::new();
    let asked = hello::server_name(&mut stream, &mut first);
    let name =
        in_time(&worker, limits.tls_handshake_timeout, asked).await.ok_or(Failed::HandshakeTimeout)??;
    let listener = tls::listener(&worker.snapshot(), port, name.as_deref()).cloned();
    let (protocol, host) = ("TLS", name.as_deref().unwrap_or(""));
    match listener.as_ref().map(|listener| listener.protocol) {
        Some(Protocol::Https) => {
            Box::pin(encrypted(worker, port, Rewind::new(first, stream), peer, limits)).await
        }
        Some(Protocol::TlsTerminate) => {
            let stream = Rewind::new(first, stream);
            let client = handshake(&worker, port, Inside::Stream, stream, limits).await?;
            let accepted = Accepted { client, peer, protocol, host, first: BytesMut::new() };
            stream::serve(worker, listener, accepted).await;
            Ok(())
        }
        _ => {
            let accepted = Accepted { client: stream, peer, protocol, host, first };
            stream::serve(worker, listener, accepted).await;
            Ok(())
        }
    }
}

async fn handshake<S>(
    worker: &Worker,
    port: u16,
    inside: Inside,
    stream: S,
    limits: Limits,
) -> Result<TlsStream<S>, Failed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let acceptor = TlsAcceptor::from(worker.shared.tls.config(port, inside)?);
    let accepted = in_time(worker, limits.tls_handshake_timeout, acceptor.accept(stream)).await;
    Ok(accepted.ok_or(Failed::HandshakeTimeout)??)
}

async fn encrypted<S>(
    worker: Rc<Worker>,
    port: u16,
    stream: S,
    peer: SocketAddr,
    limits: Limits,
) -> Result<(), Failed>
where
    S: http1::Transport + 'static,
{
    let stream = handshake(&worker, port, Inside::Http, stream, limits).await?;
    let session = stream.get_ref().1;
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let sni = session.server_name();
    let tls_listener =
        tls::listener(&worker.snapshot(), port, sni).map(|listener| Arc::clone(&listener.name));
    let connection = Connection::new(worker, peer, port, Scheme::Https, tls_listener);
    if is_http2 {
        Box::pin(http2(connection, stream, limits)).await
    } else {
        http1(connection, stream, BytesMut::new(), limits).await
    }
}

async fn plain(
    worker: Rc<Worker>,
    port: u16,
    mut stream: TcpStream,
    peer: SocketAddr,
    limits: Limits,
) -> Result<(), Failed> {
    let mut first = BytesMut::new();
    // One read tells for all but the slowest clients.
    while first.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&first) {
        let reading = poll_fn(|cx| http1::read_head(&mut stream, &mut first, cx));
        match in_time(&worker, limits.header_timeout, reading).await.ok_or(Failed::Silent)?? {
            0 if first.is_empty() => return Ok(()),
            0 => break,
            _ => {}
        }
    }
    let connection = Connection::new(worker, peer, port, Scheme::Http, None);
    if first.starts_with(HTTP2_PREFACE) {
        Box::pin(http2(connection, Rewind::new(first, stream), limits)).await
    } else {
        http1(connection, stream, first, limits).await
    }
}

/// `None` when the time is over, which a drain cuts short.
async fn in_time<T>(worker: &Worker, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let cut_short = async {
        worker.draining().await;
        sleep(LAST_CHANCE).await;
    };
    tokio::select! {
        biased;
        result = timeout(limit, future) => result.ok(),
        () = cut_short => None,
    }
}

async fn http1<S>(connection: Connection, stream: S, first: BytesMut, limits: Limits) -> Result<(), Failed>
where
    S: http1::Transport + 'static,
{
    let settings = http1::Settings {
        limits: limits.head,
        header_timeout: limits.header_timeout,
        idle_timeout: limits.idle_timeout,
    };
    Ok(http1::serve(stream, first, &Answers::new(connection), settings).await?)
}

async fn http2<S>(connection: Connection, stream: S, limits: Limits) -> Result<(), Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let draining = connection.worker.draining();
    let connection = Rc::new(connection);
    let service = service_fn(move |request: http::Request<_>| {
        pipeline::serve(Rc::clone(&connection), request.map(ClientBody::Http2)).map(Ok::<_, Infallible>)
    });
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.concurrent_streams)
        .max_header_list_size(HTTP2_HEADER_LIST)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        result = serving.as_mut() => return Ok(result?),
        () = draining => serving.as_mut().graceful_shutdown(),
    }
    Ok(serving.await?)
}
