//! When a request is sent again (GEP-1731), beside those that no backend has taken.
//!
//! A status that the rule lists is retried for every method: that is what the rule says. A connection that broke or a backend
//! that was too slow may have done its work; unless the rule lists the status that the client would see, only an idempotent
//! request is sent again then (RFC 9110, 9.2.2). A body must be small enough to have been kept.

use std::time::Duration;

use http::{Request, StatusCode};
use tokio::time::sleep;

use crate::{
    snapshot::Retry,
    upstream::{self, Failed, Protocol, Recording, RequestBody},
};

/// A wait grows up to so many times the first.
const GROWTH: u32 = 10;

/// What a rule allows for one request, as far as it is not used up.
#[derive(Debug)]
pub(super) struct Retries<'a> {
    rule: &'a Retry,
    used: u32,
    /// The request without its body, where sending takes all of it.
    head: Option<Request<RequestBody>>,
    /// `None`: there is no body.
    body: Option<&'a Recording>,
    idempotent: bool,
}

impl<'a> Retries<'a> {
    pub(super) fn new(
        rule: &'a Retry,
        request: &Request<RequestBody>,
        protocol: Protocol,
        body: Option<&'a Recording>,
    ) -> Self {
        let head = (protocol != Protocol::Http1).then(|| upstream::copy(request));
        Retries { rule, used: 0, head, body, idempotent: request.method().is_idempotent() }
    }

    /// What came of an attempt is not to be told to the client.
    pub(super) fn wants(&self, outcome: Result<StatusCode, Failed>) -> bool {
        self.used < self.rule.attempts
            && match outcome {
                Ok(status) => self.rule.codes.contains(&status),
                Err(Failed::Unsent(_)) => true,
                Err(Failed::Sent(reason)) => self.idempotent || self.rule.codes.contains(&reason.status()),
            }
    }

    /// Makes the request whole again. `false`: its body was not kept.
    pub(super) fn restore(&self, request: &mut Request<RequestBody>) -> bool {
        let body = match self.body {
            None => RequestBody::Empty,
            Some(recording) => match recording.replay() {
                Some(body) => body,
                None => return false,
            },
        };
        if let Some(head) = &self.head {
            *request = upstream::copy(head);
        }
        *request.body_mut() = body;
        true
    }

    /// Uses one attempt up, after its wait.
    pub(super) async fn wait(&mut self, random: u64) {
        sleep(backoff(self.rule.backoff, self.used, random)).await;
        self.used += 1;
    }
}

/// Never less than the rule says; up to half as much again, so that those who failed together don't come back together.
fn backoff(first: Duration, used: u32, random: u64) -> Duration {
    let grown = first.saturating_mul(2_u32.saturating_pow(used).min(GROWTH));
    let half = u64::try_from(grown.as_micros() / 2).unwrap_or(u64::MAX);
    grown.saturating_add(Duration::from_micros(if half == 0 { 0 } else { random % half }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::backoff;

    #[test]
    fn waits_grow_and_are_never_shorter_than_asked() {
        let first = Duration::from_millis(100);
        for (used, least) in [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1000), (40, 1000)] {
            let least = Duration::from_millis(least);
            for random in [0, 1, u64::MAX / 3, u64::MAX] {
                let wait = backoff(first, used, random);
                assert!((least..least + least / 2).contains(&wait), "{used}, {random}: {wait:?}");
            }
        }
        assert_eq!(backoff(Duration::ZERO, 3, 7), Duration::ZERO);
        assert!(backoff(Duration::from_millis(u64::MAX), 3, u64::MAX) > Duration::from_secs(1 << 50));
    }
}
