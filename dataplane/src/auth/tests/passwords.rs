//! User names and passwords (RFC 7617).

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use gatehouse_proto::config::v1::{self, AuthMethod, auth_method, credential};

use super::{Consumers, NOW, Outcome, Policy, Refusal, ask, by_key, headers, policy};

fn by_basic() -> AuthMethod {
    AuthMethod { kind: Some(auth_method::Kind::Basic(v1::Empty {})) }
}

fn password(name: &str, user: &str, password: &str, not_before_ms: i64, expires_ms: i64) -> v1::Credential {
    let length = (user.len() as u64).to_be_bytes();
    let hash = digest(&SHA256, &[&length, user.as_bytes(), password.as_bytes()].concat()).as_ref().to_vec();
    v1::Credential {
        name: name.into(),
        not_before_ms,
        expires_ms,
        kind: Some(credential::Kind::PasswordSha256(hash)),
    }
}

fn consumers() -> Consumers {
    let now = NOW * 1000;
    let alice = v1::Consumer {
        credentials: vec![
            password("old", "alice", "first", 0, now + 1),
            password("new", "alice", "pass:wörd", now, 0),
            password("gone", "alice", "expired", 0, now),
            password("early", "alice", "later", now + 1, 0),
            password("long", "l", &"p".repeat(700), 0, 0),
        ],
        ..v1::Consumer::default()
    };
    let bob =
        v1::Consumer { credentials: vec![password("p", "bob", "first", 0, 0)], ..v1::Consumer::default() };
    let all = [("consumer/ns/alice", &alice), ("consumer/other/bob", &bob)];
    let (consumers, refused) = Consumers::compile(all.into_iter());
    assert!(refused.is_empty(), "{refused:?}");
    consumers
}

fn basic(text: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(text))
}

#[test]
fn a_password_is_good_for_its_user_in_its_time() {
    let policy = Policy::compile(&policy(vec![by_basic()])).unwrap();
    let known = |name: &str| Outcome::Known(format!("ns/alice#{name}"));
    let right = basic("alice:first");
    let padded = right.trim_end_matches('=');
    for (value, wanted) in [
        // Two are alive while one is changed for the other.
        (right.clone(), known("old")),
        (basic("alice:pass:wörd"), known("new")),
        (right.replace("Basic", "basic"), known("old")),
        (right.replace("Basic", "BASIC  "), known("old")),
        (basic(format!("l:{}", "p".repeat(700))), known("long")),
        (basic("alice:expired"), Outcome::Refused),
        (basic("alice:later"), Outcome::Refused),
        (basic("alice:First"), Outcome::Refused),
        (basic("Alice:first"), Outcome::Refused),
        (basic("alice:"), Outcome::Refused),
        (basic("alice"), Outcome::Refused),
        (basic(""), Outcome::Refused),
        (basic(":"), Outcome::Refused),
        (basic(":first"), Outcome::Refused),
        (basic("alice: first"), Outcome::Refused),
        (basic("alice:first\n"), Outcome::Refused),
        (basic("alice\0:first"), Outcome::Refused),
        // Where one ends and the other begins is part of it.
        (basic("alic:efirst"), Outcome::Refused),
        // Of another namespace.
        (basic("bob:first"), Outcome::Refused),
        (basic(b"alice:pass:w\xf6rd"), Outcome::Refused),
        (basic(format!("alice:{}", "x".repeat(2000))), Outcome::Refused),
        (if padded == right { "Basic YQ".into() } else { padded.to_owned() }, Outcome::Refused),
        (format!("{right}="), Outcome::Refused),
        (right.replace(' ', "\t"), Outcome::Refused),
        ("Basic".into(), Outcome::Refused),
        ("Basic a-_b".into(), Outcome::Refused),
        (format!("{right} x"), Outcome::Refused),
        (format!("{right}, {right}"), Outcome::Refused),
    ] {
        let asked = headers(&[("authorization", &value)]);
        assert_eq!(Outcome::from(ask(&policy, &consumers(), &asked, None)), wanted, "{value}");
    }
    let twice = headers(&[("authorization", &right), ("authorization", &right)]);
    assert_eq!(Outcome::from(ask(&policy, &consumers(), &twice, None)), Outcome::Refused);
}

#[test]
fn a_refusal_names_the_scheme_and_the_credential_goes_no_further() {
    let policy = Policy::compile(&policy(vec![by_basic(), by_key(vec![])])).unwrap();
    let Err(Refusal::Unauthenticated(challenges)) = ask(&policy, &consumers(), &headers(&[]), None) else {
        unreachable!("nothing was shown")
    };
    let wanted = ["Basic realm=\"gatehouse\", charset=\"UTF-8\"", "ApiKey realm=\"gatehouse\""];
    assert_eq!(challenges, wanted);
    let mut seen = headers(&[("authorization", &basic("alice:first")), ("accept", "*/*")]);
    let identity = ask(&policy, &consumers(), &seen, None).unwrap();
    policy.apply(&identity, &mut seen, None, NOW * 1000);
    assert_eq!(seen, headers(&[("accept", "*/*")]));
}
