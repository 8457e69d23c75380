use gatehouse_crds::{KeyFormat, KeySecretRef};
use gatehouse_proto::config::v1::{JwtKey, jwt_key::Kind};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{in_secret, pem_key, set};

fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

fn as_jwk(key: &JwtKey) -> Option<&str> {
    match &key.kind {
        Some(Kind::Jwk(jwk)) => Some(jwk),
        _ => None,
    }
}

/// Of the given length, as base64url.
fn oct(bytes: usize) -> Value {
    let text = "QUFB".repeat(bytes / 3) + ["", "QQ", "QUE"][bytes % 3];
    json!({"kty": "oct", "kid": "shared", "k": text})
}

#[test]
fn one_unusable_key_does_not_harm_the_others() {
    let good = json!({"kty": "RSA", "kid": "good", "n": "AQAB", "e": "AQAB"});
    for (bad, why) in [
        (json!({"kty": "LATTICE", "kid": "bad"}), "kty"),
        (json!({"kid": "bad"}), "kty"),
        (json!({"kty": "RSA", "kid": "bad", "n": "AQAB"}), "member"),
        (json!({"kty": "RSA", "kid": "bad", "n": "AQAB", "e": 3}), "member"),
        (json!({"kty": "EC", "kid": "bad", "crv": "P-256", "x": "AQAB", "y": ""}), "member"),
        (json!({"kty": "oct", "kid": "bad", "k": ""}), "member"),
        (json!({"kty": "oct", "kid": "bad", "k": "AQAB"}), "32 bytes"),
        (json!({"kty": "oct", "kid": "bad", "k": "?"}), "base64url"),
        (json!({"kty": "RSA", "kid": "bad", "use": "enc", "n": "AQAB", "e": "AQAB"}), "`use`"),
        (json!("text"), "kty"),
        (json!(null), "kty"),
    ] {
        let keys = set(&jwks(&[bad.clone(), good.clone()])).unwrap();
        assert_eq!(keys.keys.len(), 1, "{bad}");
        assert_eq!(as_jwk(&keys.keys[0]), Some(good.to_string().as_str()));
        assert!(keys.notes.len() == 1 && keys.notes[0].contains(why), "{bad}: {:?}", keys.notes);
        assert!(set(&jwks(&[bad])).unwrap_err().contains(why));
    }
}

#[test]
fn only_public_members_leave() {
    let private = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "SECRET", "p": "SECRET", "q": "SECRET",
        "dp": "SECRET", "dq": "SECRET", "qi": "SECRET", "oth": [{"r": "SECRET"}]});
    let keys = set(&jwks(&[private])).unwrap();
    let public = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"}).to_string();
    assert_eq!(as_jwk(&keys.keys[0]), Some(public.as_str()));

    let pair = KeyPair::generate().unwrap();
    let both = format!("{}{}", pair.serialize_pem(), pair.public_key_pem());
    let keys = pem_key(both.as_bytes()).unwrap();
    let Some(Kind::PublicKeyPem(pem)) = &keys.keys[0].kind else { panic!("{keys:?}") };
    assert_eq!(pem.replace('\n', ""), pair.public_key_pem().replace(['\r', '\n'], ""));
}

#[test]
fn what_is_no_key_is_refused() {
    for (document, why) in [
        ("", "no JSON Web Key Set"),
        ("[]", "no list `keys`"),
        ("{\"keys\": {}}", "no list `keys`"),
        ("{\"keys\": []}", "without keys"),
    ] {
        assert!(set(document).unwrap_err().contains(why), "{document}");
    }
    let pair = KeyPair::generate().unwrap();
    for pem in [
        pair.serialize_pem(),
        String::new(),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".into(),
    ] {
        assert!(pem_key(pem.as_bytes()).unwrap_err().contains("no PEM public key"), "{pem}");
    }
}

/// RFC 7518, 3.2: a shared secret is at least as long as the hash.
#[test]
fn shared_secrets_are_as_long_as_the_strongest_hash() {
    let secret = KeySecretRef { name: "s".into(), key: "k".into(), format: KeyFormat::Hmac };
    for (algorithms, needed) in
        [(&["HS256"][..], 32), (&["HS384"], 48), (&["HS512"], 64), (&["HS256", "HS512"], 64)]
    {
        assert!(in_secret(&secret, &vec![7; needed - 1], algorithms).is_err(), "{algorithms:?}");
        assert!(in_secret(&secret, &vec![7; needed], algorithms).is_ok(), "{algorithms:?}");
    }
    assert!(in_secret(&secret, b"", &["HS256"]).is_err());
    assert!(set(&jwks(&[oct(31)])).is_err());
    assert!(set(&jwks(&[oct(32)])).is_ok());
}
