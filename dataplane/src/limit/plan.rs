//! One limit of a policy: whom it counts together, and how many of them it admits.

use std::net::IpAddr;
use std::sync::Arc;

use ::http::HeaderName;
use ipnet::IpNet;

use super::Facts;
use super::key::{Encoded, Field, Key};
use super::quota::Shown;
use super::rule::Rule;

#[derive(Debug)]
pub(super) struct Limit {
    pub(super) parts: Vec<Part>,
    pub(super) base: Numbers,
    /// In order: the first that is the consumer's replaces the base.
    pub(super) tiers: Vec<(String, Numbers)>,
}

/// What requests must have in common to be counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// The consumer, else the credential, else the client.
    Consumer,
    /// The credential, else the client.
    Credential,
    Client(Prefixes),
    /// The field's combined value (RFC 9110, 5.3). A missing one counts as an empty one: all that lack it share a count.
    Header(HeaderName),
}

/// How many leading bits make a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

/// Whole addresses of IPv4; of IPv6 what one subscriber is commonly given.
impl Default for Prefixes {
    fn default() -> Prefixes {
        Prefixes { v4: 32, v6: 64 }
    }
}

/// How many are admitted, and where they are counted.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Policy, limit, algorithm and tier: what every key of it begins with.
    pub(super) seed: Encoded,
    /// What its keys begin with in Redis.
    pub(super) prefix: String,
    /// Over all dataplanes.
    pub(super) whole: Rule,
    /// This dataplane's part, when it counts for itself.
    pub(super) share: Rule,
    pub(super) shown: Arc<Shown>,
}

/// What a request takes from a count in this process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge {
    pub(super) key: Key,
    pub(super) rule: Rule,
}

/// The count that a request falls into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pick<'a> {
    pub(super) key: Key,
    pub(super) numbers: &'a Numbers,
}

impl Limit {
    /// Can't be decided before the identity is known.
    pub(super) fn needs_identity(&self) -> bool {
        !self.tiers.is_empty()
            || self.parts.iter().any(|part| matches!(part, Part::Consumer | Part::Credential))
    }

    pub(super) fn pick(&self, facts: &Facts<'_>, per_route: bool) -> Pick<'_> {
        let tier = self.tiers.iter().find(|(tier, _)| facts.tier == Some(tier.as_str()));
        let numbers = tier.map_or(&self.base, |(_, numbers)| numbers);
        let mut key = numbers.seed.clone();
        if per_route {
            key.add(Field::Route, facts.route.as_bytes());
        }
        for part in &self.parts {
            part.add(facts, &mut key);
        }
        Pick { key: key.key(), numbers }
    }
}

impl Part {
    fn add(&self, facts: &Facts<'_>, key: &mut Encoded) {
        match self {
            Part::Consumer => match facts.consumer {
                Some(consumer) => key.add(Field::Consumer, consumer.as_bytes()),
                None => add_credential(facts, key),
            },
            Part::Credential => add_credential(facts, key),
            Part::Client(prefixes) => add_client(facts, *prefixes, key),
            Part::Header(name) => {
                let mut combined = Vec::new();
                for (n, value) in facts.headers.get_all(name).iter().enumerate() {
                    if n > 0 {
                        combined.extend_from_slice(b", ");
                    }
                    combined.extend_from_slice(value.as_bytes());
                }
                key.add(Field::Header, &combined);
            }
        }
    }
}

/// A credential's name is unique within its consumer only.
fn add_credential(facts: &Facts<'_>, key: &mut Encoded) {
    match facts.credential {
        Some(credential) => {
            key.add(Field::Consumer, facts.consumer.unwrap_or_default().as_bytes());
            key.add(Field::Credential, credential.as_bytes());
        }
        None => add_client(facts, Prefixes::default(), key),
    }
}

fn add_client(facts: &Facts<'_>, prefixes: Prefixes, key: &mut Encoded) {
    // An IPv4 client that came over a dual-stack socket is the same client.
    let address = facts.client.to_canonical();
    let bits = if address.is_ipv4() { prefixes.v4 } else { prefixes.v6 };
    match IpNet::new(address, bits).map_or(address, |net| net.network()) {
        IpAddr::V4(network) => key.add(Field::Client, &network.octets()),
        IpAddr::V6(network) => key.add(Field::Client, &network.octets()),
    }
}

impl Pick<'_> {
    /// To be taken from this dataplane's own count.
    pub(super) fn share(&self) -> Charge {
        Charge { key: self.key, rule: self.numbers.share }
    }
}
