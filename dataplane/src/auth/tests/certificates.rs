//! Certificates of clients: whom they stand for, and what is known of them.

use std::sync::Arc;

use gatehouse_proto::config::v1::{
    self, AuthConfig, AuthMethod, CertificateName, ClaimCondition, auth_method, certificate_name::Kind,
    credential,
};
use http::HeaderMap;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

use super::{ClientCertificate, Consumers, NOW, Outcome, Policy, Request, TokenCache, by_key, policy};

fn by_certificate() -> AuthMethod {
    AuthMethod { kind: Some(auth_method::Kind::ClientCertificate(v1::Empty {})) }
}

/// Self-signed: who signed it is the handshake's business.
fn certificate(subject: &[(DnType, &str)], names: Vec<SanType>) -> Arc<ClientCertificate> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), *value);
    }
    params.subject_alt_names = names;
    let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    Arc::new(ClientCertificate::read(made.der()).unwrap())
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn consumers() -> Consumers {
    let consumer = |names: Vec<Kind>| v1::Consumer {
        groups: vec!["partners".into()],
        credentials: names
            .into_iter()
            .enumerate()
            .map(|(index, kind)| v1::Credential {
                name: format!("c{index}"),
                kind: Some(credential::Kind::Certificate(CertificateName { kind: Some(kind) })),
                ..v1::Credential::default()
            })
            .collect(),
        ..v1::Consumer::default()
    };
    let all = [
        (
            "consumer/ns/alice",
            consumer(vec![Kind::Dns("Alice.example".into()), Kind::Uri("spiffe://x/alice".into())]),
        ),
        (
            "consumer/ns/bob",
            consumer(vec![Kind::Email("bob@example.com".into()), Kind::Subject("CN=bob,O=X".into())]),
        ),
    ];
    let (consumers, refused) = Consumers::compile(all.iter().map(|(name, consumer)| (*name, consumer)));
    assert!(refused.is_empty(), "{refused:?}");
    consumers
}

/// The consumer, or the credential of who is none, or what was answered.
fn ask(
    config: &AuthConfig,
    certificate: Option<&Arc<ClientCertificate>>,
    now: i64,
) -> Result<String, Outcome> {
    let request =
        Request { headers: &HeaderMap::new(), query: None, client: [192, 0, 2, 1].into(), certificate };
    let policy = Policy::compile(config).unwrap();
    let admitted = policy.admit(&consumers(), &mut TokenCache::default(), request, now * 1000);
    match &admitted {
        Ok(identity) => {
            let name = identity.consumer().map(|id| &**id).or(identity.credential()).unwrap_or("");
            Ok(name.to_owned())
        }
        Err(_) => Err(admitted.into()),
    }
}

#[test]
fn the_names_of_a_certificate_find_its_consumer() {
    let config = policy(vec![by_certificate()]);
    let cn = |name: &'static str| vec![(DnType::OrganizationName, "X"), (DnType::CommonName, name)];
    for (subject, names, wanted) in [
        (vec![], vec![dns("alice.example")], Ok("ns/alice")),
        (vec![], vec![dns("ALICE.example")], Ok("ns/alice")),
        (vec![], vec![dns("other.example"), uri("spiffe://x/alice")], Ok("ns/alice")),
        (vec![], vec![dns("alice.example"), uri("spiffe://x/alice")], Ok("ns/alice")),
        (vec![], vec![SanType::Rfc822Name("bob@example.com".try_into().unwrap())], Ok("ns/bob")),
        (cn("bob"), vec![], Ok("ns/bob")),
        // Of several nobody can say who it is.
        (cn("bob"), vec![dns("alice.example")], Err(Outcome::Refused)),
        // A name of one kind is none of another.
        (cn("alice.example"), vec![], Ok("certificate:CN=alice.example,O=X")),
        (vec![], vec![uri("alice.example")], Ok("certificate:alice.example")),
        (vec![], vec![uri("spiffe://x/alice/more")], Ok("certificate:spiffe://x/alice/more")),
        (vec![], vec![dns("a.alice.example")], Ok("certificate:a.alice.example")),
        (
            vec![(DnType::CommonName, "bob"), (DnType::OrganizationName, "X")],
            vec![],
            Ok("certificate:O=X,CN=bob"),
        ),
        (vec![(DnType::CommonName, "bob,O=X")], vec![], Ok("certificate:CN=bob\\,O=X")),
    ] {
        let shown = certificate(&subject, names);
        let wanted = wanted.map(str::to_owned);
        assert_eq!(ask(&config, Some(&shown), NOW), wanted, "{shown:?}");
    }
    assert_eq!(ask(&config, None, NOW), Err(Outcome::Refused), "nothing was shown");
}

#[test]
fn what_a_certificate_says_can_be_asked_for() {
    let shown = certificate(&[(DnType::CommonName, "c")], vec![uri("spiffe://x/robot"), dns("r.example")]);
    let with = |claim: &str, value: &str| AuthConfig {
        authorize: vec![v1::Authorization {
            claims: vec![ClaimCondition { claim: claim.into(), any_of: vec![value.into()], absent: false }],
            ..v1::Authorization::default()
        }],
        ..policy(vec![by_certificate()])
    };
    for (claim, value) in [
        ("uri", "spiffe://x/robot"),
        ("dns", "r.example"),
        ("commonName", "c"),
        ("subject", "CN=c"),
        ("issuer", "CN=c"),
    ] {
        assert!(ask(&with(claim, value), Some(&shown), NOW).is_ok(), "{claim}");
        assert_eq!(ask(&with(claim, "else"), Some(&shown), NOW), Err(Outcome::Forbidden), "{claim}");
    }
}

#[test]
fn it_is_over_when_it_says_so_and_the_first_method_decides() {
    let mut params = CertificateParams::new(vec!["alice.example".into()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let shown = Arc::new(ClientCertificate::read(made.der()).unwrap());
    let end = 1_798_761_600;
    let config = policy(vec![by_certificate(), by_key(vec![])]);
    assert_eq!(ask(&config, Some(&shown), end), Ok("ns/alice".into()));
    assert_eq!(ask(&config, Some(&shown), end + 1), Err(Outcome::Refused));
}

#[test]
fn what_is_no_certificate_stands_for_nobody() {
    for der in [&b""[..], b"\x30\x03\x02\x01\x01", &[0xff; 100]] {
        assert!(ClientCertificate::read(der).is_none());
    }
    let names = (0..65).map(|n| dns(&format!("n{n}.example"))).collect();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = names;
    let many = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    assert!(ClientCertificate::read(many.der()).is_none());
}
