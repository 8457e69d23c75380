//! Whom rules admit: by groups, tiers, claims and addresses, and what is answered to the others.

use aws_lc_rs::digest::{SHA256, digest};
use gatehouse_proto::config::v1::{self, AuthConfig, ClaimCondition, credential};
use http::HeaderMap;
use serde_json::json;

use crate::auth::{
    Consumers, Policy, Refusal, Request, TokenCache,
    tests::{
        NOW, Outcome, by_jwt, by_key, headers, policy,
        signer::{RSA, claims_with, jwt},
    },
};

const ADDRESS: &str = "192.0.2.1";

/// Consumers by their keys, which are their names.
fn consumers() -> Consumers {
    let consumer = |name: &str, tier: &str, groups: &[&str]| v1::Consumer {
        username: name.into(),
        tier: tier.into(),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        credentials: vec![v1::Credential {
            name: "k".into(),
            kind: Some(credential::Kind::ApiKeySha256(digest(&SHA256, name.as_bytes()).as_ref().to_vec())),
            ..v1::Credential::default()
        }],
        ..v1::Consumer::default()
    };
    let all = [
        ("consumer/ns/alice", consumer("alice", "gold", &["staff", "ops"])),
        ("consumer/ns/bob", consumer("bob", "silver", &["guests"])),
        ("consumer/ns/eve", consumer("eve", "", &[])),
    ];
    let (consumers, refused) = Consumers::compile(all.iter().map(|(name, consumer)| (*name, consumer)));
    assert!(refused.is_empty(), "{refused:?}");
    consumers
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn rule(groups: &[&str], tiers: &[&str], clients: &[&str]) -> v1::Authorization {
    v1::Authorization {
        groups: texts(groups),
        tiers: texts(tiers),
        clients: texts(clients),
        ..v1::Authorization::default()
    }
}

fn ask(config: &AuthConfig, headers: &HeaderMap, client: &str) -> Outcome {
    let policy = Policy::compile(config).unwrap();
    let request = Request { headers, query: None, client: client.parse().unwrap(), certificate: None };
    policy.admit(&consumers(), &mut TokenCache::default(), request, NOW * 1000).into()
}

#[test]
fn any_rule_admits_and_all_of_it_must_hold() {
    let known = |name: &str| Outcome::Known(format!("ns/{name}#k"));
    let by_rules =
        |authorize: Vec<v1::Authorization>| AuthConfig { authorize, ..policy(vec![by_key(vec![])]) };
    let staff = || rule(&["staff"], &[], &[]);
    for (rules, wanted) in [
        // alice, bob, eve
        (vec![], [true, true, true]),
        (vec![staff()], [true, false, false]),
        (vec![rule(&["admins", "guests", "ops"], &[], &[])], [true, true, false]),
        (vec![rule(&[], &["silver", "gold"], &[])], [true, true, false]),
        (vec![rule(&["staff"], &["silver"], &[])], [false, false, false]),
        (vec![rule(&["staff"], &["gold"], &[]), rule(&["guests"], &[], &[])], [true, true, false]),
        (vec![rule(&["Staff"], &[], &[])], [false, false, false]),
        (vec![rule(&["staf"], &[], &[])], [false, false, false]),
        (vec![rule(&[], &[], &["192.0.2.0/24"])], [true, true, true]),
        (vec![rule(&[], &[], &["198.51.100.0/24"])], [false, false, false]),
        (
            vec![rule(&["staff"], &[], &["198.51.100.0/24"]), rule(&["guests"], &[], &["192.0.2.0/24"])],
            [false, true, false],
        ),
    ] {
        let config = by_rules(rules);
        for (name, wanted) in ["alice", "bob", "eve"].into_iter().zip(wanted) {
            let asked = headers(&[("x-api-key", name)]);
            let wanted = if wanted { known(name) } else { Outcome::Forbidden };
            assert_eq!(ask(&config, &asked, ADDRESS), wanted, "{name}: {:?}", config.authorize);
        }
        // What is not authenticated stays so.
        assert_eq!(ask(&config, &headers(&[("x-api-key", "mallory")]), ADDRESS), Outcome::Refused);
    }
    let Err(Refusal::Forbidden(Some(consumer))) = Policy::compile(&by_rules(vec![staff()])).unwrap().admit(
        &consumers(),
        &mut TokenCache::default(),
        Request {
            headers: &headers(&[("x-api-key", "bob")]),
            query: None,
            client: [127, 0, 0, 1].into(),
            certificate: None,
        },
        NOW * 1000,
    ) else {
        unreachable!("bob is no staff")
    };
    assert_eq!(&*consumer, "ns/bob", "for the access log");
}

#[test]
fn claims_are_equal_one_of_several_or_there() {
    let condition = |claim: &str, any_of: &[&str], absent: bool| ClaimCondition {
        claim: claim.into(),
        any_of: texts(any_of),
        absent,
    };
    let claims = json!({
        "role": "admin", "roles": ["reader", "writer"], "level": 7, "half": 0.5, "verified": true, "nothing": null,
        "scope": "orders:read orders:write", "scp": "a b", "realm_access": {"roles": ["ops"]},
        "https://example.com/team": "blue", "empty": [], "nested": {"a": {"b": "c"}},
    });
    let bearer = format!("Bearer {}", RSA.token(&claims_with(&claims)));
    let asked = headers(&[("authorization", &bearer)]);
    for (wanted, condition) in [
        (true, condition("role", &["admin"], false)),
        (true, condition("role", &["user", "admin"], false)),
        (false, condition("role", &["Admin"], false)),
        (false, condition("role", &["adm"], false)),
        (true, condition("roles", &["writer"], false)),
        (false, condition("roles", &["reader,writer"], false)),
        (true, condition("level", &["7"], false)),
        (false, condition("level", &["07"], false)),
        (true, condition("half", &["0.5"], false)),
        (true, condition("verified", &["true"], false)),
        (false, condition("verified", &["1"], false)),
        (true, condition("scope", &["orders:write"], false)),
        (true, condition("scope", &["orders:read orders:write"], false)),
        (false, condition("scope", &["orders"], false)),
        (false, condition("scope", &[""], false)),
        (false, condition("scp", &["a"], false)),
        (true, condition("realm_access.roles", &["ops"], false)),
        (true, condition("https://example.com/team", &["blue"], false)),
        (true, condition("nested.a.b", &["c"], false)),
        (false, condition("nested.a", &["c"], false)),
        (true, condition("role", &[], false)),
        (true, condition("empty", &[], false)),
        (false, condition("empty", &[""], false)),
        (false, condition("nothing", &[], false)),
        (false, condition("nothing", &["null"], false)),
        (false, condition("missing", &[], false)),
        (true, condition("missing", &[], true)),
        (true, condition("nothing", &[], true)),
        (false, condition("role", &[], true)),
    ] {
        let rule = v1::Authorization { claims: vec![condition.clone()], ..v1::Authorization::default() };
        let config =
            AuthConfig { authorize: vec![rule], ..policy(vec![by_jwt(jwt(&[&RSA])), by_key(vec![])]) };
        let is_admitted = matches!(ask(&config, &asked, ADDRESS), Outcome::Known(_));
        assert_eq!(is_admitted, wanted, "{condition:?}");
        // Who has no claims at all does not even lack one.
        assert_eq!(
            ask(&config, &headers(&[("x-api-key", "alice")]), ADDRESS),
            Outcome::Forbidden,
            "{condition:?}"
        );
    }
}

#[test]
fn a_stranger_is_asked_who_it_is_where_that_could_help() {
    let inside = || rule(&[], &[], &["192.0.2.0/24"]);
    let staff = || rule(&["staff"], &[], &[]);
    let open = |authorize: Vec<v1::Authorization>, methods| AuthConfig {
        allow_anonymous: true,
        authorize,
        ..policy(methods)
    };
    let key = || vec![by_key(vec![])];
    for (config, client, wanted) in [
        (open(vec![inside(), staff()], key()), "192.0.2.9", Outcome::Anonymous),
        (open(vec![inside(), staff()], key()), "198.51.100.1", Outcome::Refused),
        (open(vec![inside()], key()), "198.51.100.1", Outcome::Forbidden),
        (open(vec![rule(&["staff"], &[], &["192.0.2.0/24"])], key()), "198.51.100.1", Outcome::Forbidden),
        (open(vec![rule(&["staff"], &[], &["192.0.2.0/24"])], key()), "192.0.2.9", Outcome::Refused),
        // There is no way to be known.
        (open(vec![inside()], vec![]), "192.0.2.9", Outcome::Anonymous),
        (open(vec![inside()], vec![]), "198.51.100.1", Outcome::Forbidden),
        (open(vec![staff()], vec![]), "192.0.2.9", Outcome::Forbidden),
    ] {
        assert_eq!(ask(&config, &HeaderMap::new(), client), wanted, "{client} {:?}", config.authorize);
    }
    let config = open(vec![inside(), staff()], key());
    let from_afar = ask(&config, &headers(&[("x-api-key", "alice")]), "198.51.100.1");
    assert_eq!(from_afar, Outcome::Known("ns/alice#k".into()));
}

#[test]
fn denied_addresses_are_refused_whatever_they_show() {
    let mut config = AuthConfig {
        denied_clients: texts(&["198.51.100.0/24", "2001:db8::/32"]),
        ..policy(vec![by_key(vec![])])
    };
    for anonymous in [false, true] {
        config.allow_anonymous = anonymous;
        for client in ["198.51.100.7", "::ffff:198.51.100.7", "2001:db8::1"] {
            for lines in [&[][..], &[("x-api-key", "alice")]] {
                assert_eq!(ask(&config, &headers(lines), client), Outcome::Forbidden, "{client} {lines:?}");
            }
        }
        assert_eq!(
            ask(&config, &headers(&[("x-api-key", "alice")]), ADDRESS),
            Outcome::Known("ns/alice#k".into())
        );
    }
}

#[test]
fn what_would_admit_everybody_by_mistake_does_not_compile() {
    let with = |authorize| AuthConfig { authorize, ..policy(vec![by_key(vec![])]) };
    let claim = |claim: &str, any_of: &[&str], absent| v1::Authorization {
        claims: vec![ClaimCondition { claim: claim.into(), any_of: texts(any_of), absent }],
        ..v1::Authorization::default()
    };
    for (config, wanted) in [
        (with(vec![v1::Authorization::default()]), "states none"),
        (with(vec![rule(&["staff"], &[], &[]), v1::Authorization::default()]), "states none"),
        (with(vec![rule(&[], &[], &["10.0.0.0/99"])]), "no address range"),
        (with(vec![claim("", &[], false)]), "name a claim"),
        (with(vec![claim("a", &["b"], true)]), "what must hold"),
        (AuthConfig { denied_clients: texts(&["all"]), ..policy(vec![by_key(vec![])]) }, "no address range"),
        (AuthConfig { allow_anonymous: true, ..policy(vec![]) }, "needs authorize"),
    ] {
        let error = Policy::compile(&config).expect_err(wanted).to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}
