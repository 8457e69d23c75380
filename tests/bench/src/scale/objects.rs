//! What stands in the pretended cluster: the HTTPRoutes of howardjohn/gateway-api-bench, a hundred a namespace, each
//! namespace with a Service, one Gateway with its dataplanes' EndpointSlice.

use std::net::{Ipv4Addr, SocketAddrV4};

use gatehouse_tests::pretended::{self, Endpoint, Store, namespace};
use serde_json::{Value, json};

/// `namespace/name`.
pub(super) const GATEWAY: &str = "infra/edge";
pub(super) const ROUTES: &str = "gateway.networking.k8s.io/httproutes";
const A_NAMESPACE: usize = 100;

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
    namespace(store, "infra");
    store.put(
        "gateway.networking.k8s.io/gateways",
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"namespace": "infra", "name": "edge"},
            "spec": {"gatewayClassName": "gatehouse", "listeners": [{"name": "http", "protocol": "HTTP", "port": listener,
                "allowedRoutes": {"namespaces": {"from": "All"}}}]}}),
    );
    let pods: Vec<Endpoint> = dataplanes.iter().map(|name| pod(name, Ipv4Addr::new(10, 0, 0, 1))).collect();
    pretended::slice(store, "infra", "edge-gatehouse", listener, &pods);
}

/// The routes up to a number, with their Services, and what `more` routes will need.
pub(super) fn fill(store: &Store, routes: usize, more: usize, services: Services, backend: SocketAddrV4) {
    for index in 0..routes + more {
        let route = Route { index, edits: 0 };
        let (team, service) = (route.namespace(), route.service(services));
        if index.is_multiple_of(A_NAMESPACE) {
            namespace(store, &team);
        }
        if services == Services::Own || index.is_multiple_of(A_NAMESPACE) {
            pretended::service(store, &team, &service);
            pretended::slice(store, &team, &service, backend.port(), &[pod(&service, *backend.ip())]);
        }
        if index < routes {
            store.put(ROUTES, route.object(services));
        }
    }
}

fn pod(name: &str, address: Ipv4Addr) -> Endpoint {
    Endpoint { pod: name.to_owned(), address, is_leaving: false }
}
