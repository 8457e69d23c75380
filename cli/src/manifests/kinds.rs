//! The kinds that mean something here, each with the schema that its objects are held to.

use std::{
    collections::BTreeMap,
    sync::{LazyLock, OnceLock},
};

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
static KINDS: LazyLock<BTreeMap<(String, String), Entry>> = LazyLock::new(|| {
    let mut kinds: BTreeMap<_, _> = CRDS.iter().flat_map(|(_, text)| of_crd(text)).collect();
    for (version, kind, schema) in [
        ("v1", "Service", native::<Service> as fn() -> Schema),
        ("v1", "Secret", native::<Secret>),
        ("v1", "ConfigMap", native::<ConfigMap>),
        ("v1", "Namespace", native::<Namespace>),
        ("discovery.k8s.io/v1", "EndpointSlice", native::<EndpointSlice>),
        ("networking.k8s.io/v1", "Ingress", native::<Ingress>),
        ("networking.k8s.io/v1", "IngressClass", native::<IngressClass>),
    ] {
        kinds.insert((version.to_owned(), kind.to_owned()), Entry::new(Source::Native(schema)));
    }
    kinds
});

/// A kind, whose schema is read when an object of it first comes: to read all takes longer than most folders.
struct Entry {
    source: Source,
    schema: OnceLock<Schema>,
}

#[derive(Clone, Copy)]
enum Source {
    /// One of the versions that a CRD lists, as it stands there.
    Crd(&'static str),
    Native(fn() -> Schema),
}

/// What is known of an object's kind.
pub(crate) enum Known {
    Kind(&'static Schema),
    /// It means nothing here, as a Deployment: that is fine.
    Foreign,
    /// It is of a group that we know, and there is no such kind; the text says what there is.
    Unknown(String),
}

pub(crate) fn find(api_version: &str, kind: &str) -> Known {
    if let Some(entry) = KINDS.get(&(api_version.to_owned(), kind.to_owned())) {
        return Known::Kind(entry.schema());
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

impl Entry {
    fn new(source: Source) -> Self {
        Entry { source, schema: OnceLock::new() }
    }

    fn schema(&self) -> &Schema {
        self.schema.get_or_init(|| match self.source {
            Source::Native(schema) => schema(),
            Source::Crd(version) => {
                let version = serde_saphyr::from_str::<Value>(version).unwrap_or_else(|error| {
                    tracing::error!(%error, "a built-in CRD can't be read");
                    Value::Null
                });
                object(Schema::parse(&version[0]["schema"]["openAPIV3Schema"]))
            }
        })
    }
}

/// Every served version of a CRD, found by the lines that its fields begin.
fn of_crd(text: &'static str) -> Vec<((String, String), Entry)> {
    fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
    let Some((head, versions)) = text.split_once("\n  versions:\n") else { return Vec::new() };
    let (Some(group), Some(kind)) = (field(head, "  group"), field(head, "    kind")) else {
        return Vec::new();
    };
    let starts = versions.match_indices("  - ").map(|(at, _)| at);
    let mut starts: Vec<usize> = starts.filter(|at| *at == 0 || versions[..*at].ends_with('\n')).collect();
    starts.push(versions.len());
    let versions = starts.windows(2).map(|ends| &versions[ends[0]..ends[1]]);
    versions
        .filter(|version| field(version, "    served") == Some("true"))
        .filter_map(|version| {
            let name = field(version, "    name")?;
            Some(((format!("{group}/{name}"), kind.to_owned()), Entry::new(Source::Crd(version))))
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

#[cfg(test)]
mod tests {
    use super::{CRDS, KINDS, Schema, Source, Value, object, of_crd};

    /// The CRDs are cut without being parsed: what is cut out is what a parser finds.
    #[test]
    fn versions_are_cut_out_as_they_stand() {
        for (name, text) in CRDS {
            let crd: Value = serde_saphyr::from_str(text).unwrap();
            let spec = &crd["spec"];
            let mut cut = of_crd(text).into_iter();
            for version in
                spec["versions"].as_array().unwrap().iter().filter(|version| version["served"] == true)
            {
                let ((api_version, kind), entry) = cut.next().unwrap();
                let group = spec["group"].as_str().unwrap();
                assert_eq!(api_version, format!("{group}/{}", version["name"].as_str().unwrap()), "{name}");
                assert_eq!(kind, spec["names"]["kind"], "{name}");
                let whole = object(Schema::parse(&version["schema"]["openAPIV3Schema"]));
                assert_eq!(format!("{:?}", entry.schema()), format!("{whole:?}"), "{name} {api_version}");
            }
            assert!(cut.next().is_none(), "{name}");
        }
        assert!(KINDS.values().any(|entry| matches!(entry.source, Source::Native(_))));
    }
}
