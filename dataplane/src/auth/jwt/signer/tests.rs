use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair},
};
use gatehouse_proto::config::v1::{AuthConfig, IdentityForwarding, IdentityToken};
use http::HeaderMap;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde_json::{Value, json};

use crate::auth::{
    Consumers, Identity, Policy,
    tests::{NOW, bob, by_key, policy},
};

const SECRET: &[u8] = b"a-secret-of-thirty-two-bytes-or-more";

fn token(algorithm: &str, key: &[u8]) -> IdentityToken {
    IdentityToken {
        header: "X-Identity-Token".into(),
        issuer: "https://edge.test".into(),
        audience: "origin".into(),
        algorithm: algorithm.into(),
        key: key.to_vec(),
        lifetime_seconds: 60,
    }
}

fn signing(token: IdentityToken) -> AuthConfig {
    let identity = IdentityForwarding { token: Some(token), ..IdentityForwarding::default() };
    AuthConfig { identity: Some(identity), ..policy(vec![by_key(vec![])]) }
}

/// What another implementation reads in what the backend gets.
fn read(headers: &HeaderMap, algorithm: Algorithm, key: &DecodingKey) -> Value {
    let mut validation = Validation::new(algorithm);
    validation.validate_exp = false;
    validation.set_audience(&["origin"]);
    validation.set_issuer(&["https://edge.test"]);
    let text = headers["x-identity-token"].to_str().unwrap();
    decode::<Value>(text, key, &validation).unwrap().claims
}

fn told(token: IdentityToken, identity: &Identity) -> HeaderMap {
    let policy = Policy::compile(&signing(token)).unwrap();
    let mut headers = HeaderMap::new();
    policy.apply(identity, &mut headers, None, NOW * 1000 + 999);
    headers
}

fn known(consumers: &Consumers) -> Identity {
    consumers.by_key("ns", "bobs-key", NOW * 1000).unwrap()
}

#[test]
fn a_backend_can_verify_who_the_client_is() {
    let p256 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, p256.as_ref()).unwrap();
    let p256_public = DecodingKey::from_ec_der(pair.public_key().as_ref());
    let ed = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap();
    let ed_public = DecodingKey::from_ed_der(pair.public_key().as_ref());
    for (name, key, algorithm, public) in [
        ("HS256", SECRET, Algorithm::HS256, DecodingKey::from_secret(SECRET)),
        ("ES256", p256.as_ref(), Algorithm::ES256, p256_public),
        ("EdDSA", ed.as_ref(), Algorithm::EdDSA, ed_public),
    ] {
        let headers = told(token(name, key), &known(&bob()));
        let wanted = json!({
            "iss": "https://edge.test", "sub": "ns/bob", "aud": "origin", "iat": NOW, "exp": NOW + 60,
            "credential": "ns/bob#k", "username": "Zoë", "tier": "gold", "groups": ["a", "b"],
        });
        assert_eq!(read(&headers, algorithm, &public), wanted, "{name}");
        assert!(headers["x-identity-token"].is_sensitive());
    }
}

#[test]
fn nothing_is_said_of_a_stranger() {
    assert!(told(token("HS256", SECRET), &Identity::anonymous()).is_empty());
}

#[test]
fn a_clients_own_copy_is_the_policys_to_remove() {
    let policy = Policy::compile(&signing(token("HS256", SECRET))).unwrap();
    assert!(policy.owned_headers().any(|name| name == "x-identity-token"));
}

#[test]
fn what_can_not_sign_does_not_compile() {
    let claimed = |header: &str| IdentityToken { header: header.into(), ..token("HS256", SECRET) };
    for (token, wanted) in [
        (token("HS256", b"short"), "32 bytes"),
        (token("ES256", SECRET), "none for ES256"),
        (token("EdDSA", SECRET), "none for EdDSA"),
        (token("none", SECRET), "does not sign by \"none\""),
        (claimed("Authorization"), "another meaning"),
        (claimed("X-API-Key"), "another meaning"),
        (claimed("X-Consumer-Id"), "another meaning"),
        (claimed("a b"), "no header name"),
        (IdentityToken { issuer: String::new(), ..claimed("X-A") }, "an issuer"),
        (IdentityToken { lifetime_seconds: 0, ..claimed("X-A") }, "a lifetime"),
    ] {
        let error = Policy::compile(&signing(token)).expect_err(wanted).to_string();
        assert!(error.contains(wanted) && error.starts_with("identity.token: "), "{wanted}: {error}");
    }
}
