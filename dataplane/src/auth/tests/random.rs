//! Whatever is sent, nothing panics and nothing gets in.

use std::sync::LazyLock;

use gatehouse_proto::config::v1::{AuthConfig, JwtKey, jwt_key::Kind};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_oneof, proptest};

use super::{
    Consumers, Policy, ask, by_jwt, by_key, headers, policy,
    signer::{P256, RSA, claims, encode, jwt},
};

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let mut method = jwt(&[&P256, &RSA]);
    method.algorithms.push("HS256".into());
    method.keys.push(JwtKey { kind: Some(Kind::Secret(vec![7; 32])), key_id: String::new() });
    let config = AuthConfig { ..policy(vec![by_jwt(method), by_key(vec![])]) };
    Policy::compile(&config).unwrap()
});

fn is_refused(token: &str) -> bool {
    let headers = headers(&[("authorization", &format!("Bearer {token}"))]);
    ask(&POLICY, &Consumers::default(), &headers, None).is_err()
}

/// Headers that come close to good ones.
fn header() -> impl Strategy<Value = String> {
    let algorithm = prop_oneof!["none", "HS256", "RS256", "ES256", "[A-Za-z0-9]{0,6}"];
    (algorithm, prop_oneof!["rsa", "P-256", "[ -~]{0,9}"])
        .prop_map(|(algorithm, id)| serde_json::json!({"alg": algorithm, "kid": id}).to_string())
}

proptest! {
    #[test]
    fn text(token in "[ -~]{0,300}") {
        prop_assert!(is_refused(&token));
    }

    #[test]
    fn parts(parts in prop::collection::vec("[A-Za-z0-9_-]{0,90}", 0..6)) {
        prop_assert!(is_refused(&parts.join(".")));
    }

    #[test]
    fn nearly_right(header in header(), signature in prop::collection::vec(any::<u8>(), 0..300)) {
        let message = format!("{}.{}", encode(header), encode(claims().to_string()));
        let token = format!("{message}.{}", encode(signature));
        prop_assert!(is_refused(&token));
    }

    #[test]
    fn any_bytes_for_json(header in prop::collection::vec(any::<u8>(), 0..90), claims in prop::collection::vec(any::<u8>(), 0..90)) {
        let token = format!("{}.{}.AAAA", encode(header), encode(claims));
        prop_assert!(is_refused(&token));
    }

    #[test]
    fn any_key_compiles_or_says_why(jwk in "[ -~]{0,200}", pem in "[ -~\n]{0,200}", secret in prop::collection::vec(any::<u8>(), 0..99)) {
        for kind in [Kind::Jwk(jwk), Kind::PublicKeyPem(pem), Kind::Secret(secret)] {
            let mut method = jwt(&[]);
            method.algorithms = vec!["HS256".into(), "RS256".into(), "ES256".into(), "EdDSA".into()];
            method.keys = vec![JwtKey { kind: Some(kind), key_id: String::new() }];
            if let Err(invalid) = Policy::compile(&policy(vec![by_jwt(method)])) {
                prop_assert!(invalid.to_string().contains("no key can be used"));
            }
        }
    }
}
