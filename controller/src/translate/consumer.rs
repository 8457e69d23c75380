//! Consumers: the clients that AuthPolicies know. Their API keys leave here as hashes only.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use gatehouse_crds::{ApiKeyCredential, Consumer};
use gatehouse_proto::config::v1::{self, credential, resource::Kind};

use super::{
    Config, Namespaces,
    conditions::{Condition, ConditionType, Problem, reason},
    input::created,
    names,
    status::{ObjectStatus, Statuses},
};
use crate::resources::{ObjectKey, Resources};

/// Who has a key: age, consumer, credential. The smallest keeps it.
type Claim<'a> = (i64, &'a ObjectKey, &'a str);

/// Puts the consumers of the namespaces that a Gateway's AuthPolicies look into, into its configuration.
pub(super) fn emit(
    resources: &Resources,
    namespaces: &Namespaces,
    configs: &mut BTreeMap<ObjectKey, Config>,
    statuses: &mut Statuses,
) {
    let claims = claims(resources);
    for (key, consumer) in &resources.consumers {
        let (wire, problems) = translate(key, consumer, &claims, resources);
        let wire = Arc::new(Kind::Consumer(wire));
        let condition = match Problem::join(problems) {
            None => Condition::is(ConditionType::Accepted, reason::ACCEPTED),
            Some(problem) => Condition::not(ConditionType::Accepted, problem),
        };
        statuses.set(
            "Consumer",
            key,
            ObjectStatus { conditions: vec![condition], ..ObjectStatus::default() },
        );
        for (gateway, config) in configs.iter_mut() {
            if namespaces.get(gateway).is_some_and(|used| used.contains(&key.namespace)) {
                config.insert(names::consumer(key).into(), Arc::clone(&wire));
            }
        }
    }
}

/// Every claim to every key, by namespace and hash.
fn claims(resources: &Resources) -> BTreeMap<(&str, Vec<u8>), Vec<Claim<'_>>> {
    let mut claims: BTreeMap<(&str, Vec<u8>), Vec<Claim<'_>>> = BTreeMap::new();
    for (key, consumer) in &resources.consumers {
        for credential in &consumer.spec.credentials {
            let hash =
                credential.api_key.as_ref().and_then(|api_key| hash(api_key, &key.namespace, resources));
            if let Some(hash) = hash {
                let claim = (created(consumer), key, credential.name.as_str());
                claims.entry((&key.namespace, hash)).or_default().push(claim);
            }
        }
    }
    for several in claims.values_mut() {
        several.sort_unstable();
    }
    claims
}

fn hash(api_key: &ApiKeyCredential, namespace: &str, resources: &Resources) -> Option<Vec<u8>> {
    let secret = resources.secret_entry(namespace, &api_key.secret_ref.name, &api_key.secret_ref.key)?;
    // Editors and `echo` leave a line end that no client would send.
    let key = secret.trim_ascii();
    (!key.is_empty()).then(|| digest(&SHA256, key).as_ref().to_vec())
}

fn translate(
    key: &ObjectKey,
    consumer: &Consumer,
    claims: &BTreeMap<(&str, Vec<u8>), Vec<Claim<'_>>>,
    resources: &Resources,
) -> (v1::Consumer, Vec<Problem>) {
    let spec = &consumer.spec;
    let mut problems = Vec::new();
    let mut credentials = Vec::new();
    for given in &spec.credentials {
        let mut wire = v1::Credential { name: given.name.clone(), ..v1::Credential::default() };
        let invalid =
            |what: String| Problem::new(reason::INVALID, format!("credential {}: {what}", given.name));
        if given.jwt.is_some() && given.api_key.is_some() {
            problems.push(invalid("give exactly one of apiKey and jwt".into()));
            continue;
        }
        if let Some(jwt) = &given.jwt {
            let subject = v1::JwtSubject { issuer: jwt.issuer.clone(), subject: jwt.subject.clone() };
            wire.kind = Some(credential::Kind::Jwt(subject));
            credentials.push(wire);
            continue;
        }
        let Some(api_key) = &given.api_key else {
            problems.push(invalid("give exactly one of apiKey and jwt".into()));
            continue;
        };
        let Some(hash) = hash(api_key, &key.namespace, resources) else {
            let reference = &api_key.secret_ref;
            let message = format!(
                "credential {}: Secret {}/{} has no entry {}",
                given.name, key.namespace, reference.name, reference.key
            );
            problems.push(Problem::new(reason::SECRET_NOT_FOUND, message));
            continue;
        };
        let several = claims.get(&(key.namespace.as_str(), hash.clone())).map_or(&[][..], Vec::as_slice);
        if let [winner, others @ ..] = several
            && !others.is_empty()
        {
            let is_ours = (winner.1, winner.2) == (key, given.name.as_str());
            let rival = if is_ours { others[0] } else { *winner };
            let keeps = if is_ours { "this one keeps it" } else { "that one keeps it" };
            let message =
                format!("credential {}: Consumer {} has the same API key, and {keeps}", given.name, rival.1);
            problems.push(Problem::new(reason::DUPLICATE_CREDENTIAL, message));
            if !is_ours {
                continue;
            }
        }
        match (time(api_key.not_before.as_deref()), time(api_key.expires.as_deref())) {
            (Ok(not_before), Ok(expires)) => {
                // 0 is no bound, and 1970 is one.
                wire.not_before_ms = not_before.map_or(0, |time| time.max(0));
                wire.expires_ms = expires.map_or(0, |time| time.max(1));
                wire.kind = Some(credential::Kind::ApiKeySha256(hash));
                credentials.push(wire);
            }
            (Err(text), _) | (_, Err(text)) => {
                problems.push(invalid(format!("{text:?} is no RFC 3339 time such as 2030-01-31T12:00:00Z")));
            }
        }
    }
    let wire = v1::Consumer {
        username: spec.username.clone().unwrap_or_else(|| key.name.clone()),
        custom_id: spec.custom_id.clone().unwrap_or_default(),
        tier: spec.tier.clone().unwrap_or_default(),
        groups: spec.groups.clone(),
        credentials,
    };
    (wire, problems)
}

/// Unix milliseconds.
fn time(text: Option<&str>) -> Result<Option<i64>, &str> {
    text.map(|text| text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| text))
        .transpose()
}
