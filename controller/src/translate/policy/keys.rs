//! The keys that tokens are verified by: from a URL, a Secret or the policy itself. What leaves here is public, but for
//! shared secrets.

use std::time::Duration;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use gatehouse_crds::{JwksUrl, JwtMethod, KeyFormat, KeySecretRef, parse_duration};
use gatehouse_proto::config::v1::{JwtKey, jwt_key::Kind};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde_json::Value;
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

use crate::{
    fetch::Wanted,
    resources::{ObjectKey, Resources},
    translate::{
        authorities,
        conditions::{Problem, reason},
    },
};

/// The shortest hash that an HS algorithm has, in bytes (RFC 7518, 3.2).
pub(super) const SHORTEST_SECRET: usize = 32;

/// RFC 7518, 6.2.2 and 6.3.2, RFC 8037, 2.
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

#[derive(Debug, Default)]
pub(super) struct Keys {
    pub(super) keys: Vec<JwtKey>,
    /// The URL has not answered yet: what it said instead.
    pub(super) pending: Option<String>,
    /// What the URL is called that they come from. Empty: they come from elsewhere.
    pub(super) jwks: String,
    /// What is worth knowing although the policy works.
    pub(super) notes: Vec<String>,
}

/// `place` names the method in messages.
pub(super) fn of(
    jwt: &JwtMethod,
    algorithms: &[&str],
    place: &str,
    policy: &ObjectKey,
    resources: &Resources,
) -> Result<Keys, Problem> {
    let invalid = |what: String| Problem::new(reason::INVALID, format!("{place}.{what}"));
    match (&jwt.jwks, &jwt.secret_ref, &jwt.inline) {
        (Some(jwks), None, None) => {
            let wanted = wanted(jwks, &policy.namespace, resources).map_err(|what| {
                Problem::new(reason::INVALID_CA_CERTIFICATE_REF, format!("{place}.jwks.caRefs: {what}"))
            })?;
            behind(&wanted, resources).map_err(invalid)
        }
        (None, Some(secret), None) => {
            let bytes =
                resources.secret_entry(&policy.namespace, &secret.name, &secret.key).ok_or_else(|| {
                    let (namespace, name) = (&policy.namespace, &secret.name);
                    let message =
                        format!("{place}.secretRef: Secret {namespace}/{name} has no entry {}", secret.key);
                    Problem::new(reason::SECRET_NOT_FOUND, message)
                })?;
            in_secret(secret, bytes, algorithms)
                .map_err(|what| invalid(format!("secretRef: Secret {} {what}", secret.name)))
        }
        (None, None, Some(inline)) => match (&inline.jwks, &inline.pem) {
            (Some(document), None) => {
                set(document).map_err(|what| invalid(format!("inline.jwks: it {what}")))
            }
            (None, Some(pem)) => {
                pem_key(pem.as_bytes()).map_err(|what| invalid(format!("inline.pem: it {what}")))
            }
            _ => Err(invalid("inline: give exactly one of jwks and pem".into())),
        },
        _ => {
            let message = format!("{place}: give exactly one of jwks, secretRef and inline");
            Err(Problem::new(reason::INVALID, message))
        }
    }
}

/// The error is a sentence about its authorities.
pub(super) fn wanted(jwks: &JwksUrl, namespace: &str, resources: &Resources) -> Result<Wanted, String> {
    let mut roots = Vec::new();
    for reference in &jwks.ca_refs {
        roots.extend(authorities::read(&ObjectKey::new(namespace, &reference.name), resources)?);
    }
    let interval = parse_duration(&jwks.refresh_interval).unwrap_or(Duration::from_secs(300));
    Ok(Wanted { url: jwks.url.clone(), interval, roots })
}

fn behind(wanted: &Wanted, resources: &Resources) -> Result<Keys, String> {
    let url = &wanted.url;
    let id = wanted.id();
    let state = resources.jwks.get(&id);
    let error = state.and_then(|state| state.error.as_deref());
    let Some(document) = state.and_then(|state| state.document.as_deref()) else {
        let pending = format!("jwks: {url}: {}", error.unwrap_or("not fetched yet"));
        return Ok(Keys { pending: Some(pending), jwks: id, ..Keys::default() });
    };
    let mut keys = set(document).map_err(|what| format!("jwks: {url} {what}"))?;
    // Said of failures alone: it would change with every fetch.
    let fetched = state.and_then(|state| state.fetched_at).map(|at| format!("of {at:.0} "));
    let fetched = fetched.unwrap_or_default();
    keys.notes.extend(error.map(|error| format!("jwks: {url}: {error}; the keys {fetched}are used")));
    keys.jwks = id;
    Ok(keys)
}

/// Errors of this and what follows continue "Secret x ...".
fn in_secret(secret: &KeySecretRef, bytes: &[u8], algorithms: &[&str]) -> Result<Keys, String> {
    match secret.format {
        KeyFormat::Pem => pem_key(bytes),
        KeyFormat::Jwks => set(std::str::from_utf8(bytes).map_err(|_| "holds no text")?),
        KeyFormat::Hmac => {
            let strongest = algorithms.iter().filter_map(|name| hash_bytes(name)).max();
            let needed = strongest.unwrap_or(SHORTEST_SECRET);
            if bytes.len() < needed {
                let has = bytes.len();
                return Err(format!(
                    "is too short: a shared secret needs at least {needed} bytes, it has {has}"
                ));
            }
            Ok(Keys { keys: vec![key(Kind::Secret(bytes.to_vec()))], ..Keys::default() })
        }
    }
}

/// Of an algorithm with a shared secret.
fn hash_bytes(algorithm: &str) -> Option<usize> {
    let bits: usize = algorithm.strip_prefix("HS")?.parse().ok()?;
    Some(bits / 8)
}

fn pem_key(pem: &[u8]) -> Result<Keys, String> {
    let wrong = || "holds no PEM public key: begin with -----BEGIN PUBLIC KEY-----".to_owned();
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| wrong())?;
    SubjectPublicKeyInfo::from_der(&der).map_err(|_| wrong())?;
    // Written anew, because a private key may stand beside it.
    let text = STANDARD.encode(&der);
    let lines: String =
        text.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{lines}-----END PUBLIC KEY-----\n");
    Ok(Keys { keys: vec![key(Kind::PublicKeyPem(pem))], ..Keys::default() })
}

/// Each key of a JSON Web Key Set by itself: one that can't be used must not harm the others (RFC 7517, 5).
fn set(document: &str) -> Result<Keys, String> {
    let wrong = |what: &dyn std::fmt::Display| format!("holds no JSON Web Key Set: {what}");
    let set: Value = serde_json::from_str(document).map_err(|error| wrong(&error))?;
    let all = set.get("keys").and_then(Value::as_array).ok_or_else(|| wrong(&"it has no list `keys`"))?;
    let mut keys = Keys::default();
    for (index, jwk) in all.iter().enumerate() {
        match public(jwk) {
            Ok(jwk) => keys.keys.push(key(Kind::Jwk(jwk.to_string()))),
            Err(what) => {
                let id = jwk.get("kid").and_then(Value::as_str);
                let name = id.map_or_else(|| format!("keys[{index}]"), |id| format!("key {id:.64}"));
                keys.notes.push(format!("{name} is not used: {what}"));
            }
        }
    }
    if keys.keys.is_empty() {
        return Err(match keys.notes.first() {
            None => "holds a JSON Web Key Set without keys".into(),
            Some(note) => format!("holds no key that can be used: {note}"),
        });
    }
    Ok(keys)
}

/// A JSON Web Key that can verify, without what only its owner should have.
fn public(jwk: &Value) -> Result<Value, &'static str> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|usage| usage != "sig") {
        return Err("its `use` is not `sig`");
    }
    let members: &[&str] = match text("kty") {
        Some("RSA") => &["n", "e"],
        Some("EC") => &["crv", "x", "y"],
        Some("OKP") => &["crv", "x"],
        Some("oct") => &["k"],
        _ => return Err("its `kty` is not RSA, EC, OKP or oct"),
    };
    if !members.iter().all(|name| text(name).is_some_and(|text| !text.is_empty())) {
        return Err("a member is missing that its `kty` asks for");
    }
    if text("kty") == Some("oct") {
        let secret =
            URL_SAFE_NO_PAD.decode(text("k").unwrap_or("")).map_err(|_| "its `k` is not base64url")?;
        if secret.len() < SHORTEST_SECRET {
            return Err("its `k` is shorter than 32 bytes");
        }
    }
    let mut jwk = jwk.clone();
    if let Some(members) = jwk.as_object_mut() {
        members.retain(|name, _| !PRIVATE_MEMBERS.contains(&name.as_str()));
    }
    Ok(jwk)
}

fn key(kind: Kind) -> JwtKey {
    JwtKey { kind: Some(kind), key_id: String::new() }
}

#[cfg(test)]
mod tests;
