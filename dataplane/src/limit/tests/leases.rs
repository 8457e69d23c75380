//! Leases: what several dataplanes admit together, over every window, against the promise; and what it costs Redis.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::{Algorithm, LimitStore, StoreFailure};
use tokio::task::LocalSet;

use super::super::lease::{Answer, Lease, Spent};
use super::super::rule::{Rule, Taken};
use super::super::{Counters, RedisTarget, Stores};
use super::harness::{Redis, admitted, check, config, limit, policy, target};

/// How well the clocks of threads are known to each other, in microseconds.
const BLUR: u64 = 10;

/// Admissions of all dataplanes in microseconds, in order.
fn hammer(
    target: &RedisTarget,
    limit: &v1::Limit,
    dataplanes: u64,
    time: Duration,
    pause: Duration,
) -> Vec<u64> {
    let origin = Instant::now();
    let threads: Vec<_> = (0..dataplanes)
        .map(|n| {
            let (target, limit) = (target.clone(), limit.clone());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let counters = Arc::new(Counters::default());
                let offset = offset(origin, &counters);
                let stores = Rc::new(Stores::new(counters, Some(&target)));
                let policy = Rc::new(policy(&v1::RateLimit {
                    on_store_failure: StoreFailure::Deny.into(),
                    ..config(LimitStore::Redis, vec![limit])
                }));
                LocalSet::new().block_on(&runtime, async {
                    let clients: Vec<_> = (0..4)
                        .map(|_| {
                            let (stores, policy) = (Rc::clone(&stores), Rc::clone(&policy));
                            tokio::task::spawn_local(async move {
                                let mut log = Vec::new();
                                while origin.elapsed() < time {
                                    let outcome = check(&policy, &stores).await;
                                    if admitted(&outcome) {
                                        log.push(offset.wrapping_add(outcome.leased_at.unwrap()));
                                    }
                                    // Some are busier than others.
                                    tokio::time::sleep(pause * u32::try_from(1 + n).unwrap()).await;
                                }
                                log
                            })
                        })
                        .collect();
                    let mut log = Vec::new();
                    for client in clients {
                        log.extend(client.await.unwrap());
                    }
                    log
                })
            })
        })
        .collect();
    let mut log: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    log.sort_unstable();
    log
}

/// Between the clock that began at `origin` and that of the counters, to within [`BLUR`].
fn offset(origin: Instant, counters: &Counters) -> u64 {
    loop {
        let before = counters.now();
        let since = u64::try_from(origin.elapsed().as_micros()).unwrap();
        if counters.now() - before <= BLUR / 2 {
            return since.wrapping_sub(before);
        }
    }
}

/// By how many requests, in parts of `per`, the fullest stretch is above what a bucket allows; 0 and below is within.
fn over_bucket(log: &[u64], requests: u64, per: u64, burst: u64) -> i128 {
    let (r, p) = (i128::from(requests), i128::from(per));
    // The most negative prefix so far of `time x rate - requests`: where the fullest stretch begins.
    let mut lowest = i128::MAX;
    let mut worst = i128::MIN;
    for (n, at) in log.iter().enumerate() {
        let n = i128::try_from(n).unwrap();
        let here = n * p - i128::from(*at) * r;
        lowest = lowest.min(here);
        worst = worst.max(here + p - lowest - i128::from(burst) * p);
    }
    worst
}

#[test]
fn no_stretch_of_time_admits_more_than_a_bucket_allows() {
    let redis = Redis::start();
    for (requests, burst) in [(2000, 400), (200, 3)] {
        let limit = v1::Limit { burst, ..limit("hot", Algorithm::TokenBucket, requests, 1000) };
        let target = target(&redis.url(), 50);
        let log = hammer(&target, &limit, 3, Duration::from_millis(1500), Duration::from_micros(100));
        let worst = over_bucket(&log, requests, 1_000_000, burst);
        assert!(worst <= i128::from(BLUR * requests), "{requests}: {worst}, {} admitted", log.len());
        assert!(log.len() as u64 > requests / 2 + burst, "{requests}: {} admitted", log.len());
        redis.query::<()>(redis::cmd("FLUSHALL").arg("SYNC"));
    }
}

#[test]
fn no_window_admits_more_than_it_allows() {
    let redis = Redis::start();
    for (requests, per_ms) in [(400, 400), (20, 100)] {
        let limit = limit("hot", Algorithm::SlidingWindow, requests, per_ms);
        let target = target(&redis.url(), 50);
        let log = hammer(&target, &limit, 3, Duration::from_millis(1500), Duration::from_micros(100));
        let first = usize::try_from(requests).unwrap();
        let least = log.iter().zip(log.iter().skip(first)).map(|(a, b)| b - a).min();
        assert!(least.unwrap() + BLUR >= per_ms * 1000, "{requests}: {least:?}");
        assert!(log.len() as u64 > requests * 2, "{requests}: {} admitted", log.len());
        redis.query::<()>(redis::cmd("FLUSHALL").arg("SYNC"));
    }
}

#[test]
fn a_hot_count_asks_redis_rarely() {
    let redis = Redis::start();
    let limit = limit("hot", Algorithm::TokenBucket, 100_000, 1000);
    let target = target(&redis.url(), 50);
    let log = hammer(&target, &limit, 2, Duration::from_millis(1500), Duration::from_micros(100));
    let runs = redis.runs();
    assert!(runs * 20 < log.len() as u64, "{runs} runs for {}", log.len());
}

/// Redis came back empty: with `Deny` its counts begin used up, unless nobody ever used it.
#[tokio::test]
async fn a_redis_that_forgot_admits_nothing_twice() {
    let mut redis = Redis::start();
    let policy = policy(&v1::RateLimit {
        on_store_failure: StoreFailure::Deny.into(),
        ..config(
            LimitStore::Redis,
            vec![
                limit("bucket", Algorithm::TokenBucket, 2, 3_600_000),
                limit("window", Algorithm::SlidingWindow, 2, 3_600_000),
            ],
        )
    });
    let counters = Arc::new(Counters::default());
    let stores = Stores::new(Arc::clone(&counters), Some(&target(&redis.url(), 50)));
    assert!(admitted(&check(&policy, &stores).await));
    redis.kill();
    redis.restart();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let outcome = check(&policy, &stores).await;
        assert!(!admitted(&outcome), "{outcome:?}");
        if outcome.degraded.is_none() {
            break;
        }
        assert!(Instant::now() < end);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Nor does a dataplane that never saw the other one's time.
    let other = Stores::new(Arc::new(Counters::default()), Some(&target(&redis.url(), 50)));
    assert!(!admitted(&check(&policy, &other).await));
}

fn rule() -> Rule {
    Rule::Bucket(super::super::bucket::Bucket::new(1000, 1_000_000, 1000))
}

fn answer(granted: u64, remaining: u64) -> Answer {
    let count = Taken { admitted: true, remaining, free_in: 1000, reset_in: 5000 };
    Answer { granted, kept: true, lasts: 500_000, count }
}

fn spent(lease: &mut Lease, now: u64) -> bool {
    matches!(lease.spend(rule(), now), Spent::Yes { .. })
}

#[test]
fn a_lease_ends_by_when_it_was_asked_for() {
    let mut lease = Lease::new(0);
    let ask = lease.ask(1_000_000, &Arc::default());
    // The process stood still: the answer is older than the lease.
    lease.answered(&ask, &answer(5, 100), rule(), 1_600_000);
    assert!(!spent(&mut lease, 1_600_000));
    let ask = lease.ask(1_600_000, &Arc::default());
    assert_eq!((ask.left, ask.spent), (0, 0));
    lease.answered(&ask, &answer(5, 100), rule(), 1_700_000);
    assert!(spent(&mut lease, 2_090_000) && !spent(&mut lease, 2_100_000));
}

#[test]
fn what_was_granted_to_an_ask_that_was_given_up_is_never_spent() {
    let mut lease = Lease::new(0);
    let ask = lease.ask(1_000_000, &Arc::default());
    lease.gave_up(&ask);
    lease.answered(&ask, &answer(5, 100), rule(), 1_010_000);
    assert!(!spent(&mut lease, 1_010_000));
    // Whatever Redis knows of this holder from before counts as spent.
    assert!(lease.ask(1_020_000, &Arc::default()).spent > 1_000_000_000);
}

#[test]
fn what_is_spent_while_an_answer_is_on_its_way_is_told_with_the_next() {
    let mut lease = Lease::new(0);
    let ask = lease.ask(1_000_000, &Arc::default());
    lease.answered(&ask, &answer(5, 100), rule(), 1_000_100);
    assert!(spent(&mut lease, 1_000_200));
    let ask = lease.ask(1_000_300, &Arc::default());
    assert_eq!((ask.left, ask.spent), (4, 1));
    assert!(spent(&mut lease, 1_000_400));
    lease.answered(&ask, &answer(5, 100), rule(), 1_000_500);
    let ask = lease.ask(1_000_600, &Arc::default());
    assert_eq!((ask.left, ask.spent), (8, 1));
    // Redis knew of no lease: what was left is worth nothing.
    lease.answered(&ask, &Answer { kept: false, ..answer(1, 100) }, rule(), 1_000_700);
    assert!(spent(&mut lease, 1_000_800) && !spent(&mut lease, 1_000_900));
}

#[test]
fn what_another_limit_refused_is_put_back_unless_redis_was_told() {
    let mut lease = Lease::new(0);
    let ask = lease.ask(1_000_000, &Arc::default());
    lease.answered(&ask, &answer(2, 100), rule(), 1_000_100);
    assert!(spent(&mut lease, 1_000_200));
    lease.put_back(1_000_200);
    assert!(spent(&mut lease, 1_000_300));
    let ask = lease.ask(1_000_400, &Arc::default());
    assert_eq!((ask.left, ask.spent), (1, 1));
    lease.put_back(1_000_300);
    assert!(spent(&mut lease, 1_000_500) && !spent(&mut lease, 1_000_600));
}
