//! A Gateway and its GatewayConfig in, the objects that it becomes out: `golden-provision/CASE/{in,out}.yaml`.
//!
//! `UPDATE=1 cargo test -p gatehouse-controller --test golden_provision` writes the outputs; the diff is what a reviewer
//! reads. A GatewayClass `gatehouse` of ours is there unless the case brings one.

#![allow(clippy::unwrap_used)] // helpers of tests, too

#[path = "support/golden.rs"]
mod golden;

use std::{fs, path::Path};

use gatehouse_controller::{
    provision::{PullPolicy, Settings, plan},
    resources::{ObjectKey, Resources},
    translate::{self, Provisioning, translate},
};
use gatehouse_crds::GatewayClass;
use serde_json::json;

fn resources(text: &str) -> Resources {
    let mut resources = golden::resources(&golden::documents(text));
    for gateway in resources.gateways.values() {
        let class = json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": gateway.spec.gateway_class_name},
            "spec": {"controllerName": translate::CONTROLLER_NAME},
        });
        let class: GatewayClass = serde_json::from_value(class).unwrap();
        resources.gateway_classes.entry(gateway.spec.gateway_class_name.clone()).or_insert(class);
    }
    resources
}

/// Every object of every Gateway, as `kubectl apply` would take them.
fn show(resources: &Resources) -> String {
    let settings = Settings {
        image: "gatehouse.test/gatehouse-dataplane:dev".to_owned(),
        pull_policy: PullPolicy::IfNotPresent,
        controller_address: "https://gatehouse-controller.gatehouse-system.svc:18000".to_owned(),
        ca_pem: "-----BEGIN CERTIFICATE-----\n(the channel's)\n-----END CERTIFICATE-----\n".to_owned(),
    };
    let translation = translate(resources, &translate::Settings::default());
    let mut documents = Vec::new();
    for (key, gateway) in &resources.gateways {
        let config = match &translation.provisioning[key] {
            Provisioning::Wanted(config) => Some(config.as_deref()),
            Provisioning::Keep => None,
        };
        let gateway = translation.merged(key, gateway);
        let plan = plan(&gateway, config.expect("a usable configuration"), &settings);
        assert_eq!(plan.gateway(), key);
        let objects = plan.objects().into_iter().filter_map(|object| object.content);
        documents.extend(objects.map(|content| serde_saphyr::to_string(&content).unwrap()));
    }
    documents.join("---\n")
}

#[test]
fn outputs_are_what_they_were() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-provision");
    let cases = golden::folders(&root);
    assert!(cases.len() >= 7, "only {} cases", cases.len());
    golden::outputs_are_what_they_were(&cases, |case| {
        show(&resources(&fs::read_to_string(case.join("in.yaml")).unwrap()))
    });
}

/// Nothing is planned by a guess.
#[test]
fn a_reference_to_nothing_keeps_what_is_deployed() {
    let text = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  gatewayClassName: gatehouse
  infrastructure: {parametersRef: {group: gatehouse.dev, kind: GatewayConfig, name: absent}}
  listeners: [{name: http, protocol: HTTP, port: 8080}]
";
    let translation = translate(&resources(text), &translate::Settings::default());
    assert_eq!(translation.provisioning[&ObjectKey::new("shop", "edge")], Provisioning::Keep);
}
