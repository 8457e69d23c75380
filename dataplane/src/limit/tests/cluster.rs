//! Counts in a real Redis Cluster of three nodes.

use std::ops::Range;
use std::time::{Duration, Instant};

use ::http::{HeaderMap, HeaderValue};
use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::limit_key::Kind;
use gatehouse_proto::config::v1::{Algorithm, LimitStore, StoreFailure};

use super::super::cluster::Shelf;
use super::super::{Outcome, Phase, Policy, StoreError, Stores, Verdict};
use super::harness::{Cluster, Redis, admitted, config, facts, key, limit, policy, stores};

/// No decision may take longer: the time limit, on a machine that has something else to do as well.
const CAP: Duration = Duration::from_millis(100);
const HOUR: u64 = 3_600_000;

fn tenant() -> Vec<v1::LimitKey> {
    vec![key(Kind::Header("x-tenant".into()))]
}

/// By tenant.
fn windows(requests: u64, on_failure: StoreFailure) -> Policy {
    let of =
        |name, algorithm, requests, per| v1::Limit { key: tenant(), ..limit(name, algorithm, requests, per) };
    policy(&v1::RateLimit {
        on_store_failure: on_failure.into(),
        ..config(
            LimitStore::Redis,
            vec![
                of("hour", Algorithm::SlidingWindow, requests, HOUR),
                of("day", Algorithm::TokenBucket, requests * 10, HOUR * 24),
            ],
        )
    })
}

fn headers(tenant: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from(tenant));
    headers
}

async fn ask(policy: &Policy, stores: &Stores, tenant: usize) -> Outcome {
    let (headers, start) = (headers(tenant), Instant::now());
    let outcome = policy.check(Phase::BeforeIdentity, &facts(&headers), stores, start).await;
    assert!(start.elapsed() <= CAP, "{:?} for {outcome:?}", start.elapsed());
    outcome
}

/// Until Redis decides; what it decides.
async fn decided(policy: &Policy, stores: &Stores, tenant: usize) -> bool {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let outcome = ask(policy, stores, tenant).await;
        if outcome.degraded.is_none() {
            return admitted(&outcome);
        }
        assert!(Instant::now() < end, "{outcome:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The slot of a tenant's counts.
fn slot(policy: &Policy, tenant: usize) -> u16 {
    let headers = headers(tenant);
    let shelves = Shelf::all(true);
    let facts = facts(&headers);
    let pick = policy.limits(Phase::BeforeIdentity).enforced[0].pick(&facts).unwrap();
    shelves[pick.spread() % shelves.len()].slot.unwrap()
}

/// Tenants whose counts lie on that node of three.
fn of_node(policy: &Policy, node: u16) -> impl Iterator<Item = usize> {
    let slots: Range<u16> = node * 5461 + node / 2..(node + 1) * 5461 + node / 2;
    (0..).filter(move |tenant| slots.contains(&slot(policy, *tenant)))
}

#[tokio::test]
async fn several_dataplanes_admit_exactly_the_limit_and_all_nodes_count() {
    let cluster = Cluster::start(3);
    let policy = windows(4, StoreFailure::Deny);
    let dataplanes = [stores(Some(&cluster.target())), stores(Some(&cluster.target()))];
    for tenant in 0..24 {
        for (node, stores) in dataplanes.iter().enumerate() {
            assert!(decided(&policy, stores, tenant).await, "{tenant} at {node}");
        }
    }
    let runs = || cluster.nodes.iter().map(Redis::runs).sum::<u64>();
    // Now all are connected: both windows of a tenant are one command.
    let (before, mut admissions) = (runs(), [2; 24]);
    for round in 0..6 {
        for (tenant, admissions) in admissions.iter_mut().enumerate() {
            *admissions += u64::from(decided(&policy, &dataplanes[round % 2], tenant).await);
        }
    }
    assert_eq!(admissions, [4; 24]);
    // Two were admitted, of which the second learned that nothing is left, and the other dataplane was refused once. A
    // call may time out and be made again.
    let asked = runs() - before;
    assert!((24 * 3..24 * 4).contains(&asked), "{asked}");
    for node in &cluster.nodes {
        let keys: Vec<String> = node.query(redis::cmd("KEYS").arg("gatehouse:*:hour:*"));
        assert!(keys.len() > 2, "{keys:?}");
    }
}

/// A limit for all, and one by tenant on another shelf: what the second refuses is not taken from the first.
#[tokio::test]
async fn a_refused_request_takes_nothing_from_a_count_that_lies_elsewhere() {
    let cluster = Cluster::start(3);
    let limits = vec![
        limit("all", Algorithm::TokenBucket, 3, HOUR),
        v1::Limit { key: tenant(), ..limit("tenant", Algorithm::SlidingWindow, 1, HOUR) },
    ];
    let policy = policy(&v1::RateLimit {
        on_store_failure: StoreFailure::Deny.into(),
        ..config(LimitStore::Redis, limits)
    });
    let fresh = || stores(Some(&cluster.target()));
    assert!(decided(&policy, &fresh(), 0).await);
    for _ in 0..5 {
        // Each remembers no denial, so each asks.
        assert!(!decided(&policy, &fresh(), 0).await);
    }
    for tenant in 1..3 {
        let end = Instant::now() + Duration::from_secs(10);
        // What the refused were granted is on its way back.
        while !decided(&policy, &fresh(), tenant).await {
            assert!(Instant::now() < end, "{tenant}");
        }
    }
    for tenant in 3..6 {
        assert!(!decided(&policy, &fresh(), tenant).await, "{tenant}");
    }
}

#[tokio::test]
async fn a_node_that_is_gone_takes_only_its_counts_along() {
    let mut cluster = Cluster::start(3);
    let policy = windows(2, StoreFailure::Deny);
    let stores = stores(Some(&cluster.target()));
    let tenants: Vec<Vec<usize>> = (0..3).map(|node| of_node(&policy, node).take(8).collect()).collect();
    for tenant in tenants.concat() {
        assert!(decided(&policy, &stores, tenant).await);
    }
    cluster.nodes[1].kill();
    for _ in 0..10 {
        for tenant in &tenants[1] {
            let outcome = ask(&policy, &stores, *tenant).await;
            assert!(matches!(outcome.verdict, Verdict::Unavailable), "{outcome:?}");
        }
    }
    let outcome = ask(&policy, &stores, tenants[1][0]).await;
    assert_eq!(outcome.degraded, Some(StoreError::Down), "the breaker is open");
    for (admits, nodes) in [(true, [0, 2]), (false, [0, 2])] {
        for tenant in nodes.map(|node| tenants[node].as_slice()).concat() {
            assert_eq!(decided(&policy, &stores, tenant).await, admits);
        }
    }
    // It comes back without what it counted: with Deny those counts begin used up, and nothing else does.
    cluster.nodes[1].restart();
    for tenant in &tenants[1] {
        assert!(!decided(&policy, &stores, *tenant).await);
    }
    for tenant in of_node(&policy, 0).skip(8).take(4) {
        assert!(decided(&policy, &stores, tenant).await);
    }
}

/// Of two limits one can't be asked for: `FallbackLocal` counts that one here, and the other stays exact.
#[tokio::test]
async fn a_limit_whose_node_is_gone_falls_back_by_itself() {
    let mut cluster = Cluster::start(3);
    let limits = vec![
        limit("all", Algorithm::TokenBucket, 4, HOUR),
        v1::Limit { key: tenant(), ..limit("tenant", Algorithm::SlidingWindow, 2, HOUR) },
    ];
    let policy = policy(&config(LimitStore::Redis, limits));
    let all = {
        let headers = HeaderMap::new();
        let facts = facts(&headers);
        let pick = policy.limits(Phase::BeforeIdentity).enforced[0].pick(&facts).unwrap();
        Shelf::all(true)[pick.spread() % 12].slot.unwrap()
    };
    let here = all / 5462;
    let elsewhere = (here + 1) % 3;
    let by_tenant = |tenant: usize| {
        let headers = headers(tenant);
        let facts = facts(&headers);
        let pick = policy.limits(Phase::BeforeIdentity).enforced[1].pick(&facts).unwrap();
        Shelf::all(true)[pick.spread() % 12].slot.unwrap() / 5462
    };
    let tenants: Vec<usize> = (0..).filter(|tenant| by_tenant(*tenant) == elsewhere).take(3).collect();
    let dataplanes = [stores(Some(&cluster.target())), stores(Some(&cluster.target()))];
    let mut admissions = 0;
    loop {
        let outcome = ask(&policy, &dataplanes[0], tenants[0]).await;
        admissions += u32::from(admitted(&outcome));
        if outcome.degraded.is_none() {
            break;
        }
    }
    cluster.nodes[usize::from(elsewhere)].kill();
    let end = Instant::now() + Duration::from_secs(10);
    // What is refused here goes back there: until then the others may be told that nothing is left.
    let mut more = 20;
    while more > 0 {
        for tenant in &tenants {
            for stores in &dataplanes {
                let outcome = ask(&policy, stores, *tenant).await;
                admissions += u32::from(admitted(&outcome));
            }
        }
        assert!(admissions <= 4, "{admissions} of `all`, over both dataplanes");
        assert!(Instant::now() < end, "{admissions}");
        more -= usize::from(admissions == 4);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_replica_takes_over_what_was_counted() {
    let mut cluster = Cluster::start(3);
    cluster.replicate(0);
    let policy = windows(2, StoreFailure::Deny);
    let dataplanes = [stores(Some(&cluster.target())), stores(Some(&cluster.target()))];
    let tenants: Vec<usize> = of_node(&policy, 0).take(4).collect();
    for tenant in &tenants {
        assert!(decided(&policy, &dataplanes[0], *tenant).await);
    }
    let end = Instant::now() + Duration::from_secs(20);
    let keys = |node: usize| cluster.nodes[node].query::<i64>(&redis::cmd("DBSIZE"));
    while keys(3) < keys(0) {
        assert!(Instant::now() < end, "the replica lags");
    }
    cluster.nodes[0].kill();
    for tenant in &tenants {
        assert!(decided(&policy, &dataplanes[1], *tenant).await);
        assert!(!decided(&policy, &dataplanes[0], *tenant).await);
    }
}

/// Before, while and after its slot moves to another node a count admits what it did.
#[tokio::test]
async fn a_slot_moves_with_its_counts() {
    let cluster = Cluster::start(3);
    let policy = windows(6, StoreFailure::Deny);
    let dataplanes = [stores(Some(&cluster.target())), stores(Some(&cluster.target()))];
    let tenant = of_node(&policy, 0).next().unwrap();
    let slot = slot(&policy, tenant);
    for stores in &dataplanes {
        assert!(decided(&policy, stores, tenant).await);
    }
    let (from, to) = (&cluster.nodes[0], &cluster.nodes[2]);
    let id = |node: &Redis| node.query::<String>(redis::cmd("CLUSTER").arg("MYID"));
    let set = |node: &Redis, how: &str, of: &Redis| {
        node.query::<()>(redis::cmd("CLUSTER").arg("SETSLOT").arg(slot).arg(how).arg(id(of)));
    };
    set(to, "IMPORTING", from);
    set(from, "MIGRATING", to);
    let mut admissions = 2;
    let keys: Vec<String> = from.query(redis::cmd("CLUSTER").arg("GETKEYSINSLOT").arg(slot).arg(1000));
    assert!(keys.len() >= 3, "{keys:?}");
    for key in keys {
        let moved = redis::cmd("MIGRATE").arg("127.0.0.1").arg(to.port()).arg(key).arg(0).arg(5000).clone();
        // `NOKEY`: its time was over.
        from.query::<String>(&moved);
        // Half of it is here and half there: it can't be asked for.
        admissions += u32::from(admitted(&ask(&policy, &dataplanes[0], tenant).await));
    }
    for node in &cluster.nodes {
        set(node, "NODE", to);
    }
    for round in 0..10 {
        admissions += u32::from(decided(&policy, &dataplanes[round % 2], tenant).await);
    }
    assert_eq!(admissions, 6);
    let there: i64 = to.query(redis::cmd("CLUSTER").arg("COUNTKEYSINSLOT").arg(slot));
    assert!(there >= 3, "{there}");
}
