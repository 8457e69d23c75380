//! TLS termination: the certificate is chosen by SNI from the newest state at each handshake, so a renewal never touches
//! a connection. Names that no listener covers fail the handshake; so do clients without SNI, unless a listener takes
//! any host.

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
};

use hashbrown::HashMap;
use parking_lot::Mutex;
use rustls::{
    ServerConfig,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use super::Clients;
use crate::{
    snapshot::{Listener, Snapshot},
    worker::Shared,
};

/// The TLS configuration of each port, shared by all workers.
#[derive(Default)]
pub(crate) struct TlsPorts {
    configs: Mutex<HashMap<(u16, Inside), Made>>,
    shared: OnceLock<Weak<Shared>>,
}

/// What is spoken inside of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Inside {
    Http,
    /// Anything: no protocol is agreed on, for the backend's is not known.
    Stream,
}

#[derive(Debug)]
struct Made {
    config: Arc<ServerConfig>,
    /// Whom it lets in.
    clients: Option<Arc<Clients>>,
}

#[derive(Debug)]
struct BySni {
    port: u16,
    shared: Weak<Shared>,
}

impl TlsPorts {
    /// Must be called once, before the first connection.
    pub(crate) fn attach(&self, shared: &Arc<Shared>) {
        // A second call would give the same.
        let _ = self.shared.set(Arc::downgrade(shared));
    }

    /// Made anew when other clients are to be let in, with other keys for tickets: a session that began under other rules
    /// is not resumed.
    pub(crate) fn config(
        &self,
        port: u16,
        inside: Inside,
        clients: Option<&Arc<Clients>>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut configs = self.configs.lock();
        if let Some(made) = configs.get(&(port, inside)).filter(|made| made.clients.as_ref() == clients) {
            return Ok(Arc::clone(&made.config));
        }
        let resolver = BySni { port, shared: self.shared.get().cloned().unwrap_or_default() };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(match clients {
                Some(clients) => Arc::clone(&clients.verifier),
                None => WebPkiClientVerifier::no_client_auth(),
            })
            .with_cert_resolver(Arc::new(resolver));
        if inside == Inside::Http {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        // A resumed session gives one for the next, and saves each handshake a record.
        config.send_tls13_tickets = 1;
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        let config = Arc::new(config);
        configs.insert((port, inside), Made { config: Arc::clone(&config), clients: clients.cloned() });
        Ok(config)
    }
}

/// The listener of a port that a TLS client asks for.
pub(super) fn listener<'s>(
    snapshot: &'s Snapshot,
    port: u16,
    sni: Option<&str>,
) -> Option<&'s Arc<Listener>> {
    let listeners = &snapshot.ports.get(&port)?.listeners;
    match sni {
        Some(name) if name.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            listeners.best(&name.to_ascii_lowercase())
        }
        Some(name) => listeners.best(name),
        None => listeners.any(),
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shared = self.shared.upgrade()?;
        let snapshot = shared.snapshot.load();
        let certificates = &listener(&snapshot, self.port, hello.server_name())?.certificates;
        let fits = |certificate: &&Arc<CertifiedKey>| {
            certificate.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        certificates.iter().find(fits).or_else(|| certificates.first()).cloned()
    }
}

impl fmt::Debug for TlsPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPorts").finish_non_exhaustive()
    }
}
