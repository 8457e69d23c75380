use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Translator, Update};
use crate::{
    resources::{ObjectKey, Resources},
    translate::{ObjectId, Settings, Translation},
};

/// What an edit is of, how many there are of it, and what it may become; one more is that it goes.
const KINDS: [(&str, usize, usize); 18] = [
    ("HTTPRoute", 4, 7),
    ("GRPCRoute", 2, 4),
    ("GatewayRoute", 3, 5),
    ("Service", 4, 4),
    ("EndpointSlice", 4, 2),
    ("Gateway", 2, 4),
    ("ListenerSet", 2, 3),
    ("AuthPolicy", 3, 5),
    ("RateLimitPolicy", 2, 4),
    ("ReferenceGrant", 1, 2),
    ("Secret", 1, 2),
    ("Consumer", 2, 2),
    ("GatewayConfig", 1, 2),
    ("GatewayClass", 1, 2),
    ("BackendTLSPolicy", 3, 3),
    ("TrafficPolicy", 3, 4),
    ("Ingress", 2, 2),
    ("IngressClass", 1, 1),
];

#[derive(Debug, Clone, Copy)]
struct Step {
    kind: usize,
    slot: usize,
    variant: usize,
}

fn namespace(slot: usize) -> &'static str {
    ["a", "b"][slot % 2]
}

fn key(kind: &str, slot: usize) -> ObjectKey {
    let name = match kind {
        "Gateway" => ["edge", "other"][slot].to_owned(),
        "GatewayClass" | "IngressClass" => "gatehouse".to_owned(),
        "Service" | "EndpointSlice" => format!("s{}", slot / 2),
        _ => format!("x{slot}"),
    };
    let namespace = match kind {
        "GatewayClass" | "IngressClass" => "",
        "Gateway" | "GatewayConfig" => "a",
        _ => namespace(slot),
    };
    ObjectKey::new(namespace, name)
}

/// `None`: it goes.
fn object(step: Step) -> Option<Value> {
    let (kind, _, variants) = KINDS[step.kind];
    let (slot, variant) = (step.slot, step.variant % (variants + 1));
    let parent = |name: &str| json!({"name": name, "namespace": "a"});
    let matches = json!([{"path": {"type": "PathPrefix", "value": format!("/{variant}")}}]);
    let spec = match (kind, variant) {
        (_, variant) if variant == variants => return None,
        ("HTTPRoute", 0) => json!({"parentRefs": [parent("edge")], "rules": [
            {"matches": matches, "backendRefs": [{"name": "s0", "port": 80}, {"name": "s1", "port": 80}]}]}),
        ("HTTPRoute", 1) => {
            json!({"parentRefs": [parent("edge"), parent("other")], "hostnames": ["x.example.com"], "rules": [
            {"name": "one", "matches": matches, "backendRefs": [{"name": "s0", "namespace": "a", "port": 80}]},
            {"matches": matches, "backendRefs": [{"name": "s1", "port": 81}]}]})
        }
        ("HTTPRoute", 2) => json!({"parentRefs": [{"name": "edge", "namespace": "a", "sectionName": "http"},
            {"name": "edge", "namespace": "a", "sectionName": "second"},
            {"kind": "ListenerSet", "name": "x0", "namespace": "a", "sectionName": "http"}], "rules": [
            {"backendRefs": [{"name": "s1", "namespace": "b", "port": 80}]}]}),
        ("HTTPRoute", 3) => {
            json!({"parentRefs": [parent("nowhere")], "rules": [{"backendRefs": [{"name": "s0", "port": 80}]}]})
        }
        ("HTTPRoute", 4) => json!({"parentRefs": [parent("other"), parent("gatehouse-ingress")], "rules": [
            {"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}, {"name": "two"}]}),
        ("HTTPRoute", 5) => {
            json!({"parentRefs": [parent("edge")], "rules": [{"name": "one", "matches": matches, "filters": [
            {"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]}]})
        }
        ("HTTPRoute", _) => json!({"parentRefs": [], "rules": []}),
        ("GRPCRoute", 0) => {
            json!({"parentRefs": [parent("other")], "hostnames": ["*.example.com"], "rules": [
            {"name": "one", "backendRefs": [{"name": "s0", "port": 80}]}]})
        }
        ("GRPCRoute", 1) => {
            json!({"parentRefs": [parent("other")], "hostnames": ["*.example.com"], "rules": [
            {"matches": [{"method": {"service": "a.B"}}], "backendRefs": [{"name": "s1", "port": 80}]}]})
        }
        ("GRPCRoute", 2) => json!({"parentRefs": [parent("edge"), parent("other")], "rules": [{}]}),
        ("GRPCRoute", _) => {
            json!({"parentRefs": [parent("edge")], "hostnames": ["y.example.com"], "rules": [{}]})
        }
        ("GatewayRoute", 0) => {
            json!({"parentRefs": [parent("edge")], "rules": [{"name": "one", "matches": matches,
            "auth": {"policyRef": {"name": "x0"}}, "rateLimits": [{"name": "x0"}], "backendRefs": [{"name": "s0", "port": 80}]}]})
        }
        ("GatewayRoute", 1) => json!({"parentRefs": [parent("edge"), parent("other")], "rules": [
            {"auth": {"policyRef": {"name": "nobody"}}, "respond": {"status": 200}},
            {"auth": {"public": true}, "backendRefs": [{"name": "s0", "port": 80}]}]}),
        ("GatewayRoute", 2) => {
            json!({"parentRefs": [parent("other"), {"kind": "ListenerSet", "name": "x1", "namespace": "b"}], "defaults": {"rateLimits": [{"name": "x1"}]},
            "rules": [{"name": "two", "backendRefs": [{"name": "s1", "port": 80}]}]})
        }
        ("GatewayRoute", 3) => {
            json!({"parentRefs": [parent("edge")], "rules": [{"name": "one", "respond": {"status": 204}}]})
        }
        ("GatewayRoute", _) => {
            json!({"parentRefs": [parent("other")], "rules": [{"redirect": {"statusCode": 999}}]})
        }
        ("Service", 0) => json!({"ports": [{"name": "web", "port": 80}]}),
        ("Service", 1) => {
            json!({"ports": [{"name": "web", "port": 80, "appProtocol": "kubernetes.io/h2c"}, {"name": "more", "port": 81}]})
        }
        ("Service", 2) => json!({"ports": [{"name": "other", "port": 80}]}),
        ("Service", _) => json!({"type": "ExternalName", "externalName": "x"}),
        ("Gateway", variant) => {
            let from = ["All", "Same", "All", "All"][variant];
            let joining = ["All", "Same", "None", "All"][variant];
            let allowed = json!({"namespaces": {"from": from}});
            let mut listeners =
                vec![json!({"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": allowed})];
            if variant > 1 {
                listeners.push(
                    json!({"name": "second", "protocol": if variant == 2 { "HTTP" } else { "HTTPS" },
                    "hostname": "*.example.com", "port": 81, "allowedRoutes": allowed,
                    "tls": {"certificateRefs": [{"name": "x0"}]}}),
                );
            }
            let mut spec = json!({"gatewayClassName": "gatehouse", "listeners": listeners,
                "allowedListeners": {"namespaces": {"from": joining}}});
            if slot == 1 {
                spec["infrastructure"] = json!({"parametersRef": {"group": "gatehouse.dev", "kind": "GatewayConfig", "name": "x0"}});
            }
            spec
        }
        ("ListenerSet", variant) => {
            let allowed = json!({"namespaces": {"from": "All"}});
            let hostname = ["x.example.com", "*.example.com", "y.example.com"][variant];
            json!({"parentRef": parent(["edge", "edge", "other"][variant]), "listeners": [
                {"name": "http", "protocol": "HTTP", "port": 80, "hostname": hostname, "allowedRoutes": allowed},
                {"name": "more", "protocol": "HTTP", "port": 82 + variant}]})
        }
        ("AuthPolicy", variant) => {
            let target = [
                json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}]),
                json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": format!("x{slot}")}]),
                json!([{"group": "gatehouse.dev", "kind": "GatewayRoute", "name": "x0", "sectionName": "one"},
                    {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "x1", "sectionName": "one"}]),
                json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "other", "sectionName": "http"},
                    {"group": "gateway.networking.k8s.io", "kind": "GRPCRoute", "name": "x0", "sectionName": "one"},
                    {"group": "gateway.networking.k8s.io", "kind": "ListenerSet", "name": format!("x{slot}")}]),
                json!([]),
            ];
            json!({"targetRefs": target[variant], "enforcement": if slot == 1 { "Required" } else { "Default" },
                "anyOf": [{"apiKey": {"sources": [{"query": {"name": "k"}}]}}]})
        }
        ("RateLimitPolicy", variant) => {
            let target = [
                json!([{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"}]),
                json!([{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "x0"}]),
                json!([{"group": "gatehouse.dev", "kind": "GatewayRoute", "name": "x1", "sectionName": "two"}]),
                json!([]),
            ];
            json!({"targetRefs": target[variant], "limits": [{"name": "minute", "key": [{"clientIP": {}}], "requests": 1 + slot, "per": "1m"}]})
        }
        ("BackendTLSPolicy", variant) => {
            let target = [
                json!({"group": "", "kind": "Service", "name": "s0"}),
                json!({"group": "", "kind": "Service", "name": "s1", "sectionName": "web"}),
                json!({"group": "", "kind": "Service", "name": "s0", "sectionName": "other"}),
            ];
            let authority = if slot == 2 { "example.com/ours" } else { "System" };
            json!({"targetRefs": [target[variant]],
                "validation": {"hostname": "a.example.com", "wellKnownCACertificates": authority}})
        }
        ("TrafficPolicy", variant) => {
            let target = [
                json!([{"name": "s0"}]),
                json!([{"name": "s1", "sectionName": "web"}, {"name": "s0", "sectionName": "more"}]),
                json!([{"name": "s0", "sectionName": "other"}]),
                json!([{"name": "s9"}]),
            ];
            let balancing = [json!({"type": "RoundRobin"}), json!({}), json!({"type": "ConsistentHash"})];
            json!({"targetRefs": target[variant], "loadBalancing": balancing[slot],
                "healthCheck": {"passive": {"maxEjectionPercent": 10}}})
        }
        ("ReferenceGrant", variant) => {
            json!({"from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "b"}],
            "to": [{"group": "", "kind": if variant == 0 { "Service" } else { "Secret" }}]})
        }
        ("Consumer", variant) => json!({"username": format!("user-{variant}"),
            "credentials": [{"name": "k", "apiKey": {"secretRef": {"name": "x0", "key": "k"}}}]}),
        ("GatewayConfig", variant) => {
            json!({"requireAuth": variant == 0, "externalNames": {"enabled": variant == 1}})
        }
        ("GatewayClass", variant) => {
            json!({"controllerName": if variant == 0 { "gatehouse.dev/gateway-controller" } else { "other" }})
        }
        ("Ingress", variant) => {
            json!({"ingressClassName": "gatehouse", "rules": [{"host": format!("{variant}.example.com"), "http":
            {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s0", "port": {"number": 80}}}}]}}]})
        }
        ("IngressClass", _) => json!({"controller": "gatehouse.dev/ingress-controller"}),
        _ => Value::Null,
    };
    let key = key(kind, slot);
    let version = match kind {
        "HTTPRoute" | "GRPCRoute" | "BackendTLSPolicy" | "Gateway" | "ListenerSet" | "GatewayClass"
        | "ReferenceGrant" => "gateway.networking.k8s.io/v1",
        "GatewayRoute" | "AuthPolicy" | "RateLimitPolicy" | "TrafficPolicy" | "Consumer"
        | "GatewayConfig" => "gatehouse.dev/v1alpha1",
        "Ingress" | "IngressClass" => "networking.k8s.io/v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        _ => "v1",
    };
    let mut object = json!({"apiVersion": version, "kind": kind, "spec": spec, "metadata": {
        "namespace": key.namespace, "name": key.name, "creationTimestamp": "2026-01-01T00:00:00Z"}});
    match kind {
        "Secret" => object["stringData"] = json!({"k": format!("key-{variant}")}),
        "EndpointSlice" => {
            object["metadata"]["labels"] = json!({"kubernetes.io/service-name": key.name});
            object["addressType"] = json!("IPv4");
            object["ports"] = json!([{"name": "web", "port": 8080}, {"name": "other", "port": 8081}]);
            object["endpoints"] = json!([{"addresses": [format!("10.0.0.{}", variant + 1)]}]);
        }
        _ => {}
    }
    Some(object)
}

fn remove(resources: &mut Resources, kind: &str, key: &ObjectKey) {
    match kind {
        "HTTPRoute" => drop(resources.http_routes.remove(key)),
        "GRPCRoute" => drop(resources.grpc_routes.remove(key)),
        "GatewayRoute" => drop(resources.gateway_routes.remove(key)),
        "Service" => drop(resources.services.remove(key)),
        "EndpointSlice" => drop(resources.endpoint_slices.remove(key)),
        "Gateway" => drop(resources.gateways.remove(key)),
        "ListenerSet" => drop(resources.listener_sets.remove(key)),
        "AuthPolicy" => drop(resources.auth_policies.remove(key)),
        "RateLimitPolicy" => drop(resources.rate_limit_policies.remove(key)),
        "ReferenceGrant" => drop(resources.reference_grants.remove(key)),
        "Secret" => drop(resources.secrets.remove(key)),
        "Consumer" => drop(resources.consumers.remove(key)),
        "GatewayConfig" => drop(resources.gateway_configs.remove(key)),
        "GatewayClass" => drop(resources.gateway_classes.remove(&key.name)),
        "TrafficPolicy" => drop(resources.traffic_policies.remove(key)),
        "BackendTLSPolicy" => drop(resources.backend_tls_policies.remove(key)),
        "Ingress" => drop(resources.ingresses.remove(key)),
        "IngressClass" => drop(resources.ingress_classes.remove(&key.name)),
        other => panic!("{other}"),
    }
}

/// Applies an edit; gives the update, and `None` where everything is made anew.
fn edit(
    resources: &mut Resources,
    translator: &mut Translator,
    settings: &Settings,
    step: Step,
) -> Option<Update> {
    let kind = KINDS[step.kind].0;
    let key = key(kind, step.slot);
    match object(step) {
        Some(object) => drop(resources.apply(object).unwrap()),
        None => remove(resources, kind, &key),
    }
    match kind {
        "HTTPRoute" | "GRPCRoute" | "GatewayRoute" => {
            translator.routes(resources, settings, &BTreeSet::from([ObjectId { kind, key }]))
        }
        "Service" => translator.services(resources, settings, &BTreeSet::from([key])),
        "EndpointSlice" => Some(translator.endpoints(resources, &BTreeSet::from([key]))),
        _ => None,
    }
}

fn assert_same(one: &Translation, other: &Translation) {
    assert_eq!(one.statuses.0, other.statuses.0);
    assert_eq!(one.provisioning, other.provisioning);
    assert_eq!(one.joined, other.joined);
    assert_eq!(one.jwks, other.jwks);
    let implied = |one: &Translation| -> Vec<_> {
        one.implied_gateways
            .iter()
            .map(|(key, (gateway, class))| (key.clone(), json!(gateway), class.clone()))
            .collect()
    };
    assert_eq!(implied(one), implied(other));
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let routes = prop_oneof![3 => 0..4_usize, 1 => 4..KINDS.len()];
    let step = routes.prop_flat_map(|kind| {
        (0..KINDS[kind].1, 0..=KINDS[kind].2).prop_map(move |(slot, variant)| Step { kind, slot, variant })
    });
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// After every edit the same stands there as if everything had been translated, and the update has told what changed.
    #[test]
    fn updates_lead_to_what_the_whole_would_be(steps in steps()) {
        let settings = Settings { namespace: "gatehouse-system".into(), ..Settings::default() };
        let mut resources = Resources::default();
        // Everything that the edits refer to is there at first.
        for (kind, (_, slots, _)) in KINDS.iter().enumerate() {
            for slot in 0..*slots {
                resources.apply(object(Step { kind, slot, variant: 0 }).unwrap()).unwrap();
            }
        }
        let mut translator = Translator::new(&resources, &settings);
        for step in steps {
            let before = Translator::new(&resources, &settings);
            let update = edit(&mut resources, &mut translator, &settings, step);
            let Some(update) = update else {
                translator = Translator::new(&resources, &settings);
                continue;
            };
            let fresh = Translator::new(&resources, &settings);
            assert_eq!(translator.configs, fresh.configs);
            assert_same(translator.translation(), &fresh.translation);
            let mut told = before.configs;
            for (gateway, changes) in update.changes {
                let config = told.get_mut(&gateway).unwrap();
                for (name, kind) in changes {
                    assert_ne!(config.get(&name), kind.as_ref(), "{name} is no change");
                    match kind {
                        Some(kind) => drop(config.insert(name, kind)),
                        None => drop(config.remove(&name)),
                    }
                }
            }
            assert_eq!(told, fresh.configs);
            let (before, after) = (&before.translation.statuses.0, &fresh.translation.statuses.0);
            for id in before.keys().chain(after.keys()).filter(|id| before.get(*id) != after.get(*id)) {
                assert!(update.statuses.contains(id), "{id:?} is not told");
            }
        }
    }
}
