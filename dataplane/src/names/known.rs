//! What is known of a name, and when to ask again.

use std::{net::IpAddr, time::Duration};

use tokio::time::Instant;

use super::message::{Answer, Failure};

/// Bounds on the time of an answer: a shorter one would ask all the time, a longer one keep a mistake for long.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// The same where there is no such name or address; the second holds also where the answer does not say.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(30);
const NEGATIVE: Duration = Duration::from_secs(5);
/// After failures: doubled from one to the next.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How long the last answer counts while none comes (RFC 8767, 5: one to three days).
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Default)]
pub(super) struct Known {
    v4: Addresses,
    v6: Addresses,
    /// One after the other.
    failures: u32,
}

/// Of one family.
#[derive(Debug, Default)]
struct Addresses {
    of: Vec<IpAddr>,
    answered: Option<Instant>,
}

impl Known {
    /// Takes the answers of both families. Gives how long to wait before the next question.
    pub(super) fn note(
        &mut self,
        v4: Result<Answer, Failure>,
        v6: Result<Answer, Failure>,
        now: Instant,
    ) -> Duration {
        let has_failed = v4.is_err() || v6.is_err();
        let mut until: Option<Duration> = None;
        let mut negative: Option<Duration> = None;
        for (family, outcome) in [(&mut self.v4, v4), (&mut self.v6, v6)] {
            match outcome {
                Ok(Answer { addresses, ttl }) if addresses.is_empty() => {
                    let ttl = ttl.unwrap_or(NEGATIVE).clamp(SHORTEST, LONGEST_NEGATIVE);
                    negative = Some(negative.map_or(ttl, |other| other.min(ttl)));
                    *family = Addresses { of: addresses, answered: Some(now) };
                }
                Ok(Answer { addresses, ttl }) => {
                    let ttl = ttl.unwrap_or_default().clamp(SHORTEST, LONGEST);
                    until = Some(until.map_or(ttl, |other| other.min(ttl)));
                    *family = Addresses { of: addresses, answered: Some(now) };
                }
                Err(_) => family.fail(now),
            }
        }
        self.failures = if has_failed { self.failures.saturating_add(1) } else { 0 };
        let retry = has_failed.then(|| {
            let doubled = FIRST_RETRY.saturating_mul(1 << (self.failures - 1).min(10));
            doubled.min(LAST_RETRY)
        });
        // Of a name that has addresses of one family alone, the other may be missing for ever.
        let good_for = until.or(negative);
        good_for.into_iter().chain(retry).min().unwrap_or(LAST_RETRY)
    }

    /// Of both families, in one order.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = self.v4.of.iter().chain(&self.v6.of).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

impl Addresses {
    fn fail(&mut self, now: Instant) {
        if self.answered.is_some_and(|answered| now.saturating_duration_since(answered) > KEPT) {
            *self = Addresses::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, time::Duration};

    use tokio::time::Instant;

    use super::{Answer, Failure, KEPT, Known};

    fn found(address: &str, seconds: u64) -> Result<Answer, Failure> {
        Ok(Answer { addresses: vec![address.parse().unwrap()], ttl: Some(Duration::from_secs(seconds)) })
    }

    fn nothing(seconds: Option<u64>) -> Result<Answer, Failure> {
        Ok(Answer { addresses: Vec::new(), ttl: seconds.map(Duration::from_secs) })
    }

    fn failed() -> Result<Answer, Failure> {
        Err(Failure::Silent)
    }

    fn is(known: &Known, wanted: &[&str]) -> bool {
        let wanted: Vec<IpAddr> = wanted.iter().map(|address| address.parse().unwrap()).collect();
        known.addresses() == wanted
    }

    #[test]
    fn the_time_of_answers_is_bounded() {
        let now = Instant::now();
        for (v4, v6, seconds) in [
            (found("10.0.0.1", 60), found("fd00::1", 20), 20),
            (found("10.0.0.1", 60), nothing(Some(1)), 60),
            (found("10.0.0.1", 0), nothing(None), 1),
            (found("10.0.0.1", 86_400), nothing(None), 300),
            (nothing(Some(3600)), nothing(Some(7200)), 30),
            (nothing(None), nothing(None), 5),
            (nothing(Some(0)), nothing(None), 1),
        ] {
            assert_eq!(Known::default().note(v4, v6, now), Duration::from_secs(seconds));
        }
    }

    #[test]
    fn what_was_good_outlives_failures_for_a_day_and_an_answer_ends_it() {
        let mut known = Known::default();
        let now = Instant::now();
        known.note(found("10.0.0.1", 60), found("fd00::1", 60), now);
        assert!(is(&known, &["10.0.0.1", "fd00::1"]));
        let waits: Vec<u64> = (0..7).map(|_| known.note(failed(), failed(), now).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert!(is(&known, &["10.0.0.1", "fd00::1"]));
        // One family fails, the other has changed.
        known.note(found("10.0.0.2", 60), failed(), now);
        assert!(is(&known, &["10.0.0.2", "fd00::1"]));
        known.note(found("10.0.0.2", 60), failed(), now + KEPT + Duration::from_secs(1));
        assert!(is(&known, &["10.0.0.2"]));
        known.note(nothing(None), nothing(None), now);
        assert!(is(&known, &[]));
    }
}
