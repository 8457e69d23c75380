//! What a rule of a GatewayRoute keeps.

use gatehouse_crds::{Cache, GatewayRouteRule};
use gatehouse_proto::config::v1;

use super::rule::milliseconds;

/// Bytes.
const LARGEST: i32 = 8 << 20;
/// Milliseconds.
const LONGEST: u64 = 24 * 60 * 60 * 1000;

/// The error names the field.
pub(super) fn translate(cache: &Cache) -> Result<v1::Cache, String> {
    let max_body_bytes = cache.max_body_bytes;
    if !(1..=LARGEST).contains(&max_body_bytes) {
        return Err(format!("cache.maxBodyBytes is {max_body_bytes}: use 1 to {LARGEST}"));
    }
    let stale = &cache.stale_while_revalidate;
    let stale_while_revalidate_ms = match &**stale {
        // Of a type that was not filled from the schema.
        "" => 0,
        text => milliseconds(text).map_err(|error| format!("cache.staleWhileRevalidate: {error}"))?,
    };
    if stale_while_revalidate_ms > LONGEST {
        return Err(format!("cache.staleWhileRevalidate is {stale}: use 0s to 24h"));
    }
    Ok(v1::Cache {
        max_body_bytes: u64::try_from(max_body_bytes).unwrap_or(0),
        shared: cache.shared,
        stale_while_revalidate_ms,
    })
}

/// What of the rule can't stand beside it.
pub(super) fn conflict(rule: &GatewayRouteRule) -> Option<&'static str> {
    rule.cache.as_ref()?;
    if rule.backend_refs.as_ref().is_none_or(Vec::is_empty) {
        return Some("cache needs backendRefs");
    }
    rule.rollout.as_ref().map(
        |_| "cache and rollout can't stand together: an answer of one version would be given for the other",
    )
}
