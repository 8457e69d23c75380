//! Keys that verify tokens, parsed once.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gatehouse_proto::config::v1::{JwtKey, jwt_key::Kind};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_SIG_ED25519},
    pem::Pem,
    prelude::FromDer,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

/// RFC 7518, 3.3: at least 2048 bits.
const RSA_BYTES: usize = 256;

pub(super) struct Key {
    id: Option<Box<str>>,
    /// What both the policy and the key allow.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

impl Key {
    /// `allowed` comes from the policy. The error is a sentence.
    pub(super) fn compile(key: &JwtKey, allowed: &[Algorithm]) -> Result<Self, String> {
        let (decoding, fitting, id) = match &key.kind {
            Some(Kind::Jwk(json)) => from_jwk(json)?,
            Some(Kind::PublicKeyPem(pem)) => {
                let (decoding, fitting) = from_pem(pem.as_bytes())?;
                (decoding, fitting, None)
            }
            Some(Kind::Secret(secret)) => {
                (DecodingKey::from_secret(secret), hmac_algorithms(secret.len()), None)
            }
            None => return Err("this dataplane does not know its kind".into()),
        };
        let algorithms: Vec<_> = fitting.iter().copied().filter(|fits| allowed.contains(fits)).collect();
        if algorithms.is_empty() {
            return Err(format!("it is fit for {fitting:?}, and algorithms allows {allowed:?}"));
        }
        let id = id.or_else(|| (!key.key_id.is_empty()).then(|| key.key_id.clone()));
        Ok(Key { id: id.map(String::into_boxed_str), algorithms, decoding })
    }

    /// A token that names a key gets that key, or keys without a name; one that names none may get any.
    pub(super) fn answers_to(&self, id: Option<&str>) -> bool {
        match (id, &self.id) {
            (Some(wanted), Some(own)) => *wanted == **own,
            _ => true,
        }
    }

    pub(super) fn for_algorithm(&self, algorithm: Algorithm) -> Option<&DecodingKey> {
        self.algorithms.contains(&algorithm).then_some(&self.decoding)
    }
}

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// RFC 7518, 3.2: the key is at least as long as the hash.
fn hmac_algorithms(length: usize) -> &'static [Algorithm] {
    match length {
        0..32 => &[],
        32..48 => &[Algorithm::HS256],
        48..64 => &[Algorithm::HS256, Algorithm::HS384],
        _ => &[Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
    }
}

type Parsed = (DecodingKey, &'static [Algorithm], Option<String>);

fn from_jwk(json: &str) -> Result<Parsed, String> {
    let jwk: Jwk = serde_json::from_str(json).map_err(|error| format!("it is no JSON Web Key: {error}"))?;
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return Err("its `use` is not `sig`".into());
    }
    if common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
        return Err("its `key_ops` lacks `verify`".into());
    }
    let fitting: &'static [Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) => {
            let modulus =
                URL_SAFE_NO_PAD.decode(&rsa.n).map_err(|_| "its `n` is not base64url".to_owned())?;
            rsa_algorithms(&modulus)?
        }
        AlgorithmParameters::EllipticCurve(ec) => match ec.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => return Err("its curve is not P-256 or P-384".into()),
        },
        AlgorithmParameters::OctetKeyPair(okp) => match okp.curve {
            EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => return Err("its curve is not Ed25519".into()),
        },
        AlgorithmParameters::OctetKey(oct) => {
            let secret =
                URL_SAFE_NO_PAD.decode(&oct.value).map_err(|_| "its `k` is not base64url".to_owned())?;
            hmac_algorithms(secret.len())
        }
        _ => return Err("its `kty` is not known".into()),
    };
    let fitting = match &common.key_algorithm {
        None => fitting,
        Some(stated) => {
            let stated = stated.to_string();
            let position = fitting.iter().position(|fits| format!("{fits:?}") == stated);
            let position = position.ok_or_else(|| format!("its `alg` {stated} does not fit the key"))?;
            &fitting[position..=position]
        }
    };
    let decoding = DecodingKey::from_jwk(&jwk).map_err(|error| format!("it can't be read: {error}"))?;
    Ok((decoding, fitting, common.key_id.clone()))
}

fn from_pem(pem: &[u8]) -> Result<(DecodingKey, &'static [Algorithm]), String> {
    let unreadable = |error: &dyn fmt::Display| format!("it is no PEM public key: {error}");
    let (block, _) = Pem::read(std::io::Cursor::new(pem)).map_err(|error| unreadable(&error))?;
    let (_, info) = SubjectPublicKeyInfo::from_der(&block.contents).map_err(|error| unreadable(&error))?;
    if info.algorithm.algorithm == OID_SIG_ED25519 {
        let key = DecodingKey::from_ed_pem(pem).map_err(|error| unreadable(&error))?;
        return Ok((key, &[Algorithm::EdDSA]));
    }
    match info.parsed().map_err(|error| unreadable(&error))? {
        PublicKey::RSA(rsa) => {
            let fitting = rsa_algorithms(rsa.modulus)?;
            Ok((DecodingKey::from_rsa_pem(pem).map_err(|error| unreadable(&error))?, fitting))
        }
        PublicKey::EC(_) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            let fitting: &'static [Algorithm] = match curve {
                Some(curve) if curve == OID_EC_P256 => &[Algorithm::ES256],
                Some(curve) if curve == OID_NIST_EC_P384 => &[Algorithm::ES384],
                _ => return Err("its curve is not P-256 or P-384".into()),
            };
            Ok((DecodingKey::from_ec_pem(pem).map_err(|error| unreadable(&error))?, fitting))
        }
        _ => Err("it is neither RSA, EC nor Ed25519".into()),
    }
}

fn rsa_algorithms(modulus: &[u8]) -> Result<&'static [Algorithm], String> {
    let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
    if significant < RSA_BYTES {
        return Err(format!("its modulus has {} bits: use 2048 or more", 8 * significant));
    }
    Ok(RSA)
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}
