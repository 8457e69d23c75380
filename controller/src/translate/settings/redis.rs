//! A GatewayConfig's `redis` -> `Redis`.
//!
//! No message holds a URL or a password.

use gatehouse_crds::{Redis, parse_duration};
use gatehouse_proto::config::v1;

use super::{
    super::{authorities, certificate},
    milliseconds,
};
use crate::resources::{ObjectKey, Resources};

/// The error names the field.
pub(super) fn compile(redis: &Redis, namespace: &str, resources: &Resources) -> Result<v1::Redis, String> {
    let entry = |field: &str, name: &str, key: &str| {
        let bytes = resources.secret_entry(namespace, name, key);
        bytes
            .map(|bytes| String::from_utf8_lossy(bytes).trim_end_matches(['\r', '\n']).to_owned())
            .ok_or_else(|| {
                format!("redis.{field}: Secret {namespace}/{name} does not exist or has no entry {key}")
            })
    };
    let url = match (&redis.url, &redis.url_secret_ref, &redis.sentinel, &redis.cluster) {
        (Some(url), None, None, None) => Some(url.clone()),
        (None, Some(secret), None, None) => {
            Some(entry("urlSecretRef", &secret.name, &secret.key)?.trim().to_owned())
        }
        (None, None, Some(_), None) | (None, None, None, Some(_)) => None,
        _ => return Err("redis: give exactly one of url, urlSecretRef, sentinel and cluster".into()),
    };
    let is_redis = |url: &String| {
        url::Url::parse(url).is_ok_and(|url| {
            ["redis", "rediss", "valkey", "valkeys"].contains(&url.scheme()) && url.has_host()
        })
    };
    if url.as_ref().is_some_and(|url| !is_redis(url)) {
        return Err("redis: the URL is not redis://[user:password@]host:port[/db]".into());
    }
    let password = match &redis.password_secret_ref {
        Some(secret) => entry("passwordSecretRef", &secret.name, &secret.key)?,
        None => String::new(),
    };
    let tls = redis.tls.as_ref().map(|tls| {
        let roots = match &tls.ca_config_map_ref {
            Some(authority) => authorities::read(&ObjectKey::new(namespace, &authority.name), resources)
                .map_err(|message| format!("redis.tls.caConfigMapRef: {message}"))?,
            None => Vec::new(),
        };
        let shown = tls.client_certificate_ref.as_ref().map(|secret| {
            certificate::of(&ObjectKey::new(namespace, &secret.name), resources)
                .map_err(|problem| format!("redis.tls.clientCertificateRef: {}", problem.message))
        });
        Ok::<_, String>(v1::RedisTls {
            client_certificate: shown.transpose()?,
            public_roots: roots.is_empty(),
            roots,
            server_name: tls.server_name.clone().unwrap_or_default(),
        })
    });
    let sentinel = redis.sentinel.as_ref().map(|sentinel| {
        let password = sentinel
            .password_secret_ref
            .as_ref()
            .map(|secret| entry("sentinel.passwordSecretRef", &secret.name, &secret.key));
        Ok::<_, String>(v1::RedisSentinel {
            primary: sentinel.primary.clone(),
            addresses: sentinel.addresses.clone(),
            username: sentinel.username.clone().unwrap_or_default(),
            password: password.transpose()?.unwrap_or_default(),
        })
    });
    let timeout = parse_duration(&redis.timeout).map_err(|error| format!("redis.timeout: {error}"))?;
    Ok(v1::Redis {
        url: url.unwrap_or_default(),
        timeout_ms: milliseconds(timeout),
        username: redis.username.clone().unwrap_or_default(),
        password,
        tls: tls.transpose()?,
        sentinel: sentinel.transpose()?,
        cluster: redis
            .cluster
            .as_ref()
            .map(|cluster| v1::RedisCluster { addresses: cluster.addresses.clone() }),
        broken: String::new(),
    })
}
