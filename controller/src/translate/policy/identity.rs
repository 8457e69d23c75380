//! What backends are told of a client.

use gatehouse_crds::{ClaimHeader, Identity, IdentityToken, SigningAlgorithm, parse_duration};
use gatehouse_proto::config::v1;
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};

use super::keys::SHORTEST_SECRET;
use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        check,
        conditions::{Problem, reason},
    },
};

/// Request headers that the gateway itself sets, or how they begin.
const OWNED_HEADERS: [&str; 4] = ["x-consumer", "x-forwarded", "x-real-ip", "x-request-id"];
/// One hour.
const LONGEST_LIFETIME: u64 = 3600;

pub(super) fn compile(
    identity: &Identity,
    policy: &ObjectKey,
    resources: &Resources,
) -> Result<v1::IdentityForwarding, Problem> {
    let token = identity.token.as_ref().map(|told| token(told, policy, resources)).transpose()?;
    let claims: Vec<_> = identity.claims.iter().map(claim).collect::<Result<_, _>>()?;
    if let Some(token) = &token
        && claims.iter().any(|claim| claim.header.eq_ignore_ascii_case(&token.header))
    {
        let message = format!("identity.token.header: {} has a claim already", token.header);
        return Err(Problem::new(reason::INVALID, message));
    }
    Ok(v1::IdentityForwarding { claims, forward_credential: identity.forward_credential, token })
}

fn claim(claim: &ClaimHeader) -> Result<v1::ClaimHeader, Problem> {
    free(&claim.header)
        .map_err(|what| Problem::new(reason::INVALID, format!("identity.claims: header {what}")))?;
    Ok(v1::ClaimHeader { claim: claim.claim.clone(), header: claim.header.clone() })
}

fn token(
    token: &IdentityToken,
    policy: &ObjectKey,
    resources: &Resources,
) -> Result<v1::IdentityToken, Problem> {
    let invalid = |what: String| Problem::new(reason::INVALID, format!("identity.token.{what}"));
    free(&token.header).map_err(|what| invalid(format!("header: {what}")))?;
    let lifetime = parse_duration(&token.lifetime).map(|lifetime| lifetime.as_secs()).ok();
    let lifetime = lifetime
        .filter(|seconds| (1..=LONGEST_LIFETIME).contains(seconds))
        .and_then(|seconds| u32::try_from(seconds).ok())
        .ok_or_else(|| invalid(format!("lifetime: {:?} is not from 1s to 1h", token.lifetime)))?;
    let (name, entry) = (&token.secret_ref.name, &token.secret_ref.key);
    let bytes = resources.secret_entry(&policy.namespace, name, entry).ok_or_else(|| {
        let message =
            format!("identity.token.secretRef: Secret {}/{name} has no entry {entry}", policy.namespace);
        Problem::new(reason::SECRET_NOT_FOUND, message)
    })?;
    let key = key(token.algorithm, bytes)
        .map_err(|what| invalid(format!("secretRef: entry {entry} of Secret {name} {what}")))?;
    Ok(v1::IdentityToken {
        header: token.header.clone(),
        issuer: token.issuer.clone(),
        audience: token.audience.clone().unwrap_or_default(),
        algorithm: match token.algorithm {
            SigningAlgorithm::HS256 => "HS256",
            SigningAlgorithm::ES256 => "ES256",
            SigningAlgorithm::EdDSA => "EdDSA",
        }
        .into(),
        key,
        lifetime_seconds: lifetime,
    })
}

/// The error continues "Secret x ...".
fn key(algorithm: SigningAlgorithm, bytes: &[u8]) -> Result<Vec<u8>, String> {
    match algorithm {
        SigningAlgorithm::HS256 if bytes.len() < SHORTEST_SECRET => {
            let has = bytes.len();
            Err(format!("is too short: HS256 needs at least {SHORTEST_SECRET} bytes, it has {has}"))
        }
        SigningAlgorithm::HS256 => Ok(bytes.to_vec()),
        SigningAlgorithm::ES256 | SigningAlgorithm::EdDSA => PrivatePkcs8KeyDer::from_pem_slice(bytes)
            .map(|key| key.secret_pkcs8_der().to_vec())
            .map_err(|_| "holds no PEM private key: begin with -----BEGIN PRIVATE KEY-----".into()),
    }
}

/// A header field that a policy may set. The error begins with its name.
fn free(header: &str) -> Result<(), String> {
    check::header_name(header)?;
    let lower = header.to_ascii_lowercase();
    if !lower.starts_with("x-") || OWNED_HEADERS.iter().any(|owned| lower.starts_with(owned)) {
        return Err(format!("{header}: begin with X-, and not with what the gateway itself sets"));
    }
    Ok(())
}
