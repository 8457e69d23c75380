//! What must hold of a request besides its host and path.

use std::borrow::Cow;

use http::{HeaderName, Method};

use super::{Facts, expression::WholeExpression};
use crate::http::grpc::is_grpc;

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

/// What a request lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmet<'a> {
    Method(&'a Method),
    Header(&'a HeaderName),
    QueryParam(&'a str),
    /// It is no gRPC call, or one of another method.
    Grpc,
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

    pub(super) fn method(&self) -> Option<&Method> {
        self.0.as_ref()?.method.as_ref()
    }

    pub(super) fn headers(&self) -> &[(HeaderName, ValueCondition)] {
        self.0.as_ref().map_or(&[], |given| &given.headers)
    }

    pub(super) fn query_params(&self) -> &[(Box<str>, ValueCondition)] {
        self.0.as_ref().map_or(&[], |given| &given.query_params)
    }

    pub(super) fn grpc(&self) -> Option<&GrpcCondition> {
        self.0.as_ref()?.grpc.as_ref()
    }

    /// The method of a call is named apart from its path.
    pub(super) fn has_grpc_method(&self) -> bool {
        self.grpc().is_some_and(|grpc| grpc.method.is_some())
    }

    pub(super) fn hold(&self, facts: &Facts<'_>) -> bool {
        self.unmet(facts).is_none()
    }

    /// The first that does not hold.
    pub(super) fn unmet(&self, facts: &Facts<'_>) -> Option<Unmet<'_>> {
        let given = self.0.as_ref()?;
        if let Some(method) = given.method.as_ref().filter(|method| *method != facts.method) {
            return Some(Unmet::Method(method));
        }
        let header = given.headers.iter().find(|(name, condition)| {
            !header_value(facts, name).is_some_and(|value| condition.holds(&value))
        });
        if let Some((name, _)) = header {
            return Some(Unmet::Header(name));
        }
        let param = given
            .query_params
            .iter()
            .find(|(name, condition)| !query_value(facts, name).is_some_and(|value| condition.holds(&value)));
        if let Some((name, _)) = param {
            return Some(Unmet::QueryParam(name));
        }
        given.grpc.as_ref().filter(|grpc| !grpc.holds(facts)).map(|_| Unmet::Grpc)
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
