//! How objects name each other.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::pattern::{GROUP, KIND, NAMESPACE, SECTION};

/// The Gateway or ListenerSet, and perhaps the listener, that a route wants to be served by (Gateway API ParentReference).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Group of the parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), regex(pattern = GROUP), extend("default" = "gateway.networking.k8s.io"))]
    pub group: Option<String>,
    /// Kind of the parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = KIND), extend("default" = "Gateway"))]
    pub kind: Option<String>,
    /// Namespace of the parent. Default: the route's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = NAMESPACE))]
    pub namespace: Option<String>,
    /// Name of the parent, such as `edge`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Only this listener, such as `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECTION))]
    pub section_name: Option<String>,
    /// Only listeners of this port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// What a policy applies to, in the policy's own namespace (GEP-2648).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.group == 'gatehouse.dev') == (self.kind == 'GatewayRoute')")
    .message("Gateway, ListenerSet, HTTPRoute and GRPCRoute are of group gateway.networking.k8s.io, GatewayRoute is of gatehouse.dev"))]
pub struct TargetRef {
    /// `gateway.networking.k8s.io` or `gatehouse.dev`.
    #[schemars(extend("enum" = ["gateway.networking.k8s.io", "gatehouse.dev"]))]
    pub group: String,
    /// `Gateway`, `ListenerSet`, `HTTPRoute`, `GRPCRoute` or `GatewayRoute`.
    #[schemars(extend("enum" = ["Gateway", "ListenerSet", "HTTPRoute", "GRPCRoute", "GatewayRoute"]))]
    pub kind: String,
    /// Name of the target.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// A listener of the Gateway or ListenerSet, or a rule of the route, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = SECTION))]
    pub section_name: Option<String>,
}

/// An object of the same namespace, of a kind that the field implies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LocalRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An object of the same namespace (Gateway API LocalObjectReference).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TypedRef {
    pub group: String,
    pub kind: String,
    pub name: String,
}
