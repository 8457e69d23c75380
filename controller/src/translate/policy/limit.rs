//! RateLimitPolicy -> `RateLimit`.

mod condition;

use gatehouse_crds::{
    Algorithm, ConcurrencyLimit, Limit, LimitAccuracy, LimitCondition, LimitKey, LimitResponse, LimitScope,
    LimitStore, StoreFailure, parse_duration,
};
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
    let limits = spec.limits.iter().map(limit).collect::<Result<Vec<_>, _>>();
    let concurrency = spec.concurrency.iter().map(concurrency).collect::<Result<Vec<_>, _>>();
    let response = spec.response.as_ref().map(response).transpose();
    match limits.and_then(|limits| Ok((limits, concurrency?, response?))) {
        Err(message) => {
            let problem = Problem::new(reason::INVALID, message);
            (broken(problem.message.clone()), Findings { unaccepted: Some(problem), ..Findings::default() })
        }
        Ok((limits, concurrency, response)) => {
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
                accuracy: match spec.accuracy {
                    LimitAccuracy::Strict => v1::LimitAccuracy::Strict,
                    LimitAccuracy::Fast => v1::LimitAccuracy::Fast,
                }
                .into(),
                // Each Gateway has its own.
                replicas: 1,
                broken: String::new(),
                response,
                concurrency,
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
            Ok(milliseconds @ 100..=2_678_400_000) => Ok(milliseconds),
            _ => Err(format!("{} is {text}: use 100ms to 744h", place(field))),
        }
    };
    Ok(v1::Limit {
        name: limit.name.clone(),
        key: keys(&limit.name, &limit.key)?,
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
        when: conditions(&limit.name, &limit.when)?,
        cost: cost(limit)?,
        response_cost: limit
            .response_cost
            .as_ref()
            .map(|cost| v1::ResponseCost { header: cost.header.clone(), max: cost.max.unsigned_abs() }),
        shadow: limit.shadow,
    })
}

fn concurrency(limit: &ConcurrencyLimit) -> Result<v1::ConcurrencyLimit, String> {
    let requests = count(limit.requests);
    Ok(v1::ConcurrencyLimit {
        name: limit.name.clone(),
        key: keys(&limit.name, &limit.key)?,
        requests: requests.ok_or_else(|| format!("concurrency {}: requests: use 1 or more", limit.name))?,
        when: conditions(&limit.name, &limit.when)?,
        shadow: limit.shadow,
    })
}

fn keys(limit: &str, parts: &[LimitKey]) -> Result<Vec<v1::LimitKey>, String> {
    parts.iter().map(|part| key(part).map_err(|what| format!("limit {limit}: key: {what}"))).collect()
}

fn conditions(limit: &str, when: &[LimitCondition]) -> Result<Vec<v1::LimitCondition>, String> {
    let compiled = when.iter().map(condition::compile);
    compiled.map(|one| one.map_err(|what| format!("limit {limit}: when: {what}"))).collect()
}

/// 0 for none: 1.
fn cost(limit: &Limit) -> Result<u64, String> {
    let Some(cost) = limit.cost else { return Ok(0) };
    let most = |requests, burst: Option<i64>| match limit.algorithm {
        Algorithm::TokenBucket => burst.unwrap_or(requests),
        Algorithm::SlidingWindow => requests,
    };
    let own = most(limit.requests, limit.burst);
    let tiers = limit.tiers.iter().map(|tier| most(tier.requests, tier.burst));
    let least = tiers.fold(own, i64::min);
    if !(1..=least).contains(&cost) {
        return Err(format!(
            "limit {}: cost is {cost}: use 1 to {least}, which is all that there is",
            limit.name
        ));
    }
    Ok(cost.unsigned_abs())
}

fn response(response: &LimitResponse) -> Result<v1::Respond, String> {
    let headers = response.headers.iter().map(|header| {
        check::header_name(&header.name).map_err(|what| format!("response.headers: {what}"))?;
        Ok(v1::Header { name: header.name.clone(), value: header.value.clone() })
    });
    Ok(v1::Respond {
        status: u32::try_from(response.status)
            .ok()
            .filter(|status| (400..=599).contains(status))
            .ok_or_else(|| format!("response.status is {}: use 400 to 599", response.status))?,
        headers: headers.collect::<Result<_, String>>()?,
        body: response.body.clone(),
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
    let mut kinds = Vec::new();
    kinds.extend(part.consumer.as_ref().map(|_| Kind::Consumer(v1::Empty {})));
    kinds.extend(part.credential.as_ref().map(|_| Kind::Credential(v1::Empty {})));
    if let Some(address) = &part.client_ip {
        kinds.push(Kind::ClientIp(check::client_address(address)?));
    }
    for (named, kind) in [
        (&part.header, Kind::Header as fn(String) -> Kind),
        (&part.cookie, Kind::Cookie as fn(String) -> Kind),
    ] {
        if let Some(named) = named {
            check::token(&named.name)?;
            kinds.push(kind(named.name.clone()));
        }
    }
    kinds.extend(part.query.as_ref().map(|query| Kind::Query(query.name.clone())));
    kinds.extend(part.claim.as_ref().map(|claim| Kind::Claim(claim.name.clone())));
    kinds.extend(part.path.as_ref().map(|_| Kind::Path(v1::Empty {})));
    kinds.extend(part.host.as_ref().map(|_| Kind::Host(v1::Empty {})));
    kinds.extend(part.method.as_ref().map(|_| Kind::Method(v1::Empty {})));
    let [kind] = <[Kind; 1]>::try_from(kinds).map_err(|_| {
        "give exactly one of consumer, credential, clientIP, header, cookie, query, claim, path, host and method"
    })?;
    Ok(v1::LimitKey { kind: Some(kind) })
}
