//! JSON Web Tokens (security catalogue A1 to A11): good ones by every algorithm pass, forged ones get 401, and the backend
//! sees nothing of them.

use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_tests::{
    backend::{Backend, header},
    client::{Ask, get},
    gateway::Gateway,
    tokens::{AUDIENCE, ISSUER, Signer, claims, encode, jwks, now, secret},
};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::route;

/// An AuthPolicy `jwt` whose keys are the JSON Web Key Set of the Secret `keys`, and one rule that it guards.
fn guarded(algorithms: &str) -> String {
    let rules = "- auth: {policyRef: {name: jwt}}\n  backendRefs: [{name: echo, port: 80}]";
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {{name: jwt}}\nspec:\n  anyOf:\n  - jwt:\n      issuer: \
         {ISSUER}\n      audiences: [{AUDIENCE}]\n      algorithms: [{algorithms}]\n      secretRef: {{name: keys}}\n      \
         leewaySeconds: 5\n      sources:\n      - header: {{name: Authorization, scheme: Bearer}}\n      - query: {{name: \
         token}}\n{}",
        route(rules)
    )
}

const ALL: &str = "RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA, HS256, HS384, HS512";

async fn gateway(backend: &Backend, algorithms: &str, keys: &str) -> Gateway {
    Gateway::builder()
        .file("edge.yaml", gatehouse_tests::gateway::EDGE)
        .file("routes.yaml", guarded(algorithms))
        .file("service.yaml", gatehouse_tests::gateway::service("echo"))
        .file("keys.json", secret("keys", "jwks.json", keys))
        .endpoint("echo", backend.address)
        .start()
        .await
}

fn bearer(ask: Ask, token: &str) -> Ask {
    ask.header("authorization", &format!("Bearer {token}"))
}

#[tokio::test]
async fn every_algorithm_is_verified() {
    let signers = [
        Signer::rsa("rsa"),
        Signer::p256("p256"),
        Signer::p384("p384"),
        Signer::ed25519("ed"),
        Signer::hmac("hmac", &[7; 64]),
    ];
    let backend = Backend::echo("echo").await;
    let gateway = gateway(&backend, ALL, &jwks(&signers.iter().collect::<Vec<_>>())).await;
    for signer in &signers {
        for algorithm in signer.algorithms {
            let token = signer.sign(&claims(), *algorithm);
            let answer = bearer(get(gateway.http(), "/"), &token).send().await;
            assert_eq!(answer.status, 200, "{algorithm:?}: {answer:?}");
            // One bit of the signature.
            let (message, signature) = token.rsplit_once('.').unwrap();
            let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
            let broken = format!("{message}.{flipped}{}", &signature[1..]);
            assert_eq!(bearer(get(gateway.http(), "/"), &broken).send().await.status, 401, "{algorithm:?}");
        }
    }
}

#[tokio::test]
async fn forged_tokens_are_refused_and_no_backend_sees_them() {
    let rsa = Signer::rsa("rsa");
    let p256 = Signer::p256("p256");
    let stranger = Signer::p256("p256");
    let backend = Backend::echo("echo").await;
    let gateway = gateway(&backend, "RS256, ES256, HS256", &jwks(&[&rsa, &p256])).await;

    let good = p256.token(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let header = |fields: Value| {
        let mut header = json!({"alg": "ES256", "kid": "p256"});
        header.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        p256.sign_text(&header.to_string(), &claims().to_string(), Algorithm::ES256)
    };
    let with = |fields: Value| {
        let mut all = claims();
        for (name, value) in fields.as_object().unwrap() {
            all[name] = value.clone();
        }
        p256.token(&all)
    };
    let without = |name: &str| {
        let mut all = claims();
        all.as_object_mut().unwrap().remove(name);
        p256.token(&all)
    };
    let unsigned = |alg: &str| {
        let header = if alg.is_empty() { json!({"typ": "JWT"}) } else { json!({"alg": alg}) };
        format!("{}.{}.", encode(header.to_string()), encode(claims().to_string()))
    };
    let plain_header = json!({"alg": "ES256", "kid": "p256"}).to_string();
    let n = rsa.jwk["n"].as_str().unwrap().as_bytes().to_vec();
    let rsa_pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&n));
    let as_hmac = |secret: &[u8]| {
        Signer::hmac("rsa", secret).sign_text(
            &json!({"alg": "HS256", "kid": "rsa"}).to_string(),
            &claims().to_string(),
            Algorithm::HS256,
        )
    };
    let der_signature = |bytes: &[u8]| format!("{}.{}.{}", parts[0], parts[1], encode(bytes));
    let cases: Vec<(&str, String)> = vec![
        ("A1 none", unsigned("none")),
        ("A1 None", unsigned("None")),
        ("A1 NONE", unsigned("NONE")),
        ("A1 no algorithm", unsigned("")),
        ("A1 no signature", format!("{}.{}.", parts[0], parts[1])),
        ("A1 none with a signature", {
            let message = format!("{}.{}", encode(json!({"alg": "none"}).to_string()), parts[1]);
            format!("{message}.{}", parts[2])
        }),
        ("A2 HMAC with the RSA modulus", as_hmac(&n)),
        ("A2 HMAC with the RSA PEM", as_hmac(rsa_pem.as_bytes())),
        ("A2 HMAC with the EC point", as_hmac(p256.jwk["x"].as_str().unwrap().as_bytes())),
        ("A2 RSA algorithm on an EC key", header(json!({"alg": "RS256"}))),
        ("A2 not in the policy", rsa.sign(&claims(), Algorithm::RS512)),
        ("A3 empty HMAC key", as_hmac(b"")),
        ("A4 unknown kid", header(json!({"kid": "other"}))),
        ("A4 long kid", header(json!({"kid": "x".repeat(10_000)}))),
        ("A4 path in kid", header(json!({"kid": "../../dev/null"}))),
        ("A4 SQL in kid", header(json!({"kid": "' OR 1=1 --"}))),
        ("A4 kid twice", {
            let header = r#"{"alg":"ES256","kid":"other","kid":"p256"}"#;
            p256.sign_text(header, &claims().to_string(), Algorithm::ES256)
        }),
        ("A5 its own key", {
            let header = json!({"alg": "ES256", "kid": "p256", "jwk": stranger.jwk}).to_string();
            stranger.sign_text(&header, &claims().to_string(), Algorithm::ES256)
        }),
        ("A6 crit", header(json!({"crit": ["exp"]}))),
        ("A6 b64", header(json!({"b64": false}))),
        ("A6 zip", header(json!({"zip": "DEF"}))),
        ("A6 five parts", format!("{good}.{}.{}", parts[1], parts[2])),
        ("A7 exp as text", with(json!({"exp": (now() + 600).to_string()}))),
        ("A7 exp null", with(json!({"exp": null}))),
        ("A7 exp negative", with(json!({"exp": -1}))),
        ("A7 exp beyond all time", with(json!({"exp": 1e300}))),
        ("A7 exp missing", without("exp")),
        ("A7 expired beyond the leeway", with(json!({"exp": now() - 7}))),
        ("A7 nbf as text", with(json!({"nbf": "123"}))),
        ("A7 nbf null", with(json!({"nbf": null}))),
        ("A7 nbf in the future", with(json!({"nbf": now() + 3600}))),
        ("A7 iat as text", with(json!({"iat": "now"}))),
        ("A8 no aud", without("aud")),
        ("A8 other aud", with(json!({"aud": "other"}))),
        ("A8 aud prefix", with(json!({"aud": "api.evil"}))),
        ("A8 aud of numbers", with(json!({"aud": [1, 2]}))),
        ("A8 no iss", without("iss")),
        ("A8 iss prefix", with(json!({"iss": format!("{ISSUER}.evil")}))),
        ("A8 iss as list", with(json!({"iss": [ISSUER]}))),
        ("A9 claim twice", {
            let text = claims().to_string();
            let twice = format!("{},\"sub\":\"root\"}}", &text[..text.len() - 1]);
            p256.sign_text(&plain_header, &twice, Algorithm::ES256)
        }),
        ("A9 escaped claim twice", {
            let text = claims().to_string();
            let twice = format!("{},\"s\\u0075b\":\"root\"}}", &text[..text.len() - 1]);
            p256.sign_text(&plain_header, &twice, Algorithm::ES256)
        }),
        ("A9 junk behind", p256.sign_text(&plain_header, &format!("{} x", claims()), Algorithm::ES256)),
        ("A9 padding", format!("{good}=")),
        ("A9 spaces inside", good.replacen('.', " .", 1)),
        ("A9 wrong alphabet", format!("{}.{}.+/{}", parts[0], parts[1], &parts[2][2..])),
        ("A9 four dots", format!("{good}..")),
        ("A9 a megabyte", {
            let mut all = claims();
            all["x"] = "y".repeat(40_000).into();
            p256.token(&all)
        }),
        ("A9 nothing", "".into()),
        ("A9 dots", "..".into()),
        ("A10 r = s = 0", der_signature(&[0; 64])),
        ("A10 short", der_signature(&[1; 63])),
        ("A10 long", der_signature(&[1; 65])),
        ("A10 DER", der_signature(&[0x30, 6, 2, 1, 1, 2, 1, 1])),
        ("a stranger's key", stranger.token(&claims())),
    ];
    for (name, token) in cases {
        let answer = bearer(get(gateway.http(), "/"), &token).send().await;
        assert!(answer.status == 401 || answer.status == 431, "{name}: {answer:?}");
        if answer.status == 401 {
            let challenge = answer.header("www-authenticate").unwrap_or("");
            assert!(challenge.starts_with("Bearer realm="), "{name}: {challenge:?}");
        }
        backend.assert_untouched(name);
    }
    for (name, ask) in [
        ("A11 two fields", bearer(bearer(get(gateway.http(), "/"), &good), &good)),
        ("A11 field and query", bearer(get(gateway.http(), &format!("/?token={good}")), &good)),
        ("A11 tab", get(gateway.http(), "/").header("authorization", &format!("Bearer\t{good}"))),
        ("A11 no scheme", get(gateway.http(), "/").header("authorization", &good)),
        ("A11 other scheme", get(gateway.http(), "/").header("authorization", &format!("Basic {good}"))),
    ] {
        assert_eq!(ask.send().await.status, 401, "{name}");
        backend.assert_untouched(name);
    }
    // The other side of every edge.
    for (name, token) in [
        ("good", good.clone()),
        ("expired within the leeway", with(json!({"exp": now() - 2}))),
        ("nbf within the leeway", with(json!({"nbf": now() + 3}))),
        ("a fraction of a second", with(json!({"exp": now() as f64 + 600.5}))),
        ("aud as list", with(json!({"aud": ["other", AUDIENCE]}))),
        ("A5 ignored", header(json!({"jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/"}))),
    ] {
        let answer = bearer(get(gateway.http(), "/"), &token).send().await;
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
    }
    let lower = get(gateway.http(), "/").header("authorization", &format!("bearer {good}"));
    assert_eq!(lower.send().await.status, 200, "A11 the scheme is compared without case");
    let in_query = get(gateway.http(), &format!("/x?a=1&token={good}&b=2")).send().await;
    assert_eq!(in_query.json()["path"], "/x?a=1&b=2", "the credential goes no further");
    let in_header = bearer(get(gateway.http(), "/"), &good).send().await;
    assert_eq!(header_of(&in_header.json(), "authorization"), None, "the credential goes no further");
}

fn header_of(echo: &Value, name: &str) -> Option<String> {
    header(echo, name).map(str::to_owned)
}

#[tokio::test]
async fn keys_come_from_a_url_and_the_last_good_ones_stay() {
    use std::sync::{Arc, Mutex};

    use gatehouse_tests::backend::{full, status};

    let signer = Signer::p256("one");
    let document = Arc::new(Mutex::new(None));
    let served = Arc::clone(&document);
    let jwks_server = Backend::answering(move |_| match &*served.lock().unwrap() {
        Some(document) => http::Response::new(full(String::clone(document))),
        None => status(500),
    })
    .await;
    let backend = Backend::echo("echo").await;
    let policy = format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {{name: jwt}}\nspec:\n  anyOf:\n  - jwt:\n      issuer: \
         {ISSUER}\n      jwks: {{url: 'http://{}/keys'}}\n{}",
        jwks_server.address,
        route("- auth: {policyRef: {name: jwt}}\n  backendRefs: [{name: echo, port: 80}]")
    );
    let gateway = Gateway::with(&policy, &[("echo", backend.address)]).await;
    let token = signer.token(&claims());
    // A12: closed while there is no key, and it says so.
    assert_eq!(bearer(get(gateway.http(), "/"), &token).send().await.status, 503);
    gateway.said("KeysPending").await;
    backend.assert_untouched("no key yet");
    *document.lock().unwrap() = Some(jwks(&[&signer]));
    gatehouse_tests::eventually("the keys arrive", async || {
        (bearer(get(gateway.http(), "/"), &token).send().await.status == 200).then_some(())
    })
    .await;
    *document.lock().unwrap() = None;
    assert_eq!(bearer(get(gateway.http(), "/"), &token).send().await.status, 200);
}
