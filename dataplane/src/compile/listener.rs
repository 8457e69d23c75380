//! Compiles a `Listener`.

use std::{sync::Arc, time::Duration};

use gatehouse_proto::config::v1;

use crate::{
    route::Hostname,
    snapshot::{Protocol, Speaks},
};

/// As for WebSockets.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);

#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: Arc<str>,
    pub(super) port: u16,
    pub(super) protocol: Protocol,
    pub(super) hostname: Hostname,
    pub(super) certificates: Vec<String>,
    pub(super) stream_idle_timeout: Duration,
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
            v1::Protocol::Unspecified => return Err("this dataplane does not know the protocol".into()),
        };
        Ok(Part {
            name: name.strip_prefix("listener/").unwrap_or(name).into(),
            port,
            protocol,
            hostname: Hostname::parse(&listener.hostname),
            certificates: listener.certificates.clone(),
            stream_idle_timeout: match listener.stream_idle_timeout_ms {
                0 => STREAM_IDLE_TIMEOUT,
                milliseconds => Duration::from_millis(milliseconds.into()),
            },
        })
    }

    /// What its port's clients begin with, if no other listener has the port.
    pub(super) fn speaks(&self) -> Speaks {
        match self.protocol {
            Protocol::Http => Speaks::Http,
            Protocol::Https => Speaks::Https,
            Protocol::TlsPassthrough | Protocol::TlsTerminate => Speaks::Tls,
            Protocol::Tcp => Speaks::Tcp,
        }
    }
}
