//! What is left, as response headers: `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers (the
//! structured-field form), and `Retry-After` (RFC 9110, 10.2.3) on a refusal.
//!
//! `RateLimit-Policy` lists every limit that was checked: `"name";q=100;w=60`. `RateLimit` names the one with the least
//! left: `"name";r=57;t=12`, where t is the seconds until the whole quota is there again or, when nothing is left, until
//! something is.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use ::http::header::RETRY_AFTER;
use ::http::{HeaderMap, HeaderName, HeaderValue};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The limits that a request met.
#[derive(Debug, Clone)]
pub(crate) struct Quota {
    entries: Vec<Entry>,
    /// Microseconds; only when it was refused.
    retry_after: Option<u64>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) shown: Arc<Shown>,
    /// Remaining, and the microseconds that `t` tells. Absent when it wasn't asked for.
    pub(super) left: Option<(u64, u64)>,
}

/// A limit as clients see it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// A structured-field string, with its quotes.
    name: String,
    /// The whole item for `RateLimit-Policy`.
    policy: String,
}

impl Shown {
    /// `w` is left out when the time is no whole number of seconds: it is optional, and rounded it would be wrong.
    pub(super) fn new(name: &str, requests: u64, per_ms: u64) -> Shown {
        let mut quoted = String::with_capacity(name.len() + 2);
        quoted.push('"');
        for c in name.chars() {
            match c {
                '"' | '\\' => quoted.extend(['\\', c]),
                ' '..='~' => quoted.push(c),
                _ => quoted.push('_'),
            }
        }
        quoted.push('"');
        let mut policy = format!("{quoted};q={requests}");
        if per_ms.is_multiple_of(1000) {
            policy.push_str(&format!(";w={}", per_ms / 1000));
        }
        Shown { name: quoted, policy }
    }

    /// The item for `RateLimit-Policy`.
    pub(super) fn policy(&self) -> &str {
        &self.policy
    }
}

impl Quota {
    pub(super) fn admitted(entries: Vec<Entry>) -> Quota {
        Quota { entries, retry_after: None }
    }

    pub(super) fn refused(entries: Vec<Entry>, retry_after: u64) -> Quota {
        Quota { entries, retry_after: Some(retry_after) }
    }

    /// Joins the limits of another policy or phase that the same request met.
    #[must_use]
    pub(crate) fn and(mut self, other: Quota) -> Quota {
        self.entries.extend(other.entries);
        self.retry_after = self.retry_after.max(other.retry_after);
        self
    }

    /// How long a refused client should wait: whole seconds, at least 1. `None` on an admitted request.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after.map(|us| Duration::from_secs(seconds(us).max(1)))
    }

    /// Sets the fields on a response, over what a backend may have said.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let policies: Vec<&str> = self.entries.iter().map(|entry| entry.shown.policy.as_str()).collect();
        set(headers, RATE_LIMIT_POLICY, &policies.join(", "));
        let least = self
            .entries
            .iter()
            .filter_map(|entry| Some((entry, entry.left?)))
            .min_by_key(|(_, (remaining, wait))| (*remaining, Reverse(*wait)));
        if let Some((entry, (remaining, wait))) = least {
            let wait = if remaining == 0 { seconds(wait).max(1) } else { seconds(wait) };
            set(headers, RATE_LIMIT, &format!("{};r={remaining};t={wait}", entry.shown.name));
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait.as_secs()));
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(us: u64) -> u64 {
    us.div_ceil(1_000_000)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ::http::HeaderMap;

    use super::{Entry, Quota, Shown};

    fn entry(name: &str, left: Option<(u64, u64)>) -> Entry {
        Entry { shown: Arc::new(Shown::new(name, 100, 60_000)), left }
    }

    fn written(quota: &Quota) -> [Option<String>; 3] {
        let mut headers = HeaderMap::new();
        quota.write(&mut headers);
        ["ratelimit-policy", "ratelimit", "retry-after"]
            .map(|name| headers.get(name).map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn an_admitted_request_learns_what_is_left() {
        let quota = Quota::admitted(vec![entry("minute", Some((57, 11_000_001)))]);
        assert_eq!(
            written(&quota),
            [Some("\"minute\";q=100;w=60".into()), Some("\"minute\";r=57;t=12".into()), None]
        );
    }

    #[test]
    fn the_least_is_told_and_all_are_listed() {
        let quota = Quota::admitted(vec![entry("a", Some((5, 1)))])
            .and(Quota::refused(vec![entry("b", None), entry("c", Some((0, 1)))], 1));
        assert_eq!(
            written(&quota),
            [
                Some("\"a\";q=100;w=60, \"b\";q=100;w=60, \"c\";q=100;w=60".into()),
                Some("\"c\";r=0;t=1".into()),
                Some("1".into())
            ]
        );
    }

    #[test]
    fn retry_after_is_rounded_up_and_at_least_one() {
        for (us, seconds) in [(0, 1), (1, 1), (1_000_000, 1), (1_000_001, 2), (59_000_001, 60)] {
            let quota = Quota::refused(vec![entry("a", Some((0, us)))], us);
            assert_eq!(quota.retry_after().unwrap().as_secs(), seconds, "{us}");
        }
    }

    #[test]
    fn names_are_quoted_and_fractions_of_a_second_have_no_window() {
        assert_eq!(Shown::new("a\"b\\c\nü", 3, 1500).policy, "\"a\\\"b\\\\c__\";q=3");
        assert_eq!(Shown::new("", 3, 1000).policy, "\"\";q=3;w=1");
    }
}
