//! What a request turns out to cost when its response is there.
//!
//! Admission takes one. The rest is taken when the response's head tells of it: of what the count has then, and no more,
//! so a limit of which that takes all is used up and refuses, and is never in debt.

use std::sync::Arc;

use ::http::{HeaderMap, HeaderName};

use super::key::Key;
use super::local::Local;
use super::plan::{Charge, Numbers};
use super::{Stores, escrow};

/// Where a response says it.
#[derive(Debug)]
pub(super) struct ResponseCost {
    pub(super) header: HeaderName,
    pub(super) most: u64,
}

/// A count of which an admitted request may take more.
#[derive(Debug)]
pub(crate) struct Due {
    pub(super) key: Key,
    pub(super) numbers: Arc<Numbers>,
    /// Where it lies in a cluster.
    pub(super) spread: usize,
    pub(super) cost: Arc<ResponseCost>,
    /// This dataplane counted the request for itself.
    pub(super) local: bool,
    /// A count that Redis lost begins used up.
    pub(super) strict: bool,
}

impl ResponseCost {
    /// What is no whole number is as if it were not there.
    fn of(&self, head: &HeaderMap) -> u64 {
        let cost = head.get(&self.header).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        cost.unwrap_or(1).min(self.most)
    }
}

impl Due {
    /// Call it within a tokio runtime: Redis is told by a task of its own.
    pub(crate) fn take(&self, head: &HeaderMap, stores: &Stores) {
        let more = self.cost.of(head).saturating_sub(1);
        let counters = &stores.counters;
        match &stores.remote {
            _ if more == 0 => {}
            Some(remote) if !self.local => escrow::charge(self, more, counters, remote),
            _ => {
                let charge = Charge { key: self.key, rule: self.numbers.share };
                Local { counters, now: counters.now() }.charge(charge, more);
            }
        }
    }
}
