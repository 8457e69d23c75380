use std::sync::Arc;

use serde_json::json;

use super::TokenCache;
use crate::auth::{
    jwt::{TokenError, Verifier},
    tests::{
        NOW,
        signer::{P256, Signer, claims, claims_with, jwt},
    },
};

fn verifier(signer: &Signer) -> Arc<Verifier> {
    Arc::new(Verifier::compile(&jwt(&[signer])).unwrap())
}

#[test]
fn a_known_token_is_not_verified_again_but_its_times_are() {
    let verifier = verifier(&P256);
    let mut cache = TokenCache::default();
    let token = P256.token(&claims_with(&json!({"nbf": NOW, "exp": NOW + 10})));
    let first = cache.verify(&verifier, &token, NOW * 1000).unwrap();
    let second = cache.verify(&verifier, &token, NOW * 1000).unwrap();
    assert!(Arc::ptr_eq(&first, &second), "the same, so not read again");
    assert_eq!(cache.verify(&verifier, &token, (NOW + 10) * 1000).unwrap_err(), TokenError::Expired);
    assert_eq!(cache.verify(&verifier, &token, NOW * 1000 - 1).unwrap_err(), TokenError::NotYet);
}

#[test]
fn only_the_whole_token_and_the_same_verifier_count() {
    let (ours, other) = (verifier(&P256), verifier(&Signer::p256()));
    let mut cache = TokenCache::default();
    let token = P256.token(&claims());
    assert!(cache.verify(&ours, &token, NOW * 1000).is_ok());
    assert_eq!(cache.verify(&other, &token, NOW * 1000).unwrap_err(), TokenError::Signature);
    let last = if token.ends_with('A') { 'Q' } else { 'A' };
    let changed = format!("{}{last}", &token[..token.len() - 1]);
    assert!(cache.verify(&ours, &changed, NOW * 1000).is_err());
    let again = verifier(&P256);
    let (known, anew) = (cache.verify(&ours, &token, NOW * 1000), cache.verify(&again, &token, NOW * 1000));
    assert!(!Arc::ptr_eq(&known.unwrap(), &anew.unwrap()), "a changed policy verifies anew");
}

#[test]
fn it_is_bounded_and_keeps_what_is_used() {
    let verifier = verifier(&P256);
    let mut cache = TokenCache::with_half(4);
    let token = |number: usize| P256.token(&claims_with(&json!({"jti": number.to_string()})));
    let used = token(0);
    let first = cache.verify(&verifier, &used, NOW * 1000).unwrap();
    for number in 1..30 {
        cache.verify(&verifier, &token(number), NOW * 1000).unwrap();
        // What is invalid takes no place.
        assert!(cache.verify(&verifier, &format!("{}x", token(number)), NOW * 1000).is_err());
        let again = cache.verify(&verifier, &used, NOW * 1000).unwrap();
        assert!(Arc::ptr_eq(&first, &again), "after {number} others");
        assert!(cache.fresh.len() <= 4 && cache.stale.len() <= 4);
    }
    assert!(!format!("{cache:?}").contains(&used));
}
