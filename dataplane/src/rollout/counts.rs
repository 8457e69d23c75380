//! Requests of the versions of a rollout, for the controller to compare. Only rollouts that are analysed have them; they
//! live as long as a route that names them, so that a change of weights begins nothing anew.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use gatehouse_proto::{
    config::v1,
    durations::{BUCKETS, bucket},
};

use crate::{Reason, observe::Record};

/// Codes of gRPC that are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
const GRPC_FAILURES: [u16; 6] = [2, 4, 12, 13, 14, 15];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Stable,
    Canary,
}

/// Of both versions: 1.2 KB.
#[derive(Debug)]
pub(crate) struct Counts {
    name: Box<str>,
    stable: Of,
    canary: Of,
}

/// Of one version.
#[derive(Debug)]
struct Of {
    requests: AtomicU64,
    errors: AtomicU64,
    durations: [AtomicU64; BUCKETS + 1],
}

impl Default for Of {
    fn default() -> Self {
        let durations = std::array::from_fn(|_| AtomicU64::new(0));
        Of { requests: AtomicU64::new(0), errors: AtomicU64::new(0), durations }
    }
}

impl Counts {
    pub(crate) fn new(name: &str) -> Self {
        Counts { name: name.into(), stable: Of::default(), canary: Of::default() }
    }

    /// A request has ended.
    pub(crate) fn count(&self, version: Version, record: &Record) {
        let took = record.head_after.unwrap_or(record.duration);
        let of = match version {
            Version::Stable => &self.stable,
            Version::Canary => &self.canary,
        };
        of.count(has_failed(record), took);
    }

    pub(crate) fn report(&self) -> v1::RolloutCounts {
        v1::RolloutCounts {
            name: self.name.to_string(),
            stable: Some(self.stable.report()),
            canary: Some(self.canary.report()),
        }
    }
}

impl Of {
    fn count(&self, failed: bool, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.durations[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        if failed {
            self.errors.fetch_add(1, Ordering::Relaxed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    fn report(&self) -> v1::VersionCounts {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut durations: Vec<u64> = self.durations.iter().map(get).collect();
        durations.truncate(durations.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1));
        v1::VersionCounts { requests: get(&self.requests), errors: get(&self.errors), durations }
    }
}

/// Because of the backend: what the client did, or the gateway for its own reasons, says nothing about it.
fn has_failed(record: &Record) -> bool {
    match record.reason {
        Some(
            Reason::NoEndpoints
            | Reason::ConnectFailed
            | Reason::UpstreamFailed
            | Reason::UpstreamTimeout
            | Reason::UpstreamFull
            | Reason::BrokenRoute,
        ) => true,
        None | Some(Reason::FaultDelayed) => {
            record.status >= 500 || record.grpc_status.is_some_and(|code| GRPC_FAILURES.contains(&code))
        }
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Counts, Version};
    use crate::{Reason, observe::Record};

    #[test]
    fn failures_are_those_of_the_backend() {
        for (status, reason, grpc_status, failed) in [
            (200, None, None, false),
            (404, None, None, false),
            (500, None, None, true),
            (503, Some(Reason::NoEndpoints), None, true),
            (502, Some(Reason::ConnectFailed), None, true),
            (504, Some(Reason::UpstreamTimeout), None, true),
            (200, Some(Reason::UpstreamFailed), None, true),
            (499, Some(Reason::ClientGone), None, false),
            (400, Some(Reason::BadRequest), None, false),
            (200, None, Some(5), false),
            (200, None, Some(14), true),
        ] {
            let counts = Counts::new("a");
            let head_after = Some(Duration::from_micros(300));
            counts.count(
                Version::Canary,
                &Record { status, reason, grpc_status, head_after, ..Record::example() },
            );
            let report = counts.report();
            let (stable, canary) = (report.stable.unwrap(), report.canary.unwrap());
            assert_eq!((stable.requests, canary.requests), (0, 1));
            assert_eq!(canary.errors, u64::from(failed), "{status} {reason:?} {grpc_status:?}");
            assert_eq!((stable.durations.len(), &*canary.durations), (0, &[0, 0, 1][..]));
        }
    }
}
