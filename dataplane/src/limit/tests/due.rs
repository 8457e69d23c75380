//! What a response says that its request cost.

use ::http::{HeaderMap, HeaderValue};
use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::{Algorithm, LimitStore};

use super::super::bucket::{Bucket, Mark};
use super::super::{Policy, Stores};
use super::harness::{Redis, admitted, check, config, limit, policy, stores, target, until};

const HOUR_MS: u64 = 3_600_000;

/// Ten an hour, where a response says up to six.
fn ten(store: LimitStore, algorithm: Algorithm) -> Policy {
    let response_cost = Some(v1::ResponseCost { header: "x-cost".into(), max: 6 });
    policy(&config(store, vec![v1::Limit { response_cost, ..limit("a", algorithm, 10, HOUR_MS) }]))
}

/// A request whose response says that. Whether it was admitted.
async fn request(policy: &Policy, stores: &Stores, cost: Option<&'static str>) -> bool {
    let outcome = check(policy, stores).await;
    let mut head = HeaderMap::new();
    if let Some(cost) = cost {
        head.insert("x-cost", HeaderValue::from_static(cost));
    }
    assert_eq!(outcome.due.len(), usize::from(admitted(&outcome)), "what is refused has no response");
    outcome.due.iter().for_each(|due| due.take(&head, stores));
    admitted(&outcome)
}

/// How many more are admitted.
async fn left(policy: &Policy, stores: &Stores) -> u64 {
    let mut left = 0;
    while request(policy, stores, None).await {
        left += 1;
    }
    left
}

#[tokio::test]
async fn the_rest_is_taken_when_the_response_is_there() {
    let costs =
        [(Some("4"), 4), (Some(" 3 "), 3), (Some("100"), 6), (Some("0"), 1), (Some("many"), 1), (None, 1)];
    for algorithm in [Algorithm::TokenBucket, Algorithm::SlidingWindow] {
        for (said, taken) in costs {
            let (policy, stores) = (ten(LimitStore::Local, algorithm), stores(None));
            assert!(request(&policy, &stores, said).await);
            assert_eq!(left(&policy, &stores).await, 10 - taken, "{algorithm:?} {said:?}");
        }
    }
}

#[tokio::test]
async fn all_dataplanes_count_it() {
    let redis = Redis::start();
    let policy = ten(LimitStore::Redis, Algorithm::SlidingWindow);
    let (first, second) = (stores(Some(&target(&redis.url(), 50))), stores(Some(&target(&redis.url(), 50))));
    assert!(request(&policy, &first, Some("4")).await);
    until("it is counted", || redis.counted() == 4).await;
    // More than is left takes what is left.
    assert!(request(&policy, &second, Some("5")).await);
    until("it is counted", || redis.counted() == 9).await;
    assert!(request(&policy, &second, Some("6")).await);
    until("all is counted", || redis.counted() == 10).await;
    assert_eq!((left(&policy, &first).await, left(&policy, &second).await), (0, 0));
    until("and no more", || redis.counted() == 10).await;
}

#[tokio::test]
async fn a_shadow_counts_it_too() {
    let response_cost = Some(v1::ResponseCost { header: "x-cost".into(), max: 6 });
    let shadow = v1::Limit { response_cost, shadow: true, ..limit("a", Algorithm::TokenBucket, 10, HOUR_MS) };
    let (policy, stores) = (policy(&config(LimitStore::Local, vec![shadow])), stores(None));
    for _ in 0..2 {
        assert!(request(&policy, &stores, Some("6")).await);
    }
    let outcome = check(&policy, &stores).await;
    assert!(admitted(&outcome) && outcome.due.is_empty(), "it is used up: it would have refused");
}

/// A bucket is never in debt, and what is taken is exact.
#[test]
fn a_bucket_is_used_up_at_most() {
    const NOW: u64 = 1_000_000;
    // A third of a microsecond is no whole number.
    let bucket = Bucket::new(3, 1_000_000, 30);
    let remaining = |mark: Mark, now: u64| bucket.read(bucket.look(Some(&mut mark.clone()), now).0).remaining;
    for taken in 0..30 {
        let mark = bucket.used_up(None, taken, NOW);
        assert_eq!(remaining(mark, NOW), 30 - taken);
        let mut one_by_one = None;
        for _ in 0..taken {
            one_by_one = bucket.look(one_by_one.as_mut(), NOW).1;
        }
        assert_eq!(one_by_one.unwrap_or(Mark { us: NOW, part: 0 }), mark);
    }
    let mut mark = bucket.used_up(None, 20, NOW);
    for count in [10, 11, 1 << 40, u64::MAX] {
        let all = bucket.used_up(Some(&mut mark), count, NOW);
        assert_eq!((remaining(all, NOW), remaining(all, NOW + 1_000_000)), (0, 3), "{count}");
    }
}
