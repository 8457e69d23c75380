//! What is known of a client's connection.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use super::headers::Hop;
use crate::worker::Worker;

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
        Connection { worker, peer, port, scheme, hop, tls_listener }
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
