//! Validation of a completed value: types, required fields, enumerations, patterns, bounds and the logical keywords.

use std::fmt::Display;

use serde_json::Value;

use super::{Finding, Kind, Schema, join};

impl Schema {
    /// Everything that is wrong with a completed value.
    pub(crate) fn check(&self, value: &Value) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.check_at(value, "", &mut findings);
        findings
    }

    fn check_at(&self, value: &Value, path: &str, findings: &mut Vec<Finding>) {
        if value.is_null() && self.nullable {
            return;
        }
        if let Some(message) = self.wrong_type(value) {
            // What else is wrong with a value of the wrong type helps nobody.
            findings.push(Finding::new(path, message));
            return;
        }
        let mut found = |message: String| findings.push(Finding::new(path, message));
        if !self.enumeration.is_empty() && !self.enumeration.contains(value) {
            found(format!("{} is not one of {}", shown(value), listed(&self.enumeration)));
        }
        match value {
            Value::String(text) => self.check_text(text, &mut found),
            Value::Number(number) => {
                self.check_number(number.as_f64().unwrap_or(f64::NAN), number, &mut found);
            }
            Value::Array(items) => {
                self.check_size(items.len(), "entries", &mut found);
                self.check_unique(items, &mut found);
            }
            Value::Object(map) => {
                self.check_size(map.len(), "fields", &mut found);
                for name in self.required.iter().filter(|name| !map.contains_key(*name)) {
                    findings.push(Finding::new(&join(path, name), "is required"));
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        self.check_logic(value, path, findings);
        self.check_below(value, path, findings);
    }

    fn check_below(&self, value: &Value, path: &str, findings: &mut Vec<Finding>) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    if let Some(schema) = self.properties.get(name).or(self.values.as_deref()) {
                        schema.check_at(value, &join(path, name), findings);
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = &self.items else { return };
                for (index, item) in items.iter().enumerate() {
                    schema.check_at(item, &format!("{path}[{index}]"), findings);
                }
            }
            _ => {}
        }
    }

    fn wrong_type(&self, value: &Value) -> Option<String> {
        if self.int_or_string {
            let right = value.is_string() || is_integer(value);
            return (!right).then(|| format!("must be an integer or a string, not {}", named(value)));
        }
        let (right, wanted) = match self.kind? {
            Kind::Object => (value.is_object(), "an object"),
            Kind::Array => (value.is_array(), "a list"),
            Kind::String => (value.is_string(), "a string"),
            Kind::Integer => (is_integer(value), "an integer"),
            Kind::Number => (value.is_number(), "a number"),
            Kind::Boolean => (value.is_boolean(), "true or false"),
        };
        (!right).then(|| format!("must be {wanted}, not {}", named(value)))
    }

    fn check_text(&self, text: &str, found: &mut impl FnMut(String)) {
        let length = text.chars().count() as u64;
        if self.min_size.is_some_and(|least| length < least) {
            found(match length {
                0 => "must not be empty".to_owned(),
                _ => format!("has {length} characters, the least is {}", self.min_size.unwrap_or_default()),
            });
        }
        if let Some(most) = self.max_size.filter(|most| length > *most) {
            found(format!("has {length} characters, the most is {most}"));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.admits(text)) {
            found(format!("\"{text}\" does not match {}", pattern.text));
        }
        if self.format == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
            found(format!("\"{text}\" is no time such as 2026-01-02T15:04:05Z"));
        }
    }

    fn check_number(&self, number: f64, shown: &impl Display, found: &mut impl FnMut(String)) {
        if let Some(least) = self.minimum
            && (number < least || (self.exclusive_minimum && number <= least))
        {
            let relation = if self.exclusive_minimum { "more than" } else { "at least" };
            found(format!("{shown} must be {relation} {least}"));
        }
        if let Some(most) = self.maximum
            && (number > most || (self.exclusive_maximum && number >= most))
        {
            let relation = if self.exclusive_maximum { "less than" } else { "at most" };
            found(format!("{shown} must be {relation} {most}"));
        }
        if self.format == "int32" && !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
            found(format!("{shown} does not fit in 32 bits"));
        }
    }

    fn check_size(&self, size: usize, of: &str, found: &mut impl FnMut(String)) {
        let size = size as u64;
        if let Some(least) = self.min_size.filter(|least| size < *least) {
            found(format!("has {size} {of}, the least is {least}"));
        }
        if let Some(most) = self.max_size.filter(|most| size > *most) {
            found(format!("has {size} {of}, the most is {most}"));
        }
    }

    fn check_unique(&self, items: &[Value], found: &mut impl FnMut(String)) {
        let key = |item: &Value| -> Vec<Value> {
            if self.is_set {
                return vec![item.clone()];
            }
            self.list_keys.iter().map(|name| item[name].clone()).collect()
        };
        if !self.is_set && self.list_keys.is_empty() {
            return;
        }
        let keys: Vec<_> = items.iter().map(key).collect();
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].contains(key) {
                found(format!("entry {} repeats {}", index + 1, listed(key)));
            }
        }
    }

    fn check_logic(&self, value: &Value, path: &str, findings: &mut Vec<Finding>) {
        for schema in &self.all_of {
            schema.check_at(value, path, findings);
        }
        let holding =
            |schemas: &[Self]| schemas.iter().filter(|schema| schema.check(value).is_empty()).count();
        if !self.any_of.is_empty() && holding(&self.any_of) == 0 {
            // What the nearest alternative lacks says more than that all of them failed.
            let attempts = self.any_of.iter().map(|schema| schema.check(value));
            let nearest = attempts.min_by_key(Vec::len).unwrap_or_default();
            findings.extend(nearest.into_iter().map(|finding| rebased(path, &finding)));
        }
        if !self.one_of.is_empty() && holding(&self.one_of) != 1 {
            let wanted = self
                .one_of
                .iter()
                .flat_map(|schema| &schema.required)
                .map(String::as_str)
                .collect::<Vec<_>>();
            let message = match wanted.as_slice() {
                [] => "must fit exactly one of its alternatives".to_owned(),
                names => format!("must have exactly one of {}", names.join(", ")),
            };
            findings.push(Finding::new(path, message));
        }
        if self.not.as_ref().is_some_and(|schema| schema.check(value).is_empty()) {
            findings.push(Finding::new(path, "has a form that is not allowed"));
        }
    }
}

fn rebased(path: &str, finding: &Finding) -> Finding {
    let separator =
        if finding.path.is_empty() || path.is_empty() || finding.path.starts_with('[') { "" } else { "." };
    Finding::new(&format!("{path}{separator}{}", finding.path), finding.message.clone())
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn named(value: &Value) -> String {
    match value {
        Value::Null => "empty".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) => format!("the string \"{text}\""),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn shown(value: &Value) -> String {
    value.to_string()
}

fn listed(values: &[Value]) -> String {
    let show = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    values.iter().map(show).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Schema;

    fn check(schema: &Value, value: &Value) -> Vec<String> {
        let findings = Schema::parse(schema).check(value);
        findings.into_iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect()
    }

    #[test]
    fn each_keyword_has_its_sentence() {
        let cases = [
            (json!({"type": "integer"}), json!("80"), ": must be an integer, not the string \"80\""),
            (json!({"type": "string"}), json!(80), ": must be a string, not 80"),
            (json!({"type": "array"}), json!({}), ": must be a list, not an object"),
            (json!({"type": "boolean"}), json!(null), ": must be true or false, not empty"),
            (
                json!({"x-kubernetes-int-or-string": true}),
                json!([1]),
                ": must be an integer or a string, not a list",
            ),
            (json!({"type": "string", "enum": ["A", "B"]}), json!("C"), ": \"C\" is not one of A, B"),
            (json!({"type": "string", "pattern": "^[a-z]+$"}), json!("A"), ": \"A\" does not match ^[a-z]+$"),
            (json!({"type": "string", "minLength": 1}), json!(""), ": must not be empty"),
            (json!({"type": "string", "maxLength": 2}), json!("äöü"), ": has 3 characters, the most is 2"),
            (json!({"type": "integer", "minimum": 1}), json!(0), ": 0 must be at least 1"),
            (
                json!({"type": "integer", "maximum": 9, "exclusiveMaximum": true}),
                json!(9),
                ": 9 must be less than 9",
            ),
            (
                json!({"type": "integer", "format": "int32"}),
                json!(3_000_000_000_u64),
                ": 3000000000 does not fit in 32 bits",
            ),
            (json!({"type": "array", "maxItems": 1}), json!([1, 2]), ": has 2 entries, the most is 1"),
            (json!({"type": "object", "minProperties": 1}), json!({}), ": has 0 fields, the least is 1"),
            (json!({"type": "object", "required": ["name"]}), json!({}), "name: is required"),
            (
                json!({"type": "string", "format": "date-time"}),
                json!("soon"),
                ": \"soon\" is no time such as 2026-01-02T15:04:05Z",
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
                json!([{"name": "a"}, {"name": "b"}, {"name": "a"}]),
                ": entry 3 repeats a",
            ),
            (
                json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
                json!({"a": 1, "b": 2}),
                ": must have exactly one of a, b",
            ),
            (
                json!({"type": "object", "properties": {"x": {"type": "array", "items": {"type": "string"}}}}),
                json!({"x": ["a", 1]}),
                "x[1]: must be a string, not 1",
            ),
        ];
        for (schema, value, expected) in cases {
            assert_eq!(check(&schema, &value), [expected], "{schema} of {value}");
        }
    }

    #[test]
    fn what_fits_is_silent() {
        let cases = [
            (json!({"type": "integer"}), json!(80.0)),
            (json!({"type": "string", "nullable": true}), json!(null)),
            (
                json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
                json!("50%"),
            ),
            (json!({"type": "string", "pattern": "(?<=x)y"}), json!("no look-behind here")),
            (json!({"type": "object", "not": {"required": ["a"]}}), json!({"b": 1})),
            (json!({"type": "array", "x-kubernetes-list-type": "set"}), json!([1, 2])),
        ];
        for (schema, value) in cases {
            assert_eq!(check(&schema, &value), [] as [String; 0], "{schema} of {value}");
        }
    }
}
