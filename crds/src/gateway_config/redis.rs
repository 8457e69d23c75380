//! Where limits of store `Redis` count.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{DURATION, LINE, SECRET_ENTRY};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.url) ? 1 : 0) + (has(self.urlSecretRef) ? 1 : 0) + (has(self.sentinel) ? 1 : 0) + (has(self.cluster) ? 1 : 0) == 1").message("give exactly one of url, urlSecretRef, sentinel and cluster"),
    validation = Rule::new("!has(self.username) || has(self.passwordSecretRef)").message("username needs passwordSecretRef").field_path(".username"),
)]
pub struct Redis {
    /// `redis://host:port[/db]`, or `rediss://` for TLS with a certificate of a public authority. It may hold
    /// `user:password@` before the host, which everybody who may read this object then reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048), regex(pattern = "^rediss?://[!-~]+$"))]
    pub url: Option<String>,
    /// A Secret of the GatewayConfig's namespace that holds the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_secret_ref: Option<RedisSecretRef>,
    /// Redis is where sentinels say that it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentinel: Option<RedisSentinel>,
    /// Redis is a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<RedisCluster>,
    /// A user of Redis' access control lists. It may run `EVAL`, `EVALSHA` and what they call, on the keys
    /// `gatehouse:*`. Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = LINE))]
    pub username: Option<String>,
    /// A Secret of the GatewayConfig's namespace that holds the password; when it changes, dataplanes connect anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<RedisPasswordRef>,
    /// Default: what the URL's scheme says; without a URL, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RedisTls>,
    /// The longest that a decision waits for it, from `1ms` to `50ms`.
    #[serde(default = "twenty_milliseconds")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('50ms')").message("use 1ms to 50ms"))]
    pub timeout: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RedisSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which entry of the Secret.
    #[serde(default = "url")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_ENTRY))]
    pub key: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RedisPasswordRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which entry of the Secret.
    #[serde(default = "password")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECRET_ENTRY))]
    pub key: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.username) || has(self.passwordSecretRef)").message("username needs passwordSecretRef").field_path(".username"))]
pub struct RedisSentinel {
    /// The name under which the sentinels watch it, such as `mymaster`.
    #[schemars(length(min = 1, max = 253), regex(pattern = LINE))]
    pub primary: String,
    /// `host:port` of each.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 3, max = 261), regex(pattern = "^[!-~]+:[0-9]{1,5}$"))
    )]
    pub addresses: Vec<String>,
    /// A user of the sentinels' access control lists. Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = LINE))]
    pub username: Option<String>,
    /// A Secret of the GatewayConfig's namespace that holds the sentinels' password. Default: they are asked without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<RedisPasswordRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RedisCluster {
    /// `host:port` of some of its nodes, which tell where the others are; or of a name that leads to all of them, such as
    /// that of a headless Service.
    #[schemars(
        length(min = 1, max = 16),
        inner(length(min = 3, max = 261), regex(pattern = "^[!-~]+:[0-9]{1,5}$"))
    )]
    pub addresses: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RedisTls {
    /// A ConfigMap of the GatewayConfig's namespace whose entry `ca.crt` holds the authorities to trust. Default: the
    /// public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map_ref: Option<RedisAuthority>,
    /// Whom the certificate must name. Default: the host that is connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// A Secret of the GatewayConfig's namespace, of the type `kubernetes.io/tls`: what Redis and its sentinels are shown, where
    /// they ask for it. Default: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_ref: Option<RedisClientCertificate>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RedisClientCertificate {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RedisAuthority {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn twenty_milliseconds() -> String {
    "20ms".into()
}

fn url() -> String {
    "url".into()
}

fn password() -> String {
    "password".into()
}
