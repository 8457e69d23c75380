//! The expressions of one host, found by what a path must contain for them to match.
//!
//! Each is filed under four bytes of a text that it requires, those that the fewest others are filed under. A path is
//! looked through once, four bytes at a time, and only what is filed under some of its bytes is tried. An expression that
//! requires no such text is always tried.

use std::sync::Arc;

use super::{
    Entry, Facts, PathMatch,
    candidate::{Candidate, Candidates},
    expression::WholeExpression,
    requirement::{self, Gram},
    trie::Trie,
};

#[derive(Debug, Clone)]
pub(super) struct Expressions<T> {
    /// By four bytes, which the hash stands for.
    filed: Trie<Candidates<T>>,
    always: Option<Candidates<T>>,
}

impl<T> Expressions<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.filed.is_empty() && self.always.is_none()
    }

    /// Of all that take the request, the first in their order.
    pub(super) fn find(&self, facts: &Facts<'_>) -> Option<&T> {
        let mut best = self.always.as_ref().and_then(|always| better(None, always, facts));
        for gram in requirement::grams(facts.path.as_bytes()) {
            if let Some(candidates) = self.filed_under(gram) {
                best = better(best, candidates, facts).or(best);
            }
        }
        best.map(Candidate::target)
    }

    fn filed_under(&self, gram: Gram) -> Option<&Candidates<T>> {
        self.filed.get(hash(gram), |_| true)
    }
}

impl<T: Clone> Expressions<T> {
    pub(super) fn insert(&mut self, expression: &WholeExpression, candidate: &Candidate<T>) {
        let crowd = |gram| self.filed_under(gram).map_or(0, |candidates| candidates.as_slice().len());
        let Some(grams) = requirement::choose(expression, &crowd) else {
            self.always = Some(joined(self.always.take(), candidate));
            return;
        };
        for gram in grams {
            match self.filed.get_mut(hash(gram), |_| true) {
                Some(candidates) => candidates.insert(candidate.clone()),
                None => self.filed.insert(hash(gram), Candidates::One(candidate.clone())),
            }
        }
    }

    /// Takes out all of the entry that may be filed for this expression.
    pub(super) fn remove(&mut self, expression: &WholeExpression, entry: &Arc<Entry<T>>) {
        self.always = self.always.take().and_then(|always| always.without(entry));
        // Where it is filed depended on what was there then.
        for gram in requirement::all(expression) {
            let Some(candidates) = self.filed_under(gram) else { continue };
            match candidates.without(entry) {
                None => self.filed.remove(hash(gram), |_| true),
                Some(kept) if kept.as_slice().len() == candidates.as_slice().len() => {}
                Some(kept) => {
                    if let Some(candidates) = self.filed.get_mut(hash(gram), |_| true) {
                        *candidates = kept;
                    }
                }
            }
        }
    }
}

/// The first that goes before `best` and takes the request.
fn better<'a, T>(
    best: Option<&'a Candidate<T>>,
    candidates: &'a Candidates<T>,
    facts: &Facts<'_>,
) -> Option<&'a Candidate<T>> {
    let goes_before =
        |candidate: &&Candidate<T>| best.is_none_or(|best| candidate.precedence() < best.precedence());
    candidates.as_slice().iter().take_while(goes_before).find(|candidate| {
        candidate.holds(facts)
            && matches!(&candidate.matched().path, PathMatch::Expression(expression) if expression.matches(facts.path))
    })
}

fn joined<T: Clone>(candidates: Option<Candidates<T>>, candidate: &Candidate<T>) -> Candidates<T> {
    match candidates {
        None => Candidates::One(candidate.clone()),
        Some(mut candidates) => {
            candidates.insert(candidate.clone());
            candidates
        }
    }
}

/// Another one for each: multiplying by an odd number loses nothing. The well mixed half stands where it chooses.
fn hash(gram: Gram) -> u64 {
    u64::from(gram).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

impl<T> Default for Expressions<T> {
    fn default() -> Self {
        Expressions { filed: Trie::default(), always: None }
    }
}
