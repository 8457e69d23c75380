//! The channel's port: TLS by the authority, a bearer token with every request, HTTP/2 for what has both.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http::{Request, Response, header::AUTHORIZATION};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ServerConfig, version::TLS13};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt};
use tracing::{debug, warn};

use super::{Authority, AuthorityError, Identities, Identity};

/// At once; more wait to be accepted.
const CONNECTIONS: usize = 10_000;
const HANDSHAKE: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A dataplane needs one.
const STREAMS: u32 = 8;
/// Out of file descriptors: spinning does not give any back.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the port can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("the channel's certificate: {0}")]
    Authority(#[from] AuthorityError),
    #[error("the channel's certificate: {0}")]
    Tls(#[from] rustls::Error),
}

/// Serves `service` under these DNS names until it is dropped. Requests carry the caller's [`Identity`] in their extensions.
pub async fn serve<S>(
    listener: TcpListener,
    names: Vec<String>,
    mut authority: watch::Receiver<Option<Arc<Authority>>>,
    identities: Identities,
    service: S,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut acceptor = None;
    authority.mark_changed();
    loop {
        let accepted = tokio::select! {
            changed = authority.changed() => {
                if changed.is_err() {
                    return;
                }
                let present = authority.borrow_and_update().clone();
                if let Some(present) = present {
                    match tls(&present, &names) {
                        Ok(config) => acceptor = Some(TlsAcceptor::from(Arc::new(config))),
                        Err(error) => warn!(%error, "what was served before stays"),
                    }
                }
                continue;
            }
            accepted = accept(&listener, &places), if acceptor.is_some() => accepted,
        };
        let (Ok((stream, place)), Some(acceptor)) = (accepted, acceptor.clone()) else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (identities, service) = (identities.clone(), service.clone());
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection(stream, acceptor, identities, service).await {
                debug!(error, "channel connection");
            }
        });
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    // Never closed.
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

async fn connection<S>(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    identities: Identities,
    service: S,
) -> Result<(), String>
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let handshake = timeout(HANDSHAKE, acceptor.accept(stream)).await;
    let stream = handshake.map_err(|_| "no TLS handshake in time")?.map_err(|error| error.to_string())?;
    let answer = service_fn(move |request: Request<Incoming>| {
        let (identities, service) = (identities.clone(), service.clone());
        async move {
            match identify(&request, &identities).await {
                Ok(identity) => {
                    let mut request = request;
                    request.extensions_mut().insert(identity);
                    service.oneshot(request).await
                }
                Err(status) => Ok(status.into_http()),
            }
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(KEEP_ALIVE)
        .adaptive_window(true);
    builder.serve_connection(TokioIo::new(stream), answer).await.map_err(|error| error.to_string())
}

async fn identify(request: &Request<Incoming>, identities: &Identities) -> Result<Identity, Status> {
    let token = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .ok_or_else(|| Status::unauthenticated("send a ServiceAccount token as `authorization: Bearer`"))?;
    identities.of(token).await
}

fn tls(authority: &Authority, names: &[String]) -> Result<ServerConfig, ServerError> {
    let issued = authority.issue("controller", names)?;
    let mut config = ServerConfig::builder_with_protocol_versions(&[&TLS13])
        .with_no_client_auth()
        .with_single_cert(vec![issued.certificate], issued.key.into())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
