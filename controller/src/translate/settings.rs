//! `Settings` of a Gateway, from its GatewayConfig, and what of it belongs to listeners.

mod redis;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use gatehouse_crds::{ExternalNames, GatewayConfigSpec, Limits, parse_duration};
use gatehouse_proto::config::v1;

use super::{
    check,
    conditions::{Problem, reason},
};
use crate::resources::{ObjectKey, Resources};

/// What can't be used is left at its default and told.
pub(super) fn compile(
    config: Option<(&ObjectKey, &GatewayConfigSpec)>,
    resources: &Resources,
) -> (v1::Settings, Option<Problem>) {
    let Some((key, config)) = config else { return (v1::Settings::default(), None) };
    let mut problems = Vec::new();
    let redis = config.redis.as_ref().map(|redis| {
        redis::compile(redis, &key.namespace, resources).unwrap_or_else(|message| {
            problems
                .push(Problem::new(reason::INVALID_PARAMETERS, format!("GatewayConfig {key}: {message}")));
            // What was meant to be counted together must not be counted by each.
            v1::Redis { broken: message, ..v1::Redis::default() }
        })
    });
    let mut trusted_proxies = Vec::new();
    for range in &config.trusted_proxies {
        if range.parse::<ipnet::IpNet>().is_ok() || range.parse::<std::net::IpAddr>().is_ok() {
            trusted_proxies.push(range.clone());
        } else {
            let message = format!("GatewayConfig {key}: trustedProxies: {range:?} is no address range");
            problems.push(Problem::new(reason::INVALID_PARAMETERS, message));
        }
    }
    let settings = v1::Settings {
        trusted_proxies,
        access_log: config.access_log.as_ref().map(|log| v1::AccessLog {
            enabled: log.enabled,
            sampling_ppm: Some(parts_per_million(log.sampling_percent)).filter(|ppm| *ppm < 1_000_000),
        }),
        tracing: config.tracing.as_ref().map(|tracing| v1::Tracing {
            endpoint: tracing.endpoint.clone(),
            sampling_ppm: parts_per_million(tracing.sampling_percent),
            service_name: tracing.service_name.clone().unwrap_or_default(),
        }),
        redis,
        limits: config.limits.as_ref().map(|limits| connection_limits(limits, key, &mut problems)),
        names: config.external_names.as_ref().and_then(|names| external_names(names, key, &mut problems)),
        cache_bytes: config.cache.as_ref().and_then(|cache| u64::try_from(cache.max_bytes).ok()).unwrap_or(0),
        ..v1::Settings::default()
    };
    (settings, Problem::join(problems))
}

/// After how much silence of a listener's clients something ends. In milliseconds; 0: the default.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct IdleTimeouts {
    pub(super) stream: u32,
    pub(super) udp_session: u32,
}

impl IdleTimeouts {
    /// The schema lets only durations pass.
    pub(super) fn of(config: Option<&GatewayConfigSpec>) -> Self {
        let Some(limits) = config.and_then(|config| config.limits.as_ref()) else { return Self::default() };
        let time = |text: &Option<String>| {
            text.as_deref().and_then(|text| parse_duration(text).ok()).map_or(0, milliseconds)
        };
        IdleTimeouts {
            stream: time(&limits.stream_idle_timeout),
            udp_session: time(&limits.udp_session_timeout),
        }
    }
}

fn connection_limits(limits: &Limits, key: &ObjectKey, problems: &mut Vec<Problem>) -> v1::ConnectionLimits {
    let number = |value: Option<i32>| value.and_then(|value| u32::try_from(value).ok()).unwrap_or(0);
    let mut time = |field: &str, value: &Option<String>| {
        let parsed = value.as_deref().map(parse_duration).transpose();
        match parsed {
            Ok(duration) => duration.map_or(0, milliseconds),
            Err(error) => {
                let message = format!("GatewayConfig {key}: limits.{field}: {error}");
                problems.push(Problem::new(reason::INVALID_PARAMETERS, message));
                0
            }
        }
    };
    v1::ConnectionLimits {
        header_timeout_ms: time("headerTimeout", &limits.header_timeout),
        idle_timeout_ms: time("idleTimeout", &limits.idle_timeout),
        body_idle_timeout_ms: time("bodyIdleTimeout", &limits.body_idle_timeout),
        tls_handshake_timeout_ms: time("tlsHandshakeTimeout", &limits.tls_handshake_timeout),
        max_connections: number(limits.max_connections),
        max_head_bytes: number(limits.max_head_bytes),
        max_headers: number(limits.max_headers),
        max_concurrent_streams: number(limits.max_concurrent_streams),
    }
}

/// `None`: nothing is said of how they are looked up.
fn external_names(config: &ExternalNames, key: &ObjectKey, problems: &mut Vec<Problem>) -> Option<v1::Names> {
    let mut refuse = |field: &str, what: String| {
        let message = format!("GatewayConfig {key}: externalNames.{field}: {what}");
        problems.push(Problem::new(reason::INVALID_PARAMETERS, message));
    };
    let mut names = v1::Names::default();
    for text in &config.name_servers {
        match name_server(text) {
            Some(server) => names.servers.push(server.to_string()),
            None => refuse("nameServers", format!("{text:?} is no address, nor one with a port")),
        }
    }
    for range in &config.allowed_addresses {
        if range.parse::<ipnet::IpNet>().is_ok() || range.parse::<IpAddr>().is_ok() {
            names.allowed_addresses.push(range.clone());
        } else {
            refuse("allowedAddresses", format!("{range:?} is no address range"));
        }
    }
    for host in &config.hosts {
        if let Err(what) = check::hostname(host) {
            refuse("hosts", what);
        }
    }
    (names != v1::Names::default()).then_some(names)
}

/// Of port 53, if it does not say.
fn name_server(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    text.parse().ok().or_else(|| Some(SocketAddr::new(bare.parse::<IpAddr>().ok()?, 53)))
}

fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Within 0 and a million.
fn parts_per_million(percent: f64) -> u32 {
    (percent.clamp(0.0, 100.0) * 10_000.0).round() as u32
}
