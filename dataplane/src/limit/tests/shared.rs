//! Counts in a real Redis.

use std::rc::Rc;
use std::time::{Duration, Instant};

use ::http::{HeaderMap, HeaderValue};
use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::limit_key::Kind;
use gatehouse_proto::config::v1::{Algorithm, LimitStore};
use tokio::task::LocalSet;

use super::super::{Outcome, Phase, StoreError, Stores, Verdict};
use super::harness::{Redis, admitted, check, config, facts, key, limit, policy, stores, target};

/// Several dataplanes, each with many requests at once: together they admit exactly what one would.
#[test]
fn many_dataplanes_admit_exactly_the_limit() {
    let redis = Redis::start();
    // Longer than is needed here: this test is about counting, on a machine that may be busy.
    let target = target(&redis.url(), 50);
    for (name, algorithm, requests) in [
        ("bucket", Algorithm::TokenBucket, 100),
        ("log", Algorithm::SlidingWindow, 40),
        ("slots", Algorithm::SlidingWindow, 100),
    ] {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let target = target.clone();
                std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                    LocalSet::new().block_on(&runtime, async {
                        let policy = Rc::new(policy(&v1::RateLimit {
                            on_store_failure: v1::StoreFailure::Deny.into(),
                            ..config(LimitStore::Redis, vec![limit(name, algorithm, requests, 3_600_000)])
                        }));
                        let stores = Rc::new(stores(Some(&target)));
                        let tasks: Vec<_> = (0..32)
                            .map(|_| {
                                let (policy, stores) = (Rc::clone(&policy), Rc::clone(&stores));
                                tokio::task::spawn_local(async move {
                                    let mut count = [0, 0];
                                    for _ in 0..20 {
                                        let outcome = check(&policy, &stores).await;
                                        count[0] += u64::from(admitted(&outcome));
                                        count[1] += u64::from(outcome.degraded.is_some());
                                    }
                                    count
                                })
                            })
                            .collect();
                        let mut count = [0, 0];
                        for task in tasks {
                            let [yes, unsure] = task.await.unwrap();
                            count = [count[0] + yes, count[1] + unsure];
                        }
                        count
                    })
                })
            })
            .collect();
        let counts: Vec<[u64; 2]> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let [count, unsure] = [0, 1].map(|n| counts.iter().map(|count| count[n]).sum::<u64>());
        // A call that timed out on a busy machine may have been counted and was refused.
        assert!(count <= requests && count + unsure >= requests, "{name}: {count}, {unsure} unsure");
    }
    let longest = 3_600_000 + 3_600_000 / 64 + 510;
    // The breaker's probes have keys of their own, which end at once.
    let ours = |(key, _): &(String, i64)| key.starts_with("gatehouse:{ratelimit/shop/orders}:");
    let ttls: Vec<_> = redis.ttls().into_iter().filter(ours).collect();
    assert_eq!(ttls.len(), 3);
    for (key, ttl) in ttls {
        assert!((1..=longest).contains(&ttl), "{key}: {ttl}");
    }
}

#[tokio::test]
async fn state_ends_with_its_meaning() {
    let redis = Redis::start();
    let limits = vec![
        limit("bucket", Algorithm::TokenBucket, 200, 100),
        limit("log", Algorithm::SlidingWindow, 64, 100),
        limit("slots", Algorithm::SlidingWindow, 200, 100),
    ];
    let (policy, stores) = (policy(&config(LimitStore::Redis, limits)), stores(Some(&redis.target())));
    // One key stays: by it a Redis that lost the others is known.
    let counts = || redis.ttls().into_iter().filter(|(key, _)| key != "gatehouse:epoch");
    for _ in 0..100 {
        check(&policy, &stores).await;
        // The limit's time, a slot of it, and that of the longest lease.
        for (key, ttl) in counts() {
            assert!(ttl == -2 || (0..=620).contains(&ttl), "{key}: {ttl}");
        }
    }
    let end = Instant::now() + Duration::from_secs(5);
    while counts().next().is_some() {
        assert!(Instant::now() < end, "{:?}", redis.ttls());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_denial_is_remembered_until_it_ends_or_the_limit_changes() {
    let redis = Redis::start();
    let of = |requests| {
        policy(&config(LimitStore::Redis, vec![limit("a", Algorithm::TokenBucket, requests, 300)]))
    };
    let (policy, stores) = (of(1), stores(Some(&redis.target())));
    assert!(admitted(&check(&policy, &stores).await));
    let refused = Instant::now();
    assert!(!admitted(&check(&policy, &stores).await));
    let runs = redis.runs();
    let mut asked = 0;
    while refused.elapsed() < Duration::from_millis(200) {
        let Verdict::Refuse(quota) = check(&policy, &stores).await.verdict else {
            panic!("admitted too early")
        };
        assert_eq!(quota.retry_after().unwrap().as_secs(), 1);
        asked += 1;
    }
    assert!(asked > 10);
    assert_eq!(redis.runs(), runs, "{asked} refusals asked Redis");

    // Ten times the rate: what is owed is worth less time.
    assert!(admitted(&check(&of(10), &stores).await));
}

#[tokio::test]
async fn one_decision_is_one_command_and_takes_all_or_nothing() {
    let redis = Redis::start();
    let tenant = vec![key(Kind::Header("x-tenant".into()))];
    let limits = vec![
        limit("all", Algorithm::TokenBucket, 3, 3_600_000),
        v1::Limit { key: tenant, ..limit("tenant", Algorithm::SlidingWindow, 1, 3_600_000) },
    ];
    let policy = policy(&config(LimitStore::Redis, limits));
    let ask = async |stores: &Stores, tenant: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-tenant", HeaderValue::from_static(tenant));
        admitted(&policy.check(Phase::BeforeIdentity, &facts(&headers), stores, Instant::now()).await)
    };
    let first = stores(Some(&redis.target()));
    assert!(ask(&first, "a").await);
    for _ in 0..5 {
        // Each remembers no denial, so each asks.
        assert!(!ask(&stores(Some(&redis.target())), "a").await);
    }
    let runs = redis.runs();
    // The five refusals took nothing from `all`.
    assert!(ask(&first, "b").await);
    assert!(ask(&first, "c").await);
    assert_eq!(redis.runs() - runs, 2);
    assert!(!ask(&first, "d").await);
}

#[tokio::test]
async fn a_script_that_redis_forgot_is_sent_again() {
    let policy = policy(&config(LimitStore::Redis, vec![limit("a", Algorithm::TokenBucket, 2, 3_600_000)]));
    // A call may time out on a busy machine, and be counted all the same: such a round tells nothing.
    for _ in 0..5 {
        let redis = Redis::start();
        let stores = stores(Some(&redis.target()));
        let first = check(&policy, &stores).await;
        redis.query::<()>(redis::cmd("SCRIPT").arg("FLUSH"));
        let outcomes = [first, check(&policy, &stores).await, check(&policy, &stores).await];
        let timed_out = |outcome: &Outcome| outcome.degraded == Some(StoreError::TimedOut);
        if outcomes.iter().any(timed_out) {
            continue;
        }
        assert!(outcomes.iter().all(|outcome| outcome.degraded.is_none()), "{outcomes:?}");
        assert_eq!(outcomes.each_ref().map(admitted), [true, true, false]);
        return;
    }
    panic!("five rounds in which Redis did not answer in time");
}
