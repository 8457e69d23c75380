//! AuthPolicy -> `AuthConfig`.

use gatehouse_crds::{
    Anonymous, AuthMethod, AuthPolicy, ClaimHeader, CredentialSource, JwtMethod, KeyFormat,
};
use gatehouse_proto::config::v1::{self, auth_method, credential_source};

use super::{Findings, keys};
use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        check,
        conditions::{Problem, reason},
    },
};

const DEFAULT_ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];
/// What dataplanes know.
const ALGORITHMS: [&str; 12] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
    "HS512",
];
/// Request headers that the gateway itself sets, or how they begin.
const OWNED_HEADERS: [&str; 4] = ["x-consumer", "x-forwarded", "x-real-ip", "x-request-id"];

/// A policy that does not exist or whose keys can't be had becomes one that refuses.
pub(super) fn config(key: &ObjectKey, resources: &Resources) -> (v1::AuthConfig, Findings) {
    let Some(policy) = resources.auth_policies.get(key) else {
        return (broken(key, format!("AuthPolicy {key} does not exist")), Findings::default());
    };
    let mut findings = Findings::default();
    match compile(policy, key, resources, &mut findings) {
        Ok(config) => (config, findings),
        Err(problem) => {
            let broken = broken(key, problem.message.clone());
            // The reference is what is wrong, and the policy can't do its work.
            let unresolved = (problem.reason == reason::SECRET_NOT_FOUND).then(|| problem.clone());
            (broken, Findings { unaccepted: Some(problem), unresolved, notes: Vec::new() })
        }
    }
}

fn broken(key: &ObjectKey, reason: String) -> v1::AuthConfig {
    v1::AuthConfig { namespace: key.namespace.clone(), broken: reason, ..v1::AuthConfig::default() }
}

fn compile(
    policy: &AuthPolicy,
    key: &ObjectKey,
    resources: &Resources,
    findings: &mut Findings,
) -> Result<v1::AuthConfig, Problem> {
    let spec = &policy.spec;
    let any_of = spec
        .any_of
        .iter()
        .enumerate()
        .map(|(index, method)| self::method(method, &format!("anyOf[{index}]"), key, resources, findings))
        .collect::<Result<_, _>>()?;
    let identity = spec.identity.as_ref().map(|identity| {
        Ok::<_, Problem>(v1::IdentityForwarding {
            claims: identity.claims.iter().map(claim).collect::<Result<_, _>>()?,
            forward_credential: identity.forward_credential,
        })
    });
    Ok(v1::AuthConfig {
        namespace: key.namespace.clone(),
        any_of,
        allow_anonymous: spec.anonymous == Anonymous::Allow,
        identity: identity.transpose()?,
        broken: String::new(),
    })
}

fn method(
    method: &AuthMethod,
    place: &str,
    policy: &ObjectKey,
    resources: &Resources,
    findings: &mut Findings,
) -> Result<v1::AuthMethod, Problem> {
    let kind = match (&method.jwt, &method.api_key) {
        (Some(jwt), None) => {
            auth_method::Kind::Jwt(self::jwt(jwt, &format!("{place}.jwt"), policy, resources, findings)?)
        }
        (None, Some(api_key)) => auth_method::Kind::ApiKey(v1::ApiKey {
            sources: sources(&api_key.sources, &format!("{place}.apiKey"))?,
        }),
        _ => {
            let message = format!("{place}: give exactly one of jwt and apiKey");
            return Err(Problem::new(reason::INVALID, message));
        }
    };
    Ok(v1::AuthMethod { kind: Some(kind) })
}

fn jwt(
    jwt: &JwtMethod,
    place: &str,
    policy: &ObjectKey,
    resources: &Resources,
    findings: &mut Findings,
) -> Result<v1::Jwt, Problem> {
    let algorithms = algorithms(jwt)
        .map_err(|what| Problem::new(reason::INVALID, format!("{place}.algorithms: {what}")))?;
    let found = keys::of(jwt, &algorithms, place, policy, resources)?;
    if let Some(pending) = &found.pending {
        let problem = Problem::new(reason::KEYS_PENDING, format!("{place}.{pending}"));
        findings.unresolved = Problem::join(findings.unresolved.take().into_iter().chain([problem]));
    }
    findings.notes.extend(found.notes.iter().map(|note| format!("{place}: {note}")));
    Ok(v1::Jwt {
        issuer: jwt.issuer.clone(),
        audiences: jwt.audiences.clone(),
        algorithms: algorithms.into_iter().map(str::to_owned).collect(),
        keys_pending: found.pending.is_some(),
        keys: found.keys,
        sources: sources(&jwt.sources, place)?,
        leeway_seconds: u32::try_from(jwt.leeway_seconds).unwrap_or(0),
    })
}

/// A public key must never be taken for a shared secret, nor the other way round (RFC 8725, 2.1).
fn algorithms(jwt: &JwtMethod) -> Result<Vec<&str>, String> {
    let format = jwt.secret_ref.as_ref().map(|secret| secret.format);
    if jwt.algorithms.is_empty() {
        return Ok(if format == Some(KeyFormat::Hmac) { vec!["HS256"] } else { DEFAULT_ALGORITHMS.to_vec() });
    }
    let algorithms: Vec<&str> = jwt.algorithms.iter().map(String::as_str).collect();
    if let Some(unknown) = algorithms.iter().find(|name| !ALGORITHMS.contains(name)) {
        return Err(format!("{unknown:?} is not known"));
    }
    let shared = algorithms.iter().filter(|name| name.starts_with("HS")).count();
    match format {
        Some(KeyFormat::Hmac) if shared < algorithms.len() => {
            Err("a shared secret verifies HS256, HS384 and HS512 only".into())
        }
        Some(KeyFormat::Hmac | KeyFormat::Jwks) => Ok(algorithms),
        _ if shared > 0 => {
            Err("HS256, HS384 and HS512 need a shared secret: use secretRef with format HMAC or JWKS".into())
        }
        _ => Ok(algorithms),
    }
}

fn claim(claim: &ClaimHeader) -> Result<v1::ClaimHeader, Problem> {
    let invalid = |what: String| Problem::new(reason::INVALID, format!("identity.claims: {what}"));
    check::header_name(&claim.header).map_err(invalid)?;
    let lower = claim.header.to_ascii_lowercase();
    if !lower.starts_with("x-") || OWNED_HEADERS.iter().any(|owned| lower.starts_with(owned)) {
        let what =
            format!("header {}: begin with X-, and not with what the gateway itself sets", claim.header);
        return Err(invalid(what));
    }
    Ok(v1::ClaimHeader { claim: claim.claim.clone(), header: claim.header.clone() })
}

fn sources(sources: &[CredentialSource], place: &str) -> Result<Vec<v1::CredentialSource>, Problem> {
    let invalid = |what: String| Problem::new(reason::INVALID, format!("{place}.sources: {what}"));
    sources.iter().map(|one| source(one).map_err(invalid)).collect()
}

fn source(source: &CredentialSource) -> Result<v1::CredentialSource, String> {
    let kind = match (&source.header, &source.query, &source.cookie) {
        (Some(header), None, None) => {
            check::token(&header.name)?;
            credential_source::Kind::Header(v1::HeaderSource {
                name: header.name.clone(),
                scheme: header.scheme.clone().unwrap_or_default(),
            })
        }
        (None, Some(query), None) => credential_source::Kind::Query(query.name.clone()),
        (None, None, Some(cookie)) => credential_source::Kind::Cookie(cookie.name.clone()),
        _ => return Err("give exactly one of header, query and cookie".into()),
    };
    Ok(v1::CredentialSource { kind: Some(kind) })
}
