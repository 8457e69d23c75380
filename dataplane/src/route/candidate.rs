//! What stands at one path: the ways to reach a target, in their order.

use std::sync::Arc;

use super::{Entry, Facts, Match, precedence::Precedence};

/// One match of an entry.
#[derive(Debug, Clone)]
pub(super) struct Candidate<T> {
    entry: Arc<Entry<T>>,
    index: u32,
    /// It has no conditions, so there is nothing to look up.
    plain: bool,
}

/// In their order; never none. Most paths have one: this takes two words then.
#[derive(Debug, Clone)]
pub(super) enum Candidates<T> {
    One(Candidate<T>),
    #[allow(clippy::box_collection)] // A slice's pointer would make each path's place larger by half.
    Many(Box<Vec<Candidate<T>>>),
}

impl<T> Candidate<T> {
    pub(super) fn new(entry: &Arc<Entry<T>>, index: usize) -> Self {
        let plain = entry.matches[index].conditions.is_empty();
        // A route's matches are counted in a message of less than 4 GiB.
        Candidate { entry: Arc::clone(entry), index: u32::try_from(index).unwrap_or(u32::MAX), plain }
    }

    pub(super) fn matched(&self) -> &Match {
        &self.entry.matches[self.index as usize]
    }

    pub(super) fn precedence(&self) -> Precedence<'_> {
        Precedence::new(&self.entry, self.index as usize)
    }

    pub(super) fn target(&self) -> &T {
        &self.entry.target
    }

    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        self.plain || self.matched().conditions.hold(facts)
    }
}

impl<T> Candidates<T> {
    pub(super) fn as_slice(&self) -> &[Candidate<T>] {
        match self {
            Candidates::One(one) => std::slice::from_ref(one),
            Candidates::Many(many) => many,
        }
    }

    /// The first whose conditions hold.
    pub(super) fn first(&self, facts: &Facts<'_>) -> Option<&T> {
        self.as_slice().iter().find(|candidate| candidate.holds(facts)).map(Candidate::target)
    }
}

impl<T: Clone> Candidates<T> {
    /// In its place.
    pub(super) fn insert(&mut self, candidate: Candidate<T>) {
        let at = self.as_slice().partition_point(|other| other.precedence() < candidate.precedence());
        match self {
            Candidates::One(one) => {
                let mut two = vec![one.clone()];
                two.insert(at, candidate);
                *self = Candidates::Many(Box::new(two));
            }
            Candidates::Many(many) => many.insert(at, candidate),
        }
    }

    /// All but those of the entry; `None` if there are none left.
    pub(super) fn without(&self, entry: &Arc<Entry<T>>) -> Option<Self> {
        let kept = self.as_slice().iter().filter(|candidate| !Arc::ptr_eq(&candidate.entry, entry));
        let mut kept: Vec<_> = kept.cloned().collect();
        match kept.len() {
            0 => None,
            1 => kept.pop().map(Candidates::One),
            _ => Some(Candidates::Many(Box::new(kept))),
        }
    }
}
