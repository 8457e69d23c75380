//! What must hold of one claim.

use gatehouse_proto::config::v1;
use serde_json::{Number, Value};

use crate::auth::{Invalid, claims, jwt::Claims};

/// Its words count each by themselves (RFC 8693, 4.2).
const SCOPE: &str = "scope";

#[derive(Debug)]
pub(super) struct ClaimCondition {
    path: Box<str>,
    wanted: Wanted,
}

#[derive(Debug)]
enum Wanted {
    Present,
    Absent,
    AnyOf(Box<[Text]>),
}

/// A text, and the number that it writes.
#[derive(Debug)]
struct Text {
    text: Box<str>,
    number: Option<Number>,
}

impl ClaimCondition {
    pub(super) fn compile(wire: &v1::ClaimCondition) -> Result<Self, Invalid> {
        if wire.claim.is_empty() || (wire.absent && !wire.any_of.is_empty()) {
            return Err(Invalid("authorize.claims: name a claim, and what must hold of it once".into()));
        }
        let wanted = match &*wire.any_of {
            [] if wire.absent => Wanted::Absent,
            [] => Wanted::Present,
            texts => Wanted::AnyOf(texts.iter().map(|text| Text::of(text)).collect()),
        };
        Ok(ClaimCondition { path: wire.claim.as_str().into(), wanted })
    }

    pub(super) fn holds(&self, claims: &Claims) -> bool {
        let value = claims::find(claims, &self.path).filter(|value| !value.is_null());
        match (&self.wanted, value) {
            (Wanted::Absent, value) => value.is_none(),
            (Wanted::Present, value) => value.is_some(),
            (Wanted::AnyOf(_), None) => false,
            (Wanted::AnyOf(texts), Some(Value::Array(values))) => {
                values.iter().any(|value| texts.iter().any(|text| text.is(value)))
            }
            (Wanted::AnyOf(texts), Some(value)) => {
                texts.iter().any(|text| text.is(value)) || self.has_word(texts, value)
            }
        }
    }

    fn has_word(&self, texts: &[Text], value: &Value) -> bool {
        let words = value.as_str().filter(|_| *self.path == *SCOPE).unwrap_or("").split(' ');
        words.filter(|word| !word.is_empty()).any(|word| texts.iter().any(|text| *text.text == *word))
    }
}

impl Text {
    fn of(text: &str) -> Self {
        Text { text: text.into(), number: serde_json::from_str(text).ok() }
    }

    fn is(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => *self.text == **text,
            Value::Bool(truth) => *self.text == *if *truth { "true" } else { "false" },
            Value::Number(number) => self.number.as_ref() == Some(number),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        }
    }
}
