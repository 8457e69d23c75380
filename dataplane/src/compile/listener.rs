//! Compiles a `Listener`.

use std::{sync::Arc, time::Duration};

use gatehouse_proto::config::v1;

use crate::{
    listen::{Clients, ListenPort},
    route::Hostname,
    snapshot::{Protocol, Speaks},
};

/// As for WebSockets.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Longer than most answers take, and short enough for the many sessions of one question each.
const SESSION_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: Arc<str>,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    pub(super) hostname: Hostname,
    pub(super) certificates: Vec<String>,
    pub(super) stream_idle_timeout: Duration,
    pub(super) clients: Option<Arc<Clients>>,
}

impl Part {
    pub(super) fn compile(name: &str, listener: &v1::Listener) -> Result<Self, String> {
        let port = u16::try_from(listener.port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("port {} is not between 1 and 65535", listener.port))?;
        let protocol = match listener.protocol() {
            v1::Protocol::Http => Protocol::Http,
            v1::Protocol::Https => Protocol::Https,
            v1::Protocol::Tcp => Protocol::Tcp,
            v1::Protocol::TlsPassthrough => Protocol::TlsPassthrough,
            v1::Protocol::TlsTerminate => Protocol::TlsTerminate,
            v1::Protocol::Udp => Protocol::Udp,
            v1::Protocol::Unspecified => return Err("this dataplane does not know the protocol".into()),
        };
        let clients = listener.client_validation.as_ref().map(Clients::compile).transpose()?;
        Ok(Part {
            name: name.strip_prefix("listener/").unwrap_or(name).into(),
            port,
            protocol,
            hostname: Hostname::parse(&listener.hostname),
            certificates: listener.certificates.clone(),
            stream_idle_timeout: match listener.stream_idle_timeout_ms {
                0 if protocol == Protocol::Udp => SESSION_IDLE_TIMEOUT,
                0 => STREAM_IDLE_TIMEOUT,
                milliseconds => Duration::from_millis(milliseconds.into()),
            },
            clients: clients.map(Arc::new),
        })
    }

    pub(super) fn listen_port(&self) -> ListenPort {
        match self.protocol {
            Protocol::Udp => ListenPort::Udp(self.port),
            _ => ListenPort::Tcp(self.port),
        }
    }

    /// What its port's clients begin with, if no other listener has the port. `None`: it is none of TCP.
    pub(super) fn speaks(&self) -> Option<Speaks> {
        match self.protocol {
            Protocol::Http => Some(Speaks::Http),
            Protocol::Https => Some(Speaks::Https),
            Protocol::TlsPassthrough | Protocol::TlsTerminate => Some(Speaks::Tls),
            Protocol::Tcp => Some(Speaks::Tcp),
            Protocol::Udp => None,
        }
    }
}
