//! Backends that are a name outside of the cluster.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{ADDRESS_RANGE, HOSTNAME};

/// A DNS server: an IPv4 address or an IPv6 address in brackets, perhaps with a port.
const NAME_SERVER: &str = r"^(([0-9]{1,3}\.){3}[0-9]{1,3}|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalNames {
    /// They are served. Whoever may write a Service then chooses where the gateway connects to.
    #[serde(default)]
    pub enabled: bool,
    /// Names that they may have, such as `api.example.com` or `*.example.com`. Default: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253), regex(pattern = HOSTNAME)), extend("x-kubernetes-list-type" = "set"))]
    pub hosts: Vec<String>,
    /// DNS servers, such as `10.0.0.10` or `[fd00::10]:5353`. Default: those of the pods' `/etc/resolv.conf`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3), inner(length(max = 64), regex(pattern = NAME_SERVER)), extend("x-kubernetes-list-type" = "atomic"))]
    pub name_servers: Vec<String>,
    /// Ranges whose addresses are taken although they are loopback, link-local or of a cloud's metadata, such as `127.0.0.0/8`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 64), regex(pattern = ADDRESS_RANGE)), extend("x-kubernetes-list-type" = "set"))]
    pub allowed_addresses: Vec<String>,
}
