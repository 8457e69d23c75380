//! How long connections to a Service are good for, where a policy says so.

use std::time::Duration;

use gatehouse_proto::config::v1;
use tokio::time::Instant;

/// 50 seconds: below the keep-alive time of common servers (nginx 75 s, Node 5 s excepted), so that they seldom close
/// first.
pub(super) const IDLE: Duration = Duration::from_secs(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Keep {
    idle: Duration,
    /// `None`: none is too old.
    age: Option<Duration>,
}

/// Of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Age {
    opened: Instant,
    keep: Keep,
}

impl Keep {
    /// `None`: nothing is said.
    pub(super) fn compile(service: &v1::Service) -> Option<Keep> {
        let time = |milliseconds| (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
        let (idle, age) = (time(service.idle_timeout_ms), time(service.max_age_ms));
        (idle.is_some() || age.is_some()).then(|| Keep { idle: idle.unwrap_or(IDLE), age })
    }
}

impl Age {
    pub(super) fn new(keep: Keep) -> Age {
        Age { opened: Instant::now(), keep }
    }

    /// Until when it is good for another request, if it carries nothing since then.
    pub(super) fn good_until(&self, since: Instant) -> Instant {
        let idle = since + self.keep.idle;
        self.keep.age.map_or(idle, |age| idle.min(self.opened + age))
    }

    /// Whatever it carries.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        self.keep.age.is_some_and(|age| self.opened + age <= now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Age, IDLE, Instant, Keep, v1};

    #[test]
    fn the_shorter_time_counts() {
        let of = |idle_timeout_ms, max_age_ms| {
            Keep::compile(&v1::Service { idle_timeout_ms, max_age_ms, ..v1::Service::default() })
        };
        assert_eq!(of(0, 0), None);
        let opened = Instant::now();
        let good = |idle, age, since: u64| {
            let age = Age { opened, keep: of(idle, age).unwrap() };
            age.good_until(opened + Duration::from_secs(since)) - opened
        };
        assert_eq!(good(4000, 0, 100), Duration::from_secs(104));
        assert_eq!(good(4000, 60_000, 10), Duration::from_secs(14));
        assert_eq!(good(4000, 60_000, 58), Duration::from_secs(60));
        assert_eq!(good(0, 3_600_000, 0), IDLE);
        let old = Age { opened, keep: of(0, 1000).unwrap() };
        assert!(!old.is_old(opened) && old.is_old(opened + Duration::from_secs(1)));
    }
}
