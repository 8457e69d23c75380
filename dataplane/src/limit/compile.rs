//! `v1::RateLimit` -> [`Policy`]: checks every number once, so that the arithmetic behind can't overflow.

use std::collections::HashSet;
use std::sync::Arc;

use ::http::HeaderName;
use gatehouse_proto::config::v1;

use super::bucket::Bucket;
use super::key::{Encoded, Field};
use super::plan::{Limit, Numbers, Part, Prefixes};
use super::quota::Shown;
use super::rule::Rule;
use super::window::Window;
use super::{OnFailure, Place, Policy};

/// Keeps every number that Lua sees below 2^53, where its arithmetic is exact.
const MAX_COUNT: u64 = 1_000_000_000_000;
const MAX_PER_MS: u64 = 366 * 24 * 60 * 60 * 1000;
const MAX_DEPTH_US: u64 = 10 * MAX_PER_MS * 1000;
/// More dataplanes than this share as if they were so many.
const MAX_REPLICAS: u64 = 10_000;

/// Why a rate limit can't be compiled; a sentence for the user whose object caused it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Invalid(pub(super) String);

/// Requests, time and burst of a limit or of one of its tiers.
#[derive(Clone, Copy)]
struct Amount {
    requests: u64,
    per_ms: u64,
    burst: u64,
}

impl Policy {
    /// `name`: the resource's, `ratelimit/NAMESPACE/NAME`; counts are kept under it.
    ///
    /// # Errors
    /// A sentence that names the limit, the field and the mend.
    pub(crate) fn compile(name: &str, config: &v1::RateLimit) -> Result<Policy, Invalid> {
        if !config.broken.is_empty() {
            return Ok(Self::refusing());
        }
        let store = match config.store() {
            v1::LimitStore::Local => Place::Local,
            v1::LimitStore::Redis => Place::Redis,
            v1::LimitStore::Unspecified => return Err(unknown("store", config.store)),
        };
        let on_failure = match v1::StoreFailure::try_from(config.on_store_failure) {
            Ok(v1::StoreFailure::FallbackLocal | v1::StoreFailure::Unspecified) => OnFailure::Local,
            Ok(v1::StoreFailure::Allow) => OnFailure::Allow,
            Ok(v1::StoreFailure::Deny) => OnFailure::Deny,
            Err(_) => return Err(unknown("onStoreFailure", config.on_store_failure)),
        };
        let per_route = match v1::LimitScope::try_from(config.scope) {
            Ok(v1::LimitScope::Policy | v1::LimitScope::Unspecified) => false,
            Ok(v1::LimitScope::Route) => true,
            Err(_) => return Err(unknown("scope", config.scope)),
        };
        let replicas = u64::from(config.replicas).clamp(1, MAX_REPLICAS);
        let mut names = HashSet::new();
        let mut limits = Vec::with_capacity(config.limits.len());
        for limit in &config.limits {
            if !names.insert(limit.name.as_str()) {
                return Err(Invalid(format!(
                    "two limits are named `{}`: give each its own name",
                    limit.name
                )));
            }
            limits.push(compile_limit(name, limit, replicas)?);
        }
        let (with, before) = limits.into_iter().partition(Limit::needs_identity);
        Ok(Policy { before, with, store, on_failure, per_route, broken: false })
    }

    /// For a policy that can't be enforced. Nothing else of it is looked at: rejecting it would leave in force what came
    /// before, or nothing.
    fn refusing() -> Self {
        Policy {
            before: Vec::new(),
            with: Vec::new(),
            store: Place::Local,
            on_failure: OnFailure::Deny,
            per_route: false,
            broken: true,
        }
    }
}

fn compile_limit(policy: &str, limit: &v1::Limit, replicas: u64) -> Result<Limit, Invalid> {
    let base = Amount { requests: limit.requests, per_ms: limit.per_ms, burst: limit.burst };
    let parts = limit.key.iter().map(|key| part(&limit.name, key)).collect::<Result<_, _>>()?;
    let tiers = limit.tiers.iter().map(|tier| {
        let per_ms = if tier.per_ms == 0 { limit.per_ms } else { tier.per_ms };
        let amount = Amount { requests: tier.requests, per_ms, burst: tier.burst };
        Ok((tier.tier.clone(), numbers(policy, limit, Some(&tier.tier), amount, replicas)?))
    });
    let tiers = tiers.collect::<Result<_, _>>()?;
    Ok(Limit { parts, base: numbers(policy, limit, None, base, replicas)?, tiers })
}

fn numbers(
    policy: &str,
    limit: &v1::Limit,
    tier: Option<&str>,
    amount: Amount,
    replicas: u64,
) -> Result<Numbers, Invalid> {
    let place = match tier {
        Some(tier) => format!("tier `{tier}` of limit `{}`", limit.name),
        None => format!("limit `{}`", limit.name),
    };
    let whole = rule(&place, limit, amount)?;
    // The algorithms keep different things, so each has its own count; and a tier has its own, because two rates over
    // one count would starve the slower.
    let algorithm: &[u8] = match whole {
        Rule::Bucket(_) => b"bucket",
        Rule::Window(_) => b"window",
    };
    let mut seed = Encoded::default()
        .with(Field::Policy, policy.as_bytes())
        .with(Field::Limit, limit.name.as_bytes())
        .with(Field::Algorithm, algorithm);
    if let Some(tier) = tier {
        seed.add(Field::Tier, tier.as_bytes());
    }
    let shown = if limit.name.is_empty() { policy.rsplit('/').next().unwrap_or(policy) } else { &limit.name };
    Ok(Numbers {
        seed,
        // The braces keep all limits of a policy on one node of a Redis cluster, as one script needs.
        prefix: format!("gatehouse:{{{}}}:{}:", readable(policy), readable(&limit.name)),
        whole,
        share: whole.share(replicas),
        shown: Arc::new(Shown::new(shown, amount.requests, amount.per_ms)),
    })
}

fn rule(place: &str, limit: &v1::Limit, amount: Amount) -> Result<Rule, Invalid> {
    let Amount { requests, per_ms, burst } = amount;
    if !(1..=MAX_COUNT).contains(&requests) {
        return Err(Invalid(format!("`requests` of {place} is {requests}: use 1 to {MAX_COUNT}")));
    }
    if !(1..=MAX_PER_MS).contains(&per_ms) {
        return Err(Invalid(format!("`per` of {place} is {per_ms} ms: use 1 ms to 366 days")));
    }
    let per = per_ms * 1000;
    match limit.algorithm() {
        v1::Algorithm::TokenBucket => {
            let burst = if burst == 0 { requests } else { burst };
            if burst > MAX_COUNT {
                return Err(Invalid(format!("`burst` of {place} is {burst}: use at most {MAX_COUNT}")));
            }
            let bucket = Bucket::new(requests, per, burst);
            if bucket.depth.us > MAX_DEPTH_US {
                return Err(Invalid(format!(
                    "`burst` of {place} would take more than ten years to refill: use a smaller one"
                )));
            }
            Ok(Rule::Bucket(bucket))
        }
        v1::Algorithm::SlidingWindow => Ok(Rule::Window(Window::new(requests, per))),
        v1::Algorithm::Unspecified => Err(unknown(&format!("algorithm of {place}"), limit.algorithm)),
    }
}

fn part(limit: &str, key: &v1::LimitKey) -> Result<Part, Invalid> {
    use v1::limit_key::Kind;
    match &key.kind {
        Some(Kind::Consumer(_)) => Ok(Part::Consumer),
        Some(Kind::Credential(_)) => Ok(Part::Credential),
        Some(Kind::ClientIp(address)) => {
            let default = Prefixes::default();
            Ok(Part::Client(Prefixes {
                v4: bits(limit, "ipv4Prefix", address.ipv4_prefix, default.v4, 32)?,
                v6: bits(limit, "ipv6Prefix", address.ipv6_prefix, default.v6, 128)?,
            }))
        }
        Some(Kind::Header(name)) => HeaderName::try_from(name.as_str()).map(Part::Header).map_err(|_| {
            Invalid(format!(
                "`key` of limit `{limit}` names the header `{name}`, which no header can be called"
            ))
        }),
        None => {
            Err(Invalid(format!("`key` of limit `{limit}` has a part that this dataplane does not know")))
        }
    }
}

fn bits(limit: &str, field: &str, value: u32, default: u8, max: u8) -> Result<u8, Invalid> {
    match u8::try_from(value) {
        Ok(0) => Ok(default),
        Ok(value) if value <= max => Ok(value),
        _ => Err(Invalid(format!("`{field}` of limit `{limit}` is {value}: use 1 to {max}"))),
    }
}

fn unknown(field: &str, value: i32) -> Invalid {
    Invalid(format!("`{field}` has the value {value}, which this dataplane does not know"))
}

/// Names that people and Redis clients can read; what sets keys apart is the digest behind.
fn readable(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_./".contains(c) { c } else { '_' };
    name.chars().take(200).map(plain).collect()
}
