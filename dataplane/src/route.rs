//! Finds the rule that takes a request, in the order that the Gateway API gives
//! (HTTPRouteRule.matches: path, method, headers, query parameters, age, name).
//!
//! A pure matcher: it holds targets of any type, reads no clock and does no I/O. Its cost is a few look-ups, however
//! many routes there are: hosts by exact name and then by reversed labels, paths by one look-up, then expressions by what
//! they require, then one look-up for each segment of the path that some prefix could have. What stands at one path is
//! a short list in order, and its first candidate whose conditions hold is the answer.
//!
//! A table shares with its copies what they have in common: a change copies what it touches.

mod candidate;
mod conditions;
mod examine;
mod expression;
mod expressions;
mod host;
mod path;
mod precedence;
mod requirement;
mod shadowed;
#[cfg(test)]
mod tests;
mod trie;

use std::{borrow::Cow, sync::Arc};

use http::{HeaderMap, Method};

pub(crate) use conditions::{Conditions, GrpcCondition, Unmet, ValueCondition};
pub(crate) use examine::{Examined, examine};
pub(crate) use expression::WholeExpression;
pub(crate) use host::{HostMap, Hostname};
use path::PathTable;
pub(crate) use path::{PathMatch, normal_prefix};
pub(crate) use precedence::{Age, usual_name};
pub(crate) use shadowed::{Shadowed, shadowed};

/// The routes of one listener.
#[derive(Debug, Clone)]
pub(crate) struct Table<T> {
    hosts: HostMap<PathTable<T>>,
}

/// One rule and the matches that lead to it.
#[derive(Debug, Clone)]
pub(crate) struct Entry<T> {
    /// `None` if it is what `age` makes it.
    #[allow(clippy::box_collection)] // Nearly always none: a word in place of two for each route.
    name: Option<Box<String>>,
    age: Age,
    matches: Box<[Match]>,
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

impl<T> Entry<T> {
    /// `name` is the resource's, and unique.
    pub(crate) fn new(name: &str, age: Age, matches: Box<[Match]>, target: T) -> Self {
        let name = (name != age.usual_name()).then(|| Box::new(name.to_owned()));
        Entry { name, age, matches, target }
    }

    /// `Kind/namespace/name`.
    pub(crate) fn object(&self) -> &Arc<str> {
        &self.age.object
    }

    pub(crate) fn name(&self) -> Cow<'_, str> {
        match &self.name {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(self.age.usual_name()),
        }
    }
}

impl<T> Table<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }

    /// The same name, with the text that the table holds if it has the host.
    pub(crate) fn shared(&self, hostname: &Hostname) -> Option<Hostname> {
        self.hosts.shared(hostname)
    }

    /// The hosts are tried from the most specific on: a rule of `*.example.com` takes what the rules of
    /// `a.example.com` leave.
    pub(crate) fn find(&self, facts: &Facts<'_>) -> Option<Found<'_, T>> {
        let seeds = self.hosts.seeds();
        self.hosts.candidates(facts.host).find_map(|paths| paths.find(facts, seeds))
    }
}

impl<T: Clone> Table<T> {
    /// Serves the entry under these hosts too.
    pub(crate) fn insert(&mut self, entry: &Arc<Entry<T>>, hostnames: &[Hostname]) {
        let seeds = self.hosts.seeds().clone();
        for hostname in hostnames {
            if self.hosts.get(hostname).is_none() {
                self.hosts.insert(hostname, PathTable::default());
            }
            let Some(paths) = self.hosts.get_mut(hostname) else { continue };
            for index in 0..entry.matches.len() {
                paths.insert(entry, index, &seeds);
            }
        }
    }

    /// No longer serves this very entry under these hosts.
    pub(crate) fn remove(&mut self, entry: &Arc<Entry<T>>, hostnames: &[Hostname]) {
        let seeds = self.hosts.seeds().clone();
        for hostname in hostnames {
            let Some(paths) = self.hosts.get_mut(hostname) else { continue };
            for index in 0..entry.matches.len() {
                paths.remove(entry, index, &seeds);
            }
            if paths.is_empty() {
                self.hosts.remove(hostname);
            }
        }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { hosts: HostMap::default() }
    }
}
