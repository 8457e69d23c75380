//! RateLimitPolicy -> `RateLimit`.

use gatehouse_crds::{Algorithm, Limit, LimitKey, LimitScope, LimitStore, StoreFailure, parse_duration};
use gatehouse_proto::config::v1::{self, limit_key::Kind};

use super::Findings;
use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        check,
        conditions::{Problem, reason},
    },
};

/// A policy that does not exist or can't be used becomes one that refuses.
pub(super) fn config(key: &ObjectKey, resources: &Resources) -> (v1::RateLimit, Findings) {
    let broken = |reason: String| v1::RateLimit { broken: reason, ..v1::RateLimit::default() };
    let Some(policy) = resources.rate_limit_policies.get(key) else {
        return (broken(format!("RateLimitPolicy {key} does not exist")), Findings::default());
    };
    let spec = &policy.spec;
    match spec.limits.iter().map(limit).collect::<Result<Vec<_>, _>>() {
        Err(message) => {
            let problem = Problem::new(reason::INVALID, message);
            (broken(problem.message.clone()), Findings { unaccepted: Some(problem), ..Findings::default() })
        }
        Ok(limits) => {
            let config = v1::RateLimit {
                limits,
                scope: match spec.scope {
                    LimitScope::Policy => v1::LimitScope::Policy,
                    LimitScope::Route => v1::LimitScope::Route,
                }
                .into(),
                store: match spec.store {
                    LimitStore::Redis => v1::LimitStore::Redis,
                    LimitStore::Local => v1::LimitStore::Local,
                }
                .into(),
                on_store_failure: match spec.on_store_failure {
                    StoreFailure::FallbackLocal => v1::StoreFailure::FallbackLocal,
                    StoreFailure::Allow => v1::StoreFailure::Allow,
                    StoreFailure::Deny => v1::StoreFailure::Deny,
                }
                .into(),
                // Each Gateway has its own.
                replicas: 1,
                broken: String::new(),
            };
            (config, Findings::default())
        }
    }
}

/// The error names the limit and the field.
fn limit(limit: &Limit) -> Result<v1::Limit, String> {
    let place = |field: &str| format!("limit {}: {field}", limit.name);
    let per = |field: &str, text: &str| -> Result<u64, String> {
        let duration = parse_duration(text).map_err(|error| format!("{}: {error}", place(field)))?;
        match u64::try_from(duration.as_millis()) {
            Ok(milliseconds @ 100..=86_400_000) => Ok(milliseconds),
            _ => Err(format!("{} is {text}: use 100ms to 24h", place(field))),
        }
    };
    Ok(v1::Limit {
        name: limit.name.clone(),
        key: limit
            .key
            .iter()
            .map(|part| key(part).map_err(|what| format!("{}: {what}", place("key"))))
            .collect::<Result<_, _>>()?,
        requests: count(limit.requests).ok_or_else(|| place("requests: use 1 or more"))?,
        per_ms: per("per", &limit.per)?,
        burst: burst(limit.burst).ok_or_else(|| place("burst: use 1 or more"))?,
        algorithm: match limit.algorithm {
            Algorithm::TokenBucket => v1::Algorithm::TokenBucket,
            Algorithm::SlidingWindow => v1::Algorithm::SlidingWindow,
        }
        .into(),
        tiers: limit
            .tiers
            .iter()
            .map(|tier| {
                Ok(v1::LimitTier {
                    tier: tier.tier.clone(),
                    requests: count(tier.requests).ok_or_else(|| place("tiers.requests: use 1 or more"))?,
                    per_ms: tier.per.as_deref().map_or(Ok(0), |text| per("tiers.per", text))?,
                    burst: burst(tier.burst).ok_or_else(|| place("tiers.burst: use 1 or more"))?,
                })
            })
            .collect::<Result<_, String>>()?,
    })
}

fn count(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// 0 for none: as many as requests.
fn burst(burst: Option<i64>) -> Option<u64> {
    burst.map_or(Some(0), count)
}

fn key(part: &LimitKey) -> Result<v1::LimitKey, String> {
    let prefix = |field: &str, bits: i32, most: u32| {
        let bits = u32::try_from(bits).ok().filter(|bits| (1..=most).contains(bits));
        bits.ok_or_else(|| format!("clientIP.{field}: use 1 to {most}"))
    };
    let kind = match (&part.consumer, &part.credential, &part.client_ip, &part.header) {
        (Some(_), None, None, None) => Kind::Consumer(v1::Empty {}),
        (None, Some(_), None, None) => Kind::Credential(v1::Empty {}),
        (None, None, Some(address), None) => Kind::ClientIp(v1::ClientAddress {
            ipv4_prefix: prefix("ipv4Prefix", address.ipv4_prefix, 32)?,
            ipv6_prefix: prefix("ipv6Prefix", address.ipv6_prefix, 128)?,
        }),
        (None, None, None, Some(header)) => {
            check::token(&header.name)?;
            Kind::Header(header.name.clone())
        }
        _ => return Err("give exactly one of consumer, credential, clientIP and header".into()),
    };
    Ok(v1::LimitKey { kind: Some(kind) })
}
