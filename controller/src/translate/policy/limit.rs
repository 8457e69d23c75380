//! RateLimitPolicy -> `RateLimit`.

use gatehouse_crds::{Algorithm, Limit, LimitKey, LimitScope, LimitStore, StoreFailure, parse_duration};
use gatehouse_proto::config::v1::{self, limit_key::Kind};

use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        Settings,
        conditions::{Problem, reason},
    },
};

/// A policy that does not exist or can't be used becomes one that refuses.
pub(super) fn config(
    key: &ObjectKey,
    resources: &Resources,
    settings: &Settings,
) -> (v1::RateLimit, Option<Problem>) {
    let broken = |reason: String| v1::RateLimit { broken: reason, ..v1::RateLimit::default() };
    let Some(policy) = resources.rate_limit_policies.get(key) else {
        return (broken(format!("RateLimitPolicy {key} does not exist")), None);
    };
    let spec = &policy.spec;
    match spec.limits.iter().map(limit).collect::<Result<Vec<_>, _>>() {
        Err(message) => {
            let problem = Problem::new(reason::INVALID, message);
            (broken(problem.message.clone()), Some(problem))
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
                replicas: settings.replicas.max(1),
                broken: String::new(),
            };
            (config, None)
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
            .map(|part| key(part).ok_or_else(|| place("key is empty")))
            .collect::<Result<_, _>>()?,
        requests: count(limit.requests),
        per_ms: per("per", &limit.per)?,
        burst: limit.burst.map_or(0, count),
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
                    requests: count(tier.requests),
                    per_ms: tier.per.as_deref().map_or(Ok(0), |text| per("tiers.per", text))?,
                    burst: tier.burst.map_or(0, count),
                })
            })
            .collect::<Result<_, String>>()?,
    })
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn key(part: &LimitKey) -> Option<v1::LimitKey> {
    let kind = if part.consumer.is_some() {
        Kind::Consumer(v1::Empty {})
    } else if part.credential.is_some() {
        Kind::Credential(v1::Empty {})
    } else if let Some(address) = &part.client_ip {
        Kind::ClientIp(v1::ClientAddress {
            ipv4_prefix: u32::try_from(address.ipv4_prefix).unwrap_or(32),
            ipv6_prefix: u32::try_from(address.ipv6_prefix).unwrap_or(64),
        })
    } else {
        Kind::Header(part.header.as_ref()?.name.clone())
    };
    Some(v1::LimitKey { kind: Some(kind) })
}
