//! Authentication by tokens, with and without what the cache knows. The private halves of the keys were thrown away.

use std::hint::black_box;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde_json::Value;

use super::{Case, Work};
use crate::auth::{Consumers, Identity, Policy, Request, TokenCache};

pub(super) const CASES: &[Case] = &[
    Case { name: "jwt/warm", prepare: || warm(&RS256) },
    Case { name: "jwt/cold-rs256", prepare: || cold(&RS256) },
    Case { name: "jwt/cold-es256", prepare: || cold(&ES256) },
    Case { name: "jwt/bare-rs256", prepare: || bare(&RS256) },
    Case { name: "jwt/bare-es256", prepare: || bare(&ES256) },
    Case { name: "identity-token/hs256", prepare: || telling("HS256", vec![7; 32]) },
    Case { name: "identity-token/es256", prepare: || telling("ES256", p256()) },
    Case { name: "identity-token/eddsa", prepare: || telling("EdDSA", ed25519()) },
];

/// Unix milliseconds, before the tokens end.
const NOW: i64 = 1_800_000_000_000;

struct Signed {
    algorithm: &'static str,
    jwk: &'static str,
    token: &'static str,
}

const RS256: Signed = Signed {
    algorithm: "RS256",
    jwk: "{\"kty\":\"RSA\",\"kid\":\"r\",\"n\":\"n4hzeABFxhNU9dOMDhGeZCjxW2Z_64wP6vlOBY8QYDOFdJ16lDVFXU-ieRkayI1Yp6_y\
        qFj9LuO0smhmZYwAW_1L9E_ItSP5AT7F0WhcfQ7ddzv70lOqVHBxPbs3h_HtqSgT_Eb30nS_2RL7psLEICpaCQoiHlcWFIjt\
        GQa2_YTXJScpSgLUjrvqOAWTcd-z3_PKpoRbTeUYFayl2GoUoxV-wS_x1g1Hb87i8p3EOOEMgcSKNl97yXiB2MVqSg3cJ12p\
        pBkVeqIUF7Tc2UiE7hGqtd56W5i_NUoa77xLIh_DfO2E9Q8Hr3h1xbZ4iLpRBIPxwu59xoRIlYtBWDnmLQ\",\"e\":\"AQAB\"}",
    token: "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InIifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic\
        3ViIjoiYWxpY2UiLCJhdWQiOiJvcmRlcnMiLCJleHAiOjQxMDI0NDQ4MDAsImdyb3VwcyI6WyJidXllcnMiLCJ0ZXN0ZXJzI\
        l0sInRpZXIiOiJnb2xkIn0.Us-zf_ny4jd-kbMHeO4MyvQbfPDj3nZzHPonNV7kV3688NRkn7t0dpjlkkqGL5J4Wfyq4O3Ma\
        cHT8iu-8Ex2fQAB33ebhh1Hu7jUviWujq2ZktMVJXmfq0EgI0T7kGka45XiUBCdQuR2Ge3XtgvcAekExyRWgWizF31ZgxHvq\
        I1wr0neox0asRd34u8mvSZpml0ISymP_ESYG1H4AAbHurSzDRnFh5Y6X6URp_zWuv95WTkU7Q1oEv6cRbUmN8kmHmiN8Y9Dx\
        2zW3cT0K7SXznqZ_eaDkyFsnofJ5hhGA1RrPG1ui0Jc44rL_paG6FTmyVVqNKqXbF0utZaHsoZOlw",
};
const ES256: Signed = Signed {
    algorithm: "ES256",
    jwk: "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"rN8IntWu5USWIUgzcDMiKVivbPfxuq4G9WfuHFEdm-8\",\"y\":\"X_OG6\
        ckentDmz5NffEuWDOJ9PaNtYy3XCxknl6C7jH4\"}",
    token: "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImUifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic\
        3ViIjoiYWxpY2UiLCJhdWQiOiJvcmRlcnMiLCJleHAiOjQxMDI0NDQ4MDAsImdyb3VwcyI6WyJidXllcnMiLCJ0ZXN0ZXJzI\
        l0sInRpZXIiOiJnb2xkIn0.s1vxeatz5bCih1ENfr3xFSE-CKKN8g0XZPXECNmXCjjcpFtg6TTWDnhMpudea1OZXMe6FtvMp\
        rZc2afg7R7Y5Q",
};

/// The token was seen before.
fn warm(signed: &Signed) -> Work {
    let (policy, consumers, headers) = guarded(signed);
    let mut tokens = TokenCache::default();
    Box::new(move || {
        admit(&policy, &consumers, &mut tokens, &headers);
    })
}

/// The worker sees its first token.
fn cold(signed: &Signed) -> Work {
    let (policy, consumers, headers) = guarded(signed);
    Box::new(move || {
        admit(&policy, &consumers, &mut TokenCache::default(), &headers);
    })
}

/// A policy that tells backends who the client is, by a token of its own.
fn telling(algorithm: &str, key: Vec<u8>) -> Work {
    let token = v1::IdentityToken {
        header: "X-Identity-Token".into(),
        issuer: "https://edge.example".into(),
        audience: "origin".into(),
        algorithm: algorithm.into(),
        key,
        lifetime_seconds: 60,
    };
    let identity = v1::IdentityForwarding { token: Some(token), ..v1::IdentityForwarding::default() };
    let config = v1::AuthConfig { identity: Some(identity), ..config(&RS256) };
    let policy = Policy::compile(&config).expect("the policy is valid");
    let headers = bearer(&RS256);
    let known = admit(&policy, &Consumers::default(), &mut TokenCache::default(), &headers);
    let mut told = HeaderMap::new();
    Box::new(move || {
        policy.apply(black_box(&known), &mut told, None, NOW);
    })
}

fn p256() -> Vec<u8> {
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    pair.expect("a key").as_ref().to_vec()
}

fn ed25519() -> Vec<u8> {
    Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key").as_ref().to_vec()
}

/// What the library takes to verify the signature, its key parsed before: the least that a cold token can cost.
fn bare(signed: &Signed) -> Work {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64");
    let jwk: Value = serde_json::from_str(signed.jwk).expect("a key");
    let number = |name: &str| decode(jwk[name].as_str().expect("a number"));
    let key = if signed.algorithm == "RS256" {
        let components = RsaPublicKeyComponents { n: number("n"), e: number("e") };
        components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
    } else {
        let point = [vec![4], number("x"), number("y")].concat();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point)
    };
    let key = key.expect("a key");
    let (message, signature) = signed.token.rsplit_once('.').expect("three parts");
    let signature = decode(signature);
    Box::new(move || {
        assert!(key.verify_sig(black_box(message.as_bytes()), &signature).is_ok());
    })
}

fn guarded(signed: &Signed) -> (Policy, Consumers, HeaderMap) {
    let policy = Policy::compile(&config(signed)).expect("the policy is valid");
    (policy, Consumers::default(), bearer(signed))
}

fn bearer(signed: &Signed) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {}", signed.token)).expect("a token is ASCII");
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

fn config(signed: &Signed) -> v1::AuthConfig {
    let jwt = v1::Jwt {
        issuer: "https://issuer.example".into(),
        audiences: vec!["orders".into()],
        algorithms: vec![signed.algorithm.into()],
        keys: vec![v1::JwtKey {
            kind: Some(v1::jwt_key::Kind::Jwk(signed.jwk.into())),
            key_id: String::new(),
        }],
        ..v1::Jwt::default()
    };
    v1::AuthConfig {
        namespace: "shop".into(),
        any_of: vec![v1::AuthMethod { kind: Some(v1::auth_method::Kind::Jwt(jwt)) }],
        ..v1::AuthConfig::default()
    }
}

fn admit(policy: &Policy, consumers: &Consumers, tokens: &mut TokenCache, headers: &HeaderMap) -> Identity {
    let client = [192, 0, 2, 1].into();
    let request = Request { headers: black_box(headers), query: None, client, certificate: None };
    policy.admit(consumers, tokens, request, NOW).expect("the token is valid")
}
