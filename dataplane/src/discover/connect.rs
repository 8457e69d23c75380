//! Opens secured channels: TLS that trusts the channel's CA alone, and the token that says who we are.
//!
//! The files are read anew for each channel, so that a rotated CA or token needs no restart; so is the name resolved,
//! and its addresses tried in random order, so that dataplanes spread over the replicas that there are now.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::{Uri, uri::InvalidUri};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    fs,
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    metadata::AsciiMetadataValue,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use super::random;

/// To one address, its handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that vanished without a word is noticed even while nothing is sent.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// No token of Kubernetes is near it.
const TOKEN_BYTES: usize = 8 << 10;

/// What a channel is secured by. Paths of files that may change at any time.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// PEM certificates: one of them must have signed the server's.
    pub ca: PathBuf,
    /// Sent as `authorization: Bearer`.
    pub token: PathBuf,
}

/// Where channels lead to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The name that is resolved, and that the server's certificate must have.
    host: String,
    port: u16,
}

/// A channel, and what proves on it who we are.
#[derive(Clone)]
pub struct Link {
    pub(super) channel: Channel,
    pub(super) token: Option<AsciiMetadataValue>,
}

/// Why a target can't be understood.
#[derive(Debug, thiserror::Error)]
pub enum InvalidTarget {
    #[error("{0}")]
    Uri(#[from] InvalidUri),
    #[error("it must have the form {0}")]
    Form(&'static str),
}

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("can't read {}: {error}", file.display())]
    File { file: PathBuf, error: io::Error },
    #[error("{}: there is no certificate in it", .0.display())]
    NoCertificate(PathBuf),
    #[error("{}: there is no token in it", .0.display())]
    NoToken(PathBuf),
    #[error("can't resolve {host}: {error}")]
    Resolve { host: String, error: io::Error },
    #[error("{0} has no address")]
    NoAddress(String),
    #[error("{address}: {error}")]
    Stream { address: SocketAddr, error: io::Error },
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error("{0} can't be the name of a server")]
    Name(String),
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

impl From<Channel> for Link {
    /// Nothing is proved on it.
    fn from(channel: Channel) -> Self {
        Link { channel, token: None }
    }
}

impl Link {
    /// A request that carries the token.
    pub(crate) fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }
}

/// The token is a secret.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("token", &self.token.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Target {
    /// From `https://host:port`.
    ///
    /// # Errors
    /// It has another form.
    pub fn from_url(url: &str) -> Result<Self, InvalidTarget> {
        const FORM: InvalidTarget = InvalidTarget::Form("https://HOST:PORT");
        let uri: Uri = url.parse()?;
        if uri.scheme_str() != Some("https") || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(FORM);
        }
        Self::of(&uri).ok_or(FORM)
    }

    /// From `host:port`.
    ///
    /// # Errors
    /// It has another form.
    pub fn from_host_port(text: &str) -> Result<Self, InvalidTarget> {
        let uri: Uri = text.parse()?;
        let bare = uri.scheme().is_none() && uri.authority().is_some();
        bare.then(|| Self::of(&uri)).flatten().ok_or(InvalidTarget::Form("HOST:PORT"))
    }

    fn of(uri: &Uri) -> Option<Self> {
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        Some(Target { host: host.to_owned(), port: authority.port_u16()? })
    }

    /// All addresses that the name has now, in random order.
    ///
    /// # Errors
    /// It can't be resolved, or to nothing.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = lookup_host((self.host.as_str(), self.port))
            .await
            .map_err(|error| ConnectError::Resolve { host: self.host.clone(), error })?;
        let mut addresses: Vec<_> = found.map(|address| (random().to_bits(), address)).collect();
        addresses.sort_unstable();
        if addresses.is_empty() {
            return Err(ConnectError::NoAddress(self.host.clone()));
        }
        Ok(addresses.into_iter().map(|(_, address)| address).collect())
    }
}

impl Credentials {
    /// Opens a channel to one of the target's addresses.
    ///
    /// # Errors
    /// A file can't be used, or no address could be reached: the last failure.
    pub async fn connect(&self, target: &Target) -> Result<Link, ConnectError> {
        let mut failure = ConnectError::NoAddress(target.host.clone());
        for address in target.resolve().await? {
            match self.connect_to(address, target).await {
                Ok(link) => return Ok(link),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Opens a channel to this address, at which the target must prove itself.
    ///
    /// # Errors
    /// A file can't be used, the address can't be reached, or another answers there.
    pub(crate) async fn connect_to(
        &self,
        address: SocketAddr,
        target: &Target,
    ) -> Result<Link, ConnectError> {
        let token = self.token().await?;
        let tls = self.tls().await?;
        let name =
            ServerName::try_from(target.host.clone()).map_err(|_| ConnectError::Name(target.host.clone()))?;
        let opened = timeout(CONNECT_TIMEOUT, open(address, name, tls)).await;
        let stream = opened
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(|error| ConnectError::Stream { address, error })?;

        // Channels reconnect by themselves, with what was read once: this one has only one stream to take.
        let mut once = Some(stream);
        let connector = service_fn(move |_: Uri| {
            let stream = once.take().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected));
            async move { stream.map(TokioIo::new) }
        });
        let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
        let endpoint = Endpoint::from_shared(format!("http://{host}:{}", target.port))?;
        Ok(Link { channel: endpoint.connect_with_connector(connector).await?, token: Some(token) })
    }

    async fn token(&self) -> Result<AsciiMetadataValue, ConnectError> {
        let bytes = read(&self.token).await?;
        let unusable = || ConnectError::NoToken(self.token.clone());
        let token = std::str::from_utf8(&bytes).map_err(|_| unusable())?.trim();
        if token.is_empty() || token.len() > TOKEN_BYTES || token.contains(char::is_whitespace) {
            return Err(unusable());
        }
        let mut value = AsciiMetadataValue::try_from(format!("Bearer {token}")).map_err(|_| unusable())?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn tls(&self) -> Result<Arc<ClientConfig>, ConnectError> {
        let pem = read(&self.ca).await?;
        let mut roots = RootCertStore::empty();
        // Bundles may hold what one reader doesn't know; another of its certificates may be the right one.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok));
        if roots.is_empty() {
            return Err(ConnectError::NoCertificate(self.ca.clone()));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }
}

async fn read(file: &Path) -> Result<Vec<u8>, ConnectError> {
    fs::read(file).await.map_err(|error| ConnectError::File { file: file.to_owned(), error })
}

async fn open(
    address: SocketAddr,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    TlsConnector::from(tls).connect(name, stream).await
}

#[cfg(test)]
mod tests;
