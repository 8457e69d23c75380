//! Who of those that are known may pass: a list of rules, any of which admits.
//!
//! Pure, and without allocation on the way of a request.

mod claim;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use gatehouse_proto::config::v1;

use super::{Identity, Invalid, networks::Networks};
use claim::ClaimCondition;

#[derive(Debug, Default)]
pub(super) struct Authorization {
    denied: Networks,
    /// None: whoever is known passes.
    rules: Box<[Rule]>,
}

/// All that it states must hold; what is empty states nothing.
#[derive(Debug)]
struct Rule {
    /// Sorted.
    groups: Box<[Box<str>]>,
    /// Sorted.
    tiers: Box<[Box<str>]>,
    claims: Box<[ClaimCondition]>,
    clients: Networks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Admitted,
    /// Nobody is known, and somebody could be admitted.
    Unknown,
    Refused,
}

impl Authorization {
    pub(super) fn compile(config: &v1::AuthConfig) -> Result<Self, Invalid> {
        Ok(Authorization {
            denied: Networks::compile("denyClientIPs", &config.denied_clients)?,
            rules: config.authorize.iter().map(Rule::compile).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.denied.is_empty() && self.rules.is_empty()
    }

    /// Whoever comes from there, whatever it shows.
    pub(super) fn denies(&self, client: IpAddr) -> bool {
        self.denied.contains(client)
    }

    pub(super) fn judge(&self, identity: &Identity, client: IpAddr) -> Verdict {
        if self.rules.is_empty() {
            return Verdict::Admitted;
        }
        let mut somebody = false;
        for rule in self.rules.iter().filter(|rule| rule.is_for(client)) {
            if rule.holds_for(identity) {
                return Verdict::Admitted;
            }
            somebody = true;
        }
        if somebody && identity.credential().is_none() { Verdict::Unknown } else { Verdict::Refused }
    }
}

impl Rule {
    fn compile(wire: &v1::Authorization) -> Result<Self, Invalid> {
        let rule = Rule {
            groups: sorted(&wire.groups),
            tiers: sorted(&wire.tiers),
            claims: wire.claims.iter().map(ClaimCondition::compile).collect::<Result<_, _>>()?,
            clients: Networks::compile("authorize.clientIPs", &wire.clients)?,
        };
        // It would admit everybody, which nobody says by nothing.
        if rule.groups.is_empty()
            && rule.tiers.is_empty()
            && rule.claims.is_empty()
            && rule.clients.is_empty()
        {
            return Err(Invalid(
                "authorize: a rule states none of groups, tiers, claims and clientIPs that this dataplane knows".into(),
            ));
        }
        Ok(rule)
    }

    fn is_for(&self, client: IpAddr) -> bool {
        self.clients.is_empty() || self.clients.contains(client)
    }

    fn holds_for(&self, identity: &Identity) -> bool {
        let is_one = |known: &[Box<str>], own: &str| known.binary_search_by(|one| (**one).cmp(own)).is_ok();
        let in_group = || identity.groups().iter().any(|group| is_one(&self.groups, group));
        let in_tier = || identity.tier().is_some_and(|tier| is_one(&self.tiers, tier));
        let claims = || {
            // Without claims nothing is known of any, not even that one is absent.
            identity
                .claims()
                .is_some_and(|claims| self.claims.iter().all(|condition| condition.holds(claims)))
        };
        (self.groups.is_empty() || in_group())
            && (self.tiers.is_empty() || in_tier())
            && (self.claims.is_empty() || claims())
    }
}

fn sorted(texts: &[String]) -> Box<[Box<str>]> {
    let mut sorted: Vec<Box<str>> = texts.iter().map(|text| text.as_str().into()).collect();
    sorted.sort_unstable();
    sorted.into()
}
