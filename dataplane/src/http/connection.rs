//! What is known of a client's connection.

use std::{net::SocketAddr, rc::Rc, sync::Arc};

use super::guard::Watch;
use crate::worker::Worker;

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) worker: Rc<Worker>,
    pub(crate) peer: SocketAddr,
    /// Number of the listener port as configured, which may differ from the one that is bound.
    pub(crate) port: u16,
    pub(crate) scheme: Scheme,
    /// Name of the listener that the client's SNI chose; `None` without TLS.
    pub(crate) tls_listener: Option<Arc<str>>,
    /// Of the guard, on HTTP/1.
    pub(crate) watch: Option<Watch>,
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
