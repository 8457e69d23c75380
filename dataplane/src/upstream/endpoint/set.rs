//! The endpoints of a backend at a moment, and which of them are fit for requests.

use std::sync::Arc;

use super::Endpoint;

/// What a place takes of the requests that would be its own, in percent of the share of its endpoints that is fit: while
/// 5 of 7 are, all of them.
const PERCENT: usize = 140;

#[derive(Debug, Default)]
pub(crate) struct Set {
    /// In the order of their addresses.
    all: Vec<Arc<Endpoint>>,
    /// Those of them that are fit. `None`: each is, or none: better a bad answer from somewhere than none from anywhere.
    fit: Option<Vec<Arc<Endpoint>>>,
    /// `None`: those that are fit are all in the own zone, or none is.
    zones: Option<Zones>,
    /// Who sends there prefers the own zone, as its Service says.
    prefers_near: bool,
    /// Of a hundred requests, how many go here while there is a Service that stands in.
    percent: u64,
    /// When the next ejection ends.
    next_return: Option<u64>,
    /// There are endpoints, and checks find none of them fit.
    none_healthy: bool,
}

/// Who is fit, by where it is.
#[derive(Debug)]
struct Zones {
    /// In the own zone.
    near: Vec<Arc<Endpoint>>,
    far: Vec<Arc<Endpoint>>,
    /// Of a hundred requests, how many the near ones take.
    percent: u64,
}

impl Set {
    /// Whose ejection is over begins anew.
    pub(super) fn of(all: Vec<Arc<Endpoint>>, prefers_near: bool, now: u64) -> Self {
        for endpoint in &all {
            if endpoint.tally().until() != 0 && !endpoint.tally().is_ejected(now) {
                endpoint.tally().readmit();
            }
        }
        let next_return =
            all.iter().map(|endpoint| endpoint.tally().until()).filter(|until| *until != 0).min();
        let healthy: Vec<_> = all.iter().filter(|endpoint| !endpoint.is_unfit()).cloned().collect();
        let mut fit = healthy.clone();
        fit.retain(|endpoint| !endpoint.tally().is_ejected(now));
        let zones = Zones::of(&all, &fit);
        let percent = share(fit.len(), all.len());
        let none_healthy = healthy.is_empty() && !all.is_empty();
        // Who fails may do better than who is known to be down.
        let fit = if fit.is_empty() { healthy } else { fit };
        let fit = (!fit.is_empty() && fit.len() < all.len()).then_some(fit);
        Set { all, fit, zones, prefers_near, percent, next_return, none_healthy }
    }

    pub(crate) fn all(&self) -> &[Arc<Endpoint>] {
        &self.all
    }

    /// Where requests go.
    pub(crate) fn eligible(&self) -> &[Arc<Endpoint>] {
        self.fit.as_deref().unwrap_or(&self.all)
    }

    /// The same where the own zone is preferred, for a request that falls on `point`.
    pub(crate) fn nearest(&self, point: impl FnOnce() -> u64) -> &[Arc<Endpoint>] {
        match &self.zones {
            None => self.eligible(),
            Some(zones) if zones.percent >= 100 || point() % 100 < zones.percent => &zones.near,
            Some(zones) => &zones.far,
        }
    }

    pub(crate) fn prefers_near(&self) -> bool {
        self.prefers_near
    }

    pub(crate) fn percent(&self) -> u64 {
        self.percent
    }

    pub(crate) fn none_healthy(&self) -> bool {
        self.none_healthy
    }

    pub(super) fn next_return(&self) -> Option<u64> {
        self.next_return
    }
}

impl Zones {
    fn of(all: &[Arc<Endpoint>], fit: &[Arc<Endpoint>]) -> Option<Self> {
        let count = |among: &[Arc<Endpoint>]| among.iter().filter(|endpoint| endpoint.is_near()).count();
        let (of_fit, of_all) = (count(fit), count(all));
        if of_fit == 0 || of_fit == fit.len() {
            return None;
        }
        let (near, far) = fit.iter().cloned().partition(|endpoint| endpoint.is_near());
        Some(Zones { near, far, percent: share(of_fit, of_all) })
    }
}

/// Of a hundred requests, how many go where so many of all endpoints are fit.
fn share(fit: usize, all: usize) -> u64 {
    let percent = fit.saturating_mul(PERCENT) / all.max(1);
    u64::try_from(percent.min(100)).unwrap_or(100)
}
