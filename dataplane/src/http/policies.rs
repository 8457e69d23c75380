//! The policies that guard a rule: limits by address, then authentication, then limits by identity.

use std::{
    net::IpAddr,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, header::WWW_AUTHENTICATE, request::Parts};

use super::{connection::Connection, exchange::Exchange, external, headers, new_keys, respond::Refusal};
use crate::{
    Reason,
    auth::{self, Identity, Told},
    limit::{Facts, Phase, Quota, Verdict},
    snapshot::{Rule, Snapshot},
};

/// What the policies leave for later steps.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    /// The query without credentials, if it held one.
    pub(super) query: Option<String>,
    /// `None`: nobody is known.
    pub(super) identity: Option<Identity>,
    /// Where the rule keeps answers: whose they are.
    pub(super) told: Told,
    /// Fields of the response that tell what is left of the limits.
    pub(super) quota: HeaderMap,
}

/// `path`: canonical, where it is not what the request's own is.
pub(super) async fn admit(
    connection: &Connection,
    snapshot: &Snapshot,
    rule: &Rule,
    parts: &mut Parts,
    client: IpAddr,
    path: Option<&str>,
    exchange: &mut Exchange,
) -> Result<Admitted, Refusal> {
    let mut admitted = Admitted::default();
    if rule.policies.is_none() {
        return Ok(admitted);
    }
    let now = Instant::now();
    let mut quota = None;
    let seen = Seen { parts, client, path, identity: None };
    limit(connection, rule, Phase::BeforeIdentity, seen, exchange, now, &mut quota).await?;
    let (identity, query) =
        authenticate(connection, snapshot, rule, parts, client, exchange, &mut admitted.told).await?;
    admitted.query = query;
    if let Some(consumer) = identity.as_ref().and_then(Identity::consumer) {
        exchange.consumer(consumer);
    }
    let seen = Seen { parts, client, path, identity: identity.as_ref() };
    limit(connection, rule, Phase::WithIdentity, seen, exchange, now, &mut quota).await?;
    if let Some(quota) = quota {
        quota.write(&mut admitted.quota);
    }
    admitted.identity = identity;
    Ok(admitted)
}

/// Every policy must admit the request, and sees it as the client sent it.
async fn authenticate(
    connection: &Connection,
    snapshot: &Snapshot,
    rule: &Rule,
    parts: &mut Parts,
    client: IpAddr,
    exchange: &mut Exchange,
    told: &mut Told,
) -> Result<(Option<Identity>, Option<String>), Refusal> {
    if rule.auth().is_empty() {
        return Ok((None, None));
    }
    let policies: Vec<&auth::Policy> = rule
        .auth()
        .iter()
        .map(|policy| policy.as_deref().ok_or(Reason::PolicyUnavailable))
        .collect::<Result<_, _>>()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let worker = &connection.worker;
    let mut identities = Vec::with_capacity(policies.len());
    for policy in &policies {
        let request = auth::Request {
            headers: &parts.headers,
            query: parts.uri.query(),
            client,
            certificate: connection.certificate(snapshot),
        };
        let mut outcome = policy.admit(&snapshot.consumers, &mut worker.tokens(), request, now);
        if let Err(auth::Refusal::UnknownKey { jwks, .. }) = &outcome {
            let later = Box::pin(new_keys::admit(worker, policy, jwks, request, now)).await;
            outcome = later.unwrap_or(outcome);
        }
        if let (Err(auth::Refusal::Elsewhere), Some(external)) = (&outcome, policy.external()) {
            let asking = external::ask(connection, snapshot, external, parts, request, exchange.path());
            let identity = Box::pin(asking).await?;
            outcome = policy.authorize(identity, client);
        }
        match outcome {
            Ok(identity) => identities.push(identity),
            Err(refusal) => {
                if let auth::Refusal::Forbidden(Some(consumer)) = &refusal {
                    exchange.consumer(consumer);
                }
                return Err(refusal.into());
            }
        }
    }
    let query = pass(&policies, &identities, parts, now);
    if rule.plan.cache.as_ref().is_some_and(|cache| !cache.shared) {
        *told = Told::of(&policies, &identities, &parts.headers);
    }
    let identity = Identity::most_telling(identities);
    if let Some(identity) = &identity {
        identity.describe(&mut parts.headers);
    }
    Ok((identity, query))
}

/// Makes the request what policies that have admitted it want the backend to see. Gives the query without credentials, if
/// it held one.
pub(crate) fn pass(
    policies: &[&auth::Policy],
    identities: &[Identity],
    parts: &mut Parts,
    now: auth::UnixMillis,
) -> Option<String> {
    for name in policies.iter().flat_map(|policy| policy.owned_headers()) {
        headers::remove_with_aliases(&mut parts.headers, name);
    }
    let mut query = None;
    for (policy, identity) in policies.iter().zip(identities) {
        let current = query.as_deref().or(parts.uri.query());
        if let Some(stripped) = policy.apply(identity, &mut parts.headers, current, now) {
            query = Some(stripped);
        }
    }
    query
}

/// What limits see of a request.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) parts: &'a Parts,
    pub(crate) client: IpAddr,
    /// Canonical, where it is not what the request's own is.
    pub(crate) path: Option<&'a str>,
    pub(crate) identity: Option<&'a Identity>,
}

impl<'a> Seen<'a> {
    /// `route`: the object, as `Kind/namespace/name`.
    pub(crate) fn facts(self, host: &'a str, route: &'a str) -> Facts<'a> {
        let Seen { parts, identity, .. } = self;
        Facts {
            client: self.client,
            method: parts.method.as_str(),
            path: self.path.unwrap_or(parts.uri.path()),
            host,
            query: parts.uri.query(),
            headers: &parts.headers,
            consumer: identity.and_then(Identity::consumer).map(|consumer| &**consumer),
            credential: identity.and_then(Identity::credential),
            tier: identity.and_then(Identity::tier),
            groups: identity.map_or(&[], Identity::groups),
            claims: identity.and_then(Identity::claims),
            route,
        }
    }
}

async fn limit(
    connection: &Connection,
    rule: &Rule,
    phase: Phase,
    seen: Seen<'_>,
    exchange: &mut Exchange,
    now: Instant,
    quota: &mut Option<Quota>,
) -> Result<(), Refusal> {
    for policy in rule.limits() {
        let policy = policy.as_deref().ok_or(Reason::PolicyUnavailable)?;
        if !policy.has(phase) {
            continue;
        }
        let facts = seen.facts(exchange.host(), rule.plan.object());
        let stores = connection.worker.stores();
        let Some(permits) = policy.enter(phase, &facts, &stores) else {
            let mut refusal = Refusal::from(Reason::RateLimited);
            refusal.instead = policy.response().cloned();
            return Err(refusal);
        };
        let outcome = policy.check(phase, &facts, &stores, now).await;
        if outcome.degraded.is_some() {
            connection.worker.sink.metrics().store_failures.add(1);
        }
        match outcome.verdict {
            Verdict::Admit(None) => {}
            Verdict::Admit(Some(more)) => *quota = Some(join(quota.take(), more)),
            Verdict::Refuse(more) => {
                let mut refusal = Refusal::from(Reason::RateLimited);
                join(quota.take(), more).write(&mut refusal.headers);
                refusal.instead = policy.response().cloned();
                return Err(refusal);
            }
            Verdict::Unavailable => return Err(Reason::LimitUnavailable.into()),
            Verdict::Broken => return Err(Reason::PolicyUnavailable.into()),
        }
        exchange.hold(permits);
        exchange.owe(outcome.due);
    }
    Ok(())
}

fn join(first: Option<Quota>, second: Quota) -> Quota {
    match first {
        Some(first) => first.and(second),
        None => second,
    }
}

impl From<auth::Refusal> for Refusal {
    fn from(refusal: auth::Refusal) -> Self {
        match refusal {
            // Nobody is there to be asked.
            auth::Refusal::Unavailable | auth::Refusal::Elsewhere => Reason::PolicyUnavailable.into(),
            auth::Refusal::Forbidden(_) => Reason::Forbidden.into(),
            auth::Refusal::Unauthenticated(challenges) | auth::Refusal::UnknownKey { challenges, .. } => {
                let mut refusal = Refusal::from(Reason::Unauthenticated);
                for challenge in challenges {
                    refusal.headers.append(WWW_AUTHENTICATE, challenge);
                }
                refusal
            }
        }
    }
}
