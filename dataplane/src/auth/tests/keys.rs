//! Which keys a policy takes, and for what.

use aws_lc_rs::rsa::KeySize;
use gatehouse_proto::config::v1::{Jwt, JwtKey, jwt_key::Kind};
use serde_json::{Value, json};

use super::{
    Consumers, Outcome, Policy, ask, by_jwt, headers, policy,
    signer::{ED, P256, P384, RSA, Signer, claims, encode, jwt},
};

fn accepts(method: Jwt, token: &str) -> bool {
    let policy = Policy::compile(&policy(vec![by_jwt(method)])).unwrap();
    let headers = headers(&[("authorization", &format!("Bearer {token}"))]);
    matches!(Outcome::from(ask(&policy, &Consumers::default(), &headers, None)), Outcome::Known(_))
}

fn key(kind: Kind) -> JwtKey {
    JwtKey { kind: Some(kind), key_id: String::new() }
}

fn with(jwk: &Value, others: &Value) -> JwtKey {
    let mut jwk = jwk.clone();
    jwk.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
    key(Kind::Jwk(jwk.to_string()))
}

#[test]
fn every_algorithm_with_a_key_of_every_form() {
    let secret = Signer::hmac(&[7; 64]);
    let all = [&*RSA, &*P256, &*P384, &*ED, &secret];
    for signer in all {
        let mut forms = vec![signer.as_jwk()];
        match &*signer.pem {
            "" => forms.push(key(Kind::Secret(vec![7; 64]))),
            _ => forms.push(signer.as_pem()),
        }
        for form in forms {
            for algorithm in signer.algorithms {
                let token = signer.sign(&claims(), *algorithm);
                let method = |names: &[String]| Jwt {
                    keys: vec![form.clone()],
                    algorithms: names.to_vec(),
                    ..jwt(&[signer])
                };
                assert!(accepts(method(&signer.names()), &token), "{algorithm:?} {form:?}");
                // The policy's list counts, not the token.
                let others: Vec<_> =
                    signer.names().into_iter().filter(|name| *name != format!("{algorithm:?}")).collect();
                if !others.is_empty() {
                    assert!(!accepts(method(&others), &token), "{algorithm:?} with {others:?}");
                }
            }
        }
    }
    // Each with the keys of all others.
    for signer in all {
        let others: Vec<&Signer> = all.into_iter().filter(|other| other.jwk != signer.jwk).collect();
        let mut method = jwt(&others);
        method.algorithms.extend(signer.names());
        assert!(!accepts(method, &signer.token(&claims())), "{}", signer.jwk);
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    for signer in [&*RSA, &*P256, &*ED] {
        let mut method = jwt(&[signer]);
        method.algorithms.push("HS256".into());
        let point = signer.jwk.get("n").or(signer.jwk.get("x")).and_then(Value::as_str).unwrap();
        for secret in [signer.pem.as_bytes(), point.as_bytes(), signer.jwk.to_string().as_bytes()] {
            let forged = Signer::hmac(secret).sign_text(
                &json!({"alg": "HS256", "kid": signer.jwk["kid"]}).to_string(),
                &claims().to_string(),
                jsonwebtoken::Algorithm::HS256,
            );
            assert!(!accepts(method.clone(), &forged), "{}", signer.jwk);
        }
    }
}

#[test]
fn names_of_keys() {
    let (ours, other) = (Signer::p256(), Signer::p256());
    let named = |signer: &Signer, id: &str| with(&signer.jwk, &json!({"kid": id}));
    let nameless = |signer: &Signer| JwtKey {
        kind: Some(Kind::PublicKeyPem(signer.pem.clone())),
        key_id: String::new(),
    };
    let asks = |id: Value| {
        let mut header = json!({"alg": "ES256"});
        if !id.is_null() {
            header["kid"] = id;
        }
        ours.sign_text(&header.to_string(), &claims().to_string(), jsonwebtoken::Algorithm::ES256)
    };
    let by_config = |id: &str| JwtKey { key_id: id.into(), ..nameless(&ours) };
    for (keys, id, wanted) in [
        (vec![named(&ours, "a")], json!("a"), true),
        (vec![named(&ours, "a")], json!(null), true),
        (vec![named(&ours, "a")], json!("b"), false),
        (vec![named(&ours, "a")], json!(""), false),
        (vec![named(&ours, "a")], json!("../../dev/null"), false),
        (vec![named(&ours, "a")], json!(5), false),
        (vec![named(&ours, "a")], json!("a".repeat(300)), false),
        (vec![named(&ours, "b"), named(&other, "a")], json!("a"), false),
        (vec![named(&other, "a"), named(&ours, "a")], json!("a"), true),
        (vec![named(&other, "a"), nameless(&ours)], json!("a"), true),
        (vec![named(&other, "a"), nameless(&ours)], json!("c"), true),
        (vec![by_config("a")], json!("a"), true),
        (vec![by_config("a")], json!("b"), false),
        // A bounded number is tried.
        ([vec![nameless(&other); 15], vec![nameless(&ours)]].concat(), json!(null), true),
        ([vec![nameless(&other); 16], vec![nameless(&ours)]].concat(), json!(null), false),
        ([vec![nameless(&other); 16], vec![named(&ours, "a")]].concat(), json!("a"), true),
    ] {
        let method = Jwt { keys: keys.clone(), ..jwt(&[&ours]) };
        assert_eq!(accepts(method, &asks(id.clone())), wanted, "{keys:?} {id}");
    }
}

#[test]
fn unfit_keys_do_not_compile() {
    let jwk = |jwk: Value| key(Kind::Jwk(jwk.to_string()));
    let small = Signer::rsa(KeySize::Rsa2048);
    let n = |bytes: usize, first: u8| {
        let mut n = vec![first; 1];
        n.resize(bytes - 1, 0x5a);
        n.push(1);
        encode(n)
    };
    let rsa = |n: String, e: &[u8]| jwk(json!({"kty": "RSA", "n": n, "e": encode(e)}));
    let text = |text: &str| key(Kind::Jwk(text.into()));
    let secret = |secret: &[u8]| key(Kind::Secret(secret.into()));
    let twice = RSA.jwk.to_string().replacen('{', r#"{"kty":"oct","#, 1);
    let odd = RSA.pem.replace("PUBLIC KEY", "CERTIFICATE");
    for (bad, wanted) in [
        (rsa(n(128, 0x80), &[1, 0, 1]), "1024 bits"),
        (rsa(n(256, 0x7f), &[1, 0, 1]), "2047 bits"),
        (rsa(n(2048, 0x80), &[1, 0, 1]), "16384 bits"),
        (rsa(String::new(), &[1, 0, 1]), "0 bits"),
        (rsa(n(256, 0x80), &[1]), "exponent"),
        (rsa(n(256, 0x80), &[]), "exponent"),
        (rsa(n(256, 0x80), &[1, 0]), "exponent"),
        (rsa(n(256, 0x80), &[9; 5]), "exponent"),
        (jwk(json!({"kty": "oct", "k": ""})), "0"),
        (jwk(json!({"kty": "oct", "k": encode([7; 31])})), "HS256 needs a secret of 32 bytes"),
        (secret(&[]), "HS256 needs a secret of 32 bytes or more, it has 0"),
        (secret(&[7; 47]), "HS384 needs a secret of 48 bytes"),
        (secret(&[7; 63]), "HS512 needs a secret of 64 bytes"),
        (secret(small.pem.as_bytes()), "public key"),
        (with(&P256.jwk, &json!({"y": P256.jwk["x"]})), "not those of a key"),
        (with(&P256.jwk, &json!({"x": encode([1; 31])})), "`x` is not 32 bytes"),
        (with(&P256.jwk, &json!({"crv": "P-384"})), "48 bytes"),
        (with(&P256.jwk, &json!({"crv": "secp256k1"})), "curve"),
        (with(&P256.jwk, &json!({"crv": null})), "`crv`"),
        (with(&ED.jwk, &json!({"crv": "Ed448"})), "curve"),
        (with(&ED.jwk, &json!({"x": encode([1; 31])})), "not those of a key"),
        (with(&RSA.jwk, &json!({"use": "enc"})), "`use`"),
        (with(&RSA.jwk, &json!({"key_ops": ["sign"]})), "`key_ops`"),
        (with(&RSA.jwk, &json!({"alg": "RSA-OAEP"})), "`alg`"),
        (with(&RSA.jwk, &json!({"alg": "none"})), "`alg`"),
        (with(&RSA.jwk, &json!({"alg": "ES256"})), "fits"),
        (with(&RSA.jwk, &json!({"alg": "HS256"})), "fits"),
        (with(&RSA.jwk, &json!({"n": "a+/="})), "base64url"),
        (with(&RSA.jwk, &json!({"kty": "rsa"})), "`kty`"),
        (with(&RSA.jwk, &json!({"kid": 1})), "`kid`"),
        (text(&twice), "repeats"),
        (text("{}"), "`kty`"),
        (text("[]"), "object"),
        (text(""), "object"),
        (key(Kind::PublicKeyPem(String::new())), "PEM"),
        (key(Kind::PublicKeyPem(odd)), "PEM"),
        (key(Kind::PublicKeyPem(format!("{}{}", RSA.pem, P256.pem))), "more than one"),
        (JwtKey::default(), "does not know"),
    ] {
        let mut method = jwt(&[&RSA, &P256, &P384, &ED, &Signer::hmac(&[])]);
        method.keys = vec![bad.clone()];
        let config = policy(vec![by_jwt(method.clone())]);
        let error = Policy::compile(&config).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
        // It does not harm its neighbours in a key set.
        method.keys.push(RSA.as_jwk());
        assert!(accepts(method, &RSA.token(&claims())), "{wanted}");
    }
    for (method, wanted) in [
        (Jwt { keys: vec![], ..jwt(&[&RSA]) }, "there is none"),
        (Jwt { algorithms: vec![], ..jwt(&[&RSA]) }, "algorithms"),
        (Jwt { algorithms: vec!["none".into()], ..jwt(&[&RSA]) }, "\"none\" is not known"),
        (Jwt { algorithms: vec!["rs256".into()], ..jwt(&[&RSA]) }, "not known"),
        (Jwt { issuer: String::new(), ..jwt(&[&RSA]) }, "issuer"),
        (Jwt { issuer: "a#b".into(), ..jwt(&[&RSA]) }, "issuer"),
        (Jwt { leeway_seconds: 301, ..jwt(&[&RSA]) }, "leeway"),
    ] {
        let error = Policy::compile(&policy(vec![by_jwt(method)])).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn nothing_secret_is_shown() {
    let secret = "an extremely secret secret of 64 bytes, of which nobody may hear";
    let method =
        Jwt { algorithms: vec!["HS256".into()], keys: vec![key(Kind::Secret(secret.into()))], ..jwt(&[]) };
    let policy = format!("{:?}", Policy::compile(&policy(vec![by_jwt(method)])).unwrap());
    assert!(policy.contains("HS256") && !policy.contains("secret secret"), "{policy}");
}
