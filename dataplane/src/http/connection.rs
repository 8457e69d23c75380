//! What is known of a client's connection.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use super::headers::Hop;
use crate::{auth::ClientCertificate, listen::Clients, snapshot::Snapshot, worker::Worker};

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) peer: SocketAddr,
    /// Number of the listener port as configured, which may differ from the one that is bound.
    pub(crate) port: u16,
    pub(crate) scheme: Scheme,
    pub(crate) hop: Hop,
    /// Name of the listener that the client's SNI chose; `None` without TLS.
    pub(crate) tls_listener: Option<Arc<str>>,
    /// What the client showed, if that was verified.
    shown: Option<Box<Shown>>,
}

/// The certificate of a client.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) certificate: Arc<ClientCertificate>,
    /// By whom it was verified.
    pub(crate) clients: Arc<Clients>,
}

impl Connection {
    pub(crate) fn new(
        worker: Rc<Worker>,
        peer: SocketAddr,
        port: u16,
        scheme: Scheme,
        tls_listener: Option<Arc<str>>,
    ) -> Self {
        let hop = Hop::new(peer.ip(), scheme.as_str(), port);
        Connection { worker, peer, port, scheme, hop, tls_listener, shown: None }
    }

    pub(crate) fn with_certificate(self, shown: Option<Shown>) -> Self {
        Connection { shown: shown.map(Box::new), ..self }
    }

    /// What the client showed in the handshake, as long as the port lets in whom it did then.
    pub(crate) fn certificate(&self, snapshot: &Snapshot) -> Option<&Arc<ClientCertificate>> {
        let shown = self.shown.as_ref()?;
        let trusted = snapshot.ports.get(&self.port)?.clients.as_ref()?;
        (*trusted == shown.clients).then_some(&shown.certificate)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}
