//! Compiles a `Listener`.

use std::sync::Arc;

use gatehouse_proto::config::v1;

use crate::route::Hostname;

#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: Arc<str>,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) hostname: Hostname,
    pub(super) certificates: Vec<String>,
}

impl Part {
    pub(super) fn compile(name: &str, listener: &v1::Listener) -> Result<Self, String> {
        let port = u16::try_from(listener.port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| format!("port {} is not between 1 and 65535", listener.port))?;
        let tls = match listener.protocol() {
            v1::Protocol::Http => false,
            v1::Protocol::Https => true,
            v1::Protocol::Unspecified => return Err("this dataplane does not know the protocol".into()),
        };
        Ok(Part {
            name: name.strip_prefix("listener/").unwrap_or(name).into(),
            port,
            tls,
            hostname: Hostname::parse(&listener.hostname),
            certificates: listener.certificates.clone(),
        })
    }
}
