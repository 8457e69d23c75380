//! What stands in the pretended cluster: the HTTPRoutes of howardjohn/gateway-api-bench, a hundred a namespace, each
//! namespace with a Service, one Gateway with its dataplanes' EndpointSlice.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::store::Store;

/// `namespace/name`.
pub(super) const GATEWAY: &str = "infra/edge";
pub(super) const SYSTEM: &str = "gatehouse-system";
pub(super) const ROUTES: &str = "gateway.networking.k8s.io/httproutes";
const A_NAMESPACE: usize = 100;

const CRDS: [&str; 15] = [
    "gatewayclasses.gateway.networking.k8s.io",
    "gateways.gateway.networking.k8s.io",
    "httproutes.gateway.networking.k8s.io",
    "referencegrants.gateway.networking.k8s.io",
    "gatewayroutes.gatehouse.dev",
    "authpolicies.gatehouse.dev",
    "ratelimitpolicies.gatehouse.dev",
    "consumers.gatehouse.dev",
    "gatewayconfigs.gatehouse.dev",
    "listenersets.gateway.networking.k8s.io",
    "grpcroutes.gateway.networking.k8s.io",
    "tlsroutes.gateway.networking.k8s.io",
    "tcproutes.gateway.networking.k8s.io",
    "udproutes.gateway.networking.k8s.io",
    "backendtlspolicies.gateway.networking.k8s.io",
];

/// Which routes share a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Services {
    /// Those of a namespace.
    Shared,
    /// Each has its own, as applications have.
    Own,
}

/// One route: its number, and how often it has been edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) index: usize,
    pub(super) edits: usize,
}

impl Route {
    pub(super) fn host(self) -> String {
        format!("{}-route.example.com", self.index)
    }

    pub(super) fn path(self) -> String {
        match self.edits {
            0 => format!("/{}", self.index),
            edits => format!("/{}-{edits}", self.index),
        }
    }

    fn namespace(self) -> String {
        format!("team-{}", self.index / A_NAMESPACE)
    }

    fn service(self, services: Services) -> String {
        match services {
            Services::Shared => "backend".into(),
            Services::Own => format!("{}-backend", self.index),
        }
    }

    /// The template of gateway-api-bench's probe; its second rule leads nowhere.
    pub(super) fn object(self, services: Services) -> Value {
        let filters = json!([
            {"type": "RequestHeaderModifier",
                "requestHeaderModifier": {"add": [{"name": "added-header", "value": "added-value"}]}},
            {"type": "ResponseHeaderModifier",
                "responseHeaderModifier": {"add": [{"name": "added-resp-header", "value": "added-resp-value"}]}},
        ]);
        let rule = |service: String, path: String| {
            json!({
                "backendRefs": [{"group": "", "kind": "Service", "name": service, "port": 80, "weight": 1}],
                "filters": filters,
                "matches": [{"path": {"type": "PathPrefix", "value": path}}],
            })
        };
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {
                "namespace": self.namespace(), "name": format!("{}-route", self.index),
                "managedFields": managed_fields(),
            },
            "spec": {
                "hostnames": [self.host()],
                "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "infra", "name": "edge"}],
                "rules": [
                    rule(self.service(services), self.path()),
                    rule("invalid-backend".into(), format!("{}/invalid", self.path())),
                ],
            },
        })
    }
}

/// What an API server adds when a client creates such an object.
fn managed_fields() -> Value {
    json!([{"apiVersion": "gateway.networking.k8s.io/v1", "fieldsType": "FieldsV1", "manager": "probe",
        "operation": "Update", "time": "2026-01-01T00:00:00Z",
        "fieldsV1": {"f:spec": {".": {}, "f:hostnames": {}, "f:parentRefs": {}, "f:rules": {}}}}])
}

/// Everything but routes. `listener`: the port of every dataplane's address. `dataplanes`: their names.
pub(super) fn base(store: &Store, listener: u16, dataplanes: &[String]) {
    for name in CRDS {
        store.put(
            "apiextensions.k8s.io/customresourcedefinitions",
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}}),
        );
    }
    for name in [SYSTEM, "infra"] {
        namespace(store, name);
    }
    store.put(
        "gateway.networking.k8s.io/gatewayclasses",
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "gatehouse"},
            "spec": {"controllerName": "gatehouse.dev/gateway-controller"}}),
    );
    store.put(
        "gateway.networking.k8s.io/gateways",
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"namespace": "infra", "name": "edge"},
            "spec": {"gatewayClassName": "gatehouse", "listeners": [{"name": "http", "protocol": "HTTP", "port": listener,
                "allowedRoutes": {"namespaces": {"from": "All"}}}]}}),
    );
    let endpoints: Vec<Value> = dataplanes
        .iter()
        .map(|name| {
            json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true},
                "targetRef": {"kind": "Pod", "namespace": "infra", "name": name}})
        })
        .collect();
    slice(store, "infra", "edge-gatehouse", &json!(endpoints), listener);
}

/// The routes up to a number, with their Services, and what `more` routes will need.
pub(super) fn fill(store: &Store, routes: usize, more: usize, services: Services, backend: SocketAddr) {
    for index in 0..routes + more {
        let route = Route { index, edits: 0 };
        if index.is_multiple_of(A_NAMESPACE) {
            namespace(store, &route.namespace());
        }
        if services == Services::Own || index.is_multiple_of(A_NAMESPACE) {
            self::backend(store, &route.namespace(), &route.service(services), backend);
        }
        if index < routes {
            store.put(ROUTES, route.object(services));
        }
    }
}

fn namespace(store: &Store, name: &str) {
    let labels = json!({ "kubernetes.io/metadata.name": name });
    store.put(
        "/namespaces",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}),
    );
}

fn backend(store: &Store, namespace: &str, name: &str, address: SocketAddr) {
    store.put(
        "/services",
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": "10.1.0.1", "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
                "selector": {"app": name}, "type": "ClusterIP"}, "status": {"loadBalancer": {}}}),
    );
    let endpoints = json!([{"addresses": [address.ip().to_string()], "conditions": {"ready": true, "serving": true,
        "terminating": false}, "nodeName": "node", "targetRef": {"kind": "Pod", "namespace": namespace, "name": name}}]);
    slice(store, namespace, name, &endpoints, address.port());
}

fn slice(store: &Store, namespace: &str, service: &str, endpoints: &Value, port: u16) {
    store.put(
        "discovery.k8s.io/endpointslices",
        json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"namespace": namespace, "name": format!("{service}-1"),
                "labels": {"kubernetes.io/service-name": service}},
            "endpoints": endpoints, "ports": [{"name": "http", "port": port, "protocol": "TCP"}]}),
    );
}
