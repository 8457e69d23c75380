//! A hundred thousand consumers: what they take in memory, and how long it takes to take a key back from one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use aws_lc_rs::digest::{SHA256, digest};
use gatehouse_proto::config::v1::{
    ApiKey, AuthConfig, AuthMethod, Consumer, Credential, auth_method, credential, resource::Kind,
};
use gatehouse_tests::{client::get, eventually, process::memory};

use crate::{GATEWAY, World, state};

const COUNT: usize = 100_000;
/// What all of them together take, and some more.
const MOST_MB: f64 = 110.0;

fn consumer(number: usize) -> (String, Kind) {
    let key = digest(&SHA256, format!("key-{number}").as_bytes()).as_ref().to_vec();
    let consumer = Consumer {
        username: format!("user-{number}"),
        tier: ["free", "silver", "gold"][number % 3].into(),
        groups: vec![format!("team-{}", number % 100)],
        credentials: vec![Credential {
            name: "key".into(),
            kind: Some(credential::Kind::ApiKeySha256(key)),
            ..Credential::default()
        }],
        ..Consumer::default()
    };
    (format!("consumer/shop/user-{number}"), Kind::Consumer(consumer))
}

/// With a policy that lets consumers in.
fn guarded(world: &World) -> BTreeMap<String, Kind> {
    let mut state = state(world.listener.port(), "one");
    for kind in state.values_mut() {
        if let Kind::Route(route) = kind {
            route.auth = vec!["auth/shop/keys".into()];
        }
    }
    let method = auth_method::Kind::ApiKey(ApiKey::default());
    let policy = AuthConfig {
        namespace: "shop".into(),
        any_of: vec![AuthMethod { kind: Some(method) }],
        ..AuthConfig::default()
    };
    state.insert("auth/shop/keys".into(), Kind::Auth(policy));
    state
}

/// What the process holds, in MB.
fn resident(world: &World) -> f64 {
    let process = world.pod.as_ref().unwrap().id();
    memory(process).unwrap().resident * 1024.0 * 1024.0 / 1e6
}

/// As [`eventually`], with the time that so many need in a build that is not optimised.
async fn at_last(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < Duration::from_secs(90), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn status(world: &World, key: &str) -> u16 {
    get(world.listener, "/").header("x-api-key", key).send().await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_fit_and_one_is_taken_back_at_once() {
    let mut world = World::new().await;
    let mut state = guarded(&world);
    state.extend([consumer(0)]);
    world.controller.publish(GATEWAY, state.clone());
    world.start(0);
    eventually("it is ready", async || (world.readiness().await? == 200).then_some(())).await;
    at_last("the first key is good", async || status(&world, "key-0").await == 200).await;
    let before = resident(&world);

    state.extend((1..COUNT).map(consumer));
    world.controller.publish(GATEWAY, state.clone());
    let last = format!("key-{}", COUNT - 1);
    at_last("the last key is good", async || status(&world, &last).await == 200).await;
    // What was needed to take them in goes back within some seconds.
    let mut least = f64::MAX;
    at_last(&format!("{COUNT} consumers take at most {MOST_MB} MB"), async || {
        let taken = resident(&world) - before;
        if taken < least - 1.0 {
            least = taken;
            println!("{COUNT} consumers: {taken:.0} MB");
        }
        taken <= MOST_MB
    })
    .await;

    let mut times = Vec::new();
    for number in [0, COUNT / 2, COUNT - 1] {
        state.remove(&format!("consumer/shop/user-{number}"));
        world.controller.publish(GATEWAY, state.clone());
        let began = Instant::now();
        let key = format!("key-{number}");
        at_last("the key is refused", async || status(&world, &key).await == 401).await;
        times.push(began.elapsed());
        assert_eq!(status(&world, "key-7").await, 200);
    }
    println!("of {COUNT}, one is taken back in {times:?}");
    // Of a build that is not optimised, beside other tests.
    assert!(times.iter().all(|time| *time < Duration::from_secs(5)), "{times:?}");
}
