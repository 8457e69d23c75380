//! Which of the Services that stand in for each other gets a request: the first that has enough endpoints that are fit.
//!
//! A Service with too few of them takes a part of the requests, and the next ones the rest, so that nothing flips. What
//! nobody takes goes where somebody is fit, or at least is there.

use std::{iter, sync::Arc};

use crate::{
    Reason,
    upstream::{Service, Tried},
};

/// A Service, and those that stand in for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level<'a> {
    pub(super) service: &'a Service,
    /// `None`: it is not known here.
    next: &'a [Option<Arc<Service>>],
}

/// `None` for a first one whose reference is broken.
pub(super) fn choose<'a>(
    first: Option<&'a Service>,
    others: &'a [Option<Arc<Service>>],
    mut random: impl FnMut() -> u64,
) -> Result<Level<'a>, Reason> {
    let services = || iter::once(first).chain(others.iter().map(Option::as_deref)).enumerate();
    let levels = || {
        services().filter_map(|(index, service)| Some(Level { service: service?, next: &others[index..] }))
    };
    let mut fit = None;
    for level in levels() {
        let percent = level.service.percent();
        if percent >= 100 || random() % 100 < percent {
            return Ok(level);
        }
        if percent > 0 {
            fit = fit.or(Some(level));
        }
    }
    let there = || levels().find(|level| !level.service.endpoints.is_empty());
    fit.or_else(there).or_else(|| levels().next()).ok_or(Reason::BrokenRoute)
}

impl<'a> Level<'a> {
    /// Nobody stands in.
    pub(super) fn only(service: &'a Service) -> Self {
        Level { service, next: &[] }
    }

    /// Where a request goes that its Service has not taken: on to the next, if nobody is left here or this `is_last`. The
    /// next one is spoken to as this one is, since the request's head is what it is.
    pub(super) fn after(self, tried: &Tried, is_last: bool) -> Self {
        if self.next.is_empty() || tried.is_empty() || !is_last && self.service.has_untried(tried) {
            return self;
        }
        let levels = self.next.iter().enumerate();
        let mut levels = levels.filter_map(|(index, one)| {
            Some(Level { service: one.as_deref()?, next: &self.next[index + 1..] })
        });
        levels
            .find(|level| level.service.speaks_as(self.service) && level.service.percent() > 0)
            .unwrap_or(self)
    }
}
