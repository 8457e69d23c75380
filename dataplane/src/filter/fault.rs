//! Faults on purpose: which requests are held up for how long, and which are answered in place of the backend.

use std::{
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{InvalidFilter, header};
use crate::snapshot::Share;

#[derive(Debug, Clone)]
pub(crate) struct Fault {
    header: Option<(HeaderName, HeaderValue)>,
    delay: Option<(Share, Duration)>,
    abort: Option<(Share, Abort)>,
}

/// What a request gets in place of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abort {
    pub(crate) status: StatusCode,
    /// `None`: what gRPC makes of the status.
    pub(crate) grpc_status: Option<NonZeroU16>,
}

impl Fault {
    pub(crate) fn compile(wire: &v1::Fault) -> Result<Self, InvalidFilter> {
        let abort = wire.abort.as_ref().map(|abort| {
            let code = u16::try_from(abort.status).ok().and_then(|code| StatusCode::from_u16(code).ok());
            let status = code.filter(|status| status.is_client_error() || status.is_server_error());
            let status = status.ok_or_else(|| {
                InvalidFilter(format!("fault.abort.status {} is not between 400 and 599", abort.status))
            })?;
            let grpc_status = u16::try_from(abort.grpc_status).ok().and_then(NonZeroU16::new);
            Ok((share(abort.share_ppm), Abort { status, grpc_status }))
        });
        let delay =
            wire.delay.map(|delay| (share(delay.share_ppm), Duration::from_millis(delay.duration_ms)));
        Ok(Fault { header: wire.header.as_ref().map(header).transpose()?, delay, abort: abort.transpose()? })
    }

    /// `false`: nothing is done to a request with these fields.
    pub(crate) fn is_for(&self, headers: &HeaderMap) -> bool {
        let Some((name, value)) = &self.header else { return true };
        headers.get_all(name).iter().any(|sent| sent == value)
    }

    /// For how long a request is held up.
    pub(crate) fn delay(&self, random: impl FnOnce() -> u64) -> Option<Duration> {
        self.delay.filter(|(share, _)| share.takes(random)).map(|(_, duration)| duration)
    }

    pub(crate) fn abort(&self, random: impl FnOnce() -> u64) -> Option<Abort> {
        self.abort.filter(|(share, _)| share.takes(random)).map(|(_, abort)| abort)
    }
}

fn share(ppm: u32) -> Share {
    Share { part: ppm, whole: NonZeroU32::new(1_000_000).unwrap_or(NonZeroU32::MIN) }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use gatehouse_proto::config::v1;
    use http::{HeaderMap, HeaderValue};

    use super::Fault;

    #[test]
    fn shares_are_drawn_one_by_one() {
        let fault = Fault::compile(&v1::Fault {
            header: None,
            delay: Some(v1::FaultDelay { duration_ms: 5, share_ppm: 250_000 }),
            abort: Some(v1::FaultAbort { status: 503, grpc_status: 0, share_ppm: 0 }),
        })
        .unwrap();
        let next = Cell::new(0);
        let random = || next.replace(next.get() + 1);
        let held_up = (0..1_000_000).filter(|_| fault.delay(random) == Some(Duration::from_millis(5)));
        assert_eq!(held_up.count(), 250_000);
        assert!((0..1000).all(|_| fault.abort(random).is_none()));
    }

    #[test]
    fn only_those_are_meant_who_say_so() {
        let header = Some(v1::Header { name: "X-Fault".into(), value: "on".into() });
        let fault = Fault::compile(&v1::Fault { header, ..v1::Fault::default() }).unwrap();
        for (values, is_meant) in
            [(&[][..], false), (&["off"], false), (&["on"], true), (&["off", "on"], true)]
        {
            let sent =
                values.iter().map(|value| ("x-fault".parse().unwrap(), HeaderValue::from_static(value)));
            let mut headers = HeaderMap::new();
            sent.for_each(|(name, value): (http::HeaderName, _)| {
                headers.append(name, value);
            });
            assert_eq!(fault.is_for(&headers), is_meant, "{values:?}");
        }
    }
}
