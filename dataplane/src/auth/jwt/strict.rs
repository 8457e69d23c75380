//! JSON that says each thing once and plainly. Parsers differ in which of two equal names counts, and searches in text
//! miss a name that is written with escapes; so neither is accepted.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// One object and nothing behind it.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::from_slice::<Strict>(bytes)?.0 {
        Value::Object(object) => Ok(object),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated names")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = sequence.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((Name(name), Strict(value))) = map.next_entry::<Name, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name is repeated"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// The name of a member. Letters, digits and `_` need no escapes; a name made of them that uses one wants to hide.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name without needless escapes")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name, E> {
        Ok(Name(name.to_owned()))
    }

    /// What the parser can't borrow from its input was written with escapes.
    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(E::custom("a plain name is written with escapes"));
        }
        Ok(Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::object;

    #[test]
    fn once_and_plainly() {
        for (json, is_good) in [
            (r#"{"a":1,"b":{"a":[null,true,-1,1.5,"x"]}}"#, true),
            (r#" {"https:\/\/example.com\/roles":"\u0041"} "#, true),
            (r#"{"a":1,"a":1}"#, false),
            (r#"{"x":{"a":1,"a":2}}"#, false),
            (r#"{"x":[{"a":1,"a":2}]}"#, false),
            (r#"{"exp":1,"\u0065xp":2}"#, false),
            (r#"{"\u0065xp":2}"#, false),
            (r#"{"a":1}x"#, false),
            (r#"{"a":1}{}"#, false),
            (r#"{"a":1e999}"#, false),
            (r#"{"a":NaN}"#, false),
            (r#"{"a":1,}"#, false),
            ("[]", false),
            ("null", false),
            ("", false),
            ("\u{feff}{}", false),
        ] {
            assert_eq!(object(json.as_bytes()).is_ok(), is_good, "{json}");
        }
        assert!(object(b"{\"a\":\"\xff\"}").is_err(), "not UTF-8");
        assert!(object("[".repeat(8000).as_bytes()).is_err(), "the depth is bounded");
        assert!(object(format!("{{\"a\":{}", "[".repeat(8000)).as_bytes()).is_err(), "the depth is bounded");
    }
}
