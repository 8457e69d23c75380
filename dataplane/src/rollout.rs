//! Which version a request gets where one is being rolled out beside others: what it says decides, then who sent it, then
//! chance by the weights.
//!
//! The weights come from the controller. The last backend is the new version, so that its share of all points is the upper
//! end: while it grows, who has the new version keeps it, whatever dataplane they speak to.

mod counts;

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use gatehouse_proto::config::v1::{self, rollout_force::Kind};
use http::{HeaderMap, HeaderName};

use crate::{auth::cookie_values, observe::metrics::Metrics, snapshot::Forward};

pub(crate) use counts::{Counts, Version};

#[derive(Debug, Clone)]
pub(crate) struct Rollout {
    /// Its index among the backends.
    canary: usize,
    forces: Box<[Force]>,
    /// `None`: who sent a request decides nothing.
    sticky_seed: Option<Box<str>>,
    /// `None`: nobody counts.
    counts: Option<Arc<Counts>>,
}

/// Where a request goes, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Index of the backend.
    pub(crate) backend: usize,
    /// As what it counts. `None`: it was demanded, and says nothing about shares.
    version: Option<Version>,
}

/// What a request may carry to get the new version.
#[derive(Debug, Clone)]
enum Force {
    Header(HeaderName, Box<[u8]>),
    Cookie(Box<str>, Box<[u8]>),
}

impl Rollout {
    /// `backends`: how many there are.
    pub(crate) fn compile(wire: &v1::Rollout, backends: usize, metrics: &Metrics) -> Result<Self, String> {
        let canary = usize::try_from(wire.canary).unwrap_or(usize::MAX);
        if canary + 1 != backends {
            return Err(format!("rollout.canary is {canary}, which is not the last of {backends} backends"));
        }
        let forces = wire.forces.iter().map(Force::compile).collect::<Result<_, _>>()?;
        let sticky_seed = Some(wire.sticky_seed.as_str()).filter(|seed| !seed.is_empty());
        let counts = Some(wire.counts.as_str()).filter(|name| !name.is_empty());
        let counts = counts.map(|name| metrics.rollout(name));
        Ok(Rollout { canary, forces, sticky_seed: sticky_seed.map(Into::into), counts })
    }

    /// The new version is to show how it does by itself.
    pub(crate) fn is_judged(&self, choice: Choice) -> bool {
        self.counts.is_some() && choice.backend == self.canary
    }

    /// What a request of this choice is to be counted by.
    pub(crate) fn counts(&self, choice: Choice) -> Option<(Arc<Counts>, Version)> {
        Some((Arc::clone(self.counts.as_ref()?), choice.version?))
    }

    /// Which backend gets a request; `None` if all weights are 0. `who` sent it, as far as that is known.
    pub(crate) fn choose(
        &self,
        forward: &Forward,
        headers: &HeaderMap,
        who: Option<&str>,
        random: impl FnOnce() -> u64,
    ) -> Option<Choice> {
        if self.forces.iter().any(|force| force.is_in(headers)) {
            return Some(Choice { backend: self.canary, version: None });
        }
        let backend = match (&self.sticky_seed, who) {
            (Some(seed), Some(who)) => forward.choose(|| point(seed, who)),
            _ => forward.choose(random),
        }?;
        let version = if backend == self.canary { Version::Canary } else { Version::Stable };
        Some(Choice { backend, version: Some(version) })
    }
}

/// Where somebody always stands: the same in every process, and unrelated to where they stand in another rollout.
fn point(seed: &str, who: &str) -> u64 {
    let mut hash = Context::new(&SHA256);
    for part in [seed, who] {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    let hash = hash.finish();
    hash.as_ref().first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

impl Force {
    fn compile(wire: &v1::RolloutForce) -> Result<Self, String> {
        match &wire.kind {
            Some(Kind::Header(header)) => {
                let name = HeaderName::from_bytes(header.name.as_bytes())
                    .map_err(|_| format!("rollout.force: {:?} is no header name", header.name))?;
                Ok(Force::Header(name, header.value.as_bytes().into()))
            }
            Some(Kind::Cookie(cookie)) if !cookie.name.is_empty() => {
                Ok(Force::Cookie(cookie.name.as_str().into(), cookie.value.as_bytes().into()))
            }
            Some(Kind::Cookie(_)) => Err("rollout.force: a cookie's name is empty".into()),
            None => Err("rollout.force: this dataplane does not know one of them".into()),
        }
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        match self {
            Force::Header(name, value) => {
                headers.get_all(name).iter().any(|sent| sent.as_bytes() == &**value)
            }
            Force::Cookie(name, value) => cookie_values(headers, name).any(|sent| sent == &**value),
        }
    }
}

#[cfg(test)]
mod tests;
