//! Manifests in, configuration and statuses out: `golden/FEATURE/CASE/{in,out}.yaml`.
//!
//! `UPDATE=1 cargo test -p gatehouse-controller --test golden` writes the outputs; the diff is what a reviewer reads.

#![allow(clippy::unwrap_used)] // helpers of tests, too

#[path = "support/golden.rs"]
mod golden;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use gatehouse_controller::{
    resources::{ObjectKey, Resources},
    translate::{ObjectId, Settings, Translation, translate, wanted},
};
use gatehouse_proto::config::v1::resource::Kind;
use serde_json::{Map, Value, json};

use golden::{documents, folders, resources};

fn run(resources: &Resources) -> Translation {
    translate(resources, &Settings { namespace: "gatehouse-system".into(), ..Settings::default() })
}

/// As people read it: without what is default, and without secrets.
fn show(translation: &Translation) -> Value {
    let mut gateways = Map::new();
    for (key, config) in &translation.gateways {
        let config: BTreeMap<&str, &Kind> = config.iter().map(|(name, kind)| (&**name, &**kind)).collect();
        gateways.insert(key.to_string(), prune(serde_json::to_value(config).expect("messages serialize")));
    }
    let statuses: BTreeMap<String, Value> = translation
        .statuses
        .0
        .iter()
        .map(|(id, status)| {
            (format!("{}/{}", id.kind, id.key), serde_json::to_value(status).expect("serializes"))
        })
        .collect();
    let urls: Vec<&String> = translation.jwks.keys().collect();
    let mut shown = json!({"config": gateways, "statuses": statuses});
    if !translation.implied_gateways.is_empty() {
        let implied = translation.implied_gateways.iter();
        let implied: BTreeMap<String, Value> = implied
            .map(|(key, (gateway, class))| (key.to_string(), json!({"class": class, "spec": gateway.spec})))
            .collect();
        shown["impliedGateways"] = json!(implied);
    }
    if !urls.is_empty() {
        shown["jwksUrls"] = json!(urls);
    }
    shown
}

fn prune(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(name, value)| {
                let value = prune(value);
                let is_default = match &value {
                    Value::Null => true,
                    Value::Bool(flag) => !flag,
                    Value::Number(number) => number.as_f64() == Some(0.0),
                    Value::String(text) => text.is_empty(),
                    Value::Array(list) => list.is_empty(),
                    Value::Object(_) => false,
                };
                let is_shown =
                    !["privatekey", "secret", "chain", "roots"].contains(&name.to_lowercase().as_str());
                let shown = if is_shown { value } else { Value::String("(not shown)".into()) };
                (!is_default).then_some((name, shown))
            });
            Value::Object(kept.collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(prune).collect()),
        other => other,
    }
}

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folders(&root).iter().flat_map(|feature| folders(feature)).collect()
}

#[test]
fn outputs_are_what_they_were() {
    let cases = cases();
    assert!(cases.len() >= 20, "only {} cases", cases.len());
    golden::outputs_are_what_they_were(&cases, |case| {
        let documents = documents(&fs::read_to_string(case.join("in.yaml")).unwrap());
        let text = |resources| serde_saphyr::to_string(&show(&run(&resources))).unwrap();
        let shown = text(resources(&documents));
        // The order in which objects become known decides nothing.
        assert_eq!(text(resources(documents.iter().rev())), shown, "{}", case.display());
        shown
    });
}

/// Puts objects under a namespace and a class of their own, so that their names are no rivals.
fn estrange(documents: &mut [Value]) {
    for document in documents {
        if document["kind"] == "GatewayClass" {
            document["metadata"]["name"] = json!("strange");
        } else {
            document["metadata"]["namespace"] = json!("stranger");
        }
        if document["kind"] == "Gateway" {
            document["spec"]["gatewayClassName"] = json!("strange");
        }
    }
}

/// What is right stays the same, resource by resource, beside anything that is wrong.
#[test]
fn a_broken_object_harms_only_itself() {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gateway-route/full/in.yaml");
    let good = documents(&fs::read_to_string(full).unwrap());
    let alone = run(&resources(&good));
    assert!(alone.gateways.values().any(|config| config.len() > 5));
    for case in cases() {
        let mut documents = documents(&fs::read_to_string(case.join("in.yaml")).unwrap());
        estrange(&mut documents);
        let both = run(&resources(good.iter().chain(&documents)));
        for (key, config) in &alone.gateways {
            for (name, kind) in config {
                assert_eq!(both.gateways[key].get(name), Some(kind), "{name} beside {}", case.display());
            }
        }
    }
}

/// Whatever a single value is replaced by: translation ends, gives the same twice, tells no secret, and leaves what does
/// not refer to it alone.
#[test]
fn no_value_breaks_more_than_its_object() {
    let values = [
        json!(null),
        json!(""),
        json!("\u{0}\r\n: {}é*."),
        json!("("),
        json!(-1),
        json!(i64::MAX),
        json!(true),
        json!([]),
        json!({}),
    ];
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gateway-route/full/in.yaml");
    let good = documents(&fs::read_to_string(full).unwrap());
    let alone = run(&resources(&good));
    let mut translated = 0;
    for case in cases() {
        let mut documents = documents(&fs::read_to_string(case.join("in.yaml")).unwrap());
        estrange(&mut documents);
        let whole = resources(good.iter().chain(&documents));
        let secrets: Vec<String> = documents.iter().flat_map(secrets).collect();
        let places: Vec<(usize, String)> = documents
            .iter()
            .enumerate()
            .flat_map(|(index, document)| pointers(document).into_iter().map(move |place| (index, place)))
            // What says which object it is.
            .filter(|(_, place)| !["/apiVersion", "/kind", "/metadata"].contains(&place.as_str()))
            .filter(|(_, place)| !["/metadata/name", "/metadata/namespace"].contains(&place.as_str()))
            .collect();
        for (index, place) in places {
            let original = documents[index].pointer(&place).cloned().unwrap_or_default();
            for value in &values {
                *documents[index].pointer_mut(&place).unwrap() = value.clone();
                let mut both = whole.clone();
                // What does not have the shape of its kind is refused before.
                if both.apply(documents[index].clone()).is_ok() {
                    let translation = run(&both);
                    let told = format!("{} {place} = {value}", case.display());
                    for (key, config) in &alone.gateways {
                        assert!(translation.gateways.get(key) == Some(config), "{told}");
                    }
                    let statuses = format!("{:?}", translation.statuses);
                    for secret in &secrets {
                        assert!(!statuses.contains(secret), "{told} tells {secret}");
                    }
                    let again = run(&both);
                    assert!(again.gateways == translation.gateways, "{told}");
                    assert!(again.statuses.0 == translation.statuses.0, "{told}");
                    translated += 1;
                }
                *documents[index].pointer_mut(&place).unwrap() = original.clone();
            }
        }
    }
    assert!(translated > 1000, "only {translated} were well-formed");
}

/// A controller keeps no other Secrets and ConfigMaps than these.
#[test]
fn only_what_is_wanted_is_read() {
    let mut kept = 0;
    for case in cases() {
        let whole = resources(&documents(&fs::read_to_string(case.join("in.yaml")).unwrap()));
        let mut few = whole.clone();
        let wanted = wanted(&few);
        let is_wanted = |kind, key: &ObjectKey| wanted.contains(&ObjectId { kind, key: key.clone() });
        few.secrets.retain(|key, _| is_wanted("Secret", key));
        few.config_maps.retain(|key, _| is_wanted("ConfigMap", key));
        kept += few.secrets.len() + few.config_maps.len();
        assert_eq!(show(&run(&few)), show(&run(&whole)), "{}", case.display());
    }
    assert!(kept > 5, "only {kept} in all cases");
}

/// JSON pointers to every value of a document.
fn pointers(value: &Value) -> Vec<String> {
    let below = |name: &str, value: &Value| -> Vec<String> {
        let own = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let deeper = pointers(value).into_iter().map(|place| format!("{own}{place}"));
        std::iter::once(own.clone()).chain(deeper).collect()
    };
    match value {
        Value::Object(map) => map.iter().flat_map(|(name, value)| below(name, value)).collect(),
        Value::Array(list) => {
            list.iter().enumerate().flat_map(|(index, value)| below(&index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    }
}

/// The texts of a Secret that are long enough to be known again.
fn secrets(document: &Value) -> Vec<String> {
    let entries = document["stringData"].as_object().into_iter().flat_map(Map::values);
    entries.filter_map(|text| text.as_str().filter(|text| text.len() >= 12).map(str::to_owned)).collect()
}
