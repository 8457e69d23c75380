//! Leases: what several dataplanes admit together, over every window, against the promise; and what it costs Redis.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::{Algorithm, LimitStore, StoreFailure};
use tokio::task::LocalSet;

use super::super::lease::{Answer, Lease, Purpose, Spent, Watch};
use super::super::rule::{Rule, Taken};
use super::super::{Counters, Policy, RedisTarget, Stores};
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

/// A limit so slow that nothing of it comes back within a test.
fn slow(name: &str, requests: u64) -> Policy {
    policy(&v1::RateLimit {
        on_store_failure: StoreFailure::Deny.into(),
        ..config(LimitStore::Redis, vec![limit(name, Algorithm::SlidingWindow, requests, 3_600_000)])
    })
}

/// Another dataplane gets all that is left, as soon as nothing of it can be with the first.
async fn left(name: &str, requests: u64, target: &RedisTarget) -> usize {
    let policy = slow(name, requests);
    let other = Stores::new(Arc::new(Counters::default()), Some(target));
    let (mut count, mut latest) = (0, Instant::now());
    while latest.elapsed() < Duration::from_secs(1) {
        if admitted(&check(&policy, &other).await) {
            (count, latest) = (count + 1, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    count
}

/// Workers of a dataplane share their leases, and may find at the same time that there is none.
#[test]
fn workers_that_ask_at_once_lose_nothing() {
    let redis = Redis::start();
    let target = target(&redis.url(), 500);
    let counters = Arc::new(Counters::default());
    let names: Vec<String> = (0..30).map(|n| format!("slow-{n}")).collect();
    let workers = (0..3).map(|_| {
        let (counters, target, names) = (Arc::clone(&counters), target.clone(), names.clone());
        std::thread::spawn(move || {
            let stores = Stores::new(counters, Some(&target));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut count = 0;
            for name in names {
                let policy = slow(&name, 100);
                while runtime.block_on(async { admitted(&check(&policy, &stores).await) }) {
                    count += 1;
                }
            }
            count
        })
    });
    let workers: Vec<_> = workers.collect();
    let count: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    let rest = async {
        let rest = names.iter().map(|name| left(name, 100, &target));
        futures_util::future::join_all(rest).await.into_iter().sum::<usize>()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(count + runtime.block_on(rest), 30 * 100);
}

/// Of a few that come at once, the last does not make the dataplane ask for one more.
#[tokio::test]
async fn a_slow_limit_is_not_leased_ahead_when_many_come_at_once() {
    let redis = Redis::start();
    let target = target(&redis.url(), 500);
    let (policy, stores) = (slow("slow", 20), Stores::new(Arc::new(Counters::default()), Some(&target)));
    let outcomes = futures_util::future::join_all((0..8).map(|_| check(&policy, &stores))).await;
    assert!(outcomes.iter().all(admitted), "{outcomes:?}");
    assert_eq!(left("slow", 20, &target).await, 12);
}

#[tokio::test]
async fn what_was_granted_to_a_client_that_went_away_comes_back() {
    let redis = Redis::start();
    let target = target(&redis.url(), 500);
    let (policy, stores) = (slow("slow", 20), Stores::new(Arc::new(Counters::default()), Some(&target)));
    // What they wait for is answered; they are not there to take it.
    for gone in [1, 3] {
        let checks = (0..gone).map(|_| check(&policy, &stores));
        let joined = futures_util::future::join_all(checks);
        assert!(futures_util::poll!(std::pin::pin!(joined)).is_pending());
    }
    assert_eq!(left("slow", 20, &target).await, 20);
}

fn rule() -> Rule {
    Rule::Bucket(super::super::bucket::Bucket::new(1000, 1_000_000, 1000))
}

fn answer(granted: u64, remaining: u64) -> Answer {
    let count = Taken { admitted: true, remaining, free_in: 1000, reset_in: 5000 };
    Answer { granted, kept: true, lasts: 500_000, others: 0, count }
}

fn spent(lease: &mut Lease, now: u64) -> bool {
    matches!(lease.spend(rule(), now), Spent::Yes { .. })
}

#[test]
fn a_lease_ends_by_when_it_was_asked_for() {
    let mut lease = Lease::new(0);
    let ask = lease.ask(Purpose::Wait, 1_000_000, &Arc::default());
    // The process stood still: the answer is older than the lease.
    lease.answered(&ask, &answer(5, 100), rule(), 1_600_000);
    assert!(!spent(&mut lease, 1_600_000));
    let ask = lease.ask(Purpose::Wait, 1_600_000, &Arc::default());
    assert_eq!((ask.left, ask.spent), (0, 0));
    lease.answered(&ask, &answer(5, 100), rule(), 1_700_000);
    assert!(spent(&mut lease, 2_090_000) && !spent(&mut lease, 2_100_000));
}

#[test]
fn what_was_granted_to_an_ask_that_was_given_up_is_never_spent() {
    let mut lease = Lease::new(0);
    let ask = lease.ask(Purpose::Wait, 1_000_000, &Arc::default());
    lease.gave_up(&ask);
    lease.answered(&ask, &answer(5, 100), rule(), 1_010_000);
    assert!(!spent(&mut lease, 1_010_000));
    // Whatever Redis knows of this holder from before counts as spent.
    assert!(lease.ask(Purpose::Wait, 1_020_000, &Arc::default()).spent > 1_000_000_000);
}

#[test]
fn what_is_spent_while_an_answer_is_on_its_way_is_told_with_the_next() {
    let mut lease = Lease::new(0);
    let ask = lease.ask(Purpose::Wait, 1_000_000, &Arc::default());
    lease.answered(&ask, &answer(5, 100), rule(), 1_000_100);
    assert!(spent(&mut lease, 1_000_200));
    let ask = lease.ask(Purpose::Wait, 1_000_300, &Arc::default());
    assert_eq!((ask.left, ask.spent), (4, 1));
    assert!(spent(&mut lease, 1_000_400));
    lease.answered(&ask, &answer(5, 100), rule(), 1_000_500);
    let ask = lease.ask(Purpose::Wait, 1_000_600, &Arc::default());
    assert_eq!((ask.left, ask.spent), (8, 1));
    // Redis knew of no lease: what was left is worth nothing.
    lease.answered(&ask, &Answer { kept: false, ..answer(1, 100) }, rule(), 1_000_700);
    assert!(spent(&mut lease, 1_000_800) && !spent(&mut lease, 1_000_900));
}

#[test]
fn what_another_limit_refused_is_put_back_unless_redis_was_told() {
    let mut lease = Lease::new(0);
    let ask = lease.ask(Purpose::Wait, 1_000_000, &Arc::default());
    lease.answered(&ask, &answer(2, 100), rule(), 1_000_100);
    assert!(spent(&mut lease, 1_000_200));
    lease.put_back(1_000_200);
    assert!(spent(&mut lease, 1_000_300));
    let ask = lease.ask(Purpose::Wait, 1_000_400, &Arc::default());
    assert_eq!((ask.left, ask.spent), (1, 1));
    lease.put_back(1_000_300);
    assert!(spent(&mut lease, 1_000_500) && !spent(&mut lease, 1_000_600));
}

#[test]
fn what_nobody_wants_goes_back_before_its_time_is_over() {
    let mut lease = Lease::new(0);
    let ask = lease.ask(Purpose::Wait, 1_000_000, &Arc::default());
    lease.answered(&ask, &answer(5, 100), rule(), 1_000_100);
    assert!(lease.watch() && !lease.watch());
    assert!(spent(&mut lease, 1_000_200));
    // The lease's time less the part that is not used.
    let ends = 1_000_000 + 500_000 - 500_000 / 128;
    assert!(matches!(lease.look_after(1_000_300, &Arc::default()), Watch::Later(at) if at == ends - 100_000));
    let told = lease.look_after(ends - 100_000, &Arc::default());
    let Watch::Tell(ask) = told else { panic!("{told:?}") };
    assert_eq!((ask.left, ask.spent, ask.wanted, ask.ahead), (0, 1, 0, 0));
    assert!(!spent(&mut lease, ends - 90_000), "what was given back was spent");
    lease.answered(&ask, &Answer { granted: 0, kept: false, ..answer(0, 100) }, rule(), ends - 80_000);
    assert!(!spent(&mut lease, ends - 70_000));
    assert!(matches!(lease.look_after(ends - 60_000, &Arc::default()), Watch::Over));
}

#[test]
fn a_count_that_is_used_up_is_asked_again_when_what_others_hold_may_come_back() {
    let of = |others| {
        let mut lease = Lease::new(0);
        let ask = lease.ask(Purpose::Wait, 1_000_000, &Arc::default());
        let count = Taken { admitted: false, remaining: 0, free_in: 9_000_000, reset_in: 9_000_000 };
        lease.answered(&ask, &Answer { granted: 0, others, count, ..answer(0, 0) }, rule(), 1_000_100);
        lease.denied(rule(), 1_000_100)
    };
    assert_eq!((of(0), of(400_000)), (Some(8_999_900), Some(399_900)));
}

#[test]
fn redis_is_told_when_each_was_spent_and_again_when_it_did_not_hear() {
    let mut lease = Lease::new(0);
    let ask = lease.ask(Purpose::Wait, 1_000_000, &Arc::default());
    lease.answered(&ask, &answer(500, 100), rule(), 1_000_100);
    for now in [1_001_000, 1_002_000, 1_010_000] {
        assert!(spent(&mut lease, now));
    }
    let ask = lease.ask(Purpose::Wait, 1_020_000, &Arc::default());
    // Less a 128th, for clocks that run at different speeds; what is closer than a 256th of the time is one.
    assert_eq!(ask.ages, [(18_000 - 18_000 / 128, 2), (10_000 - 10_000 / 128, 1)]);
    assert!(spent(&mut lease, 1_021_000));
    lease.gave_up(&ask);
    let ask = lease.ask(Purpose::Wait, 1_030_000, &Arc::default());
    assert_eq!((ask.spent, ask.ages.iter().map(|(_, count)| count).sum()), (4, 4_u64));
    assert!(spent(&mut lease, 1_031_000));
    lease.answered(&ask, &answer(5, 100), rule(), 1_032_000);
    assert_eq!(lease.ask(Purpose::Wait, 1_033_000, &Arc::default()).ages, [(2_000 - 2_000 / 128, 1)]);
    // However many times there are: neighbours are told as one, at the latest of them.
    let ask = lease.ask(Purpose::Wait, 1_040_000, &Arc::default());
    lease.answered(&ask, &answer(500, 100), rule(), 1_040_000);
    for n in 0..90 {
        assert!(spent(&mut lease, 1_040_000 + n * 5_000));
    }
    let ages = lease.ask(Purpose::Wait, 1_500_000, &Arc::default()).ages;
    assert!(ages.len() <= 32, "{}", ages.len());
    assert_eq!(ages.iter().map(|(_, count)| count).sum::<u64>(), 90);
    assert!(ages.is_sorted_by(|(a, _), (b, _)| a > b) && ages.last().unwrap().0 == 15_000 - 15_000 / 128);
}
