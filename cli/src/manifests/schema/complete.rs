//! Pruning and defaulting.
//!
//! As the API server: unknown fields go (and are told of), `null` counts as absent unless the schema allows it, absent
//! fields take their default, and defaults are completed themselves.

use serde_json::Value;

use super::{Finding, Schema, join, nearest};

impl Schema {
    /// Completes `value` and returns a warning for each field that it dropped.
    pub(crate) fn complete(&self, value: &mut Value) -> Vec<Finding> {
        let mut dropped = Vec::new();
        self.prune(value, "", &mut dropped);
        self.fill(value);
        dropped
    }

    fn prune(&self, value: &mut Value, path: &str, dropped: &mut Vec<Finding>) {
        match value {
            Value::Object(map) => {
                map.retain(|name, _| {
                    let known = self.preserve || self.values.is_some() || self.properties.contains_key(name);
                    // A schema of any object, such as that of a Kubernetes type without fields, knows no names.
                    let known = known || (self.properties.is_empty() && self.kind.is_none());
                    if !known {
                        dropped.push(Finding::new(&join(path, name), self.unknown(name)));
                    }
                    known
                });
                for (name, value) in map {
                    if let Some(schema) = self.properties.get(name).or(self.values.as_deref()) {
                        schema.prune(value, &join(path, name), dropped);
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = &self.items else { return };
                for (index, item) in items.iter_mut().enumerate() {
                    schema.prune(item, &format!("{path}[{index}]"), dropped);
                }
            }
            _ => {}
        }
    }

    fn unknown(&self, name: &str) -> String {
        match nearest(name, self.properties.keys().map(String::as_str)) {
            Some(near) => format!("unknown field, ignored; did you mean {near}?"),
            None => "unknown field, ignored".to_owned(),
        }
    }

    fn fill(&self, value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|name, value| {
                    let schema = self.properties.get(name);
                    !(value.is_null() && schema.is_some_and(|schema| !schema.nullable && !schema.preserve))
                });
                for (name, schema) in &self.properties {
                    if let Some(default) = &schema.default
                        && !map.contains_key(name)
                    {
                        map.insert(name.clone(), default.clone());
                    }
                }
                for (name, value) in map {
                    if let Some(schema) = self.properties.get(name).or(self.values.as_deref()) {
                        schema.fill(value);
                    }
                }
            }
            Value::Array(items) => {
                if let Some(schema) = &self.items {
                    items.iter_mut().for_each(|item| schema.fill(item));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Schema;

    fn complete(schema: &Value, mut value: Value) -> (Value, Vec<String>) {
        let dropped = Schema::parse(schema).complete(&mut value);
        (value, dropped.into_iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect())
    }

    #[test]
    fn defaults_fill_what_is_absent_and_below() {
        let schema = json!({"type": "object", "properties": {
            "weight": {"type": "integer", "default": 1},
            "path": {"type": "object", "default": {}, "properties": {"type": {"type": "string", "default": "PathPrefix"}}},
            "rules": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer", "default": 2}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"d": {"type": "string", "default": "x"}}}}
        }});
        let (value, dropped) = complete(&schema, json!({"rules": [{}, {"n": 5}], "map": {"a": {}}}));
        let expected = json!({
            "weight": 1, "path": {"type": "PathPrefix"}, "rules": [{"n": 2}, {"n": 5}], "map": {"a": {"d": "x"}}
        });
        assert_eq!(value, expected);
        assert!(dropped.is_empty());
    }

    #[test]
    fn null_counts_as_absent_unless_allowed() {
        let schema = json!({"type": "object", "properties": {
            "a": {"type": "integer", "default": 1}, "b": {"type": "string"}, "c": {"type": "string", "nullable": true}
        }});
        assert_eq!(complete(&schema, json!({"a": null, "b": null, "c": null})).0, json!({"a": 1, "c": null}));
    }

    #[test]
    fn unknown_fields_go_and_name_the_nearest() {
        let schema = json!({"type": "object", "properties": {
            "hostnames": {"type": "array", "items": {"type": "string"}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}}
        }});
        let value = json!({"hostname": ["a"], "zzz": 1, "open": {"x": 1}, "labels": {"y": "1"}});
        let (value, dropped) = complete(&schema, value);
        assert_eq!(value, json!({"open": {"x": 1}, "labels": {"y": "1"}}));
        let expected =
            ["hostname: unknown field, ignored; did you mean hostnames?", "zzz: unknown field, ignored"];
        assert_eq!(dropped, expected);
    }
}
