//! JSON Web Tokens: good ones by every algorithm, and forged ones piece by piece.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    encoding::AsDer,
    rand::SystemRandom,
    rsa::{KeySize, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
        EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use serde_json::{Value, json};

pub const ISSUER: &str = "https://issuer.test";
pub const AUDIENCE: &str = "api";

/// A signing key and its public half as a JSON Web Key.
pub struct Signer {
    pub key: EncodingKey,
    pub jwk: Value,
    pub algorithms: &'static [Algorithm],
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// Claims that are accepted.
pub fn claims() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now() + 600})
}

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub fn rsa(id: &str) -> Signer {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let public = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let der = pair.as_der().expect("DER");
        let jwk = json!({"kty": "RSA", "kid": id, "n": encode(&public.n), "e": encode(&public.e)});
        let key = rsa_key(der.as_ref());
        use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
        Signer { key, jwk, algorithms: &[RS256, RS384, RS512, PS256, PS384, PS512] }
    }

    pub fn p256(id: &str) -> Signer {
        Signer::ec(id, &ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", &[Algorithm::ES256])
    }

    pub fn p384(id: &str) -> Signer {
        Signer::ec(id, &ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", &[Algorithm::ES384])
    }

    fn ec(
        id: &str,
        algorithm: &'static EcdsaSigningAlgorithm,
        curve: &str,
        algorithms: &'static [Algorithm],
    ) -> Signer {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref()).expect("a key");
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let jwk = json!({"kty": "EC", "crv": curve, "kid": id, "x": encode(x), "y": encode(y)});
        Signer { key: EncodingKey::from_ec_der(pkcs8.as_ref()), jwk, algorithms }
    }

    pub fn ed25519(id: &str) -> Signer {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a key");
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(pair.public_key().as_ref())});
        Signer { key: EncodingKey::from_ed_der(pkcs8.as_ref()), jwk, algorithms: &[Algorithm::EdDSA] }
    }

    pub fn hmac(id: &str, secret: &[u8]) -> Signer {
        let jwk = json!({"kty": "oct", "kid": id, "k": encode(secret)});
        use Algorithm::{HS256, HS384, HS512};
        Signer { key: EncodingKey::from_secret(secret), jwk, algorithms: &[HS256, HS384, HS512] }
    }

    /// A token whose header and claims are the given texts.
    pub fn sign_text(&self, header: &str, claims: &str, algorithm: Algorithm) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, algorithm).expect("a signature");
        format!("{message}.{signature}")
    }

    pub fn sign(&self, claims: &Value, algorithm: Algorithm) -> String {
        let header = json!({"alg": format!("{algorithm:?}"), "typ": "JWT", "kid": self.jwk["kid"]});
        self.sign_text(&header.to_string(), &claims.to_string(), algorithm)
    }

    /// With its first algorithm.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(claims, self.algorithms[0])
    }
}

/// What `jsonwebtoken` signs with is PKCS#1; what is generated is PKCS#8.
fn rsa_key(pkcs8: &[u8]) -> EncodingKey {
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        base64::engine::general_purpose::STANDARD.encode(pkcs8)
    );
    EncodingKey::from_rsa_pem(pem.as_bytes()).expect("a private key")
}

pub fn jwks(signers: &[&Signer]) -> String {
    json!({"keys": signers.iter().map(|signer| signer.jwk.clone()).collect::<Vec<_>>()}).to_string()
}

/// A Secret with one entry, as JSON, which is YAML too.
pub fn secret(name: &str, entry: &str, value: &str) -> String {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {entry: value}})
        .to_string()
}
