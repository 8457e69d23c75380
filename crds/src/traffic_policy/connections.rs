//! What becomes of connections to endpoints.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::DURATION;

/// Of each thread of a dataplane. Whatever is under way on a connection goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.idleTimeout) || has(self.maxAge)").message("give idleTimeout, maxAge, or both"))]
pub struct ConnectionPool {
    /// For how long one that carries nothing is good for another request, such as 4s: less than what the endpoints
    /// themselves close it after. Default: 50s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('1h')").message("use 100ms to 1h"))]
    pub idle_timeout: Option<String>,
    /// One that is older carries no other request, such as 10m. Default: no age is too old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 28), regex(pattern = DURATION))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')").message("use 1s to 1h"))]
    pub max_age: Option<String>,
}
