//! What converters have in common where they read a cluster: the Ingresses of a controller, and Secrets of which only that
//! is kept which is no secret.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::tree::Source;
use crate::{
    cluster::{Cluster, Kind},
    manifests::read::Document,
    run::RunError,
};

/// Of metadata, what the API server writes for itself.
const KEPT_BY_SERVER: [&str; 4] = ["uid", "resourceVersion", "generation", "ownerReferences"];

/// In place of files.
pub(super) fn sources(objects: Vec<Value>) -> Vec<Source> {
    let source = |(index, mut value): (usize, Value)| {
        if let Some(object) = value.as_object_mut() {
            object.remove("status");
        }
        if let Some(metadata) = value["metadata"].as_object_mut() {
            KEPT_BY_SERVER.iter().for_each(|name| drop(metadata.remove(*name)));
        }
        Source { file: "cluster".into(), index, document: Document::made(value) }
    };
    objects.into_iter().enumerate().map(source).collect()
}

/// Those of the classes of a controller, or that name its class as one did before there were classes.
pub(super) fn ingresses(cluster: &Cluster, controller: &str, before: &str) -> Result<Vec<Value>, RunError> {
    let (mut classes, is_default) = cluster.ingress_classes(controller)?;
    classes.insert(before.to_owned());
    let is_of_it = |ingress: &Value| {
        let annotation = &ingress["metadata"]["annotations"]["kubernetes.io/ingress.class"];
        match ingress["spec"]["ingressClassName"].as_str().or(annotation.as_str()) {
            Some(class) => classes.contains(class),
            None => is_default,
        }
    };
    let all = cluster.list(&Kind::ingress())?;
    let found: Vec<Value> = all.into_iter().filter(is_of_it).collect();
    if found.is_empty() {
        let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
        let classes = classes.join(", ");
        return Err(RunError::Convert(format!("the cluster has no Ingress of class {classes}")));
    }
    Ok(found)
}

/// The Services that Ingresses lead to.
pub(super) fn services(cluster: &Cluster, ingresses: &[Value]) -> Result<Vec<Value>, RunError> {
    let mut named = BTreeSet::new();
    for ingress in ingresses {
        let spec = &ingress["spec"];
        let rules = spec["rules"].as_array().into_iter().flatten();
        let paths = rules.flat_map(|rule| rule["http"]["paths"].as_array().into_iter().flatten());
        let backends = paths.map(|path| &path["backend"]).chain([&spec["defaultBackend"]]);
        let names = backends.filter_map(|backend| backend["service"]["name"].as_str());
        named.extend(names.map(|name| (namespace(ingress), name.to_owned())));
    }
    let is_named = |service: &Value| named.contains(&(namespace(service), name(service).to_owned()));
    Ok(cluster.list(&Kind::core("Service"))?.into_iter().filter(is_named).collect())
}

/// What annotations of Ingresses name: `NAME`, or `NAMESPACE/NAME`.
pub(super) fn named<'a>(ingresses: &'a [Value], annotation: &'a str) -> BTreeSet<(String, String)> {
    let reference = |ingress: &'a Value| {
        let text = ingress["metadata"]["annotations"][annotation].as_str()?.trim();
        Some(match text.split_once('/') {
            Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
            None => (namespace(ingress), text.to_owned()),
        })
    };
    ingresses.iter().filter_map(reference).filter(|(_, name)| !name.is_empty()).collect()
}

/// Each entry of a Secret as `keep` gives it, which is told its name and its text.
pub(super) fn redact(secret: &mut Value, keep: impl Fn(&str, &str) -> String) {
    let data = secret["data"].as_object().cloned().unwrap_or_default();
    let kept = data.into_iter().map(|(name, value)| {
        let text = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
        let text = keep(&name, &String::from_utf8_lossy(&text));
        (name, Value::from(STANDARD.encode(text)))
    });
    secret["data"] = Value::Object(kept.collect::<Map<_, _>>());
}

pub(super) fn namespace(object: &Value) -> String {
    object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned()
}

pub(super) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}
