//! Keys that sign tokens for the tests, by another implementation of JWT than the one under test.

use std::sync::LazyLock;

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeySize, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use gatehouse_proto::config::v1::{Jwt, JwtKey, jwt_key};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

use super::{ISSUER, NOW};

pub(crate) struct Signer {
    key: EncodingKey,
    pub(crate) jwk: Value,
    /// Empty for a secret.
    pub(crate) pem: String,
    pub(crate) algorithms: &'static [Algorithm],
}

/// Making an RSA key takes long, so all tests share one.
pub(crate) static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa(KeySize::Rsa2048));
pub(crate) static P256: LazyLock<Signer> = LazyLock::new(Signer::p256);
pub(crate) static P384: LazyLock<Signer> =
    LazyLock::new(|| Signer::ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", &[Algorithm::ES384]));
pub(crate) static ED: LazyLock<Signer> = LazyLock::new(Signer::ed25519);

impl Signer {
    pub(crate) fn rsa(size: KeySize) -> Signer {
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        let pair = RsaKeyPair::generate(size).unwrap();
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let private = pem("PRIVATE KEY", pair.as_der().unwrap().as_ref());
        Signer {
            key: EncodingKey::from_rsa_pem(private.as_bytes()).unwrap(),
            jwk: json!({"kty": "RSA", "kid": "rsa", "n": encode(&public.n), "e": encode(&public.e)}),
            pem: public_pem(pair.public_key()),
            algorithms: &[RS256, RS384, RS512, PS256, PS384, PS512],
        }
    }

    pub(crate) fn p256() -> Signer {
        Signer::ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", &[Algorithm::ES256])
    }

    fn ec(of: &'static EcdsaSigningAlgorithm, curve: &str, algorithms: &'static [Algorithm]) -> Signer {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(of, &SystemRandom::new()).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(of, pkcs8.as_ref()).unwrap();
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        Signer {
            key: EncodingKey::from_ec_der(pkcs8.as_ref()),
            jwk: json!({"kty": "EC", "crv": curve, "kid": curve, "x": encode(x), "y": encode(y)}),
            pem: public_pem(pair.public_key()),
            algorithms,
        }
    }

    fn ed25519() -> Signer {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Signer {
            key: EncodingKey::from_ed_der(pkcs8.as_ref()),
            jwk: json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": encode(pair.public_key().as_ref())}),
            pem: public_pem(pair.public_key()),
            algorithms: &[Algorithm::EdDSA],
        }
    }

    pub(crate) fn hmac(secret: &[u8]) -> Signer {
        use Algorithm::{HS256, HS384, HS512};
        Signer {
            key: EncodingKey::from_secret(secret),
            jwk: json!({"kty": "oct", "kid": "oct", "k": encode(secret)}),
            pem: String::new(),
            algorithms: &[HS256, HS384, HS512],
        }
    }

    /// A token of these very texts.
    pub(crate) fn sign_text(&self, header: &str, claims: &str, algorithm: Algorithm) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, algorithm).unwrap();
        format!("{message}.{signature}")
    }

    pub(crate) fn sign(&self, claims: &Value, algorithm: Algorithm) -> String {
        let header = json!({"alg": format!("{algorithm:?}"), "typ": "JWT", "kid": self.jwk["kid"]});
        self.sign_text(&header.to_string(), &claims.to_string(), algorithm)
    }

    /// By the first of its algorithms.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.sign(claims, self.algorithms[0])
    }

    pub(crate) fn as_jwk(&self) -> JwtKey {
        JwtKey { kind: Some(jwt_key::Kind::Jwk(self.jwk.to_string())), key_id: String::new() }
    }

    pub(crate) fn as_pem(&self) -> JwtKey {
        JwtKey { kind: Some(jwt_key::Kind::PublicKeyPem(self.pem.clone())), key_id: String::new() }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect()
    }
}

/// A method that knows these signers and all of their algorithms.
pub(crate) fn jwt(signers: &[&Signer]) -> Jwt {
    Jwt {
        issuer: ISSUER.into(),
        algorithms: signers.iter().flat_map(|signer| signer.names()).collect(),
        keys: signers.iter().map(|signer| signer.as_jwk()).collect(),
        ..Jwt::default()
    }
}

/// Claims that are accepted.
pub(crate) fn claims() -> Value {
    json!({"iss": ISSUER, "sub": "alice", "exp": NOW + 600})
}

/// [`claims`] with some of them set otherwise; `null` stands for itself.
pub(crate) fn claims_with(others: &Value) -> Value {
    let mut all = claims();
    all.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    all
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn public_pem(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    pem("PUBLIC KEY", key.as_der().unwrap().as_ref())
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
