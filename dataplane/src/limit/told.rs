//! Which counts a request falls into, in words. Nothing is taken from them.

use std::borrow::Cow;

use super::{
    Facts, Phase, Policy,
    plan::{Part, Prefixes, Scope},
};

/// A count that a request falls into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// As `RateLimit-Policy` lists it: `"each-minute";q=100;w=60`. Of requests under way: `8 at once`.
    pub limit: String,
    /// What requests have in common that fall into it, as `consumer default/alice`. Empty: nothing.
    pub key: Vec<String>,
    /// It never refuses.
    pub shadow: bool,
}

impl Policy {
    /// Nothing of it can be enforced.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// What [`Policy::check`] and [`Policy::enter`] would count the request in.
    pub(crate) fn counts(&self, phase: Phase, facts: &Facts<'_>) -> Vec<Counted> {
        let limits = self.limits(phase);
        let under_way =
            limits.concurrency.iter().filter(|limit| limit.scope.holds(facts)).map(|limit| Counted {
                limit: format!("{} at once", limit.most),
                key: limit.scope.told(facts),
                shadow: limit.shadow,
            });
        let all = limits.enforced.iter().chain(&limits.shadow);
        let counted = all.filter_map(|limit| {
            let pick = limit.pick(facts)?;
            let policy = pick.numbers.shown.policy().to_owned();
            Some(Counted { limit: policy, key: limit.scope.told(facts), shadow: limit.shadow })
        });
        under_way.chain(counted).collect()
    }
}

impl Scope {
    fn told(&self, facts: &Facts<'_>) -> Vec<String> {
        let route = self.per_route.then(|| format!("route {}", facts.route));
        route.into_iter().chain(self.parts.iter().map(|part| part.told(facts))).collect()
    }
}

impl Part {
    fn told(&self, facts: &Facts<'_>) -> String {
        let value = |what: &str, name: &str, value: &[u8]| {
            format!("{what} {name} = {}", String::from_utf8_lossy(value))
        };
        let credential = || match facts.credential {
            Some(credential) => format!("credential {credential}"),
            None => Part::Client(Prefixes::default()).told(facts),
        };
        match self {
            Part::Consumer => {
                facts.consumer.map_or_else(credential, |consumer| format!("consumer {consumer}"))
            }
            Part::Credential => credential(),
            Part::Client(prefixes) => format!("client {}", prefixes.of(facts.client)),
            Part::Header(name) => value("header", name.as_str(), &facts.header(name)),
            Part::Cookie(name) => value("cookie", name, facts.cookie(name).unwrap_or_default()),
            Part::Query(name) => {
                value("query parameter", name, facts.query_param(name).unwrap_or_default().as_bytes())
            }
            Part::Claim(path) => {
                let claim = facts.claim(path).unwrap_or(Cow::Borrowed(""));
                value("claim", path, claim.as_bytes())
            }
            Part::Path => format!("path {}", facts.path),
            Part::Host => format!("host {}", facts.host),
            Part::Method => format!("method {}", facts.method),
        }
    }
}
