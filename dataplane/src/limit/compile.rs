//! `v1::RateLimit` -> [`Policy`]: checks every number once, so that the arithmetic behind can't overflow.

use std::collections::HashSet;
use std::sync::Arc;

use ::http::HeaderName;
use gatehouse_proto::config::v1;

use super::bucket::Bucket;
use super::concurrency::Concurrency;
use super::condition::Condition;
use super::due::ResponseCost;
use super::key::{Encoded, Field};
use super::plan::{Limit, Numbers, Part, Prefixes, Scope};
use super::quota::Shown;
use super::rule::Rule;
use super::window::Window;
use super::{Limits, OnFailure, Place, Policy};
use crate::observe::metrics::Metrics;

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
    /// What one request takes.
    cost: u64,
}

impl Policy {
    /// `name`: the resource's, `ratelimit/NAMESPACE/NAME`; counts are kept under it. `metrics`: where decisions are counted.
    ///
    /// # Errors
    /// A sentence that names the limit, the field and the mend.
    pub(crate) fn compile(name: &str, config: &v1::RateLimit, metrics: &Metrics) -> Result<Policy, Invalid> {
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
        let fast = match v1::LimitAccuracy::try_from(config.accuracy) {
            Ok(v1::LimitAccuracy::Strict | v1::LimitAccuracy::Unspecified) => false,
            Ok(v1::LimitAccuracy::Fast) => true,
            Err(_) => return Err(unknown("accuracy", config.accuracy)),
        };
        let per_route = match v1::LimitScope::try_from(config.scope) {
            Ok(v1::LimitScope::Policy | v1::LimitScope::Unspecified) => false,
            Ok(v1::LimitScope::Route) => true,
            Err(_) => return Err(unknown("scope", config.scope)),
        };
        let replicas = u64::from(config.replicas).clamp(1, MAX_REPLICAS);
        let mut names = HashSet::new();
        let all = config.limits.iter().map(|limit| &limit.name);
        for limit in all.chain(config.concurrency.iter().map(|limit| &limit.name)) {
            if !names.insert(limit.as_str()) {
                return Err(Invalid(format!("two limits are named `{limit}`: give each its own name")));
            }
        }
        let (mut before, mut with) = (Limits::default(), Limits::default());
        for limit in &config.limits {
            let scope = scope(name, &limit.name, &limit.key, &limit.when, per_route)?;
            let limit = compile_limit(name, limit, scope, replicas, metrics)?;
            let of = if limit.needs_identity() { &mut with } else { &mut before };
            let list = if limit.shadow { &mut of.shadow } else { &mut of.enforced };
            list.push(limit);
        }
        for limit in &config.concurrency {
            let scope = scope(name, &limit.name, &limit.key, &limit.when, per_route)?;
            if limit.requests == 0 {
                return Err(Invalid(format!("`requests` of limit `{}` is 0: use 1 or more", limit.name)));
            }
            let of = if scope.needs_identity() { &mut with } else { &mut before };
            of.concurrency.push(Concurrency {
                scope,
                seed: seed(name, &limit.name, b"concurrency"),
                most: limit.requests,
                shadow: limit.shadow,
                metrics: metrics.limit(name, &limit.name),
            });
        }
        Ok(Policy { before, with, store, fast, on_failure, broken: false, response: None })
    }

    /// For a policy that can't be enforced. Nothing else of it is looked at: rejecting it would leave in force what came
    /// before, or nothing.
    fn refusing() -> Self {
        Policy {
            before: Limits::default(),
            with: Limits::default(),
            store: Place::Local,
            fast: false,
            on_failure: OnFailure::Deny,
            broken: true,
            response: None,
        }
    }
}

fn scope(
    policy: &str,
    limit: &str,
    key: &[v1::LimitKey],
    when: &[v1::LimitCondition],
    per_route: bool,
) -> Result<Scope, Invalid> {
    let conditions = when.iter().map(|condition| {
        Condition::compile(condition)
            .map_err(|what| Invalid(format!("a condition in `when` of limit `{limit}`: {what}")))
    });
    Ok(Scope {
        when: conditions.collect::<Result<_, _>>()?,
        parts: key.iter().map(|key| part(limit, key)).collect::<Result<_, _>>()?,
        policy: Encoded::default().with(Field::Policy, policy.as_bytes()),
        per_route,
    })
}

/// What all keys of a limit begin with.
fn seed(policy: &str, limit: &str, algorithm: &[u8]) -> Encoded {
    Encoded::default()
        .with(Field::Policy, policy.as_bytes())
        .with(Field::Limit, limit.as_bytes())
        .with(Field::Algorithm, algorithm)
}

fn compile_limit(
    policy: &str,
    limit: &v1::Limit,
    scope: Scope,
    replicas: u64,
    metrics: &Metrics,
) -> Result<Limit, Invalid> {
    let cost = limit.cost.max(1);
    let base = Amount { requests: limit.requests, per_ms: limit.per_ms, burst: limit.burst, cost };
    let tiers = limit.tiers.iter().map(|tier| {
        let per_ms = if tier.per_ms == 0 { limit.per_ms } else { tier.per_ms };
        let amount = Amount { requests: tier.requests, per_ms, burst: tier.burst, cost };
        Ok((tier.tier.clone(), Arc::new(numbers(policy, limit, Some(&tier.tier), amount, replicas)?)))
    });
    let tiers = tiers.collect::<Result<_, _>>()?;
    let response_cost = limit.response_cost.as_ref().map(|cost| {
        if limit.cost > 1 {
            return Err(Invalid(format!("limit `{}` has `cost` and `responseCost`: give one", limit.name)));
        }
        let header = header(&limit.name, "responseCost", &cost.header)?;
        Ok(Arc::new(ResponseCost { header, most: cost.max }))
    });
    Ok(Limit {
        scope,
        shadow: limit.shadow,
        metrics: metrics.limit(policy, &limit.name),
        base: Arc::new(numbers(policy, limit, None, base, replicas)?),
        tiers,
        response_cost: response_cost.transpose()?,
    })
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
    let mut seed = seed(policy, &limit.name, algorithm);
    if let Some(tier) = tier {
        seed.add(Field::Tier, tier.as_bytes());
    }
    let shown = if limit.name.is_empty() { policy.rsplit('/').next().unwrap_or(policy) } else { &limit.name };
    Ok(Numbers {
        seed,
        prefix: format!("{{{}}}:{}:", readable(policy), readable(&limit.name)),
        whole,
        share: whole.share(replicas),
        shown: Arc::new(Shown::new(shown, amount.requests, amount.per_ms)),
        cost: amount.cost,
    })
}

fn rule(place: &str, limit: &v1::Limit, amount: Amount) -> Result<Rule, Invalid> {
    let Amount { requests, per_ms, burst, cost } = amount;
    if !(1..=MAX_COUNT).contains(&requests) {
        return Err(Invalid(format!("`requests` of {place} is {requests}: use 1 to {MAX_COUNT}")));
    }
    if !(1..=MAX_PER_MS).contains(&per_ms) {
        return Err(Invalid(format!("`per` of {place} is {per_ms} ms: use 1 ms to 366 days")));
    }
    let per = per_ms * 1000;
    let dear = |what: &str, most: u64| {
        Invalid(format!("`cost` of {place} is {cost}, and its {what} {most}: no request could pass"))
    };
    // The rules count requests: where each takes `cost`, a bucket refills by one in `cost` times the time.
    match limit.algorithm() {
        v1::Algorithm::TokenBucket => {
            let burst = if burst == 0 { requests } else { burst };
            if burst > MAX_COUNT {
                return Err(Invalid(format!("`burst` of {place} is {burst}: use at most {MAX_COUNT}")));
            }
            if cost > burst {
                return Err(dear("burst is", burst));
            }
            let bucket = Bucket::new(requests, per.saturating_mul(cost), burst / cost);
            if bucket.depth.us > MAX_DEPTH_US {
                return Err(Invalid(format!(
                    "`burst` of {place} would take more than ten years to refill: use a smaller one"
                )));
            }
            Ok(Rule::Bucket(bucket))
        }
        v1::Algorithm::SlidingWindow if cost > requests => Err(dear("requests are", requests)),
        v1::Algorithm::SlidingWindow => Ok(Rule::Window(Window::new(requests / cost, per))),
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
        Some(Kind::Cookie(name)) => Ok(Part::Cookie(name.clone())),
        Some(Kind::Query(name)) => Ok(Part::Query(name.clone())),
        Some(Kind::Claim(path)) => Ok(Part::Claim(path.clone())),
        Some(Kind::Path(_)) => Ok(Part::Path),
        Some(Kind::Host(_)) => Ok(Part::Host),
        Some(Kind::Method(_)) => Ok(Part::Method),
        Some(Kind::Header(name)) => header(limit, "key", name).map(Part::Header),
        None => {
            Err(Invalid(format!("`key` of limit `{limit}` has a part that this dataplane does not know")))
        }
    }
}

fn header(limit: &str, field: &str, name: &str) -> Result<HeaderName, Invalid> {
    let named = format!("`{field}` of limit `{limit}` names the header `{name}`");
    HeaderName::try_from(name).map_err(|_| Invalid(format!("{named}, which no header can be called")))
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
