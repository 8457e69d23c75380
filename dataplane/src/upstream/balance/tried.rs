//! Which endpoints are passed over.

use crate::upstream::Endpoint;

/// The endpoints that a request has been sent to. Another attempt goes elsewhere while there is an endpoint that is not
/// among them, and then at least to another than the last.
#[derive(Debug, Default)]
pub(crate) struct Tried {
    last: Option<u64>,
    /// Those before it: most requests have none.
    before: Vec<u64>,
}

/// What a choice passes over.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Avoid<'a> {
    Nothing,
    One(u64),
    All(&'a Tried),
}

impl Tried {
    pub(crate) fn add(&mut self, endpoint: &Endpoint) {
        self.before.extend(self.last.replace(endpoint.id));
    }

    pub(crate) fn has(&self, endpoint: u64) -> bool {
        self.last == Some(endpoint) || self.before.contains(&endpoint)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// What to avoid, and what instead where that leaves nobody.
    pub(crate) fn avoided(&self) -> [Avoid<'_>; 3] {
        [Avoid::All(self), self.last.map_or(Avoid::Nothing, Avoid::One), Avoid::Nothing]
    }
}

impl Avoid<'_> {
    pub(crate) fn is_nothing(self) -> bool {
        match self {
            Avoid::Nothing => true,
            Avoid::One(_) => false,
            Avoid::All(tried) => tried.is_empty(),
        }
    }

    pub(crate) fn has(self, endpoint: u64) -> bool {
        match self {
            Avoid::Nothing => false,
            Avoid::One(one) => one == endpoint,
            Avoid::All(tried) => tried.has(endpoint),
        }
    }
}
