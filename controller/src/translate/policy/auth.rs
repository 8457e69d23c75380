//! AuthPolicy -> `AuthConfig`.

use gatehouse_crds::{
    Anonymous, AuthMethod, AuthPolicy, CredentialSource, ExternalAuthProtocol, JwtMethod, KeyFormat,
};
use gatehouse_proto::config::v1::{self, auth_method, credential_source};

use super::{BackendTls, Findings, authorize, external, identity, keys};
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

/// A policy that does not exist or whose keys can't be had becomes one that refuses.
pub(super) fn config(
    key: &ObjectKey,
    backend_tls: &BackendTls,
    resources: &Resources,
) -> (v1::AuthConfig, Findings) {
    let Some(policy) = resources.auth_policies.get(key) else {
        return (broken(key, format!("AuthPolicy {key} does not exist")), Findings::default());
    };
    let mut findings = Findings::default();
    match compile(policy, key, backend_tls, resources, &mut findings) {
        Ok(config) => (config, findings),
        Err(problem) => {
            let broken = broken(key, problem.message.clone());
            // The reference is what is wrong, and the policy can't do its work.
            let unresolved =
                [reason::SECRET_NOT_FOUND, reason::INVALID_CA_CERTIFICATE_REF, reason::BACKEND_NOT_FOUND]
                    .contains(&problem.reason)
                    .then(|| problem.clone());
            (broken, Findings { unaccepted: Some(problem), unresolved, ..Findings::default() })
        }
    }
}

fn broken(key: &ObjectKey, reason: String) -> v1::AuthConfig {
    v1::AuthConfig { namespace: key.namespace.clone(), broken: reason, ..v1::AuthConfig::default() }
}

fn compile(
    policy: &AuthPolicy,
    key: &ObjectKey,
    backend_tls: &BackendTls,
    resources: &Resources,
    findings: &mut Findings,
) -> Result<v1::AuthConfig, Problem> {
    let spec = &policy.spec;
    let any_of: Vec<_> = spec
        .any_of
        .iter()
        .enumerate()
        .map(|(index, method)| {
            self::method(method, &format!("anyOf[{index}]"), key, backend_tls, resources, findings)
        })
        .collect::<Result<_, _>>()?;
    if any_of.is_empty() && spec.anonymous == Anonymous::Deny {
        let message = "without a method in anyOf nobody gets in: add one, or anonymous: Allow";
        return Err(Problem::new(reason::INVALID, message));
    }
    let (authorize, denied_clients) = authorize::compile(spec)?;
    if any_of.is_empty() && authorize.is_empty() && denied_clients.is_empty() {
        let message = "without anyOf the policy needs authorize or denyClientIPs";
        return Err(Problem::new(reason::INVALID, message));
    }
    let externals = spec.any_of.iter().filter(|method| method.external.is_some()).count();
    let is_last = spec.any_of.last().is_some_and(|method| method.external.is_some());
    if externals > usize::from(is_last) {
        let message = "external decides about all that comes to it: give one, as the last of anyOf";
        return Err(Problem::new(reason::INVALID, message));
    }
    if externals > 0 && spec.anonymous == Anonymous::Allow {
        let message = "external decides about who shows nothing, too: leave anonymous at Deny";
        return Err(Problem::new(reason::INVALID, message));
    }
    let identity = spec.identity.as_ref().map(|told| identity::compile(told, key, resources));
    Ok(v1::AuthConfig {
        namespace: key.namespace.clone(),
        any_of,
        allow_anonymous: spec.anonymous == Anonymous::Allow,
        identity: identity.transpose()?,
        broken: String::new(),
        authorize,
        denied_clients,
    })
}

fn method(
    method: &AuthMethod,
    place: &str,
    policy: &ObjectKey,
    backend_tls: &BackendTls,
    resources: &Resources,
    findings: &mut Findings,
) -> Result<v1::AuthMethod, Problem> {
    let AuthMethod { jwt, api_key, basic, client_certificate, external } = method;
    let kind = match (jwt, api_key, basic, client_certificate, external) {
        (Some(jwt), None, None, None, None) => {
            auth_method::Kind::Jwt(self::jwt(jwt, &format!("{place}.jwt"), policy, resources, findings)?)
        }
        (None, Some(api_key), None, None, None) => auth_method::Kind::ApiKey(v1::ApiKey {
            sources: sources(&api_key.sources, &format!("{place}.apiKey"))?,
        }),
        (None, None, Some(_), None, None) => auth_method::Kind::Basic(v1::Empty {}),
        (None, None, None, None, Some(external)) => {
            let place = format!("{place}.external");
            let (wire, service) = external::compile(external, &place, policy, backend_tls, resources)?;
            findings.services.push((wire.service.clone(), service));
            match external.protocol {
                ExternalAuthProtocol::Http => auth_method::Kind::External(wire),
                ExternalAuthProtocol::Grpc => auth_method::Kind::ExternalGrpc(wire),
            }
        }
        (None, None, None, Some(_), None) => auth_method::Kind::ClientCertificate(v1::Empty {}),
        _ => {
            let message =
                format!("{place}: give exactly one of jwt, apiKey, basic, clientCertificate and external");
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
        jwks: found.jwks,
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
