//! Requests that pass before Redis was asked.

use std::sync::Arc;

use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::{Algorithm, LimitAccuracy, LimitStore, StoreFailure};

use super::super::lease::{Answer, Lease, Purpose, Spent, Watch};
use super::super::rule::{Rule, Taken};
use super::super::{Policy, StoreError, Verdict};
use super::harness::{Redis, admitted, check, config, limit, policy, stores, target, until};

const HOUR_MS: u64 = 3_600_000;

fn of(accuracy: LimitAccuracy, replicas: u32, limits: Vec<v1::Limit>) -> Policy {
    policy(&v1::RateLimit {
        accuracy: accuracy.into(),
        replicas,
        on_store_failure: StoreFailure::Deny.into(),
        ..config(LimitStore::Redis, limits)
    })
}

fn ten(algorithm: Algorithm) -> Vec<v1::Limit> {
    vec![limit("a", algorithm, 10, HOUR_MS)]
}

#[tokio::test]
async fn nobody_waits_while_the_share_has_room() {
    let redis = Redis::start();
    redis.signal("STOP");
    for accuracy in [LimitAccuracy::Fast, LimitAccuracy::Strict] {
        // Two dataplanes share it: five are this one's.
        let policy = of(accuracy, 2, ten(Algorithm::TokenBucket));
        let stores = stores(Some(&target(&redis.url(), 50)));
        let mut passed = 0;
        let last = loop {
            let outcome = check(&policy, &stores).await;
            if !admitted(&outcome) {
                break outcome;
            }
            assert_eq!(outcome.degraded, None);
            passed += 1;
        };
        assert_eq!(passed, if accuracy == LimitAccuracy::Fast { 5 } else { 0 });
        assert!(matches!(last.verdict, Verdict::Unavailable));
        assert_eq!(last.degraded, Some(StoreError::TimedOut));
    }
    redis.signal("CONT");
}

#[tokio::test]
async fn what_passed_is_counted_for_all() {
    let redis = Redis::start();
    let limits = || ten(Algorithm::SlidingWindow);
    let fast = of(LimitAccuracy::Fast, 2, limits());
    let first = stores(Some(&target(&redis.url(), 50)));
    for _ in 0..4 {
        assert!(admitted(&check(&fast, &first).await));
    }
    until("what passed is counted", || redis.counted() == 4).await;

    // Another dataplane, with a policy that is strict: there is room for six.
    let (strict, second) = (of(LimitAccuracy::Strict, 2, limits()), stores(Some(&target(&redis.url(), 50))));
    let mut passed = 0;
    while admitted(&check(&strict, &second).await) {
        passed += 1;
    }
    assert_eq!(passed, 6);

    // The fifth of this one's share passes before Redis says that there is nothing left, and then none.
    assert!(admitted(&check(&fast, &first).await));
    assert!(!admitted(&check(&fast, &first).await));
}

#[tokio::test]
async fn all_limits_or_none_count_what_passes() {
    let redis = Redis::start();
    let none_left = limit("b", Algorithm::TokenBucket, 1, HOUR_MS);
    let limits = [ten(Algorithm::SlidingWindow), vec![none_left]].concat();
    let (policy, stores) = (of(LimitAccuracy::Fast, 1, limits), stores(Some(&target(&redis.url(), 50))));
    assert!(admitted(&check(&policy, &stores).await));
    for _ in 0..3 {
        assert!(!admitted(&check(&policy, &stores).await));
    }
    until("the one that passed is counted", || redis.counted() == 1).await;
}

/// Of the lease alone: what is owed is asked for, and paid from what comes.
#[test]
fn what_is_owed_is_paid_from_what_comes() {
    const NOW: u64 = 1_000_000;
    let rule = {
        let policy = of(LimitAccuracy::Fast, 1, ten(Algorithm::TokenBucket));
        policy.before.enforced[0].base.whole
    };
    let answer = |granted, remaining, free_in| Answer {
        granted,
        kept: false,
        lasts: 500_000,
        others: 0,
        count: Taken { admitted: true, remaining, free_in, reset_in: 0 },
    };
    let owing = |count: usize| {
        let mut lease = Lease::new(NOW);
        for _ in 0..count {
            assert!(matches!(lease.spend(rule, NOW), Spent::Lacking));
            lease.owe(1, rule, NOW);
        }
        lease
    };
    let spendable = |lease: &mut Lease, rule: Rule, now: u64| {
        (0..).take_while(|_| matches!(lease.spend(rule, now), Spent::Yes { .. })).count()
    };
    let gate = Arc::default();

    let mut lease = owing(3);
    assert!(lease.lacks(Purpose::Owed, NOW));
    let ask = lease.ask(Purpose::Owed, NOW, &gate);
    assert_eq!((ask.wanted, ask.left), (3, 0));
    assert!(!lease.lacks(Purpose::Owed, NOW), "one ask at a time");
    lease.answered(&ask, &answer(5, 0, 0), rule, NOW + 10);
    assert_eq!(spendable(&mut lease, rule, NOW + 10), 2);

    // Not all of it came: the rest is asked for at once, unless that was all there was.
    for (remaining, more) in [(7, true), (0, false)] {
        let mut lease = owing(3);
        let ask = lease.ask(Purpose::Owed, NOW, &gate);
        lease.answered(&ask, &answer(1, remaining, 900_000), rule, NOW + 10);
        assert_eq!(lease.watch(), more);
        match lease.look_after(NOW + 10, &gate) {
            Watch::Tell(ask) => assert_eq!((ask.wanted, ask.spent, more), (2, 1, true)),
            Watch::Over => assert!(!more),
            Watch::Later(_) => panic!("nothing is left to be looked after"),
        }
    }
}
