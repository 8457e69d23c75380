//! Objects that every pretended cluster has, or that tests of any kind put into it.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::{SYSTEM, Store};

const CRDS: [&str; 16] = [
    "gatewayclasses.gateway.networking.k8s.io",
    "gateways.gateway.networking.k8s.io",
    "httproutes.gateway.networking.k8s.io",
    "referencegrants.gateway.networking.k8s.io",
    "gatewayroutes.gatehouse.dev",
    "authpolicies.gatehouse.dev",
    "ratelimitpolicies.gatehouse.dev",
    "trafficpolicies.gatehouse.dev",
    "consumers.gatehouse.dev",
    "gatewayconfigs.gatehouse.dev",
    "listenersets.gateway.networking.k8s.io",
    "grpcroutes.gateway.networking.k8s.io",
    "tlsroutes.gateway.networking.k8s.io",
    "tcproutes.gateway.networking.k8s.io",
    "udproutes.gateway.networking.k8s.io",
    "backendtlspolicies.gateway.networking.k8s.io",
];

/// A pod behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub pod: String,
    pub address: Ipv4Addr,
    /// On its way out, and serving until then.
    pub is_leaving: bool,
}

/// What the controller looks for before anything else, and the class of its Gateways.
pub(super) fn base(store: &Store) {
    for name in CRDS {
        store.put(
            "apiextensions.k8s.io/customresourcedefinitions",
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}}),
        );
    }
    namespace(store, SYSTEM);
    store.put(
        "gateway.networking.k8s.io/gatewayclasses",
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "gatehouse"},
            "spec": {"controllerName": "gatehouse.dev/gateway-controller"}}),
    );
}

pub fn namespace(store: &Store, name: &str) {
    let labels = json!({ "kubernetes.io/metadata.name": name });
    store.put(
        "/namespaces",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}),
    );
}

/// A Service of port 80.
pub fn service(store: &Store, namespace: &str, name: &str) {
    store.put(
        "/services",
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": "10.1.0.1", "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
                "selector": {"app": name}, "type": "ClusterIP"}, "status": {"loadBalancer": {}}}),
    );
}

/// Who stands behind a Service, each on this port.
pub fn slice(store: &Store, namespace: &str, service: &str, port: u16, endpoints: &[Endpoint]) {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|Endpoint { pod, address, is_leaving }| {
            json!({"addresses": [address.to_string()], "nodeName": "node",
                "conditions": {"ready": !is_leaving, "serving": true, "terminating": is_leaving},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod}})
        })
        .collect();
    store.put(
        "discovery.k8s.io/endpointslices",
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": namespace, "name": format!("{service}-1"),
                "labels": {"kubernetes.io/service-name": service}},
            "endpoints": endpoints, "ports": [{"name": "http", "port": port, "protocol": "TCP"}]}),
    );
}
