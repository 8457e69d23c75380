//! Everything that is known of a finished stream: a connection that was passed on as it is, or the datagrams of a client
//! address.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::metrics::RouteMetrics;
use crate::Reason;

#[derive(Debug)]
pub(crate) struct StreamRecord {
    pub(crate) began: SystemTime,
    pub(crate) duration: Duration,
    /// `TCP`, `TLS` or `UDP`.
    pub(crate) protocol: &'static str,
    /// The server name that the client asked for, in lower case. Empty if it asked for none.
    pub(crate) host: Box<str>,
    pub(crate) client: IpAddr,
    pub(crate) listener: Option<Arc<str>>,
    pub(crate) route: Option<Arc<RouteMetrics>>,
    /// Chosen backend, as `namespace/name/port`.
    pub(crate) service: Option<Arc<str>>,
    /// The last that was tried.
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) attempts: u32,
    /// Why it did not come to its own end.
    pub(crate) reason: Option<Reason>,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
}
