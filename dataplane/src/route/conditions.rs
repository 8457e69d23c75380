//! What must hold of a request besides its host and path.

use std::borrow::Cow;

use http::{HeaderName, Method};

use super::{Facts, expression::WholeExpression};

#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    pub(crate) method: Option<Method>,
    pub(crate) headers: Vec<(HeaderName, ValueCondition)>,
    /// Names as they are after decoding.
    pub(crate) query_params: Vec<(Box<str>, ValueCondition)>,
}

#[derive(Debug, Clone)]
pub(crate) enum ValueCondition {
    Equals(Box<str>),
    Matches(WholeExpression),
}

impl Conditions {
    pub(super) fn hold(&self, facts: &Facts<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == facts.method)
            && self.headers.iter().all(|(name, condition)| {
                header_value(facts, name).is_some_and(|value| condition.holds(&value))
            })
            && self.query_params.iter().all(|(name, condition)| {
                query_value(facts, name).is_some_and(|value| condition.holds(&value))
            })
    }

    /// How many conditions compare by equality.
    pub(super) fn equalities(&self) -> usize {
        let headers = self.headers.iter().map(|(_, condition)| condition);
        let query_params = self.query_params.iter().map(|(_, condition)| condition);
        headers.chain(query_params).filter(|condition| matches!(condition, ValueCondition::Equals(_))).count()
    }
}

impl ValueCondition {
    fn holds(&self, value: &str) -> bool {
        match self {
            ValueCondition::Equals(wanted) => **wanted == *value,
            ValueCondition::Matches(expression) => expression.matches(value),
        }
    }
}

/// A field's value; several lines of one name are one list (RFC 9110, 5.3).
fn header_value<'a>(facts: &Facts<'a>, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut values = facts.headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    let Some(second) = values.next() else { return Some(Cow::Borrowed(first)) };
    let mut joined = String::from(first);
    for value in std::iter::once(second).chain(values) {
        joined.push(',');
        joined.push_str(value.to_str().ok()?);
    }
    Some(Cow::Owned(joined))
}

/// The first value of a parameter, decoded.
fn query_value<'a>(facts: &Facts<'a>, name: &str) -> Option<Cow<'a, str>> {
    form_urlencoded::parse(facts.query?.as_bytes()).find(|(key, _)| *key == name).map(|(_, value)| value)
}
