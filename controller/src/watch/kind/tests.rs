use gatehouse_crds::HttpRoute;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Watched, replace};
use crate::{
    resources::{ObjectKey, Resources},
    translate::ObjectId,
    watch::{
        Effect,
        source::{Place, Source},
    },
};

fn object<K: DeserializeOwned>(metadata: Value, rest: Value) -> K {
    let mut object = rest;
    object["metadata"] = metadata;
    serde_json::from_value(object).unwrap()
}

fn route(namespace: &str, name: &str, generation: i64) -> HttpRoute {
    object(
        json!({"namespace": namespace, "name": name, "generation": generation, "uid": "u"}),
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "spec": {}}),
    )
}

#[test]
fn a_list_replaces_what_its_place_had() {
    let mut view = Resources::default();
    for (namespace, name) in [("a", "gone"), ("a", "kept"), ("a", "unreadable"), ("b", "elsewhere")] {
        route(namespace, name, 1).put(&mut view);
    }
    let source = Source::new("HTTPRoute", Place::Namespace("a".into()));
    let listed = vec![route("a", "kept", 2), route("a", "fresh", 1)];
    let change = replace(&source, listed, vec![ObjectKey::new("a", "unreadable")]);
    assert_eq!(change.listed(), Some(&source));
    assert_eq!(change.apply(&mut view), Effect::Configuration);
    let names: Vec<String> = view.http_routes.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["a/fresh", "a/kept", "a/unreadable", "b/elsewhere"]);
    assert_eq!(view.http_routes[&ObjectKey::new("a", "kept")].metadata.generation, Some(2));
    let nothing =
        replace::<HttpRoute>(&Source::new("HTTPRoute", Place::Namespace("c".into())), vec![], vec![]);
    assert_eq!(nothing.apply(&mut view), Effect::Nothing);
}

#[test]
fn a_status_alone_causes_no_translation() {
    let id = || ObjectId { kind: "HTTPRoute", key: ObjectKey::new("a", "x") };
    let one = route("a", "x", 1);
    let effect = |before: &HttpRoute, after: &HttpRoute| HttpRoute::effect(Some(before), Some(after));
    assert_eq!(effect(&one, &one), Effect::Observed(id()));
    assert_eq!(effect(&one, &route("a", "x", 2)), Effect::Route(id()));
    let mut annotated = one.clone();
    annotated.metadata.annotations = Some([("a".to_owned(), "b".to_owned())].into());
    assert_eq!(effect(&one, &annotated), Effect::Route(id()));
    let mut remade = one.clone();
    remade.metadata.uid = Some("v".into());
    assert_eq!(effect(&one, &remade), Effect::Route(id()));
    assert_eq!(HttpRoute::effect(None, Some(&one)), Effect::Route(id()));
    assert_eq!(HttpRoute::effect(Some(&one), None), Effect::Route(id()));
}

#[test]
fn addresses_of_a_gateway_and_of_pods_cause_none() {
    let service = |spec: Value, status: Value| {
        object::<Service>(json!({"namespace": "a", "name": "s"}), json!({"spec": spec, "status": status}))
    };
    let plain = service(json!({"clusterIP": "10.0.0.1"}), json!({}));
    let assigned = service(
        json!({"clusterIP": "10.0.0.1"}),
        json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
    );
    let id = ObjectId { kind: "Service", key: ObjectKey::new("a", "s") };
    assert_eq!(Service::effect(Some(&plain), Some(&assigned)), Effect::Observed(id));
    assert_eq!(Service::effect(Some(&plain), Some(&plain)), Effect::Nothing);
    let other = service(json!({"clusterIP": "10.0.0.2"}), json!({}));
    assert_eq!(Service::effect(Some(&plain), Some(&other)), Effect::Service(ObjectKey::new("a", "s")));

    let slice = |service: &str| {
        object::<EndpointSlice>(
            json!({"namespace": "a", "name": "s-1", "labels": {"kubernetes.io/service-name": service}}),
            json!({"addressType": "IPv4", "endpoints": []}),
        )
    };
    let of = |name: &str| Effect::Endpoints(ObjectKey::new("a", name));
    assert_eq!(EndpointSlice::effect(None, Some(&slice("s"))), of("s"));
    assert_eq!(EndpointSlice::effect(Some(&slice("s")), None), of("s"));
    assert_eq!(EndpointSlice::effect(Some(&slice("s")), Some(&slice("t"))), Effect::Configuration);
}
