//! The routes: those that carry the load, which are edited all the time, and others beside them.

use std::sync::Arc;

use gatehouse_tests::pretended::Store;
use serde_json::{Value, json};

use crate::{
    request::{HOSTS, SERVICES, home, host},
    world::NAMESPACE,
};

/// The response header that tells by which edit of its route a request was served.
pub(crate) const EDIT: &str = "x-edit";

pub(crate) struct Routes {
    store: Arc<Store>,
    routes: Vec<Route>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) index: u64,
    pub(crate) edit: u64,
    service: usize,
}

/// Kind in the store, apiVersion and kind of an object.
const HTTP_ROUTE: [&str; 3] =
    ["gateway.networking.k8s.io/httproutes", "gateway.networking.k8s.io/v1", "HTTPRoute"];
const GATEWAY_ROUTE: [&str; 3] = ["gatehouse.dev/gatewayroutes", "gatehouse.dev/v1alpha1", "GatewayRoute"];

impl Routes {
    pub(crate) fn start(store: Arc<Store>) -> Routes {
        let route = |index| Route { index, edit: 0, service: home(index).unwrap_or(0) };
        let routes = Routes { store, routes: (0..HOSTS).map(route).collect() };
        routes.routes.iter().for_each(|route| routes.put(route));
        routes
    }

    pub(crate) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// One change: of a route that carries load, or of one beside it.
    pub(crate) fn change(&mut self, number: u64) {
        if number % 4 == 3 {
            self.change_beside(number / 4);
            return;
        }
        let place = usize::try_from(number * 7 % HOSTS).expect("few routes");
        let route = &mut self.routes[place];
        route.edit = number + 1;
        if home(route.index).is_none() {
            route.service = (route.service + 1) % SERVICES.len();
        }
        let route = *route;
        self.put(&route);
    }

    /// Made, broken, taken away.
    fn change_beside(&self, number: u64) {
        let name = format!("beside-{}", number / 3);
        let [kind, version, name_of_kind] = HTTP_ROUTE;
        if number % 3 == 2 {
            // It was made two changes ago.
            self.store.delete(kind, &(NAMESPACE.to_owned(), name)).expect("it is there");
            return;
        }
        let path = if number.is_multiple_of(3) {
            json!({"type": "PathPrefix", "value": "/"})
        } else {
            json!({"type": "RegularExpression", "value": "/("})
        };
        self.store.put(
            kind,
            json!({"apiVersion": version, "kind": name_of_kind, "metadata": {"namespace": NAMESPACE, "name": name},
                "spec": {"parentRefs": [{"name": "edge"}], "hostnames": [format!("{name}.example")],
                    "rules": [{"matches": [{ "path": path }], "backendRefs": backends(0)}]}}),
        );
    }

    fn put(&self, route: &Route) {
        let headers = json!({"set": [{"name": EDIT, "value": route.edit.to_string()}]});
        // Every other one is of our kind, and would send again what may be sent again.
        let ([kind, version, name_of_kind], rule) = if route.index.is_multiple_of(2) {
            let filter = json!({"type": "ResponseHeaderModifier", "responseHeaderModifier": headers});
            (HTTP_ROUTE, json!({"filters": [filter], "backendRefs": backends(route.service)}))
        } else {
            let retry = json!({"attempts": 2});
            let rule =
                json!({"responseHeaders": headers, "retry": retry, "backendRefs": backends(route.service)});
            (GATEWAY_ROUTE, rule)
        };
        self.store.put(
            kind,
            json!({"apiVersion": version, "kind": name_of_kind,
                "metadata": {"namespace": NAMESPACE, "name": format!("route-{}", route.index)},
                "spec": {"parentRefs": [{"name": "edge"}], "hostnames": [host(route.index)], "rules": [rule]}}),
        );
    }

    /// Routes of which the status does not say that the present generation is served.
    pub(crate) fn unserved(&self) -> Vec<u64> {
        let is_served = |route: &&Route| {
            let [kind, ..] = if route.index.is_multiple_of(2) { HTTP_ROUTE } else { GATEWAY_ROUTE };
            let object = self.store.get(kind, NAMESPACE, &format!("route-{}", route.index));
            object.is_some_and(|object| is_programmed(&object))
        };
        self.routes.iter().filter(|route| !is_served(route)).map(|route| route.index).collect()
    }
}

fn backends(service: usize) -> Value {
    json!([{"name": SERVICES[service], "port": 80}])
}

fn is_programmed(object: &Value) -> bool {
    let conditions = object["status"]["parents"][0]["conditions"].as_array();
    // Where the kind is not ours, the type has our prefix.
    let is_it =
        |condition: &&Value| condition["type"].as_str().is_some_and(|kind| kind.ends_with("Programmed"));
    conditions.into_iter().flatten().find(is_it).is_some_and(|condition| {
        condition["status"] == "True" && condition["observedGeneration"] == object["metadata"]["generation"]
    })
}
