//! The CRDs as YAML.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::schema::without_null;
use crate::{AuthPolicy, Consumer, GatewayConfig, GatewayRoute, RateLimitPolicy, TrafficPolicy};

/// Name and text of every CRD that objects are checked by: ours, and the Gateway API's of which something is read.
pub const ALL: &[(&str, &str)] = &[
    ("gatewayroutes", include_str!("../generated/gatewayroutes.yaml")),
    ("ratelimitpolicies", include_str!("../generated/ratelimitpolicies.yaml")),
    ("authpolicies", include_str!("../generated/authpolicies.yaml")),
    ("trafficpolicies", include_str!("../generated/trafficpolicies.yaml")),
    ("consumers", include_str!("../generated/consumers.yaml")),
    ("gatewayconfigs", include_str!("../generated/gatewayconfigs.yaml")),
    ("gatewayclasses", include_str!("../gateway-api/gateway.networking.k8s.io_gatewayclasses.yaml")),
    ("gateways", include_str!("../gateway-api/gateway.networking.k8s.io_gateways.yaml")),
    ("httproutes", include_str!("../gateway-api/gateway.networking.k8s.io_httproutes.yaml")),
    ("grpcroutes", include_str!("../gateway-api/gateway.networking.k8s.io_grpcroutes.yaml")),
    ("tlsroutes", include_str!("../gateway-api/gateway.networking.k8s.io_tlsroutes.yaml")),
    ("tcproutes", include_str!("../gateway-api/gateway.networking.k8s.io_tcproutes.yaml")),
    ("udproutes", include_str!("../gateway-api/gateway.networking.k8s.io_udproutes.yaml")),
    ("backendtlspolicies", include_str!("../gateway-api/gateway.networking.k8s.io_backendtlspolicies.yaml")),
    ("listenersets", include_str!("../gateway-api/gateway.networking.k8s.io_listenersets.yaml")),
    ("referencegrants", include_str!("../gateway-api/gateway.networking.k8s.io_referencegrants.yaml")),
];

/// Name and text of each file in `generated/`, as the types say. The same types give the same bytes.
///
/// # Errors
/// When a CRD can't be written as YAML.
pub fn generated() -> Result<Vec<(String, String)>, serde_saphyr::ser::Error> {
    let file = |crd: &CustomResourceDefinition| {
        let text = serde_saphyr::to_string(crd)?;
        let head = "# Written by crdgen from the types in crds/src: change those and run it again.\n";
        Ok((format!("{}.yaml", crd.spec.names.plural), format!("{head}{text}")))
    };
    own().iter().map(file).collect()
}

/// Gatehouse's own, as the types say.
pub fn own() -> Vec<CustomResourceDefinition> {
    let crds = [
        GatewayRoute::crd(),
        RateLimitPolicy::crd(),
        AuthPolicy::crd(),
        TrafficPolicy::crd(),
        Consumer::crd(),
        GatewayConfig::crd(),
    ];
    crds.map(without_null).into()
}
