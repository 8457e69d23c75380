//! Finds the rule that takes a request, in the order that the Gateway API gives
//! (HTTPRouteRule.matches: path, method, headers, query parameters, age, name).
//!
//! A pure matcher: it holds targets of any type, reads no clock and does no I/O. Its cost is a few look-ups, however
//! many routes there are: hosts by exact map and then by reversed labels, paths by one exact map, then literal-indexed
//! expressions, then one look-up for each segment of the path that some prefix could have. What stands at one path is
//! a short list in order, and its first entry whose conditions hold is the answer.

mod conditions;
mod expression;
mod host;
mod path;
mod precedence;
#[cfg(test)]
mod tests;

use http::{HeaderMap, Method};

pub(crate) use conditions::{Conditions, ValueCondition};
pub(crate) use expression::WholeExpression;
pub(crate) use host::{HostMap, Hostname};
pub(crate) use path::{PathMatch, normal_prefix};
pub(crate) use precedence::Age;
use {path::PathTable, precedence::Precedence};

/// The routes of one listener.
#[derive(Debug)]
pub(crate) struct Table<T> {
    hosts: HostMap<PathTable<T>>,
}

/// One rule under the hosts and matches that lead to it.
#[derive(Debug, Clone)]
pub(crate) struct Entry<T> {
    pub(crate) hostnames: Vec<Hostname>,
    pub(crate) matches: Vec<Match>,
    pub(crate) age: Age,
    pub(crate) target: T,
}

/// All that must hold of a request; the alternative matches of a rule are each one of these.
#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(crate) path: PathMatch,
    pub(crate) conditions: Conditions,
}

/// What is known of a request. Host and path are canonical (see `http::target`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
}

/// The rule that takes a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found<'a, T> {
    pub(crate) target: &'a T,
    /// Length of the path's prefix that matched, without a trailing slash; `None` if the rule matched otherwise.
    pub(crate) prefix: Option<usize>,
}

/// One way to reach a target, in its place in the order.
#[derive(Debug, Clone)]
struct Candidate<T> {
    precedence: Precedence,
    conditions: Conditions,
    target: T,
}

impl<T: Clone> Table<T> {
    pub(crate) fn build(entries: impl IntoIterator<Item = Entry<T>>) -> Self {
        let mut hosts: HostMap<PathTable<T>> = HostMap::default();
        for entry in entries {
            for (index, one) in entry.matches.iter().enumerate() {
                for hostname in &entry.hostnames {
                    let candidate = Candidate {
                        precedence: Precedence::new(one, &entry.age, index),
                        conditions: one.conditions.clone(),
                        target: entry.target.clone(),
                    };
                    hosts.entry(hostname).insert(&one.path, candidate);
                }
            }
        }
        hosts.values_mut().for_each(PathTable::sort);
        Table { hosts }
    }

    /// The hosts are tried from the most specific on: a rule of `*.example.com` takes what the rules of
    /// `a.example.com` leave.
    pub(crate) fn find(&self, facts: &Facts<'_>) -> Option<Found<'_, T>> {
        self.hosts.candidates(facts.host).find_map(|paths| paths.find(facts))
    }
}
