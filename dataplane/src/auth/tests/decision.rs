//! Which method decides, what is refused how, and what reaches the backend.

use gatehouse_proto::config::v1::{self, AuthConfig, ClaimHeader, IdentityForwarding};
use http::HeaderMap;
use serde_json::json;

use crate::http::headers::remove_with_aliases;

use super::{
    Identity, NOW, Outcome, Policy, Refusal, ask, bob, by_jwt, by_key, cookie_source, header_source, headers,
    policy, query_source,
    signer::{P256, RSA, claims, claims_with, jwt},
};

#[test]
fn the_first_method_that_finds_its_credential_decides() {
    let token = RSA.token(&claims());
    let bearer = format!("Bearer {token}");
    let bad = "Bearer x.y.z";
    let key = Outcome::Known("ns/bob#k".into());
    let known = Outcome::Known("jwt:https://issuer.test#alice".into());
    let by_both =
        || vec![by_jwt(jwt(&[&RSA])), by_key(vec![header_source("x-api-key", ""), query_source("key")])];
    let strict = Policy::compile(&policy(by_both())).unwrap();
    let open = AuthConfig { allow_anonymous: true, ..policy(by_both()) };
    let open = Policy::compile(&open).unwrap();
    let consumers = bob();
    for (lines, query, wanted) in [
        (&[][..], None, Outcome::Anonymous),
        (&[("authorization", "Basic eA==")], None, Outcome::Anonymous),
        (&[("authorization", "Bearerx")], None, Outcome::Anonymous),
        (&[("authorization", &*bearer)], None, known),
        (&[("x-api-key", "bobs-key")], None, key),
        (
            &[("x-api-key", "bobs-key"), ("authorization", "Basic eA==")],
            None,
            Outcome::Known("ns/bob#k".into()),
        ),
        (&[], Some("a&key=bobs%2Dkey"), Outcome::Known("ns/bob#k".into())),
        // What is found decides, however broken.
        (&[("authorization", bad)], None, Outcome::Refused),
        (&[("authorization", "Bearer")], None, Outcome::Refused),
        (&[("authorization", "bearer ")], None, Outcome::Refused),
        (&[("authorization", "Bearer\tx")], None, Outcome::Refused),
        (&[("authorization", "Bearer \u{e9}")], None, Outcome::Refused),
        (&[("x-api-key", "")], None, Outcome::Refused),
        (&[("x-api-key", "guess")], None, Outcome::Refused),
        (&[], Some("key"), Outcome::Refused),
        (&[("authorization", bad), ("x-api-key", "bobs-key")], None, Outcome::Refused),
        // Nobody can say which of several counts.
        (&[("authorization", &*bearer), ("authorization", &*bearer)], None, Outcome::Refused),
        (&[("authorization", &*bearer), ("authorization", "Basic eA==")], None, Outcome::Refused),
        (&[("x-api-key", "bobs-key"), ("x-api-key", "bobs-key")], None, Outcome::Refused),
        (&[("x-api-key", "bobs-key")], Some("key=bobs-key"), Outcome::Refused),
        (&[], Some("key=bobs-key&k%65y=bobs-key"), Outcome::Refused),
        (&[("authorization", &*format!("{bearer}, {bearer}"))], None, Outcome::Refused),
    ] {
        let headers = headers(lines);
        assert_eq!(Outcome::from(ask(&open, &consumers, &headers, query)), wanted, "{lines:?} {query:?}");
        let wanted = if wanted == Outcome::Anonymous { Outcome::Refused } else { wanted };
        assert_eq!(Outcome::from(ask(&strict, &consumers, &headers, query)), wanted, "{lines:?} {query:?}");
    }
}

#[test]
fn of_several_issuers_the_right_one_decides() {
    let other = v1::Jwt { issuer: "https://other.test".into(), ..jwt(&[&P256]) };
    let config = policy(vec![by_jwt(jwt(&[&RSA])), by_key(vec![]), by_jwt(other)]);
    let policy = Policy::compile(&AuthConfig { allow_anonymous: true, ..config }).unwrap();
    let consumers = bob();
    let of = |issuer: &str| claims_with(&json!({"iss": issuer}));
    for (token, wanted) in [
        (RSA.token(&claims()), Outcome::Known("jwt:https://issuer.test#alice".into())),
        (P256.token(&of("https://other.test")), Outcome::Known("jwt:https://other.test#alice".into())),
        // An issuer's keys vouch for its own tokens only.
        (RSA.token(&of("https://other.test")), Outcome::Refused),
        (P256.token(&claims()), Outcome::Refused),
        (RSA.token(&of("https://issuer.test.evil")), Outcome::Refused),
        (RSA.token(&of("https://third.test")), Outcome::Refused),
    ] {
        for lines in [&[][..], &[("x-api-key", "bobs-key")]] {
            let mut headers = headers(lines);
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
            assert_eq!(Outcome::from(ask(&policy, &consumers, &headers, None)), wanted, "{token} {lines:?}");
        }
    }
}

#[test]
fn what_can_not_be_enforced_is_closed() {
    let token = format!("Bearer {}", RSA.token(&claims()));
    let pending = v1::Jwt { keys: vec![], keys_pending: true, ..jwt(&[&RSA]) };
    let half = v1::Jwt { keys: vec![P256.as_jwk()], keys_pending: true, ..jwt(&[&P256, &RSA]) };
    let broken = AuthConfig { broken: "no Secret".into(), allow_anonymous: true, ..AuthConfig::default() };
    let bearer = [("authorization", &*token)];
    for (config, lines, wanted) in [
        (broken.clone(), &bearer[..], Outcome::Unavailable),
        (broken, &[], Outcome::Unavailable),
        (policy(vec![by_jwt(pending.clone()), by_key(vec![])]), &bearer, Outcome::Unavailable),
        (policy(vec![by_jwt(half)]), &bearer, Outcome::Unavailable),
        (policy(vec![by_jwt(pending.clone())]), &[], Outcome::Refused),
        // The other ways in stay open.
        (
            policy(vec![by_jwt(pending), by_key(vec![])]),
            &[("x-api-key", "bobs-key")],
            Outcome::Known("ns/bob#k".into()),
        ),
    ] {
        let policy = Policy::compile(&config).unwrap();
        assert_eq!(
            Outcome::from(ask(&policy, &bob(), &headers(lines), None)),
            wanted,
            "{config:?} {lines:?}"
        );
    }
}

#[test]
fn a_refusal_challenges_once_for_each_kind_of_method() {
    let two =
        vec![by_jwt(jwt(&[&RSA])), by_key(vec![]), by_jwt(v1::Jwt { issuer: "i".into(), ..jwt(&[&P256]) })];
    let policy = Policy::compile(&policy(two)).unwrap();
    let expired = format!("Bearer {}", RSA.token(&claims_with(&json!({"exp": 1}))));
    let plain = "Bearer realm=\"gatehouse\"";
    for (lines, wanted) in [
        (&[][..], plain.to_owned()),
        (&[("x-api-key", "guess")], plain.to_owned()),
        (
            &[("authorization", &*expired)],
            format!("{plain}, error=\"invalid_token\", error_description=\"token expired\""),
        ),
    ] {
        let Err(Refusal::Unauthenticated(challenges)) = ask(&policy, &bob(), &headers(lines), None) else {
            unreachable!("none of them is good")
        };
        assert_eq!(challenges, [&*wanted, "ApiKey realm=\"gatehouse\""], "{lines:?}");
    }
}

#[test]
fn the_backend_learns_who_it_is_and_not_by_what() {
    let claim = |claim: &str, header: &str| ClaimHeader { claim: claim.into(), header: header.into() };
    let sources = vec![header_source("x-api-key", ""), query_source("key"), cookie_source("key")];
    let mut config = policy(vec![by_jwt(jwt(&[&RSA])), by_key(sources)]);
    config.identity = Some(IdentityForwarding {
        claims: vec![claim("email", "X-User-Email")],
        forward_credential: false,
        token: None,
    });
    let token = RSA.token(&claims_with(&json!({"email": "zoë@example.com"})));
    let bearer = format!("Bearer {token}");
    let lines = [
        ("authorization", &*bearer),
        ("x-api-key", "other"),
        ("cookie", "a=b; key=other"),
        ("x-user-email", "root"),
        ("x_user_email", "root"),
        ("x-user_email", "root"),
        ("accept", "*/*"),
    ];
    let pass = |config: &AuthConfig| {
        let policy = Policy::compile(config).unwrap();
        let mut seen = headers(&lines);
        let identity = ask(&policy, &bob(), &seen, Some("x=1&key=other")).unwrap();
        for name in policy.owned_headers() {
            remove_with_aliases(&mut seen, name);
        }
        let query = policy.apply(&identity, &mut seen, Some("x=1&key=other"), NOW * 1000);
        identity.describe(&mut seen);
        (seen, query)
    };
    let mut wanted = headers(&[
        ("cookie", "a=b"),
        ("x-user-email", "zoë@example.com"),
        ("accept", "*/*"),
        ("x-consumer-credential", "jwt:https://issuer.test#alice"),
    ]);
    assert_eq!(pass(&config), (wanted.clone(), Some("x=1".into())));

    config.identity.as_mut().unwrap().forward_credential = true;
    for (name, value) in &lines[..3] {
        wanted.insert(*name, value.parse().unwrap());
    }
    assert_eq!(pass(&config), (wanted, None));
}

#[test]
fn a_consumer_is_described_and_the_most_telling_identity_speaks() {
    let by_keys = Policy::compile(&policy(vec![by_key(vec![])])).unwrap();
    let by_tokens = Policy::compile(&policy(vec![by_jwt(jwt(&[&RSA]))])).unwrap();
    let bearer = format!("Bearer {}", RSA.token(&claims()));
    let lines = headers(&[("x-api-key", "bobs-key"), ("authorization", &bearer)]);
    let both = || [&by_keys, &by_tokens].map(|policy| ask(policy, &bob(), &lines, None).unwrap());
    let [key, token] = both();
    assert_eq!((key.consumer().map(|id| &**id), key.tier()), (Some("ns/bob"), Some("gold")));
    assert_eq!((token.consumer(), token.tier()), (None, None));

    let [key, token] = both();
    let told = Identity::most_telling(vec![key, token, Identity::default()]).unwrap();
    assert_eq!(told.credential(), Some("ns/bob#k"));
    let mut seen = HeaderMap::new();
    told.describe(&mut seen);
    let wanted = headers(&[
        ("x-consumer-id", "ns/bob"),
        ("x-consumer-username", "Zoë"),
        ("x-consumer-tier", "gold"),
        ("x-consumer-groups", "a,b"),
        ("x-consumer-credential", "ns/bob#k"),
    ]);
    assert_eq!(seen, wanted);
    let [_, token] = both();
    let told = Identity::most_telling(vec![token, Identity::default()]).unwrap();
    assert_eq!(told.credential(), Some("jwt:https://issuer.test#alice"));
    assert!(Identity::most_telling(vec![Identity::default()]).is_none());
}

#[test]
fn what_makes_no_sense_does_not_compile() {
    let claim = |claim: &str, header: &str| ClaimHeader { claim: claim.into(), header: header.into() };
    let forwarding = |claims: Vec<ClaimHeader>| AuthConfig {
        identity: Some(IdentityForwarding { claims, forward_credential: false, token: None }),
        ..policy(vec![by_key(vec![header_source("x-key", "")])])
    };
    let sources = |sources| policy(vec![by_key(sources)]);
    for (config, wanted) in [
        (policy(vec![]), "at least one method"),
        (policy(vec![v1::AuthMethod { kind: None }]), "does not know"),
        (sources(vec![header_source("a b", "")]), "no header name"),
        (sources(vec![header_source("Cookie", "")]), "can't hold"),
        (sources(vec![header_source("Content-Length", "")]), "can't hold"),
        (sources(vec![header_source("X-Consumer-Username", "")]), "can't hold"),
        (sources(vec![query_source("")]), "empty"),
        (sources(vec![cookie_source("")]), "empty"),
        (sources(vec![query_source("k"), query_source("k")]), "same place"),
        (
            sources(vec![header_source("Authorization", "Key"), header_source("authorization", "")]),
            "same place",
        ),
        (
            sources(vec![header_source("authorization", "Key"), header_source("authorization", "key")]),
            "same place",
        ),
        (forwarding(vec![claim("sub", "")]), "no header name"),
        (forwarding(vec![claim("sub", "Host")]), "another meaning"),
        (forwarding(vec![claim("sub", "Transfer-Encoding")]), "another meaning"),
        (forwarding(vec![claim("sub", "Authorization")]), "another meaning"),
        (forwarding(vec![claim("sub", "X-Forwarded-For")]), "another meaning"),
        (forwarding(vec![claim("sub", "X-Consumer-Username")]), "another meaning"),
        (forwarding(vec![claim("sub", "X-Key")]), "another meaning"),
        (forwarding(vec![claim("sub", "X-A"), claim("iss", "x-a")]), "one claim"),
        (forwarding(vec![claim("", "X-A")]), "one claim"),
    ] {
        let error = Policy::compile(&config).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
    let schemes = vec![header_source("authorization", "Key"), header_source("authorization", "Token")];
    assert!(Policy::compile(&sources(schemes)).is_ok());
}
