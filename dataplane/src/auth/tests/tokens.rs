//! What a token must be, whoever signed it (security catalogue A1 to A11).

use std::slice;

use gatehouse_proto::config::v1::Jwt;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::{
    Consumers, ISSUER, NOW, Policy, Request, TokenCache, by_jwt, headers, policy,
    signer::{P256, RSA, Signer, claims, claims_with, encode, jwt},
};

fn accepts_at(method: &Jwt, token: &str, now_ms: i64) -> bool {
    let policy = Policy::compile(&policy(vec![by_jwt(method.clone())])).unwrap();
    let headers = headers(&[("authorization", &format!("Bearer {token}"))]);
    let request =
        Request { headers: &headers, query: None, client: [127, 0, 0, 1].into(), certificate: None };
    policy.admit(&Consumers::default(), &mut TokenCache::default(), request, now_ms).is_ok()
}

fn accepts(method: &Jwt, token: &str) -> bool {
    accepts_at(method, token, NOW * 1000)
}

#[test]
fn times_to_the_millisecond() {
    let now = NOW * 1000;
    for (leeway, claims, now_ms, wanted) in [
        (0, json!({"exp": NOW}), now - 1, true),
        (0, json!({"exp": NOW}), now, false),
        (30, json!({"exp": NOW}), now + 29_999, true),
        (30, json!({"exp": NOW}), now + 30_000, false),
        (0, json!({"exp": NOW as f64 + 0.5}), now + 499, true),
        (0, json!({"exp": NOW as f64 + 0.5}), now + 500, false),
        (0, json!({"exp": 9_007_199_254_740_991_u64}), now, true),
        (0, json!({"exp": 9_007_199_254_740_993_u64}), now, false),
        (0, json!({"exp": u64::MAX}), now, false),
        (0, json!({"exp": 1e300}), now, false),
        (0, json!({"exp": -1}), -5000, false),
        (0, json!({"exp": "1900000000"}), now, false),
        (0, json!({"exp": null}), now, false),
        (0, json!({"exp": true}), now, false),
        (0, json!({"exp": [NOW + 5]}), now, false),
        (0, json!({"nbf": NOW}), now - 1, false),
        (0, json!({"nbf": NOW}), now, true),
        (30, json!({"nbf": NOW + 30}), now, true),
        (30, json!({"nbf": NOW + 30}), now - 1, false),
        (0, json!({"nbf": "123"}), now, false),
        (0, json!({"nbf": null}), now, false),
        (0, json!({"nbf": -1}), now, false),
        (0, json!({"iat": NOW + 100}), now, true),
        (0, json!({"iat": "now"}), now, false),
        (0, json!({"iat": null}), now, false),
    ] {
        let method = Jwt { leeway_seconds: leeway, ..jwt(&[&P256]) };
        let token = P256.token(&claims_with(&claims));
        assert_eq!(accepts_at(&method, &token, now_ms), wanted, "{leeway} {claims} {}", now_ms - now);
    }
    assert!(!accepts(&jwt(&[&P256]), &P256.token(&json!({"iss": ISSUER}))), "exp is required");
}

#[test]
fn issuer_audience_and_types() {
    let audiences = ["api".to_owned(), "web".to_owned()];
    for (audiences, claims, wanted) in [
        (&audiences[..], json!({"aud": "api"}), true),
        (&audiences, json!({"aud": ["other", "web"]}), true),
        (&audiences, json!({"aud": "ap"}), false),
        (&audiences, json!({"aud": "api "}), false),
        (&audiences, json!({"aud": "API"}), false),
        (&audiences, json!({"aud": []}), false),
        (&audiences, json!({"aud": ["api", 5]}), false),
        (&audiences, json!({"aud": {"api": 1}}), false),
        (&audiences, json!({"aud": null}), false),
        (&audiences, json!({}), false),
        (&[], json!({}), true),
        (&[], json!({"aud": "whatever"}), true),
        (&[], json!({"aud": 5}), false),
        (&[], json!({"iss": format!("{ISSUER}.evil")}), false),
        (&[], json!({"iss": format!("{ISSUER}/")}), false),
        (&[], json!({"iss": [ISSUER]}), false),
        (&[], json!({"iss": null}), false),
        (&[], json!({"sub": 5}), false),
        (&[], json!({"sub": null}), false),
        (&[], json!({"jti": 5}), false),
    ] {
        let method = Jwt { audiences: audiences.to_vec(), ..jwt(&[&P256]) };
        assert_eq!(accepts(&method, &P256.token(&claims_with(&claims))), wanted, "{audiences:?} {claims}");
    }
}

#[test]
fn headers_and_claims_are_read_strictly() {
    let good_header = r#"{"alg":"ES256"}"#;
    let good = claims().to_string();
    let exp = NOW + 600;
    let method = jwt(&[&P256]);
    let sign = |header: &str, claims: &str| P256.sign_text(header, claims, Algorithm::ES256);
    assert!(accepts(&method, &sign(good_header, &good)));
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"es256"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":["ES256"]}"#,
        r#"{"alg":null}"#,
        "{}",
        "[]",
        "",
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","\u0061lg":"ES256"}"#,
        r#"{"\u0061lg":"ES256"}"#,
        r#"{"alg":"ES256","crit":["exp"]}"#,
        r#"{"alg":"ES256","crit":[]}"#,
        r#"{"alg":"ES256","b64":true}"#,
        r#"{"alg":"ES256","zip":"DEF"}"#,
        r#"{"alg":"ES256","enc":"A128GCM"}"#,
        r#"{"alg":"ES256","typ":1}"#,
        r#"{"alg":"ES256","kid":null}"#,
        r#"{"alg":"ES256"} x"#,
        r#"{"alg":"ES256"}{}"#,
    ] {
        assert!(!accepts(&method, &sign(header, &good)), "{header}");
    }
    for claims in [
        "",
        "null",
        "[]",
        &format!("{good}{good}"),
        &format!(r#"{{"iss":"{ISSUER}","exp":1,"exp":{exp}}}"#),
        &format!(r#"{{"iss":"{ISSUER}","e\u0078p":{exp}}}"#),
        &format!(r#"{{"iss":"evil","iss":"{ISSUER}","exp":{exp}}}"#),
        &format!(r#"{{"iss":"{ISSUER}","exp":{exp},"x":{{"a":1,"a":1}}}}"#),
        &format!(r#"{{"iss":"{ISSUER}","exp":{exp},"x":1e999}}"#),
        // A token within the token.
        &sign(good_header, &good),
    ] {
        assert!(!accepts(&method, &sign(good_header, claims)), "{claims}");
    }
}

#[test]
fn what_a_token_brings_along_is_ignored() {
    let stranger = Signer::p256();
    let brings = json!({"alg": "ES256", "jwk": stranger.jwk, "jku": "https://evil.test", "x5u": "https://evil.test", "x5c": ["x"]});
    let sign =
        |signer: &Signer| signer.sign_text(&brings.to_string(), &claims().to_string(), Algorithm::ES256);
    assert!(accepts(&jwt(&[&P256]), &sign(&P256)));
    assert!(!accepts(&jwt(&[&P256]), &sign(&stranger)));
}

#[test]
fn parts_and_signatures_are_exact() {
    let method = jwt(&[&P256]);
    let good = P256.token(&claims());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { unreachable!() };
    let signed = |signature: &[u8]| format!("{header}.{payload}.{}", encode(signature));
    // The order of P-256's group.
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> =
        (0..64).step_by(2).map(|at| u8::from_str_radix(&order[at..at + 2], 16).unwrap()).collect();
    for bad in [
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        "..".into(),
        String::new(),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{payload}.{signature}"),
        format!("{good}="),
        format!("{header}=.{payload}.{signature}"),
        format!("{good} "),
        format!("{good} x"),
        format!("{header}.{payload} .{signature}"),
        format!("{header}.{payload}.+{}", &signature[1..]),
        format!("{header}.{payload}./{}", &signature[1..]),
        format!("{header}.{payload}.{}", &signature[..signature.len() - 1]),
        signed(&[0; 64]),
        signed(&[0; 63]),
        signed(&[0; 65]),
        signed(&[]),
        signed(&[&order[..], &order[..]].concat()),
        signed(&[&[1; 32], &[0; 32][..]].concat()),
        // DER, of r = s = 1.
        signed(&[0x30, 6, 2, 1, 1, 2, 1, 1]),
        "x".repeat(1 << 20),
        format!("{}{good}", "A".repeat(8 << 10)),
        ".".repeat(8 << 10),
    ] {
        assert!(!accepts(&method, &bad), "{}", &bad[..bad.len().min(400)]);
    }
    // Also unused bits of the last digit count.
    let last = signature.chars().last().unwrap();
    let others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars();
    for other in others.filter(|other| *other != last) {
        assert!(!accepts(&method, &format!("{}{other}", &good[..good.len() - 1])), "{other}");
    }
    let long = claims_with(&json!({"x": "y".repeat(5800)}));
    assert!(accepts(&method, &P256.token(&long)));
    let longer = claims_with(&json!({"x": "y".repeat(6200)}));
    assert!(!accepts(&method, &P256.token(&longer)), "more than 8 KiB");
}

#[test]
fn no_bit_can_be_changed() {
    let method = jwt(slice::from_ref(&&*RSA));
    let good = RSA.token(&claims());
    assert!(accepts(&method, &good));
    for at in (0..good.len()).step_by(7) {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'Q' { b'R' } else { b'Q' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(!accepts(&method, &changed), "{at}: {changed}");
    }
}

#[test]
fn claims_of_another_token_do_not_fit_the_signature() {
    let method = jwt(&[&P256]);
    let (one, other) = (P256.token(&claims()), P256.token(&claims_with(&json!({"sub": "root"}))));
    let part = |token: &str, at: usize| token.split('.').nth(at).unwrap().to_owned();
    let mixed: Vec<Value> = Vec::from([json!(part(&one, 0)), json!(part(&other, 1)), json!(part(&one, 2))]);
    let mixed: Vec<&str> = mixed.iter().map(|part| part.as_str().unwrap()).collect();
    assert!(!accepts(&method, &mixed.join(".")));
}
