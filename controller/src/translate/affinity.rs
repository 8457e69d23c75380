//! What requests share that go to the same endpoint: by a rule, or by a TrafficPolicy. The error names the field.

use gatehouse_crds::{CookieKey, HeaderKey, SessionAffinity, parse_duration};
use gatehouse_proto::config::v1::{self, consistent_hash::Key};

use super::check;

/// Of a rule.
pub(super) fn of_session(affinity: &SessionAffinity) -> Result<v1::ConsistentHash, String> {
    let hash = match (&affinity.cookie, &affinity.header) {
        (Some(cookie), None) => self::cookie(cookie),
        (None, Some(header)) => self::header(header),
        _ => Err("give exactly one of cookie and header".into()),
    };
    hash.map_err(|error| format!("sessionAffinity: {error}"))
}

pub(super) fn header(key: &HeaderKey) -> Result<v1::ConsistentHash, String> {
    check::token(&key.name)?;
    Ok(v1::ConsistentHash { key: Some(Key::Header(key.name.clone())), ..v1::ConsistentHash::default() })
}

pub(super) fn cookie(key: &CookieKey) -> Result<v1::ConsistentHash, String> {
    check::token(&key.name)?;
    let ttl = key.ttl.as_deref().map(parse_duration).transpose();
    let ttl = ttl.map_err(|error| format!("cookie.ttl: {error}"))?;
    let made_cookie = ttl.map(|ttl| v1::MadeCookie { max_age_seconds: ttl.as_secs() });
    let key = Some(Key::Cookie(key.name.clone()));
    Ok(v1::ConsistentHash { key, made_cookie, ..v1::ConsistentHash::default() })
}
