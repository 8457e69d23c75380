//! Everything that is known of a finished request.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method, Version};

use super::{
    metrics::RouteMetrics,
    trace::{TraceContext, hex},
};
use crate::Reason;

const REQUEST_ID_BYTES: usize = 128;

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) began: SystemTime,
    pub(crate) duration: Duration,
    /// Until the response's head; `None` if there was none from a backend.
    pub(crate) head_after: Option<Duration>,
    pub(crate) method: Method,
    pub(crate) scheme: &'static str,
    /// Empty if nothing was matched.
    pub(crate) host: Box<str>,
    /// Canonical and without the query, which can hold credentials. Empty if the request could not be read.
    pub(crate) path: Box<str>,
    pub(crate) version: Version,
    pub(crate) client: IpAddr,
    pub(crate) listener: Option<Arc<str>>,
    pub(crate) route: Option<Arc<RouteMetrics>>,
    /// Chosen backend, as `namespace/name/port`.
    pub(crate) service: Option<Arc<str>>,
    /// The last that was tried.
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) attempts: u32,
    pub(crate) consumer: Option<Arc<str>>,
    pub(crate) status: u16,
    /// What a gRPC call ended with; 0 is success.
    pub(crate) grpc_status: Option<u16>,
    /// Where the rule keeps answers: what became of it there.
    pub(crate) cache: Option<CacheResult>,
    /// Why the gateway answered by itself, or why the response was not finished.
    pub(crate) reason: Option<Reason>,
    /// Parts of an aggregate that have failed, and why, as a JSON array; empty: none.
    pub(crate) failed_parts: Box<str>,
    /// Of the body.
    pub(crate) bytes_received: u64,
    /// Of the body.
    pub(crate) bytes_sent: u64,
    pub(crate) user_agent: Option<HeaderValue>,
    pub(crate) request_id: RequestId,
    pub(crate) trace: TraceContext,
}

/// What became of a request where answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheResult {
    /// It got an answer that was kept.
    Hit,
    /// It got one that was not fresh any more.
    Stale,
    /// It got one that the backend has confirmed.
    Revalidated,
    /// There was none.
    Miss,
    /// It passed by.
    Bypass,
}

/// Letters, digits and `-_.:`, at most 128: it goes into headers, logs and problem details as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl CacheResult {
    pub(super) const ALL: [CacheResult; 5] = [
        CacheResult::Hit,
        CacheResult::Stale,
        CacheResult::Revalidated,
        CacheResult::Miss,
        CacheResult::Bypass,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            CacheResult::Hit => "hit",
            CacheResult::Stale => "stale",
            CacheResult::Revalidated => "revalidated",
            CacheResult::Miss => "miss",
            CacheResult::Bypass => "bypass",
        }
    }
}

impl Record {
    /// Refused, failed, broken off, or answered with an error.
    pub(super) fn went_wrong(&self) -> bool {
        let answered =
            matches!(self.reason, None | Some(Reason::Redirect | Reason::Direct | Reason::FaultDelayed));
        !answered
            || !self.failed_parts.is_empty()
            || self.status >= 400
            || self.grpc_status.is_some_and(|code| code != 0)
    }

    /// The name of the protocol's version, as in `HTTP/1.1`.
    pub(super) fn version_number(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        }
    }
}

impl RequestId {
    /// The client's, if it is well formed.
    pub(crate) fn parse(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
        let fits = !bytes.is_empty() && bytes.len() <= REQUEST_ID_BYTES && bytes.iter().all(allowed);
        fits.then(|| RequestId(value.clone()))
    }

    /// 32 hexadecimal digits. `random` gives 64 random bits.
    pub(crate) fn make(random: impl Fn() -> u64) -> Self {
        let number = (u128::from(random()) << 64) | u128::from(random());
        let digits: [u8; 32] = hex(number.to_be_bytes());
        RequestId(HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }

    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

#[cfg(test)]
impl Record {
    /// `GET /orders`, forwarded and answered with 200.
    pub(crate) fn example() -> Self {
        Record {
            began: SystemTime::UNIX_EPOCH + Duration::from_micros(1_764_046_744_000_042),
            duration: Duration::from_micros(12_345),
            head_after: Some(Duration::from_micros(10_001)),
            method: Method::GET,
            scheme: "https",
            host: "shop.example".into(),
            path: "/orders".into(),
            version: Version::HTTP_11,
            client: IpAddr::from([192, 0, 2, 7]),
            listener: Some("default/edge/https".into()),
            route: None,
            service: Some("default/orders/80".into()),
            endpoint: Some(SocketAddr::from(([10, 0, 0, 9], 8080))),
            attempts: 1,
            consumer: Some("alice".into()),
            status: 200,
            grpc_status: None,
            cache: None,
            reason: None,
            failed_parts: Box::default(),
            bytes_received: 0,
            bytes_sent: 512,
            user_agent: Some(HeaderValue::from_static("curl/8.5.0")),
            request_id: RequestId(HeaderValue::from_static("r-1")),
            trace: TraceContext { trace_id: 0xabc, parent: Some(0x12), span_id: 0xdef, recorded: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::RequestId;

    #[test]
    fn only_harmless_ids_are_taken_over() {
        let longest = "a".repeat(128);
        for good in ["r-1", "A_b.c:9", "0", &longest] {
            let parsed = RequestId::parse(&HeaderValue::try_from(good).unwrap());
            assert_eq!(parsed.as_ref().map(RequestId::as_str), Some(good));
        }
        let too_long = "a".repeat(129);
        for bad in ["", "a b", "a\"b", "a\\b", "a,b", "a/b", "a\tb", "ü", &too_long] {
            assert_eq!(RequestId::parse(&HeaderValue::try_from(bad).unwrap()), None, "{bad:?}");
        }
    }

    #[test]
    fn made_ids_would_be_taken_over() {
        let made = RequestId::make(|| 0x0123_4567_89ab_cdef);
        assert_eq!(made.as_str(), "0123456789abcdef0123456789abcdef");
        assert_eq!(RequestId::parse(&made.header()), Some(made));
    }
}
