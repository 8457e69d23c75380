//! AuthPolicy -> `AuthConfig`.

use gatehouse_crds::{Anonymous, AuthMethod, AuthPolicy, CredentialSource, JwtMethod, KeyFormat};
use gatehouse_proto::config::v1::{self, auth_method, credential_source, jwt_key};
use serde_json::Value;

use crate::{
    resources::{ObjectKey, Resources},
    translate::conditions::{Problem, reason},
};

const DEFAULT_ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

/// A policy that does not exist or whose keys can't be had becomes one that refuses.
pub(super) fn config(key: &ObjectKey, resources: &Resources) -> (v1::AuthConfig, Option<Problem>) {
    let Some(policy) = resources.auth_policies.get(key) else {
        return (broken(key, format!("AuthPolicy {key} does not exist")), None);
    };
    match methods(policy, key, resources) {
        Ok((any_of, pending)) => {
            let spec = &policy.spec;
            let config = v1::AuthConfig {
                namespace: key.namespace.clone(),
                any_of,
                allow_anonymous: spec.anonymous == Anonymous::Allow,
                identity: spec.identity.as_ref().map(|identity| v1::IdentityForwarding {
                    claims: identity
                        .claims
                        .iter()
                        .map(|claim| v1::ClaimHeader {
                            claim: claim.claim.clone(),
                            header: claim.header.clone(),
                        })
                        .collect(),
                    forward_credential: identity.forward_credential,
                }),
                broken: String::new(),
            };
            (config, pending)
        }
        Err(problem) => (broken(key, problem.message.clone()), Some(problem)),
    }
}

fn broken(key: &ObjectKey, reason: String) -> v1::AuthConfig {
    v1::AuthConfig { namespace: key.namespace.clone(), broken: reason, ..v1::AuthConfig::default() }
}

/// With a problem that goes away by itself, if keys are still to come.
fn methods(
    policy: &AuthPolicy,
    key: &ObjectKey,
    resources: &Resources,
) -> Result<(Vec<v1::AuthMethod>, Option<Problem>), Problem> {
    let mut pending = None;
    let methods = policy
        .spec
        .any_of
        .iter()
        .enumerate()
        .map(|(index, method)| {
            let kind = match method {
                AuthMethod { jwt: Some(jwt), .. } => {
                    let (jwt, problem) = self::jwt(jwt, index, key, resources)?;
                    pending = pending.take().or(problem);
                    auth_method::Kind::Jwt(jwt)
                }
                AuthMethod { api_key: Some(api_key), .. } => auth_method::Kind::ApiKey(v1::ApiKey {
                    sources: api_key.sources.iter().filter_map(source).collect(),
                }),
                AuthMethod { jwt: None, api_key: None } => {
                    let message = format!("anyOf[{index}]: give exactly one of jwt and apiKey");
                    return Err(Problem::new(reason::INVALID, message));
                }
            };
            Ok(v1::AuthMethod { kind: Some(kind) })
        })
        .collect::<Result<_, Problem>>()?;
    Ok((methods, pending))
}

fn jwt(
    jwt: &JwtMethod,
    index: usize,
    policy: &ObjectKey,
    resources: &Resources,
) -> Result<(v1::Jwt, Option<Problem>), Problem> {
    let invalid = |what: String| Problem::new(reason::INVALID, format!("anyOf[{index}].jwt: {what}"));
    let mut algorithms: Vec<&str> = jwt.algorithms.iter().map(String::as_str).collect();
    let mut pending = None;
    let mut keys_pending = false;
    let keys = if let Some(jwks) = &jwt.jwks {
        let state = resources.jwks.get(&jwks.url);
        match state.and_then(|state| state.document.as_deref()) {
            Some(document) => keys_of(document).map_err(|error| invalid(format!("{}: {error}", jwks.url)))?,
            None => {
                let why = state.and_then(|state| state.error.as_deref()).unwrap_or("not fetched yet");
                keys_pending = true;
                pending = Some(Problem::new(
                    reason::KEYS_PENDING,
                    format!("anyOf[{index}].jwt.jwks: {}: {why}", jwks.url),
                ));
                Vec::new()
            }
        }
    } else if let Some(secret) = &jwt.secret_ref {
        let bytes =
            resources.secret_entry(&policy.namespace, &secret.name, &secret.key).ok_or_else(|| {
                let message = format!(
                    "anyOf[{index}].jwt.secretRef: Secret {}/{} has no entry {}",
                    policy.namespace, secret.name, secret.key
                );
                Problem::new(reason::SECRET_NOT_FOUND, message)
            })?;
        let text =
            || std::str::from_utf8(bytes).map_err(|_| invalid(format!("Secret {} is no text", secret.name)));
        match secret.format {
            KeyFormat::Jwks => {
                keys_of(text()?).map_err(|error| invalid(format!("Secret {}: {error}", secret.name)))?
            }
            KeyFormat::Pem => vec![key(jwt_key::Kind::PublicKeyPem(text()?.to_owned()))],
            KeyFormat::Hmac => {
                if bytes.len() < 32 {
                    let message = format!(
                        "Secret {}: a shared secret needs at least 32 bytes, it has {}",
                        secret.name,
                        bytes.len()
                    );
                    return Err(invalid(message));
                }
                if algorithms.is_empty() {
                    algorithms.push("HS256");
                }
                vec![key(jwt_key::Kind::Secret(bytes.to_vec()))]
            }
        }
    } else {
        match jwt.inline.as_ref().map(|inline| (&inline.jwks, &inline.pem)) {
            Some((Some(document), _)) => {
                keys_of(document).map_err(|error| invalid(format!("inline.jwks: {error}")))?
            }
            Some((None, Some(pem))) => vec![key(jwt_key::Kind::PublicKeyPem(pem.clone()))],
            _ => return Err(invalid("give exactly one of jwks, secretRef and inline".into())),
        }
    };
    if algorithms.is_empty() {
        algorithms.extend(DEFAULT_ALGORITHMS);
    }
    let wire = v1::Jwt {
        issuer: jwt.issuer.clone(),
        audiences: jwt.audiences.clone(),
        algorithms: algorithms.into_iter().map(str::to_owned).collect(),
        keys,
        sources: jwt.sources.iter().filter_map(source).collect(),
        leeway_seconds: u32::try_from(jwt.leeway_seconds).unwrap_or(0),
        keys_pending,
    };
    Ok((wire, pending))
}

/// Each key of a JSON Web Key Set by itself: one that can't be used must not harm the others.
fn keys_of(document: &str) -> Result<Vec<v1::JwtKey>, String> {
    let set: Value =
        serde_json::from_str(document).map_err(|error| format!("no JSON Web Key Set: {error}"))?;
    let keys =
        set.get("keys").and_then(Value::as_array).ok_or("no JSON Web Key Set: it has no list `keys`")?;
    if keys.is_empty() {
        return Err("the JSON Web Key Set holds no key".into());
    }
    Ok(keys.iter().map(|jwk| key(jwt_key::Kind::Jwk(jwk.to_string()))).collect())
}

fn key(kind: jwt_key::Kind) -> v1::JwtKey {
    v1::JwtKey { kind: Some(kind), key_id: String::new() }
}

fn source(source: &CredentialSource) -> Option<v1::CredentialSource> {
    let kind = if let Some(header) = &source.header {
        credential_source::Kind::Header(v1::HeaderSource {
            name: header.name.clone(),
            scheme: header.scheme.clone().unwrap_or_default(),
        })
    } else if let Some(query) = &source.query {
        credential_source::Kind::Query(query.name.clone())
    } else {
        credential_source::Kind::Cookie(source.cookie.as_ref()?.name.clone())
    };
    Some(v1::CredentialSource { kind: Some(kind) })
}
