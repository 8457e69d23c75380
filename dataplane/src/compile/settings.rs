//! Compiles `Settings`.

use std::{str::FromStr, time::Duration};

use gatehouse_proto::config::v1;
use ipnet::IpNet;

use crate::{
    limit::RedisTarget,
    snapshot::{Limits, Settings},
};

pub(super) fn compile(settings: &v1::Settings) -> Result<Settings, String> {
    let trusted_proxies = settings
        .trusted_proxies
        .iter()
        .map(|text| {
            IpNet::from_str(text)
                .or_else(|_| text.parse().map(|address: std::net::IpAddr| IpNet::from(address)))
                .map_err(|_| format!("trustedProxies: {text:?} is no address range such as 10.0.0.0/8"))
        })
        .collect::<Result<_, _>>()?;
    let mut limits = Limits::default();
    if let Some(wanted) = &settings.limits {
        set_size(&mut limits.connections, wanted.max_connections);
        set_size(&mut limits.head.head, wanted.max_head_bytes);
        set_size(&mut limits.head.fields, wanted.max_headers);
        if wanted.max_concurrent_streams > 0 {
            limits.concurrent_streams = wanted.max_concurrent_streams;
        }
        set_time(&mut limits.header_timeout, wanted.header_timeout_ms);
        set_time(&mut limits.idle_timeout, wanted.idle_timeout_ms);
        set_time(&mut limits.body_idle_timeout, wanted.body_idle_timeout_ms);
        set_time(&mut limits.tls_handshake_timeout, wanted.tls_handshake_timeout_ms);
    }
    let redis =
        settings.redis.as_ref().map(RedisTarget::parse).transpose().map_err(|invalid| invalid.to_string())?;
    let mut compiled = Settings { trusted_proxies, limits, redis, ..Settings::default() };
    if settings.cache_bytes > 0 {
        compiled.cache_bytes = settings.cache_bytes;
    }
    Ok(compiled)
}

fn set_size(limit: &mut usize, wanted: u32) {
    if wanted > 0 {
        *limit = usize::try_from(wanted).unwrap_or(usize::MAX);
    }
}

fn set_time(limit: &mut Duration, wanted_ms: u32) {
    if wanted_ms > 0 {
        *limit = Duration::from_millis(wanted_ms.into());
    }
}
