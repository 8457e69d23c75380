#![allow(clippy::unwrap_used, reason = "helpers of tests; clippy only knows the test functions")]

mod rollouts;
mod world;

use std::{fs, path::Path};

use proptest::prelude::{Strategy, any, prop};
use serde_json::{Value, json};

use crate::{resources::ObjectKey, status::Tracker, translate::CONTROLLER_NAME};
use world::{Dataplane, World};

/// `type=status/reason`, of an object's list of conditions.
fn brief(conditions: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let one =
        |one: &Value| format!("{}={}/{}", text(&one["type"]), text(&one["status"]), text(&one["reason"]));
    conditions.as_array().into_iter().flatten().map(one).collect()
}

const SHOP: &str = r#"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations: {gateway.networking.k8s.io/bundle-version: v1.6.3, gateway.networking.k8s.io/channel: standard}
---
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: gatehouse}
spec: {controllerName: gatehouse.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: gatehouse
  listeners:
  - {name: http, protocol: HTTP, port: 80}
  - {name: https, protocol: HTTPS, port: 443, tls: {certificateRefs: [{name: absent}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: orders}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: absent, port: 80}]}]
---
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {name: hello}
spec:
  parentRefs: [{name: edge}]
  rules: [{auth: {policyRef: {name: keys}}, respond: {status: 200}}]
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: keys}
spec: {anyOf: [{apiKey: {}}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: idle}
spec: {limits: [{name: a, requests: 1, per: 1s}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: kim}
spec: {}
---
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayConfig
metadata: {name: settings}
spec: {}
"#;

#[test]
fn every_kind_gets_its_conditions() {
    let mut world = World::of(SHOP);
    world.reach("edge");
    world.settle(Dataplane::Acknowledges);
    let parents = |kind, name, list: &str| brief(&world.status(kind, name)[list][0]["conditions"]);
    let gateway = world.status("Gateway", "default/edge");
    assert_eq!(brief(&gateway["conditions"]), ["Accepted=True/Accepted", "Programmed=True/Programmed"]);
    assert_eq!(gateway["addresses"], json!([{"type": "IPAddress", "value": "192.0.2.1"}]));
    let http = &gateway["listeners"][0];
    let wanted = [
        "Accepted=True/Accepted",
        "ResolvedRefs=True/ResolvedRefs",
        "Conflicted=False/NoConflicts",
        "Programmed=True/Programmed",
    ];
    assert_eq!(
        (brief(&http["conditions"]), &http["attachedRoutes"]),
        (wanted.map(str::to_owned).to_vec(), &json!(2))
    );
    assert_eq!(http["supportedKinds"][2], json!({"group": "gatehouse.dev", "kind": "GatewayRoute"}));
    let https = brief(&gateway["listeners"][1]["conditions"]);
    assert!(https.contains(&"ResolvedRefs=False/InvalidCertificateRef".into()), "{https:?}");
    assert!(https.contains(&"Programmed=False/Invalid".into()), "{https:?}");
    assert_eq!(
        parents("HTTPRoute", "default/orders", "parents"),
        [
            "Accepted=True/Accepted",
            "ResolvedRefs=False/BackendNotFound",
            "gatehouse.dev/Protected=False/NoAuthPolicy",
            "gatehouse.dev/Programmed=True/Programmed"
        ]
    );
    assert_eq!(
        parents("GatewayRoute", "default/hello", "parents"),
        [
            "Accepted=True/Accepted",
            "ResolvedRefs=True/ResolvedRefs",
            "gatehouse.dev/Protected=True/Protected",
            "gatehouse.dev/Programmed=True/Programmed",
        ]
    );
    let all = [
        "Accepted=True/Accepted",
        "ResolvedRefs=True/ResolvedRefs",
        "gatehouse.dev/Programmed=True/Programmed",
    ];
    assert_eq!(parents("AuthPolicy", "default/keys", "ancestors"), all);
    let entry = &world.status("AuthPolicy", "default/keys")["ancestors"][0];
    assert_eq!(
        (&entry["controllerName"], &entry["ancestorRef"]["kind"]),
        (&json!(CONTROLLER_NAME), &json!("Gateway"))
    );
    assert!(
        world.status("RateLimitPolicy", "default/idle").is_null(),
        "nothing uses it and it targets nothing"
    );
    assert_eq!(
        brief(&world.status("Consumer", "default/kim")["conditions"]),
        ["Accepted=True/Accepted", "gatehouse.dev/Programmed=True/Programmed"]
    );
    assert_eq!(
        brief(&world.status("GatewayConfig", "default/settings")["conditions"]),
        ["Accepted=True/Accepted"]
    );
    let class = world.status("GatewayClass", "/gatehouse");
    let conditions = ["Accepted=True/Accepted", "SupportedVersion=True/SupportedVersion"];
    assert_eq!(brief(&class["conditions"]), conditions);
    assert_eq!(class["supportedFeatures"][0], json!({"name": "HTTPRoute"}));
}

/// What the suite's tests of ListenerSets ask for, beyond what translation says.
#[test]
fn listener_sets_get_their_conditions() {
    let mut world = World::of(SHOP);
    let set = |name: &str, hostnames: &[&str]| {
        let listener =
            |hostname: &&str| json!({"name": hostname, "protocol": "HTTP", "port": 80, "hostname": hostname});
        json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "ListenerSet",
            "metadata": {"name": name, "namespace": "default"}, "spec": {"parentRef": {"name": "edge"},
            "listeners": hostnames.iter().map(listener).collect::<Vec<_>>()}})
    };
    world.apply(set("good", &["a.example.com"]));
    world.apply(set("half", &["a.example.com", "b.example.com"]));
    world.apply(set("lost", &["a.example.com"]));
    let conditions = |world: &World, name: &str| {
        brief(&world.status("ListenerSet", &format!("default/{name}"))["conditions"])
    };
    world.settle(Dataplane::Acknowledges);
    for name in ["good", "half", "lost"] {
        assert_eq!(conditions(&world, name), ["Accepted=False/NotAllowed", "Programmed=False/NotAllowed"]);
        assert_eq!(world.status("ListenerSet", &format!("default/{name}"))["listeners"], json!([]));
    }
    assert!(world.status("Gateway", "default/edge")["attachedListenerSets"].is_null());

    let mut gateway = world.objects[&("Gateway".into(), "default/edge".into())].clone();
    gateway["spec"]["allowedListeners"] = json!({"namespaces": {"from": "Same"}});
    world.apply(gateway.clone());
    world.settle(Dataplane::Acknowledges);
    let unreachable = ["Accepted=True/Accepted", "Programmed=False/ParentNotProgrammed"];
    assert_eq!(conditions(&world, "good"), unreachable);
    world.reach("edge");
    world.settle(Dataplane::Silent);
    world.settle(Dataplane::Acknowledges);
    assert_eq!(conditions(&world, "good"), ["Accepted=True/Accepted", "Programmed=True/Programmed"]);
    assert_eq!(conditions(&world, "half"), ["Accepted=True/ListenersNotValid", "Programmed=True/Programmed"]);
    let lost = ["Accepted=False/ListenersNotValid", "Programmed=False/ListenersNotValid"];
    assert_eq!(conditions(&world, "lost"), lost);
    let listeners = &world.status("ListenerSet", "default/half")["listeners"];
    let taken = [
        "Accepted=False/HostnameConflict",
        "ResolvedRefs=True/ResolvedRefs",
        "Conflicted=True/HostnameConflict",
        "Programmed=False/HostnameConflict",
    ];
    assert_eq!(brief(&listeners[0]["conditions"]), taken);
    assert_eq!(brief(&listeners[1]["conditions"])[3], "Programmed=True/Programmed");
    assert_eq!(world.status("Gateway", "default/edge")["attachedListenerSets"], json!(2));

    world.tracker = Tracker::default();
    world.settle(Dataplane::Rejects(1));
    assert_eq!(conditions(&world, "good")[1], "Programmed=False/Invalid");
    gateway["spec"]["infrastructure"] =
        json!({"parametersRef": {"group": "gatehouse.dev", "kind": "GatewayConfig", "name": "absent"}});
    world.apply(gateway);
    world.settle(Dataplane::Acknowledges);
    let refused = ["Accepted=False/ParentNotAccepted", "Programmed=False/ParentNotProgrammed"];
    assert_eq!(conditions(&world, "good"), refused);
}

#[test]
fn what_is_not_programmed_says_why() {
    let reason = |world: &World, pointer: &str| {
        let conditions = world.status("Gateway", "default/edge").pointer(pointer).unwrap();
        brief(conditions).into_iter().find(|one| one.starts_with("Programmed")).unwrap()
    };
    let mut world = World::of(SHOP);
    world.settle(Dataplane::Acknowledges);
    assert_eq!(reason(&world, "/conditions"), "Programmed=False/AddressNotAssigned");
    world.reach("edge");
    for (dataplane, of_gateway, of_listener) in [
        (Dataplane::Absent, "Programmed=False/Pending", "Programmed=False/Pending"),
        (Dataplane::Silent, "Programmed=False/Pending", "Programmed=False/Pending"),
        (Dataplane::Rejects(1), "Programmed=False/Invalid", "Programmed=False/Invalid"),
        (Dataplane::Acknowledges, "Programmed=True/Programmed", "Programmed=True/Programmed"),
    ] {
        // A new leader knows nothing of what was acknowledged before.
        world.tracker = Tracker::default();
        world.settle(dataplane);
        assert_eq!(reason(&world, "/conditions"), of_gateway, "{dataplane:?}");
        assert_eq!(reason(&world, "/listeners/0/conditions"), of_listener, "{dataplane:?}");
    }
    world.facts.get_mut(&ObjectKey::new("default", "edge")).unwrap().errors.push("exceeded quota".into());
    let writes = world.settle(Dataplane::Acknowledges);
    assert_eq!(reason(&world, "/conditions"), "Programmed=False/NoResources");
    assert_eq!(writes[0].flips[0].problem.as_ref().unwrap().message, "exceeded quota");
}

#[test]
fn an_address_that_was_asked_for_must_be_there() {
    let mut world = World::of(SHOP);
    world.reach("edge");
    for (asked, reason) in [
        (json!([{"value": "192.0.2.1"}]), "Programmed"),
        (json!([{"value": "192.0.2.1"}, {"value": "198.51.100.1"}]), "AddressNotUsable"),
        (json!([{"type": "IPAddress"}]), "Programmed"),
        (json!([{"type": "Hostname", "value": "a.example"}]), "Invalid"),
    ] {
        let mut gateway = world.objects[&("Gateway".to_owned(), "default/edge".to_owned())].clone();
        gateway["spec"]["addresses"] = asked;
        world.apply(gateway);
        world.settle(Dataplane::Acknowledges);
        assert_eq!(world.status("Gateway", "default/edge")["conditions"][1]["reason"], reason);
    }
}

#[test]
fn a_rejection_is_told_in_the_words_of_the_dataplane() {
    let mut world = World::of(SHOP);
    let writes = world.settle(Dataplane::Rejects(1));
    let route = world.status("GatewayRoute", "default/hello");
    let programmed = &route["parents"][0]["conditions"][3];
    assert_eq!(programmed["reason"], "Rejected");
    assert_eq!(programmed["message"], "route/GatewayRoute/default/hello/0 is bad");
    let write = writes.iter().find(|write| write.id.kind == "GatewayRoute").unwrap();
    assert_eq!(write.flips.len(), 1, "{:?}", write.flips);
}

#[test]
fn the_generation_that_was_translated_is_observed() {
    let mut world = World::of(SHOP);
    world.settle(Dataplane::Acknowledges);
    let mut route = world.objects[&("HTTPRoute".into(), "default/orders".into())].clone();
    route["spec"]["rules"] = json!([]);
    world.apply(route);
    let writes = world.settle(Dataplane::Acknowledges);
    assert_eq!(writes.iter().map(|write| write.id.kind).collect::<Vec<_>>(), ["HTTPRoute"]);
    let conditions = &world.status("HTTPRoute", "default/orders")["parents"][0]["conditions"];
    assert!(conditions.as_array().unwrap().iter().all(|one| one["observedGeneration"] == 2));
}

#[test]
fn only_our_entries_are_touched() {
    let mut world = World::of(SHOP);
    let theirs =
        json!({"parentRef": {"name": "edge"}, "controllerName": "example.com/other", "conditions": []});
    let stale = json!({"parentRef": {"name": "gone"}, "controllerName": CONTROLLER_NAME, "conditions": []});
    let id = ("HTTPRoute".to_owned(), "default/orders".to_owned());
    world.objects.get_mut(&id).unwrap()["status"] = json!({"parents": [theirs, stale]});
    world.settle(Dataplane::Acknowledges);
    let parents = &world.status("HTTPRoute", "default/orders")["parents"];
    assert_eq!((&parents[0], parents.as_array().unwrap().len()), (&theirs, 2));
    assert_eq!(parents[1]["parentRef"], json!({"name": "edge"}));
    // Who is not ours any more keeps nothing of us.
    let class = ("GatewayClass".to_owned(), "/gatehouse".to_owned());
    world.objects.get_mut(&class).unwrap()["spec"]["controllerName"] = json!("example.com/other");
    let writes = world.settle(Dataplane::Acknowledges);
    assert_eq!(world.status("HTTPRoute", "default/orders")["parents"], json!([theirs]));
    assert_eq!(world.status("GatewayRoute", "default/hello")["parents"], json!([]));
    assert!(!writes.iter().any(|write| ["Gateway", "GatewayClass"].contains(&write.id.kind)));
}

#[test]
fn lists_of_entries_keep_their_bounds() {
    let mut world = World::of(SHOP);
    let theirs = |index: usize| {
        json!({"parentRef": {"name": format!("edge-{index}")},
        "controllerName": "example.com/other", "conditions": []})
    };
    let id = ("HTTPRoute".to_owned(), "default/orders".to_owned());
    world.objects.get_mut(&id).unwrap()["status"] =
        json!({"parents": (0..32).map(theirs).collect::<Vec<_>>()});
    let writes = world.settle(Dataplane::Acknowledges);
    assert!(!writes.iter().any(|write| write.id.kind == "HTTPRoute"), "there is no room");
}

fn goldens() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folders = |path: &Path| {
        let mut all: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    };
    let cases = folders(&root).into_iter().flat_map(|feature| folders(&feature));
    cases.map(|case| fs::read_to_string(case.join("in.yaml")).unwrap()).collect()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]

    /// Over the golden inputs, whatever stands in the statuses already and whatever dataplanes say.
    #[test]
    fn a_plan_that_was_carried_out_plans_nothing(
        which in any::<prop::sample::Index>(),
        before in any::<prop::sample::Index>(),
        dataplanes in prop::collection::vec((0_usize..5).prop_map(|step| match step {
            0 => Dataplane::Absent,
            1 => Dataplane::Silent,
            2 => Dataplane::Acknowledges,
            step => Dataplane::Rejects(step - 2),
        }), 1..4),
        foreign in any::<bool>(),
        reachable in any::<bool>(),
    ) {
        let goldens = goldens();
        let mut world = World::of(&goldens[which.index(goldens.len())]);
        if reachable {
            let gateways: Vec<String> = world.objects.keys().filter(|id| id.0 == "Gateway")
                .map(|id| id.1.trim_start_matches("default/").to_owned()).collect();
            gateways.iter().for_each(|gateway| world.reach(gateway));
        }
        if foreign {
            // Statuses of another time: those of another set of objects under the same names.
            let mut other = World::of(&goldens[before.index(goldens.len())]);
            other.settle(dataplanes[0]);
            for (id, object) in &mut world.objects {
                if let Some(former) = other.objects.get(id) {
                    object["status"] = former["status"].clone();
                }
            }
        }
        for dataplane in dataplanes {
            world.settle(dataplane);
            let again = world.plan(dataplane);
            proptest::prop_assert!(again.is_empty(), "{again:#?}");
        }
    }
}
