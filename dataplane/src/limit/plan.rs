//! One limit of a policy: whom it counts together, and how many of them it admits.

use std::net::IpAddr;
use std::sync::Arc;

use ::http::HeaderName;
use ipnet::IpNet;

use super::Facts;
use super::condition::Condition;
use super::due::{Due, ResponseCost};
use super::key::{Encoded, Field, Key};
use super::quota::Shown;
use super::rule::Rule;
use crate::observe::metrics::LimitMetrics;

#[derive(Debug)]
pub(super) struct Limit {
    pub(super) scope: Scope,
    /// It never refuses.
    pub(super) shadow: bool,
    pub(super) metrics: Arc<LimitMetrics>,
    pub(super) base: Arc<Numbers>,
    /// In order: the first that is the consumer's replaces the base.
    pub(super) tiers: Vec<(String, Arc<Numbers>)>,
    pub(super) response_cost: Option<Arc<ResponseCost>>,
}

/// Which requests are counted, and which of them together.
#[derive(Debug)]
pub(super) struct Scope {
    /// All must hold.
    pub(super) when: Vec<Condition>,
    pub(super) parts: Vec<Part>,
    /// The policy.
    pub(super) policy: Encoded,
    /// Each route object has its own counts.
    pub(super) per_route: bool,
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
    /// So it is with those below.
    Header(HeaderName),
    /// Of several the first.
    Cookie(String),
    Query(String),
    /// Of the token or certificate: a plain value.
    Claim(String),
    Path,
    Host,
    Method,
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

impl Prefixes {
    /// The client that an address is of.
    pub(super) fn of(self, address: IpAddr) -> IpAddr {
        // An IPv4 client that came over a dual-stack socket is the same client.
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { self.v4 } else { self.v6 };
        IpNet::new(address, bits).map_or(address, |net| net.network())
    }
}

/// How many are admitted, and where they are counted.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Policy, limit, algorithm and tier: what every key of it begins with.
    pub(super) seed: Encoded,
    /// What its keys begin with on their shelf in Redis.
    pub(super) prefix: String,
    /// Over all dataplanes.
    pub(super) whole: Rule,
    /// This dataplane's part, when it counts for itself.
    pub(super) share: Rule,
    pub(super) shown: Arc<Shown>,
    /// What one request takes of what is shown. The rules count requests.
    pub(super) cost: u64,
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
    pub(super) numbers: &'a Arc<Numbers>,
    pub(super) metrics: &'a LimitMetrics,
    response_cost: Option<&'a Arc<ResponseCost>>,
    shadow: bool,
    scope: &'a Scope,
    facts: &'a Facts<'a>,
}

impl Scope {
    pub(super) fn needs_identity(&self) -> bool {
        self.when.iter().any(Condition::needs_identity)
            || self
                .parts
                .iter()
                .any(|part| matches!(part, Part::Consumer | Part::Credential | Part::Claim(_)))
    }

    pub(super) fn holds(&self, facts: &Facts<'_>) -> bool {
        self.when.iter().all(|condition| condition.holds(facts))
    }

    /// The count that a request falls into, of those whose keys begin with `seed`.
    pub(super) fn key(&self, seed: &Encoded, facts: &Facts<'_>) -> Key {
        let mut key = seed.clone();
        if self.per_route {
            key.add(Field::Route, facts.route.as_bytes());
        }
        for part in &self.parts {
            part.add(facts, &mut key);
        }
        key.key()
    }
}

impl Limit {
    /// Can't be decided before the identity is known.
    pub(super) fn needs_identity(&self) -> bool {
        !self.tiers.is_empty() || self.scope.needs_identity()
    }

    /// `None`: it is none of this limit's.
    pub(super) fn pick<'a>(&'a self, facts: &'a Facts<'a>) -> Option<Pick<'a>> {
        if !self.scope.holds(facts) {
            return None;
        }
        let tier = self.tiers.iter().find(|(tier, _)| facts.tier == Some(tier.as_str()));
        let numbers = tier.map_or(&self.base, |(_, numbers)| numbers);
        let key = self.scope.key(&numbers.seed, facts);
        let (scope, shadow) = (&self.scope, self.shadow);
        let response_cost = self.response_cost.as_ref();
        Some(Pick { key, numbers, metrics: &self.metrics, response_cost, shadow, scope, facts })
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
            Part::Header(name) => key.add(Field::Header, &facts.header(name)),
            Part::Cookie(name) => key.add(Field::Cookie, facts.cookie(name).unwrap_or_default()),
            Part::Query(name) => {
                key.add(Field::Query, facts.query_param(name).unwrap_or_default().as_bytes());
            }
            Part::Claim(path) => key.add(Field::Claim, facts.claim(path).unwrap_or_default().as_bytes()),
            Part::Path => key.add(Field::Path, facts.path.as_bytes()),
            Part::Host => key.add(Field::Host, facts.host.as_bytes()),
            Part::Method => key.add(Field::Method, facts.method.as_bytes()),
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
    match prefixes.of(facts.client) {
        IpAddr::V4(network) => key.add(Field::Client, &network.octets()),
        IpAddr::V6(network) => key.add(Field::Client, &network.octets()),
    }
}

impl Pick<'_> {
    /// To be taken from this dataplane's own count.
    pub(super) fn share(&self) -> Charge {
        Charge { key: self.key, rule: self.numbers.share }
    }

    /// The same for all limits of the policy with this key: a number that is as likely as any other.
    pub(super) fn spread(&self) -> usize {
        self.scope.key(&self.scope.policy, self.facts).spread()
    }

    /// What it takes besides when the response is there.
    pub(super) fn due(&self, local: bool, strict: bool) -> Option<Due> {
        let cost = Arc::clone(self.response_cost?);
        Some(Due {
            key: self.key,
            numbers: Arc::clone(self.numbers),
            spread: self.spread(),
            cost,
            local,
            strict,
        })
    }

    pub(super) fn admitted(&self) {
        self.metrics.allowed.add(1);
    }

    pub(super) fn refused(&self) {
        let counter = if self.shadow { &self.metrics.shadow_limited } else { &self.metrics.limited };
        counter.add(1);
    }
}
