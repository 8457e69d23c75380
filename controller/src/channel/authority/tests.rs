use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{ServerName, UnixTime},
};

use super::*;

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn reread(authority: &Authority) -> Authority {
    let entries: BTreeMap<&str, String> = authority.entries().into_iter().collect();
    Authority::parse(|entry| entries.get(entry).map(String::as_bytes)).unwrap()
}

/// Whether who trusts `bundle` believes what the authority issues.
fn believes(bundle: &str, authority: &Authority, name: &str, at: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    for der in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(der.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let issued = authority.issue("controller", &["a.b.svc".to_owned()]).unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at.as_second().cast_unsigned()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(&issued.certificate, &[], &name, &[], now).is_ok()
}

#[test]
fn what_is_issued_is_believed_under_its_name_alone() {
    let authority = Authority::generate(start()).unwrap();
    let bundle = authority.bundle();
    assert!(believes(&bundle, &authority, "a.b.svc", start()));
    assert!(!believes(&bundle, &authority, "a.c.svc", start()));
    assert!(!believes(&bundle, &authority, "a.b.svc", start() + LIFETIME + DAY));
    let other = Authority::generate(start()).unwrap();
    assert!(!believes(&other.bundle(), &authority, "a.b.svc", start()));
}

#[test]
fn replicas_issue_the_same() {
    let authority = Authority::generate(start()).unwrap();
    let names = ["a.b.svc".to_owned()];
    let one = authority.issue("controller", &names).unwrap();
    let two = reread(&authority).issue("controller", &names).unwrap();
    assert_eq!(one.certificate, two.certificate);
    assert_eq!(one.key.secret_pkcs8_der(), two.key.secret_pkcs8_der());
    for (purpose, names) in [("siblings", ["a.b.svc"]), ("controller", ["a.c.svc"])] {
        let other = authority.issue(purpose, &names.map(str::to_owned)).unwrap();
        assert_ne!(one.key.secret_pkcs8_der(), other.key.secret_pkcs8_der());
    }
}

#[test]
fn it_is_kept_as_it_was() {
    let mut authority = Authority::generate(start()).unwrap();
    for day in 0..400 {
        assert_eq!(reread(&authority), authority);
        let now = start() + DAY * day;
        if let Some(advanced) = authority.advanced(now).unwrap() {
            authority = advanced;
        }
    }
}

/// Whoever got the bundle some hours ago believes what is served now, on every day of three years.
#[test]
fn it_rotates_without_a_gap() {
    let mut authority = Authority::generate(start()).unwrap();
    let mut bundle = authority.bundle();
    let mut signers = vec![authority.signing.certificate.pem.clone()];
    for quarter in 0..(3 * 365 * 4) {
        let now = start() + SignedDuration::from_hours(6) * quarter;
        if let Some(advanced) = authority.advanced(now).unwrap() {
            authority = advanced;
        }
        assert_eq!(authority.advanced(now).unwrap(), None, "one step is enough");
        assert!(believes(&bundle, &authority, "a.b.svc", now), "quarter {quarter}");
        bundle = authority.bundle();
        assert!(bundle.matches("BEGIN").count() <= 3);
        if signers.last() != Some(&authority.signing.certificate.pem) {
            signers.push(authority.signing.certificate.pem.clone());
        }
    }
    assert!(signers.len() >= 4, "{} roots in three years", signers.len());
}

/// A controller that was away for years serves at once.
#[test]
fn an_ended_root_is_replaced() {
    let authority = Authority::generate(start()).unwrap();
    let now = start() + LIFETIME * 3;
    let advanced = authority.advanced(now).unwrap().unwrap();
    assert!(believes(&advanced.bundle(), &advanced, "a.b.svc", now));
    assert_eq!(advanced.bundle().matches("BEGIN").count(), 1);
}

#[test]
fn what_is_broken_is_named() {
    let entries: BTreeMap<&str, String> =
        Authority::generate(start()).unwrap().entries().into_iter().collect();
    let with = |change: &dyn Fn(&mut BTreeMap<&str, String>)| {
        let mut entries = entries.clone();
        change(&mut entries);
        let parsed = Authority::parse(|entry| entries.get(entry).map(String::as_bytes));
        parsed.unwrap_err().to_string()
    };
    assert!(with(&|entries| drop(entries.remove("tls.crt"))).contains("tls.crt is missing"));
    assert!(with(&|entries| drop(entries.insert("tls.crt", "x".into()))).contains("tls.crt"));
    assert!(with(&|entries| drop(entries.insert("tls.key", "x".into()))).contains("tls.key"));
    assert!(with(&|entries| drop(entries.insert("next.crt", "x".into()))).contains("next"));
}
