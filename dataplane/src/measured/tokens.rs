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
    jwk: "{\"kty\":\"RSA\",\"kid\":\"r\",\"n\":\"qcNkntPFpY1730flk6C1wRrowHAKYYpHZdAa7g41uioVizFxSW-rXid-CBs3N-fBG6iw\
        yU6C8chGjiTHzq1WEnYmGhGmFI8wMmESEgJEY89yUpfPIq-h0fPR4qK2PPnNaknzCGJ60TZgfmVX3t1UJ3TRCsZL88azZZ_l\
        hJaBvFeGGUCRhAYC2HyNPoF0MsgzTXKiYppbqXzxNmnweV3seV_0jvUajCrCPh49h4asZwAuAXcBQEX74d1smlzurHeRjXEj\
        FjsCZlEumEtJPu7fSjVEbvSh0sY3eWsxgvLChYwb89wTrixaWRHl8aBgJtljWbtWphBVVOlRgffafgLkIQ\",\"e\":\"AQAB\"}",
    token: "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6InIifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic\
        3ViIjoiYWxpY2UiLCJhdWQiOiJvcmRlcnMiLCJleHAiOjQxMDI0NDQ4MDAsImdyb3VwcyI6WyJidXllcnMiLCJ0ZXN0ZXJzI\
        l0sInRpZXIiOiJnb2xkIn0.kYbLMf7PIMOdI9f9YVSlXG9q6SjucJn2vj8DmV6sRH2uxZgF1C58nTp_LhsozF1hggqVL3_tj\
        sNDTxT59GQy-XaT0la2uMh9wXvUjAnq4uxGBdBFKBzni04TBpt8xus3AsMm3MyxPaCDVf7-QQX0b3XrpZlI1zHw9Pl4yiGx0\
        2R2sJLIcZyS2j-VrDpSYoWX_Jk2tJLD30WrFfdjMCTvpoxqPvAT_ViRsLQscnLWu6jeunzKN8VK1RXiaYVVBIedy5UkaTQVC\
        -i3skFHKY0o-mozA55NKKTd-cQ5UYdU5n7T4aAq8d3y_dYmfJfHP6CSeng6NxElwO7Qzrzmi75i9Q",
};
const ES256: Signed = Signed {
    algorithm: "ES256",
    jwk: "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"e\",\"x\":\"BFGL34WJ5cz1yyX_u9uLqYpGoHyU0BXaFD4xAbjcYuI\",\"y\":\"VS8jv\
        eEni0A3vxHuwpv3eQB0qDU81daTjs6qR9dmxLE\"}",
    token: "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImUifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic\
        3ViIjoiYWxpY2UiLCJhdWQiOiJvcmRlcnMiLCJleHAiOjQxMDI0NDQ4MDAsImdyb3VwcyI6WyJidXllcnMiLCJ0ZXN0ZXJzI\
        l0sInRpZXIiOiJnb2xkIn0.hPQjic5O_j3ebUSwe5Wi5YBJfOW3DBqy5MFqGkKDsI8gyp1FWKIIA_hhIN0bPqhMN-h769pJg\
        71vZbvqtn5v24",
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
