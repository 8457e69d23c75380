//! Gives the state to siblings that prove themselves.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::stream::{Iter, iter};
use gatehouse_proto::config::v1::{
    Batch, StateRequest,
    sibling_service_server::{SiblingService, SiblingServiceServer},
};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, codegen::Service};
use tracing::{debug, warn};

use super::Identity;
use crate::kept::Kept;

/// At once; more are closed.
const CONNECTIONS: usize = 16;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest that a connection lives: the largest state passes in a fraction of it.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);
const STREAMS: u32 = 2;
const HEADER_LIST: u32 = 16 << 10;
/// Out of file descriptors: closing connections frees some, spinning does not.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A part is closed before it passes this. One larger resource goes alone.
const PART_BYTES: usize = 1 << 20;

/// What is served, and by which identity. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub(crate) gateway: Arc<str>,
    pub(crate) kept: Arc<Kept>,
    /// `None`: the controller has given none, and nothing is served.
    pub(crate) identity: Arc<ArcSwapOption<Identity>>,
}

/// Cuts a state into batches.
#[derive(Debug)]
pub(crate) struct Parts {
    resources: std::iter::Peekable<std::vec::IntoIter<Bytes>>,
    ended: bool,
}

impl Host {
    /// Runs until it is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let Some(identity) = self.identity.load_full() else { continue };
            let host = self.clone();
            tokio::spawn(async move {
                let _place = place;
                let serving = timeout(CONNECTION_TIMEOUT, host.connection(stream, identity)).await;
                match serving {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => debug!(%peer, %error, "sibling"),
                    Err(_) => debug!(%peer, "a sibling was cut off"),
                }
            });
        }
    }

    async fn connection(
        self,
        stream: TcpStream,
        identity: Arc<Identity>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        stream.set_nodelay(true)?;
        let acceptor = TlsAcceptor::from(Arc::clone(&identity.tls));
        let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
        let service = SiblingServiceServer::new(self);
        let service = service_fn(move |request| service.clone().call(request));
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(HEADER_LIST)
            .serve_connection(TokioIo::new(stream), service)
            .await?;
        Ok(())
    }

    fn admit<T>(&self, request: &Request<T>) -> Result<(), Status> {
        // The newest: keys may have changed since the handshake.
        let identity =
            self.identity.load_full().ok_or_else(|| Status::unavailable("not serving siblings"))?;
        let mut tokens = request.metadata().get_all("authorization").iter();
        let token = tokens.next().and_then(|value| value.to_str().ok());
        let token = token.filter(|_| tokens.next().is_none()).and_then(|value| value.strip_prefix("Bearer "));
        let refused = || Status::unauthenticated("send the token of this Gateway's dataplanes");
        let token = token.ok_or_else(refused)?;
        identity.admit(token, Timestamp::now().as_millisecond()).map_err(|reason| {
            warn!(reason, "a caller asked for the state and was refused");
            refused()
        })
    }
}

#[tonic::async_trait]
impl SiblingService for Host {
    type StateStream = Iter<Parts>;

    async fn state(&self, request: Request<StateRequest>) -> Result<Response<Self::StateStream>, Status> {
        self.admit(&request)?;
        if *request.get_ref().gateway != *self.gateway {
            return Err(Status::permission_denied(format!(
                "this is a dataplane of Gateway {}",
                self.gateway
            )));
        }
        let resources =
            self.kept.whole().ok_or_else(|| Status::unavailable("there is no whole state here"))?;
        Ok(Response::new(iter(Parts::of(resources))))
    }
}

impl Parts {
    pub(super) fn of(resources: Vec<Bytes>) -> Self {
        Parts { resources: resources.into_iter().peekable(), ended: false }
    }
}

/// An empty state has one empty part.
impl Iterator for Parts {
    type Item = Result<Batch, Status>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut part = Batch::default();
        let mut bytes = 0;
        while let Some(encoded) =
            self.resources.next_if(|next| bytes == 0 || bytes + next.len() <= PART_BYTES)
        {
            bytes += encoded.len().max(1);
            part.upserts.push(encoded);
        }
        part.more = self.resources.peek().is_some();
        self.ended = !part.more;
        Some(Ok(part))
    }
}
