//! Which endpoint of a Service gets a request. Pure: randomness, loads and the turn come in.

mod hash;
mod key;
#[cfg(test)]
mod tests;
mod tried;

use std::{cmp::Reverse, sync::Arc};

use gatehouse_proto::config::v1::{self, load_balancing::Kind};

use super::Endpoint;

pub(super) use hash::of_address;
pub(crate) use key::{Affinity, Asker, Key};
pub(super) use tried::Avoid;
pub(crate) use tried::Tried;

/// How a Service's endpoints share its requests.
#[derive(Debug, Default)]
pub(super) enum Balance {
    /// Of two drawn at random, the one with fewer requests under way.
    #[default]
    LeastRequest,
    RoundRobin,
    Random,
    ConsistentHash {
        key: Key,
        /// In percent of the average, what an endpoint may have under way.
        max_load: Option<u32>,
    },
}

/// What a choice is made from, besides the endpoints.
pub(super) struct Draw<'a, R> {
    pub(super) random: R,
    /// Counts the choices of a Service.
    pub(super) turn: u64,
    /// What requests that belong together share. `None`: this one belongs to none.
    pub(super) key: Option<u64>,
    pub(super) avoid: Avoid<'a>,
}

impl Balance {
    pub(super) fn compile(wire: Option<&v1::LoadBalancing>) -> Result<Self, String> {
        let Some(wire) = wire else { return Ok(Balance::LeastRequest) };
        match &wire.kind {
            Some(Kind::RoundRobin(_)) => Ok(Balance::RoundRobin),
            Some(Kind::Random(_)) => Ok(Balance::Random),
            Some(Kind::ConsistentHash(hash)) => Ok(Balance::ConsistentHash {
                key: Key::compile(hash)?,
                max_load: Some(hash.max_load_percent).filter(|most| *most > 0),
            }),
            None => Err("load_balancing: this dataplane does not know its kind".into()),
        }
    }

    /// What requests that belong together share.
    pub(super) fn key(&self, asker: &Asker<'_>) -> Option<u64> {
        match self {
            Balance::ConsistentHash { key, .. } => key.of(asker),
            _ => None,
        }
    }

    /// The same, and what makes the next requests of a client share it.
    pub(super) fn affinity(&self, asker: &Asker<'_>, random: impl FnMut() -> u64) -> Affinity {
        match self {
            Balance::ConsistentHash { key, .. } => key.affinity(asker, random),
            _ => Affinity::default(),
        }
    }

    /// `None`: there is none but those to be avoided.
    pub(super) fn pick<'a>(
        &self,
        among: &'a [Arc<Endpoint>],
        draw: Draw<'_, impl FnMut() -> u64>,
    ) -> Option<&'a Arc<Endpoint>> {
        let Draw { mut random, turn, key, avoid } = draw;
        match (self, key) {
            (Balance::ConsistentHash { max_load, .. }, Some(key)) => of_hash(among, key, *max_load, avoid),
            // By the rule that the request comes from.
            (_, Some(key)) => of_hash(among, key, None, avoid),
            (Balance::RoundRobin, None) => from(among, turn, avoid),
            (Balance::Random, None) => from(among, random(), avoid),
            (Balance::LeastRequest | Balance::ConsistentHash { .. }, None) => least(among, random, avoid),
        }
    }
}

/// Of two drawn by `random`, the one with fewer requests under way.
pub(super) fn least<'a>(
    among: &'a [Arc<Endpoint>],
    mut random: impl FnMut() -> u64,
    avoid: Avoid<'_>,
) -> Option<&'a Arc<Endpoint>> {
    let first = from(among, random(), avoid)?;
    let second = from(among, random(), avoid).unwrap_or(first);
    Some(if second.load() < first.load() { second } else { first })
}

/// The one at a place, or the next that is not to be avoided.
fn from<'a>(among: &'a [Arc<Endpoint>], place: u64, avoid: Avoid<'_>) -> Option<&'a Arc<Endpoint>> {
    let length = u64::try_from(among.len()).ok().filter(|length| *length > 0)?;
    let start = usize::try_from(place % length).ok()?;
    let mut from_start = among[start..].iter().chain(&among[..start]);
    from_start.find(|endpoint| !avoid.has(endpoint.id))
}

/// By rendezvous: each endpoint has a rank for the key that no other endpoint changes, and the first takes it. So the keys of
/// one that goes are spread over all others, and no other key moves.
fn of_hash<'a>(
    among: &'a [Arc<Endpoint>],
    key: u64,
    max_load: Option<u32>,
    avoid: Avoid<'_>,
) -> Option<&'a Arc<Endpoint>> {
    let first = |below: u64| {
        among
            .iter()
            .filter(|endpoint| !avoid.has(endpoint.id) && u64::from(endpoint.load()) < below)
            .max_by_key(|endpoint| (hash::rank(key, endpoint.hash), Reverse(endpoint.address)))
    };
    let bounded = max_load.and_then(|percent| {
        // With the request that is to be placed; rounded up, so that there is always room somewhere.
        let all = among.iter().map(|endpoint| u64::from(endpoint.load())).sum::<u64>() + 1;
        let count = u64::try_from(among.len()).unwrap_or(u64::MAX);
        first((all * u64::from(percent)).div_ceil(count.saturating_mul(100)))
    });
    bounded.or_else(|| first(u64::MAX))
}
