//! Paths of one host: an exact map, expressions in order, and prefixes looked up segment by segment.

use hashbrown::HashMap;

use super::{Candidate, Facts, Found, expression::WholeExpression};

/// How a rule wants the path. All compare canonical, still encoded paths.
#[derive(Debug, Clone)]
pub(crate) enum PathMatch {
    Exact(Box<str>),
    /// Whole segments: `/v2` takes `/v2` and `/v2/x`, never `/v2x`. Held without a trailing slash, so `/` is empty.
    Prefix(Box<str>),
    /// The whole path.
    Expression(WholeExpression),
}

/// A prefix as it is held and compared: without its trailing slash.
pub(crate) fn normal_prefix(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

type Candidates<T> = Vec<Candidate<T>>;

#[derive(Debug)]
pub(super) struct PathTable<T> {
    exact: HashMap<Box<str>, Candidates<T>, ahash::RandomState>,
    expressions: Vec<(WholeExpression, Candidate<T>)>,
    prefixes: HashMap<Box<str>, Candidates<T>, ahash::RandomState>,
    /// The most slashes and the most bytes that a prefix has: what a client sends beyond them costs no look-up.
    deepest: usize,
    longest: usize,
}

impl<T> PathTable<T> {
    pub(super) fn insert(&mut self, path: &PathMatch, candidate: Candidate<T>) {
        match path {
            PathMatch::Exact(path) => self.exact.entry(path.clone()).or_default().push(candidate),
            PathMatch::Expression(expression) => self.expressions.push((expression.clone(), candidate)),
            PathMatch::Prefix(prefix) => {
                self.deepest = self.deepest.max(slashes(prefix));
                self.longest = self.longest.max(prefix.len());
                self.prefixes.entry(prefix.clone()).or_default().push(candidate);
            }
        }
    }

    /// Must follow the last `insert`.
    pub(super) fn sort(&mut self) {
        for candidates in self.exact.values_mut().chain(self.prefixes.values_mut()) {
            candidates.sort_by(|a, b| a.precedence.cmp(&b.precedence));
        }
        self.expressions.sort_by(|(_, a), (_, b)| a.precedence.cmp(&b.precedence));
    }

    pub(super) fn find(&self, facts: &Facts<'_>) -> Option<Found<'_, T>> {
        if let Some(target) = self.exact.get(facts.path).and_then(|candidates| first(candidates, facts)) {
            return Some(Found { target, prefix: None });
        }
        let by_expression = self.expressions.iter().find(|(expression, candidate)| {
            candidate.conditions.hold(facts) && expression.matches(facts.path)
        });
        if let Some((_, candidate)) = by_expression {
            return Some(Found { target: &candidate.target, prefix: None });
        }
        if self.prefixes.is_empty() {
            return None;
        }
        let mut prefix = facts.path;
        let mut depth = slashes(prefix);
        loop {
            if depth <= self.deepest && prefix.len() <= self.longest {
                let target = self.prefixes.get(prefix).and_then(|candidates| first(candidates, facts));
                if let Some(target) = target {
                    return Some(Found { target, prefix: Some(prefix.len()) });
                }
            }
            prefix = &prefix[..memchr::memrchr(b'/', prefix.as_bytes())?];
            depth -= 1;
        }
    }
}

impl<T> Default for PathTable<T> {
    fn default() -> Self {
        PathTable {
            exact: HashMap::default(),
            expressions: Vec::new(),
            prefixes: HashMap::default(),
            deepest: 0,
            longest: 0,
        }
    }
}

fn first<'a, T>(candidates: &'a [Candidate<T>], facts: &Facts<'_>) -> Option<&'a T> {
    candidates.iter().find(|candidate| candidate.conditions.hold(facts)).map(|candidate| &candidate.target)
}

fn slashes(path: &str) -> usize {
    memchr::memchr_iter(b'/', path.as_bytes()).count()
}
