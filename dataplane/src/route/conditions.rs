//! What must hold of a request besides its host and path.

use std::borrow::Cow;

use http::{HeaderName, Method};

use super::{Facts, expression::WholeExpression};
use crate::http::headers::is_grpc;

/// Most matches have none, and take one word for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions(Option<Box<Given>>);

pub(crate) type HeaderConditions = Box<[(HeaderName, ValueCondition)]>;
/// Names as they are after decoding.
pub(crate) type QueryConditions = Box<[(Box<str>, ValueCondition)]>;

/// At least one.
#[derive(Debug, Clone)]
struct Given {
    method: Option<Method>,
    headers: HeaderConditions,
    query_params: QueryConditions,
    grpc: Option<GrpcCondition>,
}

/// The request is a gRPC call.
#[derive(Debug, Clone)]
pub(crate) struct GrpcCondition {
    /// Of the call's method, whatever its service.
    pub(crate) method: Option<ValueCondition>,
}

#[derive(Debug, Clone)]
pub(crate) enum ValueCondition {
    Equals(Box<str>),
    Matches(WholeExpression),
}

impl Conditions {
    pub(crate) fn new(
        method: Option<Method>,
        headers: HeaderConditions,
        query_params: QueryConditions,
        grpc: Option<GrpcCondition>,
    ) -> Self {
        let none = method.is_none() && headers.is_empty() && query_params.is_empty() && grpc.is_none();
        Conditions((!none).then(|| Box::new(Given { method, headers, query_params, grpc })))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn has_method(&self) -> bool {
        self.0.as_ref().is_some_and(|given| given.method.is_some())
    }

    pub(super) fn headers(&self) -> &[(HeaderName, ValueCondition)] {
        self.0.as_ref().map_or(&[], |given| &given.headers)
    }

    pub(super) fn query_params(&self) -> &[(Box<str>, ValueCondition)] {
        self.0.as_ref().map_or(&[], |given| &given.query_params)
    }

    /// The method of a call is named apart from its path.
    pub(super) fn has_grpc_method(&self) -> bool {
        self.0.as_ref().and_then(|given| given.grpc.as_ref()).is_some_and(|grpc| grpc.method.is_some())
    }

    pub(super) fn hold(&self, facts: &Facts<'_>) -> bool {
        let Some(given) = &self.0 else { return true };
        given.method.as_ref().is_none_or(|method| method == facts.method)
            && given.headers.iter().all(|(name, condition)| {
                header_value(facts, name).is_some_and(|value| condition.holds(&value))
            })
            && given.query_params.iter().all(|(name, condition)| {
                query_value(facts, name).is_some_and(|value| condition.holds(&value))
            })
            && given.grpc.as_ref().is_none_or(|grpc| grpc.holds(facts))
    }

    /// How many conditions compare by equality.
    pub(super) fn equalities(&self) -> usize {
        let headers = self.headers().iter().map(|(_, condition)| condition);
        let query_params = self.query_params().iter().map(|(_, condition)| condition);
        headers.chain(query_params).filter(|condition| matches!(condition, ValueCondition::Equals(_))).count()
    }
}

impl GrpcCondition {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        let called = || facts.path.strip_prefix('/')?.split_once('/').map(|(_service, method)| method);
        is_grpc(facts.headers)
            && self
                .method
                .as_ref()
                .is_none_or(|condition| called().is_some_and(|method| condition.holds(method)))
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
