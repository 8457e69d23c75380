//! Everything that is known of a finished request.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method, Version};

use super::{metrics::RouteMetrics, trace::TraceContext};
use crate::Reason;

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) began: SystemTime,
    pub(crate) duration: Duration,
    /// Until the response's head; `None` if there was none from a backend.
    pub(crate) head_after: Option<Duration>,
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    pub(crate) host: Box<str>,
    /// Canonical and without the query, which can hold credentials.
    pub(crate) path: Box<str>,
    pub(crate) version: Version,
    pub(crate) client: IpAddr,
    pub(crate) listener: Option<Arc<str>>,
    pub(crate) route: Option<Arc<RouteMetrics>>,
    pub(crate) service: Option<Arc<str>>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) attempts: u32,
    pub(crate) consumer: Option<Arc<str>>,
    pub(crate) status: u16,
    pub(crate) reason: Option<Reason>,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) request_id: RequestId,
    pub(crate) trace: TraceContext,
}

/// Letters, digits and `-_.:`, at most 128: it goes into headers, logs and problem details as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// The client's, if it is well formed.
    pub(crate) fn parse(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        let fits = !bytes.is_empty() && bytes.len() <= 128 && bytes.iter().all(allowed);
        fits.then(|| RequestId(value.clone()))
    }

    pub(crate) fn make(random: impl Fn() -> u64) -> Self {
        let text = format!("{:016x}{:016x}", random(), random());
        RequestId(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}
