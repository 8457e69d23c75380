//! Listens to what the dataplanes of the other replicas say.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use gatehouse_proto::config::v1::{AcksRequest, replica_service_client::ReplicaServiceClient};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::{ClientConfig, RootCertStore, version::TLS13};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    net::TcpStream,
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;
use tonic::{Request, transport::Endpoint};
use tower::service_fn;
use tracing::{debug, info};

use super::AcksByGateway;
use crate::{channel::Authority, latest};

const CONNECT: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// How the other replicas are reached.
#[derive(Debug, Clone)]
pub struct Peers {
    /// In their certificate.
    pub host: String,
    /// Holds the token of the own ServiceAccount, and is read anew each time.
    pub token: PathBuf,
    pub authority: watch::Receiver<Option<Arc<Authority>>>,
}

#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("the channel has no authority yet")]
    NoAuthority,
    #[error("the authority can't be trusted: {0}")]
    Trust(#[from] rustls::Error),
    #[error("the token can't be sent")]
    Token,
    #[error("{0}")]
    Transport(#[from] tonic::transport::Error),
    #[error("{0}")]
    Refused(#[from] tonic::Status),
    #[error("what it says can't be read: {0}")]
    Words(#[from] serde_json::Error),
    #[error("it ended")]
    Ended,
}

/// What every other replica said, by its address.
type Heard = Arc<Mutex<BTreeMap<SocketAddr, AcksByGateway>>>;

/// Follows every one of `replicas` for ever, and puts together what they say.
pub async fn follow(
    peers: Peers,
    mut replicas: watch::Receiver<BTreeSet<SocketAddr>>,
    elsewhere: watch::Sender<AcksByGateway>,
) {
    let heard = Heard::default();
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<SocketAddr, AbortHandle> = BTreeMap::new();
    replicas.mark_changed();
    while replicas.changed().await.is_ok() {
        let present = replicas.borrow_and_update().clone();
        running.retain(|address, task| {
            let stays = present.contains(address);
            if !stays {
                task.abort();
                heard.lock().remove(address);
            }
            stays
        });
        for address in present {
            running.entry(address).or_insert_with(|| {
                tasks.spawn(listen(peers.clone(), address, Arc::clone(&heard), elsewhere.clone()))
            });
        }
        put_together(&heard, &elsewhere);
    }
}

async fn listen(peers: Peers, replica: SocketAddr, heard: Heard, elsewhere: watch::Sender<AcksByGateway>) {
    loop {
        let Err(broken) = converse(&peers, replica, &heard, &elsewhere).await;
        debug!(%replica, %broken, "another replica");
        heard.lock().remove(&replica);
        put_together(&heard, &elsewhere);
        sleep(RETRY).await;
    }
}

async fn converse(
    peers: &Peers,
    replica: SocketAddr,
    heard: &Heard,
    elsewhere: &watch::Sender<AcksByGateway>,
) -> Result<std::convert::Infallible, Broken> {
    let token = tokio::fs::read_to_string(&peers.token).await?;
    let tls = trust(peers)?;
    let name = ServerName::try_from(peers.host.clone()).map_err(std::io::Error::other)?;
    let connector = service_fn(move |_| {
        let (tls, name) = (tls.clone(), name.clone());
        async move {
            let stream = TcpStream::connect(replica).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
        }
    });
    let endpoint = Endpoint::from_shared(format!("https://{}", peers.host))?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(CONNECT)
        .keep_alive_while_idle(true);
    let channel = endpoint.connect_with_connector(connector).await?;
    let mut request = Request::new(AcksRequest {});
    let bearer = format!("Bearer {}", token.trim()).parse().map_err(|_| Broken::Token)?;
    request.metadata_mut().insert("authorization", bearer);
    let opening = timeout(CONNECT, ReplicaServiceClient::new(channel).acks(request)).await;
    let mut stream = opening.map_err(|_| Broken::Ended)??.into_inner();
    info!(%replica, "listening to another replica");
    loop {
        let said = stream.message().await?.ok_or(Broken::Ended)?;
        {
            let mut heard = heard.lock();
            let theirs = heard.entry(replica).or_default();
            if said.acks.is_empty() {
                theirs.remove(&said.gateway);
            } else {
                theirs.insert(said.gateway, serde_json::from_slice(&said.acks)?);
            }
        }
        put_together(heard, elsewhere);
    }
}

fn trust(peers: &Peers) -> Result<TlsConnector, Broken> {
    let authority = peers.authority.borrow().clone().ok_or(Broken::NoAuthority)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority.bundle().as_bytes()).flatten() {
        roots.add(certificate)?;
    }
    let mut config = ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn put_together(heard: &Heard, elsewhere: &watch::Sender<AcksByGateway>) {
    let mut all = AcksByGateway::new();
    for theirs in heard.lock().values() {
        for (gateway, acks) in theirs {
            all.entry(gateway.clone()).or_default().merge(acks.clone());
        }
    }
    latest::tell(elsewhere, all);
}
