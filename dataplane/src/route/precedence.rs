//! The order among rules that match the same request.

use std::{
    cmp::{Ordering, Reverse},
    sync::Arc,
};

use super::{Entry, PathMatch};

/// How old a route object is; the older wins a tie, then the name, then the rule's position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Age {
    /// Creation, Unix seconds.
    pub(crate) created: i64,
    /// `Kind/namespace/name`: a tie goes by namespace and name, then by kind.
    pub(crate) object: Arc<str>,
    pub(crate) rule: u32,
}

/// The smaller is tried first. The fields stand in the order of the Gateway API (HTTPRouteRule.matches, and for the method
/// of a gRPC call GRPCRouteRule.matches), with one rule of our own: where the specification leaves a tie, conditions by equality go before conditions by expression.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precedence<'a> {
    path: PathRank,
    grpc_method: Reverse<bool>,
    method: Reverse<bool>,
    headers: Reverse<usize>,
    query_params: Reverse<usize>,
    equalities: Reverse<usize>,
    age: &'a Age,
    match_index: usize,
    /// Of the resource, where it is unusual: only what no controller sends has all else in common.
    name: Option<&'a str>,
}

/// Exact paths, then expressions, then prefixes; the longer first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact,
    Expression(Reverse<usize>),
    Prefix(Reverse<usize>),
}

impl<'a> Precedence<'a> {
    pub(super) fn new<T>(entry: &'a Entry<T>, match_index: usize) -> Self {
        let one = &entry.matches[match_index];
        let conditions = &one.conditions;
        Precedence {
            path: match &one.path {
                PathMatch::Exact(_) => PathRank::Exact,
                PathMatch::Expression(expression) => PathRank::Expression(Reverse(expression.as_str().len())),
                PathMatch::Prefix(prefix) => PathRank::Prefix(Reverse(prefix.len())),
            },
            grpc_method: Reverse(conditions.has_grpc_method()),
            method: Reverse(conditions.method().is_some()),
            headers: Reverse(conditions.headers().len()),
            query_params: Reverse(conditions.query_params().len()),
            equalities: Reverse(conditions.equalities()),
            age: &entry.age,
            match_index,
            name: entry.name.as_deref().map(String::as_str),
        }
    }
}

impl Age {
    pub(super) fn usual_name(&self) -> String {
        usual_name(&self.object, self.rule)
    }
}

/// What a controller calls the resource of a rule of an object.
pub(crate) fn usual_name(object: &str, rule: u32) -> String {
    format!("route/{object}/{rule}")
}

impl Ord for Age {
    fn cmp(&self, other: &Self) -> Ordering {
        fn key(age: &Age) -> (i64, &str, &str, u32) {
            let (kind, name) = age.object.split_once('/').unwrap_or(("", &age.object));
            (age.created, name, kind, age.rule)
        }
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Age {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
