//! Paths of one host: exact ones and prefixes in one map, and expressions.
//!
//! A request's path is hashed once, from its beginning; at each slash that some prefix could end before, the hash so far
//! is that prefix's. So one pass gives what all look-ups need, and they don't wait for each other.

use std::{
    hash::{BuildHasher, Hasher},
    sync::Arc,
};

use super::{
    Entry, Facts, Found,
    candidate::{Candidate, Candidates},
    expression::WholeExpression,
    expressions::Expressions,
    trie::Trie,
};
use crate::seeds::Seeds;

/// How a rule wants the path. All compare canonical, still encoded paths.
#[derive(Debug, Clone)]
pub(crate) enum PathMatch {
    Exact(Arc<str>),
    /// Whole segments: `/v2` takes `/v2` and `/v2/x`, never `/v2x`. Held without a trailing slash, so `/` is empty.
    Prefix(Arc<str>),
    /// The whole path. Rare, and larger than the others.
    Expression(Box<WholeExpression>),
}

/// A prefix as it is held and compared: without its trailing slash.
pub(crate) fn normal_prefix(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

#[derive(Debug, Clone)]
pub(super) struct PathTable<T> {
    /// Exact paths and prefixes. Which it is is part of the hash.
    paths: Trie<Place<T>>,
    expressions: Option<Arc<Expressions<T>>>,
    /// A bit for each number of slashes that a prefix here has had, the last for all beyond: what a client sends
    /// besides costs no look-up.
    depths: u32,
    /// The most bytes that a prefix here has had; the last number stands for any.
    longest: u16,
    /// There has been an exact path.
    exact: bool,
}

#[derive(Debug, Clone)]
struct Place<T> {
    path: Arc<str>,
    candidates: Candidates<T>,
}

/// A prefix of a path: its hash and its length.
type Prefix = (u64, usize);

/// So many prefixes of a request fit in a place on the stack.
const PREFIXES: usize = 16;

/// Set in the hash of an exact path, clear in that of a prefix.
const EXACT: u64 = 1 << 63;

impl<T> PathTable<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.expressions.is_none()
    }

    pub(super) fn find(&self, facts: &Facts<'_>, seeds: &Seeds) -> Option<Found<'_, T>> {
        let path = facts.path;
        let longest = if self.longest < u16::MAX { usize::from(self.longest) } else { usize::MAX };
        let (mut prefixes, mut count, mut beyond) = ([(0, 0); PREFIXES], 0, Vec::new());
        let whole = hashes(path, seeds, |depth, prefix| {
            if self.depths & depth_bit(depth) != 0 && prefix.1 <= longest {
                match prefixes.get_mut(count) {
                    Some(slot) => *slot = prefix,
                    None => beyond.push(prefix),
                }
                count += 1;
            }
        });
        if self.exact
            && let Some(target) = self.at(whole | EXACT, path).and_then(|candidates| candidates.first(facts))
        {
            return Some(Found { target, prefix: None });
        }
        if let Some(target) = self.expressions.as_ref().and_then(|expressions| expressions.find(facts)) {
            return Some(Found { target, prefix: None });
        }
        let on_stack = prefixes[..count.min(PREFIXES)].iter();
        beyond.iter().rev().chain(on_stack.rev()).find_map(|(hash, length)| {
            let target = self.at(*hash, &path[..*length])?.first(facts)?;
            Some(Found { target, prefix: Some(*length) })
        })
    }

    fn at(&self, hash: u64, path: &str) -> Option<&Candidates<T>> {
        self.paths.get(hash, |place| *place.path == *path).map(|place| &place.candidates)
    }
}

impl<T: Clone> PathTable<T> {
    pub(super) fn insert(&mut self, entry: &Arc<Entry<T>>, index: usize, seeds: &Seeds) {
        let candidate = Candidate::new(entry, index);
        let path = match &entry.matches[index].path {
            PathMatch::Expression(expression) => {
                Arc::make_mut(self.expressions.get_or_insert_default()).insert(expression, &candidate);
                return;
            }
            PathMatch::Exact(path) => {
                self.exact = true;
                path
            }
            PathMatch::Prefix(prefix) => {
                self.depths |= depth_bit(memchr::memchr_iter(b'/', prefix.as_bytes()).count());
                self.longest = self.longest.max(u16::try_from(prefix.len()).unwrap_or(u16::MAX));
                prefix
            }
        };
        let hash = hash_of(&entry.matches[index].path, path, seeds);
        if self.at(hash, path).is_none() {
            let place = Place { path: Arc::clone(path), candidates: Candidates::One(candidate) };
            self.paths.insert(hash, place);
        } else if let Some(place) = self.paths.get_mut(hash, |place| place.path == *path) {
            place.candidates.insert(candidate);
        }
    }

    /// Takes out all of the entry that stands where its match of this index does.
    pub(super) fn remove(&mut self, entry: &Arc<Entry<T>>, index: usize, seeds: &Seeds) {
        let path = match &entry.matches[index].path {
            PathMatch::Expression(expression) => {
                if let Some(expressions) = &mut self.expressions {
                    Arc::make_mut(expressions).remove(expression, entry);
                    self.expressions.take_if(|expressions| expressions.is_empty());
                }
                return;
            }
            PathMatch::Exact(path) | PathMatch::Prefix(path) => path,
        };
        let hash = hash_of(&entry.matches[index].path, path, seeds);
        match self.at(hash, path).map(|candidates| candidates.without(entry)) {
            None => {}
            Some(None) => self.paths.remove(hash, |place| place.path == *path),
            Some(Some(kept)) => {
                if let Some(place) = self.paths.get_mut(hash, |place| place.path == *path) {
                    place.candidates = kept;
                }
            }
        }
    }
}

impl<T> Default for PathTable<T> {
    fn default() -> Self {
        PathTable { paths: Trie::default(), expressions: None, depths: 0, longest: 0, exact: false }
    }
}

/// Gives the hash of the whole path. `each` gets those of its prefixes, the whole one last, each with the number of
/// its slashes.
fn hashes(path: &str, seeds: &Seeds, mut each: impl FnMut(usize, Prefix)) -> u64 {
    let bytes = path.as_bytes();
    let mut hasher = seeds.build_hasher();
    let (mut from, mut depth) = (0, 0);
    for slash in memchr::memchr_iter(b'/', bytes) {
        hasher.write(&bytes[from..slash]);
        each(depth, (hasher.clone().finish() & !EXACT, slash));
        (from, depth) = (slash, depth + 1);
    }
    hasher.write(&bytes[from..]);
    let whole = hasher.finish() & !EXACT;
    each(depth, (whole, bytes.len()));
    whole
}

fn hash_of(kind: &PathMatch, path: &str, seeds: &Seeds) -> u64 {
    let whole = hashes(path, seeds, |_, _| {});
    if matches!(kind, PathMatch::Exact(_)) { whole | EXACT } else { whole }
}

fn depth_bit(depth: usize) -> u32 {
    1 << depth.min(31)
}
