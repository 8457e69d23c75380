//! What the policies of a rule decide about a request, by the code that decides when it is served. Nothing is counted, and
//! nobody is asked.

use std::{
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderValue, Method, Request, Uri, header::WWW_AUTHENTICATE};

use super::Inspected;
use crate::{
    Reason, auth,
    http::{
        headers::{self, Hop},
        policies::{Seen, pass},
        respond::Refusal,
        target::Target,
    },
    limit::{Counted, Facts, Phase},
    snapshot::Rule,
};

/// A request as a client sends it, without a body and without a certificate.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    pub port: u16,
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    /// Who has opened the connection.
    pub peer: IpAddr,
    pub at: SystemTime,
}

/// What all policies together decide.
#[derive(Debug, Default)]
pub struct Decided {
    /// In the order that they are made, up to one that ends it.
    pub decisions: Vec<Decision>,
    /// Why the request is refused, if it is.
    pub refused: Option<Reason>,
}

#[derive(Debug)]
pub struct Decision {
    pub guard: Guard,
    pub outcome: Outcome,
}

/// A policy, by its place in the route resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    Auth(usize),
    RateLimit(usize),
}

#[derive(Debug)]
pub enum Outcome {
    Admits(Who),
    /// With the challenges that the client gets.
    Refuses(Vec<String>),
    /// Somebody else decides, and is not asked: what comes behind is open.
    Asks,
    /// It is counted in these.
    Counts(Vec<Counted>),
}

/// Whom a policy takes the client for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// `NAMESPACE/NAME`.
    pub consumer: Option<String>,
    /// `None`: anonymous.
    pub credential: Option<String>,
    pub tier: Option<String>,
    pub groups: Vec<String>,
}

impl Inspected {
    /// `route`: the resource of the rule that takes the request.
    ///
    /// # Errors
    /// The request has no canonical form and would be refused before routing.
    pub fn decide(&self, route: &str, sent: &Sent<'_>) -> Result<Decided, Reason> {
        let mut decided = Decided::default();
        let rule = self.state.rules().find(|(_, entry, _)| entry.name() == route);
        if let Some(rule) = rule.map(|(_, entry, _)| &entry.target) {
            self.decide_by(rule, sent, &mut decided)?;
        }
        Ok(decided)
    }

    /// In the order of `http::policies`.
    fn decide_by(&self, rule: &Rule, sent: &Sent<'_>, decided: &mut Decided) -> Result<(), Reason> {
        let target = Target::of(sent.method, sent.uri, sent.headers)?;
        let authority = HeaderValue::from_str(target.authority).map_err(|_| Reason::BadRequest)?;
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = sent.method.clone();
        parts.uri = sent.uri.clone();
        parts.headers = sent.headers.clone();
        let trusts = |address| self.snapshot.settings.trusts(address);
        let client = headers::client_address(sent.headers, sent.peer, trusts);
        headers::clean_request(&mut parts.headers, trusts(sent.peer.to_canonical()));
        let scheme = if sent.uri.scheme_str() == Some("https") { "https" } else { "http" };
        headers::set_forwarded(&mut parts.headers, &Hop::new(sent.peer, scheme, sent.port), &authority);

        let seen = Seen { parts: &parts, client, path: Some(&target.path), identity: None };
        let object = rule.plan.object();
        if !decided.limit(rule, Phase::BeforeIdentity, &seen.facts(&target.host, object)) {
            return Ok(());
        }
        let now = sent.at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut policies = Vec::with_capacity(rule.auth().len());
        for (index, policy) in rule.auth().iter().enumerate() {
            let Some(policy) = policy.as_deref() else {
                decided.refuse(Guard::Auth(index), &Reason::PolicyUnavailable.into());
                return Ok(());
            };
            policies.push(policy);
        }
        let (mut tokens, mut identities) = (auth::TokenCache::default(), Vec::with_capacity(policies.len()));
        for (index, policy) in policies.iter().enumerate() {
            let guard = Guard::Auth(index);
            let query = parts.uri.query();
            let request = auth::Request { headers: &parts.headers, query, client, certificate: None };
            match policy.admit(&self.snapshot.consumers, &mut tokens, request, now) {
                Ok(identity) => {
                    decided.add(guard, Outcome::Admits(Who::of(&identity)));
                    identities.push(identity);
                }
                Err(auth::Refusal::Elsewhere) => {
                    decided.add(guard, Outcome::Asks);
                    return Ok(());
                }
                Err(refusal) => {
                    decided.refuse(guard, &refusal.into());
                    return Ok(());
                }
            }
        }
        pass(&policies, &identities, &mut parts, now);
        let identity = auth::Identity::most_telling(identities);
        if let Some(identity) = &identity {
            identity.describe(&mut parts.headers);
        }
        let seen = Seen { parts: &parts, client, path: Some(&target.path), identity: identity.as_ref() };
        decided.limit(rule, Phase::WithIdentity, &seen.facts(&target.host, object));
        Ok(())
    }
}

impl Decided {
    fn add(&mut self, guard: Guard, outcome: Outcome) {
        self.decisions.push(Decision { guard, outcome });
    }

    fn refuse(&mut self, guard: Guard, refusal: &Refusal) {
        let challenges = refusal.headers.get_all(WWW_AUTHENTICATE).iter();
        let challenges = challenges.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        self.add(guard, Outcome::Refuses(challenges.collect()));
        self.refused = Some(refusal.reason);
    }

    /// `false`: the request goes no further.
    fn limit(&mut self, rule: &Rule, phase: Phase, facts: &Facts<'_>) -> bool {
        for (index, policy) in rule.limits().iter().enumerate() {
            let guard = Guard::RateLimit(index);
            let Some(policy) = policy.as_deref().filter(|policy| !policy.is_broken()) else {
                self.refuse(guard, &Reason::PolicyUnavailable.into());
                return false;
            };
            if policy.has(phase) {
                self.add(guard, Outcome::Counts(policy.counts(phase, facts)));
            }
        }
        true
    }
}

impl Who {
    fn of(identity: &auth::Identity) -> Self {
        Who {
            consumer: identity.consumer().map(ToString::to_string),
            credential: identity.credential().map(str::to_owned),
            tier: identity.tier().map(str::to_owned),
            groups: identity.groups().iter().map(ToString::to_string).collect(),
        }
    }
}
