//! Copies of requests for another backend (GEP-3171).

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::NAMESPACE;

/// Sends copies of requests to a Service and throws its answers away (HTTPRequestMirrorFilter).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.percent) && has(self.fraction))").message("give percent or fraction, not both"),
)]
pub struct Mirror {
    pub backend_ref: ServiceRef,
    /// Of a hundred requests, how many are copied. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// The same, finer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<Fraction>,
}

/// A Service (Gateway API BackendObjectReference).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.port)").message("a Service needs a port"))]
pub struct ServiceRef {
    /// The core group, whose name is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [""], "default" = ""))]
    pub group: Option<String>,
    /// `Service`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Service"], "default" = "Service"))]
    pub kind: Option<String>,
    /// Default: the route's own. Another namespace needs a ReferenceGrant there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAMESPACE))]
    pub namespace: Option<String>,
    /// Name of the Service.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// A port of the Service, by number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// `{numerator: 5, denominator: 1000}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = Rule::new("self.numerator <= self.denominator").message("numerator must be less than or equal to denominator"))]
pub struct Fraction {
    /// How many.
    #[schemars(range(min = 0))]
    pub numerator: i32,
    /// Of how many.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1))]
    pub denominator: i32,
}

fn hundred() -> i32 {
    100
}
