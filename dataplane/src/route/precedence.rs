//! The order among rules that match the same request.

use std::{cmp::Reverse, sync::Arc};

use super::{Match, PathMatch};

/// How old a route object is; the older wins a tie, then the name, then the rule's position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age {
    /// Creation, Unix seconds.
    pub(crate) created: i64,
    /// `namespace/name`, then the kind.
    pub(crate) name: Arc<str>,
    pub(crate) rule: u32,
}

/// The smaller is tried first. The fields stand in the order of the Gateway API (HTTPRouteRule.matches), with one rule
/// of our own: where the specification leaves a tie, conditions by equality go before conditions by expression.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Precedence {
    path: PathRank,
    method: Reverse<bool>,
    headers: Reverse<usize>,
    query_params: Reverse<usize>,
    equalities: Reverse<usize>,
    age: Age,
    match_index: usize,
}

/// Exact paths, then expressions, then prefixes; the longer first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    Exact,
    Expression(Reverse<usize>),
    Prefix(Reverse<usize>),
}

impl Precedence {
    pub(super) fn new(one: &Match, age: &Age, match_index: usize) -> Self {
        let conditions = &one.conditions;
        Precedence {
            path: match &one.path {
                PathMatch::Exact(_) => PathRank::Exact,
                PathMatch::Expression(expression) => PathRank::Expression(Reverse(expression.as_str().len())),
                PathMatch::Prefix(prefix) => PathRank::Prefix(Reverse(prefix.len())),
            },
            method: Reverse(conditions.method.is_some()),
            headers: Reverse(conditions.headers.len()),
            query_params: Reverse(conditions.query_params.len()),
            equalities: Reverse(conditions.equalities()),
            age: age.clone(),
            match_index,
        }
    }
}
