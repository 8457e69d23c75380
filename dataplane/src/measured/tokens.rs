//! Authentication by tokens, with and without what the cache knows. The private halves of the keys were thrown away.

use std::hint::black_box;

use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use super::{Case, Work};
use crate::auth::{Consumers, Policy, Request, TokenCache};

pub(super) const CASES: &[Case] = &[
    Case { name: "jwt/warm", prepare: || warm(&RS256) },
    Case { name: "jwt/cold-rs256", prepare: || cold(&RS256) },
    Case { name: "jwt/cold-es256", prepare: || cold(&ES256) },
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
    Box::new(move || admit(&policy, &consumers, &mut tokens, &headers))
}

/// The worker sees its first token.
fn cold(signed: &Signed) -> Work {
    let (policy, consumers, headers) = guarded(signed);
    Box::new(move || admit(&policy, &consumers, &mut TokenCache::default(), &headers))
}

fn guarded(signed: &Signed) -> (Policy, Consumers, HeaderMap) {
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
    let config = v1::AuthConfig {
        namespace: "shop".into(),
        any_of: vec![v1::AuthMethod { kind: Some(v1::auth_method::Kind::Jwt(jwt)) }],
        ..v1::AuthConfig::default()
    };
    let policy = Policy::compile(&config).expect("the policy is valid");
    let value = HeaderValue::from_str(&format!("Bearer {}", signed.token)).expect("a token is ASCII");
    (policy, Consumers::default(), HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

fn admit(policy: &Policy, consumers: &Consumers, tokens: &mut TokenCache, headers: &HeaderMap) {
    let request = Request { headers: black_box(headers), query: None };
    let identity = policy.authenticate(consumers, tokens, request, NOW);
    assert!(identity.is_ok());
}
