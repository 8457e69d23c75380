//! The entries of a route for its parents, and of a policy for its ancestors: one each under our controller's name. Those
//! of other controllers are left where they are.

use gatehouse_crds::{ParentRef, PolicyAncestorStatus, RouteParentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1;

use super::conditions::{self, Flip, Moment, Scope};
use crate::translate::{CONTROLLER_NAME, Condition};

/// An entry of ours as it should be.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) reference: ParentRef,
    pub(super) conditions: Vec<Condition>,
}

/// What the two kinds of entries have in common.
pub(super) trait Entry: Clone {
    /// The longest that their list may be.
    const MAX: usize;

    fn new(reference: ParentRef, conditions: Vec<v1::Condition>) -> Self;
    fn reference(&self) -> &ParentRef;
    fn controller(&self) -> &str;
    fn conditions(&self) -> &[v1::Condition];
}

impl Entry for RouteParentStatus {
    const MAX: usize = 32;

    fn new(parent_ref: ParentRef, conditions: Vec<v1::Condition>) -> Self {
        RouteParentStatus { parent_ref, controller_name: CONTROLLER_NAME.into(), conditions }
    }

    fn reference(&self) -> &ParentRef {
        &self.parent_ref
    }

    fn controller(&self) -> &str {
        &self.controller_name
    }

    fn conditions(&self) -> &[v1::Condition] {
        &self.conditions
    }
}

impl Entry for PolicyAncestorStatus {
    const MAX: usize = 16;

    fn new(ancestor_ref: ParentRef, conditions: Vec<v1::Condition>) -> Self {
        PolicyAncestorStatus { ancestor_ref, controller_name: CONTROLLER_NAME.into(), conditions }
    }

    fn reference(&self) -> &ParentRef {
        &self.ancestor_ref
    }

    fn controller(&self) -> &str {
        &self.controller_name
    }

    fn conditions(&self) -> &[v1::Condition] {
        &self.conditions
    }
}

/// The entries that follow `observed`, in its order; new ones come last, as far as there is room.
pub(super) fn merge<E: Entry>(wanted: &[Wanted], observed: &[E], moment: &Moment) -> (Vec<E>, Vec<Flip>) {
    let mut entries: Vec<E> = Vec::new();
    let mut flips = Vec::new();
    let mut add = |wanted: &Wanted, before: &[v1::Condition], entries: &mut Vec<E>| {
        let place = format!("on {}", wanted.reference.name);
        let (conditions, flipped) =
            conditions::settle(&wanted.conditions, before, Scope::Whole, &place, moment);
        flips.extend(flipped);
        entries.push(E::new(wanted.reference.clone(), conditions));
    };
    let is_there = |entries: &[E], reference: &ParentRef| {
        entries.iter().any(|one| one.controller() == CONTROLLER_NAME && one.reference() == reference)
    };
    for entry in observed {
        if entry.controller() != CONTROLLER_NAME {
            entries.push(entry.clone());
        } else if let Some(wanted) = wanted.iter().find(|wanted| wanted.reference == *entry.reference())
            && !is_there(&entries, entry.reference())
        {
            add(wanted, entry.conditions(), &mut entries);
        }
    }
    for wanted in wanted {
        if entries.len() < E::MAX && !is_there(&entries, &wanted.reference) {
            add(wanted, &[], &mut entries);
        }
    }
    (entries, flips)
}
