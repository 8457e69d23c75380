//! What a key is made of, read from a JSON Web Key (RFC 7517), a PEM public key or a shared secret.
//!
//! Sentences never quote what they complain about: it may be a secret. `x5c`, `x5u` and private parts are not read.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gatehouse_proto::config::v1::{JwtKey, jwt_key::Kind};
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde_json::{Map, Value};
use x509_parser::{
    oid_registry::{
        OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
    },
    prelude::FromDer,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::{algorithm::Algorithm, strict};

/// Deliberately without `Debug`.
pub(super) enum Material {
    /// Big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    Secret(Vec<u8>),
}

/// A key as its author describes it.
pub(super) struct Described {
    pub(super) material: Material,
    pub(super) id: Option<String>,
    /// The only algorithm that the key is for, if it says so.
    pub(super) algorithm: Option<Algorithm>,
}

impl Described {
    /// The error is a sentence that completes "the key can't be used: ".
    pub(super) fn read(key: &JwtKey) -> Result<Self, String> {
        let (material, id, algorithm) = match &key.kind {
            Some(Kind::Jwk(json)) => {
                let jwk = strict::object(json.as_bytes())
                    .map_err(|_| "it is no JSON object, or repeats a name".to_owned())?;
                (of_jwk(&jwk)?, text(&jwk, "kid")?.map(str::to_owned), algorithm_of(&jwk)?)
            }
            Some(Kind::PublicKeyPem(pem)) => (of_pem(pem.as_bytes())?, None, None),
            Some(Kind::Secret(secret)) => (Material::Secret(secret.clone()), None, None),
            None => return Err("this dataplane does not know its kind".into()),
        };
        let id = id.or_else(|| (!key.key_id.is_empty()).then(|| key.key_id.clone()));
        Ok(Described { material: material.checked()?, id, algorithm })
    }
}

impl Material {
    fn checked(self) -> Result<Self, String> {
        match &self {
            Material::Rsa { n, e } => {
                let bits = 8 * n.len() - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
                if !(2048..=8192).contains(&bits) {
                    return Err(format!("its modulus has {bits} bits: use 2048 to 8192"));
                }
                // Longer exponents only make verifying slow.
                let is_odd = e.last().is_some_and(|byte| byte & 1 == 1);
                if !is_odd || *e == [1] || e.len() > 4 {
                    return Err("its public exponent is unusable: 65537 is usual".into());
                }
            }
            // With a public key for a secret, everybody could sign.
            Material::Secret(secret) if is_public_key(secret) => {
                return Err("its shared secret is a public key or certificate".into());
            }
            Material::P256(_) | Material::P384(_) | Material::Ed25519(_) | Material::Secret(_) => {}
        }
        Ok(self)
    }
}

fn is_public_key(secret: &[u8]) -> bool {
    secret.trim_ascii_start().starts_with(b"-----BEGIN") || SubjectPublicKeyInfo::from_der(secret).is_ok()
}

/// RFC 7518, 6; RFC 8037, 2.
fn of_jwk(jwk: &Map<String, Value>) -> Result<Material, String> {
    if text(jwk, "use")?.is_some_and(|usage| usage != "sig") {
        return Err("its `use` is not `sig`".into());
    }
    let verifies = |operations: &Value| {
        operations.as_array().is_some_and(|all| all.iter().any(|operation| operation == "verify"))
    };
    if jwk.get("key_ops").is_some_and(|operations| !verifies(operations)) {
        return Err("its `key_ops` lacks `verify`".into());
    }
    let curve = text(jwk, "crv")?;
    match (text(jwk, "kty")?, curve) {
        (Some("RSA"), _) => {
            Ok(Material::Rsa { n: without_zeros(&bytes(jwk, "n")?), e: without_zeros(&bytes(jwk, "e")?) })
        }
        (Some("EC"), Some("P-256")) => Ok(Material::P256(point(jwk, 32)?)),
        (Some("EC"), Some("P-384")) => Ok(Material::P384(point(jwk, 48)?)),
        (Some("EC"), _) => Err("its curve is not P-256 or P-384".into()),
        (Some("OKP"), Some("Ed25519")) => Ok(Material::Ed25519(bytes(jwk, "x")?)),
        (Some("OKP"), _) => Err("its curve is not Ed25519".into()),
        (Some("oct"), _) => Ok(Material::Secret(bytes(jwk, "k")?)),
        _ => Err("its `kty` is not RSA, EC, OKP or oct".into()),
    }
}

fn algorithm_of(jwk: &Map<String, Value>) -> Result<Option<Algorithm>, String> {
    text(jwk, "alg")?
        .map(|name| Algorithm::named(name).ok_or_else(|| format!("its `alg` {name:?} is not known")))
        .transpose()
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    match jwk.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| format!("its `{name}` is no string")),
    }
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let encoded = text(jwk, name)?.ok_or_else(|| format!("it has no `{name}`"))?;
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| format!("its `{name}` is not base64url without padding"))
}

fn point(jwk: &Map<String, Value>, size: usize) -> Result<Vec<u8>, String> {
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = bytes(jwk, name)?;
        if coordinate.len() != size {
            return Err(format!("its `{name}` is not {size} bytes long"));
        }
        point.extend(coordinate);
    }
    Ok(point)
}

fn of_pem(pem: &[u8]) -> Result<Material, String> {
    let unreadable = || "it is no PEM block `PUBLIC KEY`".to_owned();
    let mut blocks = SubjectPublicKeyInfoDer::pem_slice_iter(pem);
    let der = blocks.next().and_then(Result::ok).ok_or_else(unreadable)?;
    if blocks.next().is_some() {
        return Err("it holds more than one key: give each by itself, or a JSON Web Key Set".into());
    }
    let (rest, info) = SubjectPublicKeyInfo::from_der(&der).map_err(|_| unreadable())?;
    if !rest.is_empty() {
        return Err(unreadable());
    }
    let (algorithm, bits) = (&info.algorithm.algorithm, info.subject_public_key.data.to_vec());
    if *algorithm == OID_SIG_ED25519 {
        return Ok(Material::Ed25519(bits));
    }
    if *algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        return match curve {
            Some(curve) if curve == OID_EC_P256 => Ok(Material::P256(bits)),
            Some(curve) if curve == OID_NIST_EC_P384 => Ok(Material::P384(bits)),
            _ => Err("its curve is not P-256 or P-384".into()),
        };
    }
    match info.parsed() {
        Ok(PublicKey::RSA(rsa)) if *algorithm == OID_PKCS1_RSAENCRYPTION => {
            Ok(Material::Rsa { n: without_zeros(rsa.modulus), e: without_zeros(rsa.exponent) })
        }
        _ => Err("it is neither RSA, EC nor Ed25519".into()),
    }
}

fn without_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}
