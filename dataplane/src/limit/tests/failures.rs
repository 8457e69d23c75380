//! Redis in every way of not being there.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::{Algorithm, LimitStore, StoreFailure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::{Outcome, Policy, StoreError, Stores, Verdict};
use super::harness::{Redis, admitted, check, config, limit, policy, stores, target};

/// No decision may take longer, on a machine that has something else to do as well.
const CAP: Duration = Duration::from_millis(50);

fn failing(on_failure: StoreFailure, requests: u64) -> Policy {
    policy(&v1::RateLimit {
        on_store_failure: on_failure.into(),
        replicas: 2,
        ..config(LimitStore::Redis, vec![limit("a", Algorithm::TokenBucket, requests, 3_600_000)])
    })
}

async fn timed(policy: &Policy, stores: &Stores) -> Outcome {
    let start = Instant::now();
    let outcome = check(policy, stores).await;
    assert!(start.elapsed() <= CAP, "{:?} for {outcome:?}", start.elapsed());
    outcome
}

/// Until a decision is Redis's own again.
async fn recovered(policy: &Policy, stores: &Stores) -> Duration {
    let start = Instant::now();
    while timed(policy, stores).await.degraded.is_some() {
        assert!(start.elapsed() < Duration::from_secs(10), "not enforced again");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

/// Accepts, and answers everything with the same line, or never.
async fn answering(line: Option<&'static str>) -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            match line {
                None => held.push(stream),
                Some(line) => {
                    tokio::spawn(async move {
                        let mut buffer = [0; 4096];
                        while let Ok(1..) = stream.read(&mut buffer).await {
                            // More answers than questions would confuse; the client sends one at a time here.
                            if stream.write_all(line.as_bytes()).await.is_err() {
                                return;
                            }
                        }
                    });
                }
            }
        }
    });
    (port, task)
}

#[tokio::test]
async fn every_failure_is_answered_by_the_policy_in_time() {
    let closed = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let (silent, _silent) = answering(None).await;
    let (broken, _broken) = answering(Some("-ERR no\r\n")).await;
    let (loading, _loading) = answering(Some("-LOADING dataset\r\n")).await;
    let (moved, _moved) = answering(Some("-MOVED 1 127.0.0.1:1\r\n")).await;
    let (garbage, _garbage) = answering(Some("HTTP/1.1 400 Bad Request\r\n\r\n")).await;
    for (name, port) in [
        ("closed", closed),
        ("silent", silent),
        ("broken", broken),
        ("loading", loading),
        ("moved", moved),
        ("garbage", garbage),
    ] {
        let target = target(&format!("redis://127.0.0.1:{port}"), 20);
        for on_failure in [StoreFailure::FallbackLocal, StoreFailure::Allow, StoreFailure::Deny] {
            let (policy, stores) = (failing(on_failure, 4), stores(Some(&target)));
            let mut admissions = 0;
            for _ in 0..10 {
                let outcome = timed(&policy, &stores).await;
                assert!(outcome.degraded.is_some(), "{name}");
                assert_eq!(
                    matches!(outcome.verdict, Verdict::Unavailable),
                    on_failure == StoreFailure::Deny,
                    "{name}"
                );
                admissions += u32::from(admitted(&outcome));
            }
            let expected = match on_failure {
                StoreFailure::FallbackLocal => 2,
                StoreFailure::Allow => 10,
                StoreFailure::Deny | StoreFailure::Unspecified => 0,
            };
            assert_eq!(admissions, expected, "{name} {on_failure:?}");

            // By now the breaker is open: a thousand decisions in the time of two waits.
            let start = Instant::now();
            for _ in 0..1000 {
                assert_eq!(check(&policy, &stores).await.degraded, Some(StoreError::Down), "{name}");
            }
            assert!(start.elapsed() < Duration::from_secs(1), "{name}: {:?}", start.elapsed());
        }
    }
}

#[tokio::test]
async fn a_replica_that_takes_no_writes_is_no_store() {
    let redis = Redis::start();
    redis.query::<()>(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1));
    let (policy, stores) = (failing(StoreFailure::Deny, 100), stores(Some(&redis.target())));
    for _ in 0..10 {
        assert!(matches!(timed(&policy, &stores).await.verdict, Verdict::Unavailable));
    }
    redis.query::<()>(redis::cmd("REPLICAOF").arg("NO").arg("ONE"));
    assert!(recovered(&policy, &stores).await < Duration::from_secs(2));
}

#[tokio::test]
async fn a_redis_that_stops_answering_is_left_and_found_again() {
    let redis = Redis::start();
    let (policy, stores) = (failing(StoreFailure::FallbackLocal, 8), stores(Some(&redis.target())));
    assert!(timed(&policy, &stores).await.degraded.is_none());

    redis.signal("STOP");
    let mut fallback = 0;
    for _ in 0..40 {
        let outcome = timed(&policy, &stores).await;
        assert!(outcome.degraded.is_some());
        fallback += u32::from(admitted(&outcome));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fallback, 4, "half of the limit, for one of two dataplanes");

    redis.signal("CONT");
    assert!(recovered(&policy, &stores).await < Duration::from_secs(2));
    let mut shared = 1;
    while admitted(&timed(&policy, &stores).await) {
        shared += 1;
    }
    assert!(shared <= 8, "{shared}");
}

#[tokio::test]
async fn a_redis_that_is_killed_and_comes_back_is_found_again() {
    let mut redis = Redis::start();
    let (policy, stores) = (failing(StoreFailure::Deny, 1_000_000), stores(Some(&redis.target())));
    assert!(admitted(&timed(&policy, &stores).await));
    redis.kill();
    for _ in 0..20 {
        assert!(matches!(timed(&policy, &stores).await.verdict, Verdict::Unavailable));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    redis.restart();
    assert!(recovered(&policy, &stores).await < Duration::from_secs(2));
    assert!(redis.runs() > 0);
}

/// Many requests wait at once when Redis stops: none waits longer than one limit, and no task stays behind.
#[tokio::test]
async fn nothing_piles_up() {
    let redis = Redis::start();
    let policy = std::rc::Rc::new(failing(StoreFailure::Allow, 1_000_000));
    let stores = std::rc::Rc::new(stores(Some(&redis.target())));
    assert!(timed(&policy, &stores).await.degraded.is_none());
    redis.signal("STOP");
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let tasks: Vec<_> = (0..500)
                .map(|_| {
                    let (policy, stores) = (std::rc::Rc::clone(&policy), std::rc::Rc::clone(&stores));
                    tokio::task::spawn_local(async move {
                        assert!(admitted(&timed(&policy, &stores).await));
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
        })
        .await;
    // What is left is the one task that tries to reconnect, and within it perhaps a connection.
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert!(tasks <= 2, "{tasks} tasks");
    redis.signal("CONT");
    assert!(recovered(&policy, &stores).await < Duration::from_secs(2));
}

/// A connection that was closed while idle costs no decision.
#[tokio::test]
async fn a_closed_connection_is_replaced_within_the_decision() {
    let redis = Redis::start();
    let (policy, stores) = (failing(StoreFailure::Deny, 100), stores(Some(&redis.target())));
    assert!(admitted(&timed(&policy, &stores).await));
    redis.query::<i64>(redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal"));
    let outcome = timed(&policy, &stores).await;
    assert!(admitted(&outcome) && outcome.degraded.is_none(), "{outcome:?}");
}
