//! A CRD's structural schema, parsed once.
//!
//! `complete` prunes and defaults a value, `check` says what is wrong with it, both as the API server does on a create.
//! The keywords are those that Kubernetes allows in a structural schema; others are ignored, as there.

mod check;
mod complete;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use regex::Regex;
use serde_json::Value;

use super::rules::Rule;

/// A schema node.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    kind: Option<Kind>,
    pub(super) properties: BTreeMap<String, Schema>,
    /// Of a map: what its values are.
    pub(super) values: Option<Box<Schema>>,
    pub(super) items: Option<Box<Schema>>,
    required: Vec<String>,
    default: Option<Value>,
    nullable: bool,
    int_or_string: bool,
    preserve: bool,
    enumeration: Vec<Value>,
    pattern: Option<Pattern>,
    format: String,
    minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive_minimum: bool,
    exclusive_maximum: bool,
    /// Of strings, lists or maps, by their kind.
    min_size: Option<u64>,
    max_size: Option<u64>,
    /// Fields that tell the entries of a list apart (`x-kubernetes-list-map-keys`).
    list_keys: Vec<String>,
    /// `x-kubernetes-list-type: set`.
    is_set: bool,
    any_of: Vec<Schema>,
    one_of: Vec<Schema>,
    all_of: Vec<Schema>,
    not: Option<Box<Schema>>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// A pattern that is compiled when a value first meets it: the Gateway API's schemas hold hundreds.
#[derive(Debug)]
struct Pattern {
    text: String,
    regex: OnceLock<Option<Regex>>,
}

/// What is wrong at a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// As `spec.rules[0].name`; empty for the object itself.
    pub(crate) path: String,
    pub(crate) message: String,
}

impl Finding {
    pub(crate) fn new(path: &str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into() }
    }
}

impl Schema {
    /// Reads an OpenAPI v3 schema as a CRD holds it, or a JSON schema without references.
    pub(crate) fn parse(schema: &Value) -> Self {
        let list = |key: &str| schema[key].as_array().map_or(&[][..], Vec::as_slice);
        let schemas = |key: &str| list(key).iter().map(Self::parse).collect();
        let boxed = |key: &str| schema[key].is_object().then(|| Box::new(Self::parse(&schema[key])));
        let names =
            |key: &str| list(key).iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>();
        let flag = |key: &str| schema[key] == Value::Bool(true);
        let size = |kind: &str| {
            ["Length", "Items", "Properties"].iter().find_map(|of| schema[format!("{kind}{of}")].as_u64())
        };
        // JSON schema writes what may be null as a list of types.
        let types = names("type");
        let kind =
            schema["type"].as_str().or_else(|| types.iter().map(String::as_str).find(|name| *name != "null"));
        let properties = schema["properties"].as_object();
        Self {
            kind: kind.and_then(Kind::parse),
            properties: properties
                .map(|all| all.iter().map(|(name, schema)| (name.clone(), Self::parse(schema))).collect())
                .unwrap_or_default(),
            values: boxed("additionalProperties"),
            items: boxed("items"),
            required: names("required"),
            default: schema.get("default").cloned(),
            nullable: flag("nullable") || types.iter().any(|name| name == "null"),
            int_or_string: flag("x-kubernetes-int-or-string"),
            preserve: flag("x-kubernetes-preserve-unknown-fields") || flag("additionalProperties"),
            enumeration: list("enum").to_vec(),
            pattern: schema["pattern"].as_str().map(Pattern::new),
            format: schema["format"].as_str().unwrap_or_default().to_owned(),
            minimum: schema["minimum"].as_f64(),
            maximum: schema["maximum"].as_f64(),
            exclusive_minimum: flag("exclusiveMinimum"),
            exclusive_maximum: flag("exclusiveMaximum"),
            min_size: size("min"),
            max_size: size("max"),
            list_keys: names("x-kubernetes-list-map-keys"),
            is_set: schema["x-kubernetes-list-type"] == "set",
            any_of: schemas("anyOf"),
            one_of: schemas("oneOf"),
            all_of: schemas("allOf"),
            not: boxed("not"),
            rules: list("x-kubernetes-validations").iter().filter_map(Rule::parse).collect(),
        }
    }

    /// The same schema with one property replaced.
    pub(crate) fn with_property(mut self, name: &str, schema: Self) -> Self {
        self.properties.insert(name.to_owned(), schema);
        self
    }

    /// The same schema with one more property that must be there.
    pub(crate) fn requiring(mut self, name: &str) -> Self {
        self.required.push(name.to_owned());
        self
    }

    /// Calls `visit` with every rule in the schema.
    #[cfg(test)]
    pub(super) fn each_rule(&self, visit: &mut impl FnMut(&Rule)) {
        self.rules.iter().for_each(&mut *visit);
        let below = self.properties.values().chain(self.values.as_deref()).chain(self.items.as_deref());
        for schema in below {
            schema.each_rule(visit);
        }
    }
}

impl Kind {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), regex: OnceLock::new() }
    }

    /// A pattern that Rust's syntax lacks admits everything: the API server would decide, we can't.
    fn admits(&self, value: &str) -> bool {
        let regex = self.regex.get_or_init(|| Regex::new(&self.text).ok());
        regex.as_ref().is_none_or(|regex| regex.is_match(value))
    }
}

/// The path of a field below `path`.
pub(crate) fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// The known name nearest to a misspelt one, if it is near.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance =
        |candidate: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase());
    let near = known.into_iter().map(|candidate| (distance(candidate), candidate));
    near.filter(|(distance, candidate)| *distance <= candidate.len().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}
