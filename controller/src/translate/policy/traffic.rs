//! TrafficPolicies: how the endpoints behind a port of a Service share its requests, and what became of each policy.
//!
//! One that can't be used changes nothing: the Service is served as it would be without it.

mod fields;
mod health;

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_crds::{
    Coding, Compression, ConsistentHash, LoadBalancing, LoadBalancingType, RetryConstraint, TargetRef,
    TrafficDistribution, TrafficPolicy,
};
use gatehouse_proto::config::v1::{self, consistent_hash::Key, load_balancing::Kind};

use super::{Findings, services::OfServices};
use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        affinity, check,
        conditions::{Problem, reason},
        status::ObjectStatus,
    },
};
use fields::{duration, number};

/// All of them.
#[derive(Debug, Default)]
pub(in crate::translate) struct Traffic {
    services: OfServices,
    /// What each says, as the Services that it is for have it: what they speak is their own.
    compiled: BTreeMap<ObjectKey, (v1::Service, Findings)>,
}

impl Traffic {
    pub(super) fn new(resources: &Resources) -> Self {
        let targets: Vec<Vec<TargetRef>> = resources.traffic_policies.values().map(targets).collect();
        let policies = resources.traffic_policies.iter().zip(&targets);
        Traffic {
            services: OfServices::new(policies.map(|((key, policy), targets)| (key, policy, &**targets))),
            compiled: resources
                .traffic_policies
                .iter()
                .map(|(key, policy)| (key.clone(), compile(policy)))
                .collect(),
        }
    }

    /// Brings what is said of a port into its `Service`.
    pub(in crate::translate) fn apply(
        &self,
        service: &ObjectKey,
        port: Option<&str>,
        wire: v1::Service,
    ) -> v1::Service {
        let policy = self.services.at(service, port).and_then(|policy| self.compiled.get(policy));
        match policy {
            Some((compiled, findings)) if findings.unaccepted.is_none() => {
                v1::Service { protocol: wire.protocol, tls: wire.tls, ..compiled.clone() }
            }
            _ => wire,
        }
    }

    /// Policies that target the port or its whole Service, whether or not they count there.
    pub(in crate::translate) fn targeting(&self, service: &ObjectKey, port: Option<&str>) -> Vec<ObjectKey> {
        self.services.targeting(service, port)
    }

    /// Policies whose status tells of the Service.
    pub(in crate::translate) fn of(&self, service: &ObjectKey) -> impl Iterator<Item = &ObjectKey> {
        self.services.of(service)
    }

    /// `gateways`: those whose routes lead to what it targets.
    pub(in crate::translate) fn status(
        &self,
        policy: &ObjectKey,
        gateways: BTreeSet<&ObjectKey>,
        resources: &Resources,
    ) -> Option<ObjectStatus> {
        let (_, findings) = self.compiled.get(policy)?;
        let mut status = self.services.status(policy, findings, gateways);
        status.parents.extend(self.services.missing(policy, findings, resources));
        Some(status)
    }
}

fn targets(policy: &TrafficPolicy) -> Vec<TargetRef> {
    let targets = policy.spec.target_refs.iter();
    targets
        .map(|target| TargetRef {
            group: target.group.clone(),
            kind: target.kind.clone(),
            name: target.name.clone(),
            section_name: target.section_name.clone(),
        })
        .collect()
}

fn compile(policy: &TrafficPolicy) -> (v1::Service, Findings) {
    match compiled(policy) {
        Ok(compiled) => (compiled, Findings::default()),
        Err(message) => {
            let unaccepted = Some(Problem::new(reason::INVALID, message));
            (v1::Service::default(), Findings { unaccepted, ..Findings::default() })
        }
    }
}

/// The error names the field.
fn compiled(policy: &TrafficPolicy) -> Result<v1::Service, String> {
    let spec = &policy.spec;
    let load_balancing = spec.load_balancing.as_ref().map(load_balancing).transpose();
    let load_balancing = load_balancing.map_err(|error| format!("loadBalancing.{error}"))?.flatten();
    let slow_start_ms = slow_start(spec.load_balancing.as_ref())?;
    let check = spec.health_check.as_ref();
    let passive = check.and_then(|check| check.passive.as_ref()).map(health::passive).transpose();
    let passive = passive.map_err(|error| format!("healthCheck.passive.{error}"))?;
    let active = check.and_then(|check| check.active.as_ref()).map(health::active).transpose();
    let active = active.map_err(|error| format!("healthCheck.active.{error}"))?;
    let breaker = spec.circuit_breaker.clone().unwrap_or_default();
    let retry_constraint = spec.retry_constraint.as_ref().map(retry_constraint).transpose();
    let compression = spec.compression.as_ref().map(compression).transpose();
    let pool = spec.connection_pool.clone().unwrap_or_default();
    let limit = |field: &str, limit: Option<String>, least, shown| {
        let limit = limit.map(|limit| duration(&format!("connectionPool.{field}"), &limit, least, shown));
        limit.transpose().map(Option::unwrap_or_default)
    };
    Ok(v1::Service {
        load_balancing,
        passive,
        active,
        max_requests: bound("maxRequests", breaker.max_requests)?,
        max_requests_per_endpoint: bound("maxRequestsPerEndpoint", breaker.max_requests_per_endpoint)?,
        retry_constraint: retry_constraint.map_err(|error| format!("retryConstraint.{error}"))?,
        idle_timeout_ms: limit("idleTimeout", pool.idle_timeout, 100, "100ms")?,
        max_age_ms: limit("maxAge", pool.max_age, 1000, "1s")?,
        slow_start_ms,
        compression: compression.map_err(|error| format!("compression.{error}"))?,
        zone_preference: zone_preference(spec.load_balancing.as_ref()).into(),
        ..v1::Service::default()
    })
}

fn retry_constraint(spec: &RetryConstraint) -> Result<v1::RetryConstraint, String> {
    let RetryConstraint { budget, min_retry_rate } = spec;
    Ok(v1::RetryConstraint {
        percent: number("budget.percent", budget.percent, &(0..=100))?,
        interval_ms: duration("budget.interval", &budget.interval, 1000, "1s")?,
        min_count: number("minRetryRate.count", min_retry_rate.count, &(0..=1_000_000))?,
        min_interval_ms: duration("minRetryRate.interval", &min_retry_rate.interval, 1000, "1s")?,
    })
}

fn compression(spec: &Compression) -> Result<v1::Compression, String> {
    let coding = |coding: &Coding| match coding {
        Coding::Gzip => v1::Coding::Gzip.into(),
        Coding::Brotli => v1::Coding::Brotli.into(),
        Coding::Zstd => v1::Coding::Zstd.into(),
    };
    if let Some(odd) =
        spec.content_types.iter().find(|text| text.split('/').filter(|part| !part.is_empty()).count() != 2)
    {
        return Err(format!("contentTypes: {odd:?} is no type/subtype"));
    }
    Ok(v1::Compression {
        codings: spec.codings.iter().map(coding).collect(),
        min_length: number("minLength", spec.min_length, &(0..=1_048_576))?.into(),
        content_types: spec.content_types.clone(),
    })
}

/// 0 for none.
fn bound(field: &str, most: Option<i32>) -> Result<u32, String> {
    let Some(most) = most else { return Ok(0) };
    let most = u32::try_from(most).ok().filter(|most| (1..=1_000_000).contains(most));
    most.ok_or_else(|| format!("circuitBreaker.{field}: use 1 to 1000000"))
}

/// `None`: as without.
fn load_balancing(spec: &LoadBalancing) -> Result<Option<v1::LoadBalancing>, String> {
    let kind = match (spec.kind, &spec.consistent_hash) {
        (LoadBalancingType::LeastRequest, None) => return Ok(None),
        (LoadBalancingType::RoundRobin, None) => Kind::RoundRobin(v1::Empty {}),
        (LoadBalancingType::Random, None) => Kind::Random(v1::Empty {}),
        (LoadBalancingType::ConsistentHash, Some(hash)) => {
            let hash = consistent_hash(hash).map_err(|error| format!("consistentHash: {error}"))?;
            Kind::ConsistentHash(hash)
        }
        (LoadBalancingType::ConsistentHash, None) => return Err("consistentHash is missing".into()),
        (_, Some(_)) => return Err("consistentHash belongs to the type ConsistentHash".into()),
    };
    Ok(Some(v1::LoadBalancing { kind: Some(kind) }))
}

fn zone_preference(spec: Option<&LoadBalancing>) -> v1::ZonePreference {
    match spec.and_then(|spec| spec.traffic_distribution) {
        None => v1::ZonePreference::Unspecified,
        Some(TrafficDistribution::PreferSameZone) => v1::ZonePreference::SameZone,
        Some(TrafficDistribution::Anywhere) => v1::ZonePreference::Anywhere,
    }
}

/// Milliseconds; 0: as without.
fn slow_start(spec: Option<&LoadBalancing>) -> Result<u64, String> {
    let Some((spec, slow)) = spec.and_then(|spec| Some((spec, spec.slow_start.as_ref()?))) else {
        return Ok(0);
    };
    if spec.kind == LoadBalancingType::ConsistentHash {
        return Err("loadBalancing.slowStart: the type ConsistentHash has none".into());
    }
    duration("loadBalancing.slowStart.window", &slow.window, 1000, "1s")
}

fn consistent_hash(hash: &ConsistentHash) -> Result<v1::ConsistentHash, String> {
    let plain = |key| Ok(v1::ConsistentHash { key: Some(key), ..v1::ConsistentHash::default() });
    let wire = match (&hash.client_ip, &hash.header, &hash.cookie, &hash.consumer) {
        (Some(address), None, None, None) => plain(Key::ClientIp(check::client_address(address)?)),
        (None, Some(header), None, None) => affinity::header(header),
        (None, None, Some(cookie), None) => affinity::cookie(cookie),
        (None, None, None, Some(_)) => plain(Key::Consumer(v1::Empty {})),
        _ => Err("give exactly one of clientIP, header, cookie and consumer".into()),
    }?;
    let most = hash.max_load_percent.map(u32::try_from).transpose();
    let most = most.ok().filter(|most| most.is_none_or(|most| (110..=1000).contains(&most)));
    let max_load_percent = most.ok_or("maxLoadPercent: use 110 to 1000")?.unwrap_or(0);
    Ok(v1::ConsistentHash { max_load_percent, ..wire })
}
