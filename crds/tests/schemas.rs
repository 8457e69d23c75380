//! The CRDs in `generated/` are what the types say, and what is read of the Gateway API exists there.

use std::{fs, path::Path};

use gatehouse_crds::{CRDS, Gateway, GatewayClass, HttpRoute, ReferenceGrant, own_crds};
use kube::CustomResourceExt;
use serde_json::Value;

#[test]
fn generated_yaml_is_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("generated");
    for crd in own_crds() {
        let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
        let kept = fs::read_to_string(&path).unwrap();
        assert!(
            kept == serde_saphyr::to_string(&crd).unwrap(),
            "{} is stale: run `make crds`",
            path.display()
        );
    }
}

#[test]
fn our_crds_have_what_users_expect() {
    for crd in own_crds() {
        let names = &crd.spec.names;
        let version = &crd.spec.versions[0];
        assert_eq!(names.categories.as_deref(), Some(&["gatehouse".to_owned()][..]), "{}", names.kind);
        assert!(names.short_names.is_some(), "{}", names.kind);
        assert!(version.additional_printer_columns.is_some(), "{}", names.kind);
        assert!(version.subresources.as_ref().is_some_and(|sub| sub.status.is_some()), "{}", names.kind);
    }
    let text = serde_json::to_string(&own_crds()).unwrap();
    for message in [
        "give exactly one of backendRefs, redirect and respond",
        "give exactly one of policyRef and public",
        "give exactly one of jwt and apiKey",
        "give exactly one of consumer, credential, clientIP and header",
    ] {
        assert!(text.contains(message), "{message}");
    }
}

/// A field that the pinned CRD does not have would never hold anything.
#[test]
fn what_is_read_of_the_gateway_api_exists() {
    for (plural, ours) in [
        ("gatewayclasses", GatewayClass::crd()),
        ("gateways", Gateway::crd()),
        ("httproutes", HttpRoute::crd()),
        ("referencegrants", ReferenceGrant::crd()),
    ] {
        let text = CRDS.iter().find(|(name, _)| *name == plural).unwrap().1;
        let theirs: Value = serde_saphyr::from_str(text).unwrap();
        let versions = theirs["spec"]["versions"].as_array().unwrap();
        let theirs = versions.iter().find(|version| version["name"] == "v1").unwrap();
        let ours = serde_json::to_value(&ours.spec.versions[0]).unwrap();
        let at = |crd: &Value| crd["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
        contained(&at(&ours), &at(theirs), plural);
    }
}

fn contained(ours: &Value, theirs: &Value, path: &str) {
    if let Some(properties) = ours["properties"].as_object() {
        for (name, schema) in properties {
            let there = &theirs["properties"][name];
            // The namespace of parametersRef is a GatewayClass's; a Gateway's has none.
            if there.is_null() && path == "gateways.infrastructure.parametersRef" && name == "namespace" {
                continue;
            }
            assert!(!there.is_null(), "{path}.{name} is not in the CRD");
            contained(schema, there, &format!("{path}.{name}"));
        }
    }
    if !ours["items"].is_null() {
        contained(&ours["items"], &theirs["items"], &format!("{path}[]"));
    }
}
