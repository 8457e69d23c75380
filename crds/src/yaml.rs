//! The CRDs as YAML.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{AuthPolicy, Consumer, GatewayConfig, GatewayRoute, RateLimitPolicy};

/// Name and text of every CRD that objects are checked by: ours, and the Gateway API's of which something is read.
pub const ALL: &[(&str, &str)] = &[
    ("gatewayroutes", include_str!("../generated/gatewayroutes.yaml")),
    ("ratelimitpolicies", include_str!("../generated/ratelimitpolicies.yaml")),
    ("authpolicies", include_str!("../generated/authpolicies.yaml")),
    ("consumers", include_str!("../generated/consumers.yaml")),
    ("gatewayconfigs", include_str!("../generated/gatewayconfigs.yaml")),
    ("gatewayclasses", include_str!("../gateway-api/gateway.networking.k8s.io_gatewayclasses.yaml")),
    ("gateways", include_str!("../gateway-api/gateway.networking.k8s.io_gateways.yaml")),
    ("httproutes", include_str!("../gateway-api/gateway.networking.k8s.io_httproutes.yaml")),
    ("referencegrants", include_str!("../gateway-api/gateway.networking.k8s.io_referencegrants.yaml")),
];

/// Gatehouse's own, as the types say.
pub fn own() -> Vec<CustomResourceDefinition> {
    vec![
        GatewayRoute::crd(),
        RateLimitPolicy::crd(),
        AuthPolicy::crd(),
        Consumer::crd(),
        GatewayConfig::crd(),
    ]
}
