use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use gatehouse_proto::config::v1::{self, JwtSubject, credential::Kind};
use serde_json::json;

use super::{Consumers, Token};
use crate::auth::{UnixMillis, jwt::TokenError};

fn key(name: &str, key: &str, not_before_ms: i64, expires_ms: i64) -> v1::Credential {
    let kind = Some(Kind::ApiKeySha256(digest(&SHA256, key.as_bytes()).as_ref().to_vec()));
    v1::Credential { name: name.into(), not_before_ms, expires_ms, kind }
}

fn subject(subject: &str, expires_ms: i64) -> v1::Credential {
    v1::Credential { expires_ms, ..of_issuer("i", subject) }
}

fn of_issuer(issuer: &str, subject: &str) -> v1::Credential {
    let jwt = JwtSubject { issuer: issuer.into(), subject: subject.into() };
    v1::Credential { name: subject.into(), not_before_ms: 0, expires_ms: 0, kind: Some(Kind::Jwt(jwt)) }
}

fn consumer(credentials: Vec<v1::Credential>) -> v1::Consumer {
    v1::Consumer { credentials, ..v1::Consumer::default() }
}

fn compile(all: &[(&str, v1::Consumer)]) -> (Consumers, Vec<(String, String)>) {
    Consumers::compile(all.iter().map(|(name, consumer)| (*name, consumer)))
}

/// The credential of the consumer who has the key.
fn by_key(consumers: &Consumers, namespace: &str, key: &str, now: UnixMillis) -> Option<String> {
    consumers.by_key(namespace, key, now).map(|identity| identity.credential().unwrap().to_owned())
}

/// `namespace/name` of the consumer that the subject stands for, or an empty text.
fn by_subject(
    consumers: &Consumers,
    issuer: &str,
    subject: &str,
    now: UnixMillis,
) -> Result<String, TokenError> {
    let claims = json!({"iss": issuer, "sub": subject, "exp": 5});
    let token = Token::of(claims.as_object().unwrap().clone(), issuer, &[]).unwrap();
    let identity = consumers.by_token("ns", Arc::new(token), now)?;
    Ok(identity.consumer().map_or(String::new(), |id| id.to_string()))
}

#[test]
fn keys_are_valid_to_the_millisecond_and_in_their_namespace() {
    let (consumers, refused) = compile(&[(
        "consumer/ns/a",
        consumer(vec![
            key("plain", "x", 0, 0),
            key("timed", "t", 1000, 2000),
            // Listed again with other times.
            key("again", "t", 3000, 0),
            key("long", &"l".repeat(512), 0, 0),
            key("longer", &"l".repeat(513), 0, 0),
        ]),
    )]);
    assert!(refused.is_empty(), "{refused:?}");
    for (namespace, key, now, wanted) in [
        ("ns", "x", 0, Some("ns/a#plain")),
        ("ns", "x", i64::MAX, Some("ns/a#plain")),
        ("other", "x", 0, None),
        ("", "x", 0, None),
        ("ns", "X", 0, None),
        ("ns", "x ", 0, None),
        ("ns", "", 0, None),
        ("ns", "t", 999, None),
        ("ns", "t", 1000, Some("ns/a#timed")),
        ("ns", "t", 1999, Some("ns/a#timed")),
        ("ns", "t", 2000, None),
        ("ns", "t", 3000, Some("ns/a#again")),
        ("ns", &*"l".repeat(512), 0, Some("ns/a#long")),
        ("ns", &*"l".repeat(513), 0, None),
    ] {
        assert_eq!(by_key(&consumers, namespace, key, now).as_deref(), wanted, "{namespace} {key:?} {now}");
    }
    // What is stored can't be presented.
    let stored = digest(&SHA256, b"x");
    let hex: String = stored.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(by_key(&consumers, "ns", &hex, 0), None);
}

#[test]
fn an_exact_subject_comes_first_then_the_longest_prefix() {
    let (consumers, refused) = compile(&[
        ("consumer/ns/all", consumer(vec![subject("*", 0)])),
        ("consumer/ns/ci", consumer(vec![subject("ci:*", 0)])),
        ("consumer/ns/exact", consumer(vec![subject("ci:main", 0), subject("a*b", 0)])),
        ("consumer/ns/main", consumer(vec![subject("ci:main*", 0), subject("é*", 0)])),
        ("consumer/ns/old", consumer(vec![subject("old:*", 1000)])),
        ("consumer/other/ci", consumer(vec![subject("ci:main:1", 0)])),
        ("consumer/ns/some", consumer(vec![of_issuer("k", "x*")])),
    ]);
    assert!(refused.is_empty(), "{refused:?}");
    for (issuer, subject, wanted) in [
        ("i", "ci:main", "ns/exact"),
        ("i", "ci:main:1", "ns/main"),
        ("i", "ci:other", "ns/ci"),
        ("i", "ci:", "ns/ci"),
        ("i", "ci", "ns/all"),
        ("i", "a*b", "ns/exact"),
        ("i", "axb", "ns/all"),
        ("i", "éa", "ns/main"),
        ("i", "è", "ns/all"),
        ("i", "", "ns/all"),
        ("j", "ci:main", ""),
        ("k", "", ""),
        ("k", "x1", "ns/some"),
    ] {
        assert_eq!(by_subject(&consumers, issuer, subject, 0).as_deref(), Ok(wanted), "{issuer} {subject}");
    }
    assert_eq!(by_subject(&consumers, "i", "old:1", 999).as_deref(), Ok("ns/old"));
    assert_eq!(
        by_subject(&consumers, "i", "old:1", 1000),
        Err(TokenError::Unknown),
        "no stranger, no other consumer"
    );
}

#[test]
fn a_bad_credential_harms_only_itself() {
    let good = || key("good", "g", 0, 0);
    let short = v1::Credential {
        name: "short".into(),
        kind: Some(Kind::ApiKeySha256(vec![1; 31])),
        ..key("", "", 0, 0)
    };
    let unknown = v1::Credential { name: "unknown".into(), ..v1::Credential::default() };
    let grouped = |group: &str| v1::Consumer { groups: vec![group.into()], ..consumer(vec![good()]) };
    for (bad, wanted) in [
        (short, "credential short: its hash does not have 32 bytes"),
        (unknown, "credential unknown: this dataplane does not know its kind"),
        (key("empty", "", 0, 0), "credential empty: the key is empty"),
        (subject("", 0), "credential : give an issuer and a subject"),
    ] {
        let (consumers, refused) = compile(&[("consumer/ns/a", consumer(vec![bad, good()]))]);
        assert_eq!(refused, [("consumer/ns/a".to_owned(), wanted.to_owned())]);
        assert_eq!(by_key(&consumers, "ns", "g", 0).as_deref(), Some("ns/a#good"));
        assert_eq!(by_key(&consumers, "ns", "", 0), None);
    }
    for (name, bad, wanted) in [
        ("consumer/ns/a", grouped("a,admin"), "comma"),
        ("consumer/ns/a", grouped(""), "empty"),
        ("consumer/ns/a", grouped("a\r\nx: y"), "control character"),
        ("consumer/a", consumer(vec![good()]), "named"),
        ("route/ns/a", consumer(vec![good()]), "named"),
    ] {
        let (consumers, refused) = compile(&[(name, bad), ("consumer/ns/b", consumer(vec![good()]))]);
        assert!(refused.len() == 1 && refused[0].0 == name && refused[0].1.contains(wanted), "{refused:?}");
        assert_eq!(by_key(&consumers, "ns", "g", 0).as_deref(), Some("ns/b#good"));
    }
}

#[test]
fn a_credential_belongs_to_one_consumer() {
    let (consumers, refused) = compile(&[
        ("consumer/ns/a", consumer(vec![key("k", "same", 0, 0), subject("s", 0), subject("p*", 0)])),
        (
            "consumer/ns/b",
            consumer(vec![key("k", "same", 0, 0), subject("s", 0), subject("p*", 0), key("own", "b", 0, 0)]),
        ),
        ("consumer/other/c", consumer(vec![key("k", "same", 0, 0)])),
    ]);
    let text = |credential: &str| format!("credential {credential}: Consumer ns/a has the same and keeps it");
    let wanted = [text("k"), text("s"), text("p*")].join("; ");
    assert_eq!(refused, [("consumer/ns/b".to_owned(), wanted)]);
    assert_eq!(by_key(&consumers, "ns", "same", 0).as_deref(), Some("ns/a#k"));
    assert_eq!(by_key(&consumers, "other", "same", 0).as_deref(), Some("other/c#k"));
    assert_eq!(by_key(&consumers, "ns", "b", 0).as_deref(), Some("ns/b#own"));
    assert_eq!(by_subject(&consumers, "i", "s", 0).as_deref(), Ok("ns/a"));
    let shown = format!("{consumers:?}");
    assert!(!shown.contains(&format!("{:?}", digest(&SHA256, b"b").as_ref())), "{shown}");
}
