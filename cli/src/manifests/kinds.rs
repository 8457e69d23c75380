//! The kinds that mean something here, each with the schema that its objects are held to.

use std::{collections::BTreeMap, sync::LazyLock};

use gatehouse_crds::{CRDS, GATEWAY_GROUP, GROUP};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::schema::{Schema, nearest};

/// By `apiVersion` and kind.
static KINDS: LazyLock<BTreeMap<(String, String), Schema>> = LazyLock::new(|| {
    let mut kinds = BTreeMap::new();
    for (name, text) in CRDS {
        match serde_saphyr::from_str::<Value>(text) {
            Ok(crd) => kinds.extend(of_crd(&crd)),
            Err(error) => tracing::error!(name, %error, "a built-in CRD can't be read"),
        }
    }
    kinds.insert(("v1".into(), "Service".into()), native::<Service>());
    kinds.insert(("v1".into(), "Secret".into()), native::<Secret>());
    kinds.insert(("v1".into(), "ConfigMap".into()), native::<ConfigMap>());
    kinds.insert(("v1".into(), "Namespace".into()), native::<Namespace>());
    kinds.insert(("discovery.k8s.io/v1".into(), "EndpointSlice".into()), native::<EndpointSlice>());
    kinds.insert(("networking.k8s.io/v1".into(), "Ingress".into()), native::<Ingress>());
    kinds.insert(("networking.k8s.io/v1".into(), "IngressClass".into()), native::<IngressClass>());
    kinds
});

/// What is known of an object's kind.
pub(crate) enum Known {
    Kind(&'static Schema),
    /// It means nothing here, as a Deployment: that is fine.
    Foreign,
    /// It is of a group that we know, and there is no such kind; the text says what there is.
    Unknown(String),
}

pub(crate) fn find(api_version: &str, kind: &str) -> Known {
    if let Some(schema) = KINDS.get(&(api_version.to_owned(), kind.to_owned())) {
        return Known::Kind(schema);
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    if group != GROUP && group != GATEWAY_GROUP {
        return Known::Foreign;
    }
    let of_group = KINDS.keys().filter(|(version, _)| version.starts_with(group));
    // Other versions of a kind that we know, and kinds of the Gateway API that are not served yet.
    if let Some((version, _)) = of_group.clone().find(|(_, known)| known == kind) {
        return Known::Unknown(format!("{kind} has no version {api_version}: write {version}"));
    }
    match nearest(kind, of_group.map(|(_, kind)| kind.as_str())) {
        Some(near) => Known::Unknown(format!("there is no kind {kind} in {group}; did you mean {near}?")),
        None => Known::Unknown(format!("kind {kind} of {group} is not served")),
    }
}

/// Every served version of a CRD.
fn of_crd(crd: &Value) -> Vec<((String, String), Schema)> {
    let spec = &crd["spec"];
    let (Some(group), Some(kind)) = (spec["group"].as_str(), spec["names"]["kind"].as_str()) else {
        return Vec::new();
    };
    let versions = spec["versions"].as_array().into_iter().flatten();
    versions
        .filter(|version| version["served"] == true)
        .filter_map(|version| {
            let schema = Schema::parse(&version["schema"]["openAPIV3Schema"]);
            Some(((format!("{group}/{}", version["name"].as_str()?), kind.to_owned()), object(schema)))
        })
        .collect()
}

fn native<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    object(Schema::parse(settings.into_generator().into_root_schema_for::<T>().as_value()))
}

/// What every object has. The API server knows these for itself; status is its own business.
fn object(schema: Schema) -> Schema {
    let text = || Schema::parse(&json!({"type": "string"}));
    let metadata = json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"},
            "namespace": {"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        },
        "x-kubernetes-preserve-unknown-fields": true,
    });
    schema
        .with_property("apiVersion", text())
        .with_property("kind", text())
        .with_property("metadata", Schema::parse(&metadata))
        .with_property("status", Schema::parse(&json!({"x-kubernetes-preserve-unknown-fields": true})))
        .requiring("metadata")
}
