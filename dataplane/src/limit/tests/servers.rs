//! How Redis is reached: as whom, over TLS, and where sentinels say that it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::{Algorithm, LimitStore, StoreFailure};

use super::super::{Counters, Policy, RedisTarget, StoreError, Stores, Verdict};
use super::harness::{Redis, admitted, check, config, free_port, limit, policy};
use crate::test_authority::Authority;

/// What a user of Redis needs, as docs/rate-limits.md says.
const RIGHTS: [&str; 8] = ["~gatehouse:*", "-@all", "+eval", "+evalsha", "+get", "+set", "+del", "+time"];

fn strict(requests: u64) -> Policy {
    policy(&v1::RateLimit {
        on_store_failure: StoreFailure::Deny.into(),
        ..config(LimitStore::Redis, vec![limit("a", Algorithm::TokenBucket, requests, 3_600_000)])
    })
}

fn target(config: v1::Redis) -> RedisTarget {
    RedisTarget::parse(&v1::Redis { timeout_ms: 50, ..config }).unwrap()
}

fn stores(config: v1::Redis) -> Stores {
    Stores::new(Arc::new(Counters::default()), Some(&target(config)))
}

/// Until Redis decides; what it decides.
async fn decided(policy: &Policy, stores: &Stores) -> bool {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let outcome = check(policy, stores).await;
        if outcome.degraded.is_none() {
            return admitted(&outcome);
        }
        assert!(Instant::now() < end, "{outcome:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Never, in as many attempts as open the breaker and some more.
async fn never(policy: &Policy, stores: &Stores) {
    for _ in 0..10 {
        let outcome = check(policy, stores).await;
        assert!(matches!(outcome.verdict, Verdict::Unavailable), "{outcome:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn set_user(redis: &Redis, password: &str, rights: &[&str]) {
    redis.query::<()>(
        redis::cmd("ACL")
            .arg("SETUSER")
            .arg("limits")
            .arg("reset")
            .arg("on")
            .arg(format!(">{password}"))
            .arg(rights),
    );
}

#[tokio::test]
async fn a_user_of_few_rights_suffices_and_a_wrong_password_heals_when_it_is_right() {
    let redis = Redis::start();
    set_user(&redis, "first", &RIGHTS);
    let of = |password: &str| v1::Redis {
        url: redis.url(),
        username: "limits".into(),
        password: password.into(),
        ..v1::Redis::default()
    };
    let policy = strict(100);
    assert!(decided(&policy, &stores(of("first"))).await);

    let wrong = stores(of("second"));
    never(&policy, &wrong).await;
    let outcome = check(&policy, &wrong).await;
    assert_eq!(outcome.degraded, Some(StoreError::Down), "the breaker is open");
    set_user(&redis, "second", &RIGHTS);
    assert!(decided(&policy, &wrong).await);

    set_user(&redis, "second", &["~gatehouse:*", "+@all", "-evalsha", "-eval"]);
    never(&policy, &stores(of("second"))).await;
}

/// The new password is used by a new connection; what was counted stays.
#[tokio::test]
async fn a_password_is_rotated_without_a_restart() {
    let redis = Redis::start();
    let counters = Arc::new(Counters::default());
    let policy = strict(2);
    for (password, admits) in [("first", true), ("second", true), ("third", false)] {
        set_user(&redis, password, &RIGHTS);
        let config = v1::Redis {
            url: redis.url(),
            username: "limits".into(),
            password: password.into(),
            ..v1::Redis::default()
        };
        let stores = Stores::new(Arc::clone(&counters), Some(&target(config)));
        assert_eq!(decided(&policy, &stores).await, admits, "{password}");
    }
    let text = format!(
        "{:?}",
        target(v1::Redis { url: redis.url(), password: "third".into(), ..v1::Redis::default() })
    );
    assert!(!text.contains("third"), "{text}");
}

#[tokio::test]
async fn over_tls_the_certificate_must_be_of_a_trusted_authority_and_for_the_name() {
    let (authority, other) = (Authority::default(), Authority::default());
    let certificate = authority.issue("redis.shop");
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, label: &str, der: &[u8]| {
        let path = directory.path().join(name);
        let text = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, der);
        std::fs::write(&path, format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (chain, key) = (
        file("tls.crt", "CERTIFICATE", &certificate.chain[0]),
        file("tls.key", "PRIVATE KEY", &certificate.private_key),
    );
    let port = free_port();
    let tls = ["--tls-cert-file", &chain, "--tls-key-file", &key];
    let _redis = Redis::with(
        &[
            &tls[..],
            &["--tls-port", &port.to_string(), "--tls-ca-cert-file", &chain, "--tls-auth-clients", "no"],
        ]
        .concat(),
    );
    let of = |roots: &Authority, name: &str| v1::Redis {
        url: format!("redis://127.0.0.1:{port}"),
        tls: Some(v1::RedisTls {
            roots: vec![roots.der.clone()],
            server_name: name.into(),
            ..v1::RedisTls::default()
        }),
        ..v1::Redis::default()
    };
    let policy = strict(100);
    assert!(decided(&policy, &stores(of(&authority, "redis.shop"))).await);
    never(&policy, &stores(of(&authority, "redis.other"))).await;
    never(&policy, &stores(of(&authority, ""))).await;
    never(&policy, &stores(of(&other, "redis.shop"))).await;
    never(&policy, &stores(v1::Redis { tls: None, ..of(&authority, "") })).await;

    // One that lets in nobody without a certificate of its authority.
    let closed = free_port();
    let clients = file("clients.crt", "CERTIFICATE", &other.der);
    let _closed = Redis::with(
        &[&tls[..], &["--tls-port", &closed.to_string(), "--tls-ca-cert-file", &clients]].concat(),
    );
    let showing = |shown: Option<v1::Certificate>| {
        let mut config = of(&authority, "redis.shop");
        config.url = format!("redis://127.0.0.1:{closed}");
        config.tls = config.tls.map(|tls| v1::RedisTls { client_certificate: shown, ..tls });
        config
    };
    assert!(decided(&policy, &stores(showing(Some(other.issue("limits"))))).await);
    never(&policy, &stores(showing(None))).await;
    never(&policy, &stores(showing(Some(authority.issue("limits"))))).await;
}

#[tokio::test]
async fn sentinels_are_asked_for_the_primary_and_again_after_a_fail_over() {
    let mut primary = Redis::start();
    let replica = Redis::with(&["--replicaof", "127.0.0.1", &primary.port().to_string()]);
    let end = Instant::now() + Duration::from_secs(30);
    while !replica.query::<String>(redis::cmd("INFO").arg("replication")).contains("master_link_status:up") {
        assert!(Instant::now() < end, "the replica does not come up");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let sentinel = Redis::sentinel(&primary);
    let of = |name: &str| v1::Redis {
        sentinel: Some(v1::RedisSentinel {
            primary: name.into(),
            // The first is not there: the others are asked.
            addresses: vec![format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", sentinel.port())],
            ..v1::RedisSentinel::default()
        }),
        ..v1::Redis::default()
    };
    let policy = strict(2);
    never(&policy, &stores(of("nobody"))).await;
    let stores = stores(of("shop"));
    assert!(decided(&policy, &stores).await);
    assert!(decided(&policy, &stores).await);
    assert_eq!(primary.query::<i64>(redis::cmd("WAIT").arg(1).arg(10_000)), 1);

    let replicas = async || {
        let found: Vec<Vec<String>> = sentinel.query(redis::cmd("SENTINEL").arg("REPLICAS").arg("shop"));
        !found.is_empty()
    };
    while !replicas().await {
        assert!(Instant::now() < end, "the sentinel does not see the replica");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    primary.kill();
    while check(&policy, &stores).await.degraded.is_none() {
        // The denial is remembered, which needs no Redis.
        let other = Stores::new(Arc::new(Counters::default()), Some(&target(of("shop"))));
        if check(&policy, &other).await.degraded.is_some() {
            break;
        }
        assert!(Instant::now() < end, "the primary is gone and answers");
    }
    // The replica knows what was counted.
    let other = Stores::new(Arc::new(Counters::default()), Some(&target(of("shop"))));
    assert!(!decided(&policy, &other).await);
    assert_eq!(
        replica.query::<Vec<redis::Value>>(&redis::cmd("ROLE"))[0],
        redis::Value::BulkString(b"master".to_vec())
    );
}

#[tokio::test]
async fn sentinels_may_have_a_password_of_their_own() {
    let primary = Redis::start();
    set_user(&primary, "of-redis", &RIGHTS);
    let sentinel = Redis::sentinel(&primary);
    let locked = ["ACL", "SETUSER", "default", "resetpass", ">of-sentinels"];
    sentinel.query::<()>(redis::cmd(locked[0]).arg(&locked[1..]));
    let of = |password: &str| v1::Redis {
        username: "limits".into(),
        password: "of-redis".into(),
        sentinel: Some(v1::RedisSentinel {
            primary: "shop".into(),
            addresses: vec![format!("127.0.0.1:{}", sentinel.port())],
            password: password.into(),
            ..v1::RedisSentinel::default()
        }),
        ..v1::Redis::default()
    };
    let policy = strict(100);
    assert!(decided(&policy, &stores(of("of-sentinels"))).await);
    never(&policy, &stores(of("of-redis"))).await;
    never(&policy, &stores(of(""))).await;
}

#[tokio::test]
async fn a_redis_whose_configuration_is_broken_counts_as_one_that_does_not_answer() {
    let stores = stores(v1::Redis { broken: "Secret a/b does not exist".into(), ..v1::Redis::default() });
    never(&strict(100), &stores).await;
}

#[test]
fn what_is_no_place_is_told_without_its_password() {
    let sentinel = |primary: &str, addresses: &[&str]| v1::Redis {
        password: "sesame".into(),
        sentinel: Some(v1::RedisSentinel {
            primary: primary.into(),
            addresses: addresses.iter().map(|address| (*address).to_owned()).collect(),
            ..v1::RedisSentinel::default()
        }),
        ..v1::Redis::default()
    };
    let tls = |tls| v1::Redis { url: "redis://:sesame@h".into(), tls: Some(tls), ..v1::Redis::default() };
    assert!(RedisTarget::parse(&sentinel("shop", &["[::1]:26379", "a:1"])).is_ok());
    for (config, told) in [
        (sentinel("", &["a:1"]), "name of their primary"),
        (sentinel("shop", &[]), "addresses"),
        (sentinel("shop", &["a"]), "host:port"),
        (sentinel("shop", &[":1"]), "host:port"),
        (tls(v1::RedisTls::default()), "no authority"),
        (tls(v1::RedisTls { roots: vec![vec![1]], ..v1::RedisTls::default() }), "authority"),
        (
            tls(v1::RedisTls { public_roots: true, server_name: "a b".into(), ..v1::RedisTls::default() }),
            "host name",
        ),
    ] {
        let error = RedisTarget::parse(&config).unwrap_err().to_string();
        assert!(error.contains(told) && !error.contains("sesame"), "{error}");
    }
}
