use serde_json::{Value, json};

use super::endpoints;
use crate::resources::Resources;

/// A Service `app` with the ports `web` (80) and `admin` (81), and the given slices of it.
fn shown(slices: &[Value]) -> Vec<String> {
    let mut resources = Resources::default();
    let ports = json!([{"name": "web", "port": 80, "targetPort": "http"}, {"name": "admin", "port": 81}]);
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "app", "namespace": "n"},
        "spec": {"ports": ports}});
    resources.apply(service).unwrap();
    for (index, slice) in slices.iter().enumerate() {
        let mut slice = slice.clone();
        slice["apiVersion"] = json!("discovery.k8s.io/v1");
        slice["kind"] = json!("EndpointSlice");
        let labels = json!({"kubernetes.io/service-name": "app"});
        slice["metadata"] = json!({"name": format!("app-{index}"), "namespace": "n", "labels": labels});
        resources.apply(slice).unwrap();
    }
    let (name, endpoints) = endpoints(&resources, "service/n/app/80").unwrap();
    assert_eq!((name.as_str(), endpoints.service.as_str()), ("endpoints/n/app/80", "service/n/app/80"));
    endpoints.endpoints.iter().map(|one| format!("{} {}", one.address, one.port)).collect()
}

fn slice(endpoints: &Value) -> Value {
    json!({"addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "web", "port": 8080}, {"name": "admin", "port": 9090}]})
}

fn one(address: &str, conditions: &Value) -> Value {
    json!({"addresses": [address], "conditions": conditions})
}

#[test]
fn those_that_are_ready_else_those_that_still_serve() {
    let ready = one("10.0.0.1", &json!({"ready": true}));
    let unknown = one("10.0.0.2", &json!({}));
    let starting = one("10.0.0.3", &json!({"ready": false}));
    let failing = one("10.0.0.4", &json!({"ready": false, "serving": false, "terminating": false}));
    let leaving = one("10.0.0.5", &json!({"ready": false, "serving": true, "terminating": true}));
    let gone = one("10.0.0.6", &json!({"ready": false, "serving": false, "terminating": true}));
    let none: [&str; 0] = [];
    assert_eq!(shown(&[]), none);
    assert_eq!(
        shown(&[slice(&json!([leaving, unknown, starting, ready]))]),
        ["10.0.0.1 8080", "10.0.0.2 8080"]
    );
    assert_eq!(shown(&[slice(&json!([starting, leaving, failing, gone]))]), ["10.0.0.5 8080"]);
    // A pod that was never ready must not be sent requests because nobody else is there.
    assert_eq!(shown(&[slice(&json!([starting, failing, gone]))]), none);
}

#[test]
fn each_address_once_and_in_order() {
    let v4 = slice(&json!([{"addresses": ["10.0.0.10"]}, {"addresses": ["10.0.0.9"]}]));
    let mut again = slice(&json!([{"addresses": ["10.0.0.10"]}, {"addresses": ["nonsense"]}]));
    again["ports"] = json!([{"name": "web", "port": 8080}, {"name": "web", "port": 70000}, {"name": "web"}]);
    let v6 = json!({"addressType": "IPv6", "endpoints": [{"addresses": ["fd00::1"]}],
        "ports": [{"name": "web", "port": 8080}]});
    let fqdn = json!({"addressType": "FQDN", "endpoints": [{"addresses": ["10.9.9.9"]}],
        "ports": [{"name": "web", "port": 8080}]});
    assert_eq!(shown(&[v4, again, v6, fqdn]), ["10.0.0.9 8080", "10.0.0.10 8080", "fd00::1 8080"]);
}

/// What dataplanes are told of zones: whether to prefer them, and those of each endpoint.
fn zones(distribution: &Value, endpoints: &Value) -> (bool, Vec<Vec<String>>) {
    let mut resources = Resources::default();
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "app", "namespace": "n"},
        "spec": {"ports": [{"port": 80}], "trafficDistribution": distribution}});
    resources.apply(service).unwrap();
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "app", "namespace": "n", "labels": {"kubernetes.io/service-name": "app"}},
        "endpoints": endpoints, "ports": [{"port": 8080}]});
    resources.apply(slice).unwrap();
    let (_, endpoints) = endpoints_of(&resources);
    (endpoints.prefer_zone, endpoints.endpoints.into_iter().map(|one| one.zones).collect())
}

fn endpoints_of(resources: &Resources) -> (String, gatehouse_proto::config::v1::Endpoints) {
    endpoints(resources, "service/n/app/80").unwrap()
}

#[test]
fn zones_are_those_of_hints_where_all_have_some() {
    let plain = json!([{"addresses": ["10.0.0.1"], "zone": "a"}, {"addresses": ["10.0.0.2"]}]);
    assert_eq!(zones(&json!(null), &plain), (false, vec![vec!["a".into()], vec![]]));
    for distribution in ["PreferClose", "PreferSameZone", "PreferSameNode"] {
        assert!(zones(&json!(distribution), &plain).0);
    }
    assert!(!zones(&json!("Sideways"), &plain).0, "who knows what it will mean");
    let hints = |zones: &[&str]| json!({"forZones": zones.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
    let one = json!({"addresses": ["10.0.0.1"], "zone": "a", "hints": hints(&["b", "c"])});
    let two = json!({"addresses": ["10.0.0.2"], "zone": "b", "hints": hints(&["a"])});
    let bare = json!({"addresses": ["10.0.0.3"], "zone": "b"});
    let leaving = json!({"addresses": ["10.0.0.4"], "zone": "b", "conditions": {"ready": false}});
    let hinted = (true, vec![vec!["b".into(), "c".into()], vec!["a".into()]]);
    assert_eq!(zones(&json!(null), &json!([one, two, leaving])), hinted);
    let (is_preferred, own) = zones(&json!(null), &json!([one, bare]));
    assert_eq!((is_preferred, own), (false, vec![vec!["a".into()], vec!["b".into()]]));
    assert_eq!(zones(&json!(null), &json!([])), (false, vec![]));
}

#[test]
fn what_is_no_name_of_a_service_has_no_endpoints() {
    for name in ["", "service/n/app", "service/n/app/x", "route/n/app/80"] {
        assert_eq!(endpoints(&Resources::default(), name), None, "{name}");
    }
    let (_, absent) = endpoints(&Resources::default(), "service/n/app/80").unwrap();
    assert!(absent.endpoints.is_empty());
}
