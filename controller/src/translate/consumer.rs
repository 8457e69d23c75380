//! Consumers: the clients that AuthPolicies know. Their API keys and passwords leave here as hashes only.

mod claims;

use std::collections::BTreeMap;

use gatehouse_crds::{Consumer, Credential};
use gatehouse_proto::config::v1::{self, credential::Kind as Wire, resource::Kind};

use super::{
    Contents, Namespaces,
    conditions::{Condition, ConditionType, Problem, reason},
    names,
    status::{ObjectStatus, Statuses},
};
use crate::{
    resources::{ObjectKey, Resources},
    serve::Content,
};
use claims::{Claims, Proof};

/// Puts the consumers of the namespaces that a Gateway's AuthPolicies look into, into its configuration.
pub(super) fn emit(
    resources: &Resources,
    namespaces: &Namespaces,
    configs: &mut BTreeMap<ObjectKey, Contents>,
    statuses: &mut Statuses,
) {
    let claims = Claims::new(resources);
    for (key, consumer) in &resources.consumers {
        let (wire, problems) = translate(key, consumer, &claims, resources);
        let wire = Content::from(Kind::Consumer(wire));
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
                config.insert(names::consumer(key).into(), wire.clone());
            }
        }
    }
}

/// What is wrong with one credential leaves the others in force.
fn translate<'a>(
    key: &'a ObjectKey,
    consumer: &Consumer,
    claims: &Claims<'a>,
    resources: &Resources,
) -> (v1::Consumer, Vec<Problem>) {
    let spec = &consumer.spec;
    let mut problems = Vec::new();
    let mut credentials = Vec::new();
    for given in &spec.credentials {
        let told = |mut problem: Problem| {
            problem.message = format!("credential {}: {}", given.name, problem.message);
            problem
        };
        match credential(given, key, consumer, resources) {
            Err(problem) => problems.push(told(problem)),
            Ok(wire) => {
                let proof = Proof::of(given, key, consumer, resources);
                let rival = proof.as_ref().and_then(|proof| Some((proof, claims.rival(key, proof)?)));
                let we_keep_it = rival.as_ref().is_none_or(|(_, rival)| rival.we_keep_it);
                if let Some((proof, rival)) = rival {
                    let keeps = if we_keep_it { "this one keeps it" } else { "that one keeps it" };
                    let message =
                        format!("Consumer {} has the same {}, and {keeps}", rival.consumer, proof.what());
                    problems.push(told(Problem::new(reason::DUPLICATE_CREDENTIAL, message)));
                }
                credentials.extend(we_keep_it.then_some(wire));
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

/// The problem does not say of which credential.
fn credential(
    given: &Credential,
    key: &ObjectKey,
    consumer: &Consumer,
    resources: &Resources,
) -> Result<v1::Credential, Problem> {
    let no_entry = |name: &str, entry: &str| {
        let message = format!("Secret {}/{name} has no entry {entry}", key.namespace);
        Problem::new(reason::SECRET_NOT_FOUND, message)
    };
    let (kind, not_before, expires) = match (&given.jwt, &given.api_key, &given.basic, &given.certificate) {
        (Some(jwt), None, None, None) => {
            let subject = v1::JwtSubject { issuer: jwt.issuer.clone(), subject: jwt.subject.clone() };
            (Wire::Jwt(subject), None, None)
        }
        (None, Some(api_key), None, None) => {
            let hash = claims::api_key_hash(api_key, &key.namespace, resources)
                .ok_or_else(|| no_entry(&api_key.secret_ref.name, &api_key.secret_ref.key))?;
            (Wire::ApiKeySha256(hash), api_key.not_before.as_deref(), api_key.expires.as_deref())
        }
        (None, None, Some(basic), None) => {
            let user = claims::user(basic, key, consumer);
            if user.contains(':') {
                let message =
                    format!("the user name {user:?} holds a colon, which ends it: give another username");
                return Err(Problem::new(reason::INVALID, message));
            }
            let reference = &basic.password_secret_ref;
            let hash = claims::password_hash(basic, user, &key.namespace, resources)
                .ok_or_else(|| no_entry(&reference.name, &reference.key))?;
            (Wire::PasswordSha256(hash), basic.not_before.as_deref(), basic.expires.as_deref())
        }
        (None, None, None, Some(certificate)) => {
            let name = claims::certificate_name(certificate).ok_or_else(|| {
                Problem::new(reason::INVALID, "certificate: give exactly one of dns, uri, email and subject")
            })?;
            (Wire::Certificate(name), None, None)
        }
        _ => {
            return Err(Problem::new(
                reason::INVALID,
                "give exactly one of apiKey, jwt, basic and certificate",
            ));
        }
    };
    let time = |text| {
        time(text).map_err(|text| {
            let message = format!("{text:?} is no RFC 3339 time such as 2030-01-31T12:00:00Z");
            Problem::new(reason::INVALID, message)
        })
    };
    Ok(v1::Credential {
        name: given.name.clone(),
        // 0 is no bound, and 1970 is one.
        not_before_ms: time(not_before)?.map_or(0, |time| time.max(0)),
        expires_ms: time(expires)?.map_or(0, |time| time.max(1)),
        kind: Some(kind),
    })
}

/// Unix milliseconds.
fn time(text: Option<&str>) -> Result<Option<i64>, &str> {
    text.map(|text| text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| text))
        .transpose()
}
