//! What an active check of endpoints is, and what it has found out so far.

use std::{
    ops::RangeInclusive,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use gatehouse_proto::config::v1::{self, active_check::Kind};
use http::{StatusCode, Uri, uri::Authority};

/// As the kubelet's probes.
const EXPECTED: RangeInclusive<u16> = 200..=399;

#[derive(Debug)]
pub(crate) struct ActiveCheck {
    pub(crate) probe: Probe,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    /// So many one after the other make it fit again.
    healthy: u32,
    /// So many one after the other make it unfit.
    unhealthy: u32,
    /// Where no endpoint is fit, none is asked.
    pub(super) refuses: bool,
}

/// What an endpoint is asked.
#[derive(Debug)]
pub(crate) enum Probe {
    /// Whether it can be connected to.
    Tcp,
    Http(HttpProbe),
    /// Whether this service serves; empty: all of it.
    Grpc(String),
}

#[derive(Debug)]
pub(crate) struct HttpProbe {
    pub(crate) path: String,
    pub(crate) host: Option<String>,
    /// Empty: [`EXPECTED`].
    statuses: Vec<StatusCode>,
}

/// What is known of an endpoint. Fit until checks say otherwise. One task writes.
#[derive(Debug, Default)]
pub(super) struct Health {
    unfit: AtomicBool,
    /// Checks one after the other that say otherwise than is known.
    against: AtomicU32,
}

impl ActiveCheck {
    /// The error is a sentence.
    pub(super) fn compile(wire: &v1::ActiveCheck) -> Result<Self, String> {
        let probe = match &wire.kind {
            Some(Kind::Tcp(_)) => Probe::Tcp,
            Some(Kind::Http(http)) => Probe::Http(HttpProbe::compile(http)?),
            Some(Kind::Grpc(grpc)) => Probe::Grpc(grpc.service.clone()),
            None => return Err("active: this dataplane does not know its kind".into()),
        };
        if wire.interval_ms == 0 || wire.timeout_ms == 0 {
            return Err("active: an interval and a timeout are more than 0".into());
        }
        Ok(ActiveCheck {
            probe,
            interval: Duration::from_millis(wire.interval_ms),
            timeout: Duration::from_millis(wire.timeout_ms),
            healthy: wire.healthy_threshold.max(1),
            unhealthy: wire.unhealthy_threshold.max(1),
            refuses: wire.refuse_when_none_healthy,
        })
    }
}

impl HttpProbe {
    fn compile(wire: &v1::HttpCheck) -> Result<Self, String> {
        if !wire.path.starts_with('/') || Uri::try_from(wire.path.as_str()).is_err() {
            return Err(format!("active.http.path: {:?} is no path", wire.path));
        }
        let host = Some(wire.host.clone()).filter(|host| !host.is_empty());
        if host.as_deref().is_some_and(|host| Authority::try_from(host).is_err()) {
            return Err(format!("active.http.host: {:?} is no host", wire.host));
        }
        let statuses = wire.expected_statuses.iter().map(|code| {
            let code = u16::try_from(*code).ok().and_then(|code| StatusCode::from_u16(code).ok());
            code.ok_or("active.http.expected_statuses: one is no status")
        });
        Ok(HttpProbe { path: wire.path.clone(), host, statuses: statuses.collect::<Result<_, _>>()? })
    }

    pub(crate) fn expects(&self, status: StatusCode) -> bool {
        if self.statuses.is_empty() {
            EXPECTED.contains(&status.as_u16())
        } else {
            self.statuses.contains(&status)
        }
    }
}

impl Health {
    pub(super) fn is_unfit(&self) -> bool {
        self.unfit.load(Relaxed)
    }

    /// `true`: it is another than before.
    pub(super) fn note(&self, fit: bool, check: &ActiveCheck) -> bool {
        if fit != self.is_unfit() {
            self.against.store(0, Relaxed);
            return false;
        }
        let against = self.against.load(Relaxed).saturating_add(1);
        let turns = against >= if fit { check.healthy } else { check.unhealthy };
        self.against.store(if turns { 0 } else { against }, Relaxed);
        if turns {
            self.unfit.store(!fit, Relaxed);
        }
        turns
    }

    pub(super) fn forget(&self) {
        self.unfit.store(false, Relaxed);
        self.against.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_proto::config::v1;

    use super::{ActiveCheck, Health};

    #[test]
    fn it_takes_so_many_one_after_the_other() {
        let check = ActiveCheck::compile(&v1::ActiveCheck {
            kind: Some(v1::active_check::Kind::Tcp(v1::Empty {})),
            interval_ms: 1,
            timeout_ms: 1,
            healthy_threshold: 2,
            unhealthy_threshold: 3,
            ..v1::ActiveCheck::default()
        })
        .unwrap();
        let health = Health::default();
        for (fit, turns, unfit) in [
            (true, false, false),
            (false, false, false),
            (false, false, false),
            (true, false, false),
            (false, false, false),
            (false, false, false),
            (false, true, true),
            (false, false, true),
            (true, false, true),
            (false, false, true),
            (true, false, true),
            (true, true, false),
        ] {
            assert_eq!((health.note(fit, &check), health.is_unfit()), (turns, unfit));
        }
    }
}
