//! A connection to the gateway, with TLS or without.

use std::{net::SocketAddr, sync::Arc};

use rustls::{ClientConfig, RootCertStore, client::Resumption, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How a client speaks TLS 1.3, and whom it believes.
#[derive(Clone)]
pub struct Trust {
    root: CertificateDer<'static>,
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Trust {
    /// # Panics
    /// If the root is none.
    pub fn new(root: CertificateDer<'static>, name: &'static str) -> Self {
        let name = ServerName::try_from(name).unwrap();
        Trust { config: config(&root, false), root, name }
    }

    /// The same with a memory of its own: whether it resumes sessions is up to the caller.
    #[must_use]
    pub fn anew(&self, resumes: bool) -> Self {
        Trust { config: config(&self.root, resumes), ..self.clone() }
    }
}

fn config(root: &CertificateDer<'static>, resumes: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let mut provider = aws_lc_rs::default_provider();
    // The key exchange that all gateways have, and not one that only some have.
    provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider's own versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = if resumes { Resumption::in_memory_sessions(32) } else { Resumption::disabled() };
    Arc::new(config)
}

/// Gives the stream, and whether the session was resumed.
pub(super) async fn connect(
    address: SocketAddr,
    trust: Option<&Trust>,
) -> std::io::Result<(Box<dyn Stream>, bool)> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let Some(trust) = trust else { return Ok((Box::new(stream), false)) };
    let stream = TlsConnector::from(Arc::clone(&trust.config)).connect(trust.name.clone(), stream).await?;
    let resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    Ok((Box::new(stream), resumed))
}
