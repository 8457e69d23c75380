//! Keys that come while tokens of theirs are already about: asked for once, and not for every token.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use gatehouse_tests::{
    backend::{Backend, full},
    client::get,
    eventually,
    gateway::Gateway,
    tokens::{Signer, claims, jwks},
};
use http::Response;

use crate::route;

#[tokio::test]
async fn the_first_token_of_a_new_key_is_admitted_and_invented_keys_cost_one_fetch() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let document = Arc::new(Mutex::new(Some(jwks(&[&old]))));
    let (served, fetches) = (Arc::clone(&document), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&fetches);
    let issuer = Backend::answering(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        match &*served.lock().unwrap() {
            Some(document) => Response::new(full(document.clone())),
            None => Response::builder().status(500).body(full("down".to_owned())).unwrap(),
        }
    })
    .await;
    let backend = Backend::echo("echo").await;
    let policy = format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {{name: tokens}}\nspec:\n  anyOf:\n  - jwt:\n      \
         issuer: https://issuer.test\n      jwks: {{url: 'http://{}/keys', refreshInterval: 24h}}\n",
        issuer.address
    );
    let rules = "- auth: {policyRef: {name: tokens}}\n  backendRefs: [{name: echo, port: 80}]";
    let gateway = Gateway::with(&format!("{}{policy}", route(rules)), &[("echo", backend.address)]).await;
    let status = async |signer: &Signer| {
        let token = format!("Bearer {}", signer.token(&claims()));
        get(gateway.http(), "/").header("authorization", &token).send().await.status
    };
    eventually("the keys are there", async || (status(&old).await == 200).then_some(())).await;
    assert_eq!(fetches.load(Ordering::SeqCst), 1);

    *document.lock().unwrap() = Some(jwks(&[&old, &new]));
    assert_eq!(status(&new).await, 200, "at the first try");
    assert_eq!(status(&old).await, 200);
    assert_eq!(fetches.load(Ordering::SeqCst), 2);

    // Who invents keys is refused, and the issuer does not hear of it.
    let strangers: Vec<Signer> = (0..100).map(|number| Signer::p256(&format!("{number}"))).collect();
    let answers = join_all(strangers.iter().map(&status)).await;
    assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
    assert_eq!(fetches.load(Ordering::SeqCst), 2);

    *document.lock().unwrap() = None;
    assert_eq!([status(&old).await, status(&new).await], [200, 200], "the last good keys are kept");
}
