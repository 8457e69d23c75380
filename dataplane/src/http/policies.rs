//! The policies that guard a rule: limits by address, then authentication, then limits by identity.

use std::{
    net::IpAddr,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, header::WWW_AUTHENTICATE, request::Parts};

use super::{connection::Connection, exchange::Exchange, headers, respond::Refusal};
use crate::{
    Reason,
    auth::{self, Identity},
    limit::{Facts, Phase, Quota, Verdict},
    snapshot::{Rule, Snapshot},
};

/// What the policies leave for later steps.
#[derive(Debug, Default)]
pub(super) struct Admitted {
    /// The query without credentials, if it held one.
    pub(super) query: Option<String>,
    /// Fields of the response that tell what is left of the limits.
    pub(super) quota: HeaderMap,
}

pub(super) async fn admit(
    connection: &Connection,
    snapshot: &Snapshot,
    rule: &Rule,
    parts: &mut Parts,
    client: IpAddr,
    exchange: &mut Exchange,
) -> Result<Admitted, Refusal> {
    let mut admitted = Admitted::default();
    if rule.auth.is_empty() && rule.limits.is_empty() {
        return Ok(admitted);
    }
    let now = Instant::now();
    let mut quota = None;
    limit(connection, rule, Phase::BeforeIdentity, parts, client, None, now, &mut quota).await?;
    let (identity, query) = authenticate(connection, snapshot, rule, parts)?;
    admitted.query = query;
    if let Some(consumer) = identity.as_ref().and_then(Identity::consumer) {
        exchange.consumer(consumer);
    }
    limit(connection, rule, Phase::WithIdentity, parts, client, identity.as_ref(), now, &mut quota).await?;
    if let Some(quota) = quota {
        quota.write(&mut admitted.quota);
    }
    Ok(admitted)
}

/// Every policy must admit the request, and sees it as the client sent it.
fn authenticate(
    connection: &Connection,
    snapshot: &Snapshot,
    rule: &Rule,
    parts: &mut Parts,
) -> Result<(Option<Identity>, Option<String>), Refusal> {
    if rule.auth.is_empty() {
        return Ok((None, None));
    }
    let policies: Vec<&auth::Policy> = rule
        .auth
        .iter()
        .map(|policy| policy.as_deref().ok_or(Reason::PolicyUnavailable))
        .collect::<Result<_, _>>()?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let identities = policies
        .iter()
        .map(|policy| {
            let request = auth::Request { headers: &parts.headers, query: parts.uri.query() };
            let mut tokens = connection.worker.tokens();
            policy.authenticate(&snapshot.consumers, &mut tokens, request, now).map_err(Refusal::from)
        })
        .collect::<Result<Vec<_>, _>>()?;
    for name in policies.iter().flat_map(|policy| policy.owned_headers()) {
        headers::remove_with_aliases(&mut parts.headers, name);
    }
    let mut query = None;
    for (policy, identity) in policies.iter().zip(&identities) {
        let current = query.as_deref().or(parts.uri.query());
        if let Some(stripped) = policy.apply(identity, &mut parts.headers, current) {
            query = Some(stripped);
        }
    }
    let identity = Identity::most_telling(identities);
    if let Some(identity) = &identity {
        identity.describe(&mut parts.headers);
    }
    Ok((identity, query))
}

#[allow(clippy::too_many_arguments)] // One call site a phase; a struct would only rename them.
async fn limit(
    connection: &Connection,
    rule: &Rule,
    phase: Phase,
    parts: &Parts,
    client: IpAddr,
    identity: Option<&Identity>,
    now: Instant,
    quota: &mut Option<Quota>,
) -> Result<(), Refusal> {
    for policy in &rule.limits {
        let policy = policy.as_deref().ok_or(Reason::PolicyUnavailable)?;
        if !policy.has(phase) {
            continue;
        }
        let facts = Facts {
            client,
            headers: &parts.headers,
            consumer: identity.and_then(Identity::consumer).map(|consumer| &**consumer),
            credential: identity.and_then(Identity::credential),
            tier: identity.and_then(Identity::tier),
            route: rule.plan.object(),
        };
        let stores = connection.worker.stores();
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
                return Err(refusal);
            }
            Verdict::Unavailable => return Err(Reason::LimitUnavailable.into()),
            Verdict::Broken => return Err(Reason::PolicyUnavailable.into()),
        }
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
            auth::Refusal::Unavailable => Reason::PolicyUnavailable.into(),
            auth::Refusal::Unauthenticated(challenges) => {
                let mut refusal = Refusal::from(Reason::Unauthenticated);
                for challenge in challenges {
                    refusal.headers.append(WWW_AUTHENTICATE, challenge);
                }
                refusal
            }
        }
    }
}
