//! The demo's issuer and credentials, made at each start.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    error::{KeyRejected, Unspecified},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

const KEY_ID: &str = "demo";
/// How long the printed token is valid.
const VALID_SECONDS: u64 = 3600;

pub(super) struct Keys {
    jwks: String,
    token: String,
    api_key: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error("no random numbers")]
    Random(#[from] Unspecified),
    #[error(transparent)]
    Key(#[from] KeyRejected),
    #[error(transparent)]
    Token(#[from] jsonwebtoken::errors::Error),
}

impl Keys {
    pub(super) fn make() -> Result<Self, KeysError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref())?;
        // An uncompressed point: 4, x, y.
        let point = &pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        let jwks = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]});
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let claims = json!({
            "iss": "https://issuer.example.com", "aud": "orders", "sub": "alice", "email": "alice@example.com",
            "iat": now, "exp": now + VALID_SECONDS,
        });
        let header = Header { kid: Some(KEY_ID.into()), ..Header::new(Algorithm::ES256) };
        let token = encode(&header, &claims, &EncodingKey::from_ec_der(pkcs8.as_ref()))?;
        let mut random = [0; 24];
        aws_lc_rs::rand::fill(&mut random)?;
        Ok(Keys { jwks: jwks.to_string(), token, api_key: format!("bob-{}", URL_SAFE_NO_PAD.encode(random)) })
    }

    pub(super) fn jwks(&self) -> String {
        self.jwks.clone()
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn api_key(&self) -> &str {
        &self.api_key
    }
}
