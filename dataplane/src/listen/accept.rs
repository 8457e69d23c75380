//! Accepts connections and finds out what they speak.

use std::{
    convert::Infallible, future::poll_fn, io, net::SocketAddr, pin::pin, rc::Rc, sync::Arc, time::Duration,
};

use bytes::BytesMut;
use futures_util::{
    FutureExt, TryFutureExt,
    future::{Either, LocalBoxFuture, OptionFuture},
};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConnection;
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
    Clients,
    answers::Answers,
    hello,
    rewind::Rewind,
    tls::{self, Inside},
};
use crate::{
    auth::ClientCertificate,
    http::{
        client_body::ClientBody,
        connection::{Connection, Scheme, Shown},
        http1::{self, LAST_CHANCE},
        pipeline,
    },
    snapshot::{Limits, Protocol, Speaks},
    stream::{self, Accepted},
    worker::{Counted, LocalExecutor, Worker},
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
    #[error("nothing came")]
    Empty,
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
                spawn_local(connection(counted, Rc::clone(&worker), port, stream, peer));
            }
            Err(error) => {
                debug!(port, %error, "accept");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection from its beginning to its end. Most connections wait most of the time, so what is only needed in the
/// beginning, or only by some, is not in this future but in one that it points to.
fn connection(
    counted: Counted,
    worker: Rc<Worker>,
    port: u16,
    stream: TcpStream,
    peer: SocketAddr,
) -> impl Future<Output = ()> {
    #[allow(clippy::async_yields_async)] // The box is freed before what it gives is polled.
    let opening = Box::pin(async move {
        let serving = open(worker, port, stream, peer).await;
        OptionFuture::from(serving.inspect_err(|error| ended(peer, port, error)).ok())
    });
    opening.flatten().map(move |_| drop(counted))
}

fn ended(peer: SocketAddr, port: u16, error: &Failed) {
    debug!(%peer, port, %error, "connection ended");
}

/// Finds out what a connection speaks. The future that it gives serves it.
async fn open(
    worker: Rc<Worker>,
    port: u16,
    stream: TcpStream,
    peer: SocketAddr,
) -> Result<Either<impl Future<Output = ()>, LocalBoxFuture<'static, ()>>, Failed> {
    stream.set_nodelay(true)?;
    let (limits, speaks) = {
        let snapshot = worker.snapshot();
        (snapshot.settings.limits, snapshot.ports.get(&port).map_or(Speaks::Http, |port| port.speaks))
    };
    worker.sink.metrics().connections.add(1);
    match speaks {
        Speaks::Http => {}
        // What a handshake needs is more than what others do.
        Speaks::Https => {
            let serving = Box::pin(encrypted(worker, port, stream, peer, limits)).await?;
            return Ok(Either::Right(serving));
        }
        Speaks::Tls => {
            let serving = Box::pin(by_server_name(worker, port, stream, peer, limits)).await?;
            return Ok(Either::Right(serving));
        }
        Speaks::Tcp => {
            let listener = tls::listener(&worker.snapshot(), port, None).cloned();
            let (host, first) = (String::new(), BytesMut::new());
            let accepted = Accepted { client: stream, peer, protocol: "TCP", host, first };
            return Ok(Either::Right(stream::serve(worker, listener, accepted).boxed_local()));
        }
    }
    let (stream, first) = peek(&worker, stream, limits).await?;
    let connection = Rc::new(Connection::new(worker, peer, port, Scheme::Http, None));
    Ok(if first.starts_with(HTTP2_PREFACE) {
        let stream = Rewind::new(first, stream);
        let serving = http2(Rc::clone(&connection), stream, limits);
        Either::Right(to_end(connection, serving).boxed_local())
    } else {
        let serving = http1(Rc::clone(&connection), stream, first, limits);
        Either::Left(to_end(connection, serving))
    })
}

/// On a port where the server name tells what is to become of a connection.
async fn by_server_name(
    worker: Rc<Worker>,
    port: u16,
    mut stream: TcpStream,
    peer: SocketAddr,
    limits: Limits,
) -> Result<LocalBoxFuture<'static, ()>, Failed> {
    let mut first = BytesMut::new();
    let asked = hello::server_name(&mut stream, &mut first);
    let name =
        in_time(&worker, limits.tls_handshake_timeout, asked).await.ok_or(Failed::HandshakeTimeout)??;
    let listener = tls::listener(&worker.snapshot(), port, name.as_deref()).cloned();
    let (protocol, host) = ("TLS", name.unwrap_or_default());
    match listener.as_ref().map(|listener| listener.protocol) {
        Some(Protocol::Https) => encrypted(worker, port, Rewind::new(first, stream), peer, limits).await,
        Some(Protocol::TlsTerminate) => {
            let stream = Rewind::new(first, stream);
            let (client, _) = handshake(&worker, port, Inside::Stream, stream, limits).await?;
            let accepted = Accepted { client, peer, protocol, host, first: BytesMut::new() };
            Ok(stream::serve(worker, listener, accepted).boxed_local())
        }
        _ => {
            let accepted = Accepted { client: stream, peer, protocol, host, first };
            Ok(stream::serve(worker, listener, accepted).boxed_local())
        }
    }
}

/// Gives also whom it let in.
async fn handshake<S>(
    worker: &Rc<Worker>,
    port: u16,
    inside: Inside,
    stream: S,
    limits: Limits,
) -> Result<(TlsStream<S>, Option<Arc<Clients>>), Failed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (config, clients) = {
        let snapshot = worker.snapshot();
        let clients = snapshot.ports.get(&port).and_then(|port| port.clients.as_ref());
        (worker.shared.tls.config(port, inside, clients)?, clients.cloned())
    };
    let acceptor = TlsAcceptor::from(config);
    let accepted = in_time(worker, limits.tls_handshake_timeout, acceptor.accept(stream)).await;
    Ok((accepted.ok_or(Failed::HandshakeTimeout)??, clients))
}

/// The certificate that a client showed and that was verified. A resumed session brings what its first handshake saw.
fn shown(session: &ServerConnection, clients: Option<Arc<Clients>>) -> Option<Shown> {
    let clients = clients.filter(|clients| clients.verify())?;
    let certificate = ClientCertificate::read(session.peer_certificates()?.first()?)?;
    Some(Shown { certificate: Arc::new(certificate), clients })
}

async fn encrypted<S>(
    worker: Rc<Worker>,
    port: u16,
    stream: S,
    peer: SocketAddr,
    limits: Limits,
) -> Result<LocalBoxFuture<'static, ()>, Failed>
where
    S: http1::Transport + 'static,
{
    let (stream, clients) = handshake(&worker, port, Inside::Http, stream, limits).await?;
    let session = stream.get_ref().1;
    let is_http2 = session.alpn_protocol() == Some(b"h2");
    let sni = session.server_name();
    let tls_listener =
        tls::listener(&worker.snapshot(), port, sni).map(|listener| Arc::clone(&listener.name));
    let shown = shown(session, clients);
    let connection = Connection::new(worker, peer, port, Scheme::Https, tls_listener).with_certificate(shown);
    let connection = Rc::new(connection);
    Ok(if is_http2 {
        let serving = http2(Rc::clone(&connection), stream, limits);
        to_end(connection, serving).boxed_local()
    } else {
        let serving = http1(Rc::clone(&connection), stream, BytesMut::new(), limits);
        to_end(connection, serving).boxed_local()
    })
}

/// Reads what tells HTTP/2 from HTTP/1.
async fn peek(
    worker: &Rc<Worker>,
    mut stream: TcpStream,
    limits: Limits,
) -> Result<(TcpStream, BytesMut), Failed> {
    let mut first = BytesMut::new();
    // One read tells for all but the slowest clients.
    while first.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&first) {
        let reading = poll_fn(|cx| http1::read_head(&mut stream, &mut first, cx));
        match in_time(worker, limits.header_timeout, reading).await.ok_or(Failed::Silent)?? {
            0 if first.is_empty() => return Err(Failed::Empty),
            0 => break,
            _ => {}
        }
    }
    Ok((stream, first))
}

/// `None` when the time is over, which a drain cuts short.
async fn in_time<T>(worker: &Rc<Worker>, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
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

/// Runs it and notes why it ended.
fn to_end(
    connection: Rc<Connection>,
    serving: impl Future<Output = Result<(), Failed>>,
) -> impl Future<Output = ()> {
    serving.map(move |result| {
        if let Err(error) = result {
            ended(connection.peer, connection.port, &error);
        }
    })
}

fn http1<S>(
    connection: Rc<Connection>,
    stream: S,
    first: BytesMut,
    limits: Limits,
) -> impl Future<Output = Result<(), Failed>>
where
    S: http1::Transport + 'static,
{
    let settings = http1::Settings {
        limits: limits.head,
        header_timeout: limits.header_timeout,
        idle_timeout: limits.idle_timeout,
    };
    http1::serve(stream, first, Answers(connection), settings).map_err(Failed::Io)
}

async fn http2<S>(connection: Rc<Connection>, stream: S, limits: Limits) -> Result<(), Failed>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let draining = connection.worker.draining();
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

#[cfg(test)]
mod tests {
    use super::{Connection, connection};

    /// What a function returns, which has no name.
    fn size_of_returned<A, B, C, D, E, T>(_: fn(A, B, C, D, E) -> T) -> usize {
        size_of::<T>()
    }

    #[test]
    fn a_connection_that_waits_is_small() {
        let task = size_of_returned(connection);
        assert!(task <= 256, "{task}");
        let known = size_of::<Connection>();
        assert!(known <= 192, "{known}");
    }
}
