//! What is counted together, what is refused at compilation, and what a policy of several limits does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::{HeaderMap, HeaderValue};
use gatehouse_proto::config::v1;
use gatehouse_proto::config::v1::limit_key::Kind;
use gatehouse_proto::config::v1::{Algorithm, LimitStore};

use super::super::{Counters, Facts, Phase, Policy, RedisTarget, Stores, Verdict};
use crate::observe::metrics::Metrics;

use super::harness::{admitted, check, config, facts, key, limit, policy, stores};

const BUCKET: Algorithm = Algorithm::TokenBucket;

fn keyed(parts: &[Kind]) -> v1::RateLimit {
    let key = parts.iter().cloned().map(key).collect();
    config(LimitStore::Local, vec![v1::Limit { key, ..limit("a", BUCKET, 1, 3_600_000) }])
}

/// Whether the second is counted with the first.
async fn together(config: &v1::RateLimit, first: &Facts<'_>, second: &Facts<'_>) -> bool {
    let (policy, stores, now) = (policy(config), stores(None), Instant::now());
    let phase = if policy.has(Phase::WithIdentity) { Phase::WithIdentity } else { Phase::BeforeIdentity };
    assert!(admitted(&policy.check(phase, first, &stores, now).await));
    !admitted(&policy.check(phase, second, &stores, now).await)
}

#[tokio::test]
async fn clients_are_counted_by_prefix() {
    let of = |v4, v6| keyed(&[Kind::ClientIp(v1::ClientAddress { ipv4_prefix: v4, ipv6_prefix: v6 })]);
    for (v4, v6, first, second, expected) in [
        (0, 0, "192.0.2.1", "192.0.2.1", true),
        (0, 0, "192.0.2.1", "192.0.2.2", false),
        (24, 0, "192.0.2.1", "192.0.2.200", true),
        (24, 0, "192.0.2.1", "192.0.3.1", false),
        (0, 0, "192.0.2.1", "::ffff:192.0.2.1", true),
        (24, 128, "::ffff:192.0.2.7", "192.0.2.1", true),
        (0, 0, "2001:db8::1", "2001:db8::ffff:1", true),
        (0, 0, "2001:db8::1", "2001:db8:0:1::1", false),
        (0, 128, "2001:db8::1", "2001:db8::2", false),
        (0, 48, "2001:db8::1", "2001:db8:0:1::1", true),
    ] {
        let headers = HeaderMap::new();
        let [first, second] =
            [first, second].map(|client| Facts { client: client.parse().unwrap(), ..facts(&headers) });
        assert_eq!(
            together(&of(v4, v6), &first, &second).await,
            expected,
            "/{v4} /{v6} {} {}",
            first.client,
            second.client
        );
    }
}

#[tokio::test]
async fn identities_fall_back_and_never_meet() {
    let (consumer, credential) =
        (keyed(&[Kind::Consumer(v1::Empty {})]), keyed(&[Kind::Credential(v1::Empty {})]));
    let headers = HeaderMap::new();
    let who = |consumer, credential, client: &str| Facts {
        consumer,
        credential,
        client: client.parse().unwrap(),
        ..facts(&headers)
    };
    let (here, there) = ("192.0.2.1", "192.0.2.2");
    for (config, first, second, expected) in [
        (&consumer, who(Some("a"), Some("k1"), here), who(Some("a"), Some("k2"), there), true),
        (&consumer, who(Some("a"), None, here), who(Some("b"), None, here), false),
        (&consumer, who(None, Some("a"), here), who(Some("a"), None, here), false),
        (&consumer, who(None, Some("k"), here), who(None, Some("k"), there), true),
        (&consumer, who(None, None, here), who(None, None, here), true),
        (&consumer, who(None, None, here), who(None, None, there), false),
        (&credential, who(Some("a"), Some("k1"), here), who(Some("a"), Some("k2"), here), false),
        (&credential, who(Some("a"), Some("k"), here), who(Some("b"), Some("k"), here), false),
        (&credential, who(Some("a"), None, here), who(Some("b"), None, here), true),
    ] {
        assert_eq!(together(config, &first, &second).await, expected, "{first:?} {second:?}");
    }
}

#[tokio::test]
async fn headers_are_counted_by_their_combined_value() {
    let config = keyed(&[Kind::Header("X-Tenant".into()), Kind::Header("X-Plan".into())]);
    let of = |fields: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    };
    let (tenant, plan) = ("x-tenant", "x-plan");
    for (first, second, expected) in [
        (of(&[]), of(&[]), true),
        (of(&[]), of(&[(tenant, ""), (plan, "")]), true),
        (of(&[(tenant, "a"), (plan, "bc")]), of(&[(tenant, "ab"), (plan, "c")]), false),
        (of(&[(tenant, "a")]), of(&[(plan, "a")]), false),
        (of(&[(tenant, "a"), (tenant, "b")]), of(&[(tenant, "a, b")]), true),
        (of(&[(tenant, "a")]), of(&[(tenant, "A")]), false),
    ] {
        assert_eq!(
            together(&config, &facts(&first), &facts(&second)).await,
            expected,
            "{first:?} {second:?}"
        );
    }
}

#[tokio::test]
async fn routes_share_a_policy_or_not_by_scope_and_namespaces_never() {
    let headers = HeaderMap::new();
    let (one, two) = (facts(&headers), Facts { route: "HTTPRoute/shop/carts", ..facts(&headers) });
    let mut config = keyed(&[]);
    assert!(together(&config, &one, &two).await);
    config.scope = v1::LimitScope::Route.into();
    assert!(!together(&config, &one, &two).await);

    let (stores, now) = (stores(None), Instant::now());
    let config = keyed(&[]);
    for name in ["ratelimit/a/same", "ratelimit/b/same"] {
        let policy = Policy::compile(name, &config, &Metrics::default()).unwrap();
        assert!(admitted(&policy.check(Phase::BeforeIdentity, &one, &stores, now).await), "{name}");
        assert!(!admitted(&policy.check(Phase::BeforeIdentity, &one, &stores, now).await), "{name}");
    }
}

#[tokio::test]
async fn a_change_of_numbers_keeps_the_count() {
    let (stores, before) = (stores(None), config(LimitStore::Local, vec![limit("a", BUCKET, 5, 3_600_000)]));
    let policy_before = policy(&before);
    for _ in 0..5 {
        assert!(admitted(&check(&policy_before, &stores).await));
    }
    let after = policy(&config(LimitStore::Local, vec![limit("a", BUCKET, 4, 3_600_000)]));
    assert!(!admitted(&check(&after, &stores).await));
}

#[tokio::test]
async fn the_first_tier_that_fits_replaces_the_numbers() {
    let mut config = keyed(&[Kind::Consumer(v1::Empty {})]);
    let tier = |tier: &str, requests| v1::LimitTier { tier: tier.into(), requests, ..Default::default() };
    config.limits[0].tiers = vec![tier("gold", 3), tier("gold", 9), tier("silver", 2)];
    let (policy, stores, headers, now) = (policy(&config), stores(None), HeaderMap::new(), Instant::now());
    assert!(!policy.has(Phase::BeforeIdentity));
    for (consumer, tier, requests) in
        [("a", Some("gold"), 3), ("b", Some("silver"), 2), ("c", Some("tin"), 1), ("d", None, 1)]
    {
        let facts = Facts { consumer: Some(consumer), tier, ..facts(&headers) };
        let mut admitted = 0;
        let quota = loop {
            match policy.check(Phase::WithIdentity, &facts, &stores, now).await.verdict {
                Verdict::Admit(_) => admitted += 1,
                Verdict::Refuse(quota) => break quota,
                Verdict::Unavailable | Verdict::Broken => panic!("unavailable"),
            }
        };
        assert_eq!(admitted, requests, "{consumer}");
        let mut headers = HeaderMap::new();
        quota.write(&mut headers);
        assert_eq!(headers["ratelimit-policy"], format!("\"a\";q={requests};w=3600"));
        assert_eq!(headers["retry-after"], (3600 / requests).to_string());
    }
}

#[tokio::test]
async fn what_one_limit_refuses_takes_from_no_other() {
    let limits = vec![limit("minute", BUCKET, 5, 60_000), limit("second", BUCKET, 1, 1000)];
    let (policy, stores, start) = (policy(&config(LimitStore::Local, limits)), stores(None), Instant::now());
    let headers = HeaderMap::new();
    let at = async |ms| {
        let now = start + Duration::from_millis(ms);
        policy.check(Phase::BeforeIdentity, &facts(&headers), &stores, now).await
    };
    assert!(admitted(&at(0).await));
    for ms in 1..50 {
        assert!(!admitted(&at(ms).await));
    }
    for second in 1..5 {
        assert!(admitted(&at(second * 1000).await), "{second}");
    }
    let Verdict::Refuse(quota) = at(5000).await.verdict else { panic!("the minute is used up") };
    let mut headers = HeaderMap::new();
    quota.write(&mut headers);
    assert_eq!(headers["ratelimit-policy"], "\"minute\";q=5;w=60, \"second\";q=1;w=1");
    assert_eq!(headers["ratelimit"], "\"minute\";r=0;t=7");
    assert_eq!(headers["retry-after"], "7");
}

#[tokio::test]
async fn replicas_share_a_local_limit() {
    for (algorithm, replicas, expected) in [
        (BUCKET, 0, 10),
        (BUCKET, 1, 10),
        (BUCKET, 3, 3),
        (BUCKET, 100, 1),
        (Algorithm::SlidingWindow, 3, 3),
        (Algorithm::SlidingWindow, 100, 1),
    ] {
        let mut config = config(LimitStore::Local, vec![limit("a", algorithm, 10, 3_600_000)]);
        config.replicas = replicas;
        let (policy, stores) = (policy(&config), stores(None));
        let mut count = 0;
        while admitted(&check(&policy, &stores).await) {
            count += 1;
        }
        assert_eq!(count, expected, "{algorithm:?} over {replicas}");
    }
}

#[tokio::test]
async fn a_flood_of_keys_stays_within_its_room_and_frees_nobody() {
    let header = vec![key(Kind::Header("x-tenant".into()))];
    for algorithm in [BUCKET, Algorithm::SlidingWindow] {
        let mut config = config(
            LimitStore::Local,
            vec![v1::Limit { key: header.clone(), ..limit("a", algorithm, 50, 60_000) }],
        );
        config.limits[0].burst = 50;
        let (policy, counters) = (policy(&config), Arc::new(Counters::with_room(6400, 1)));
        let stores = Stores::new(Arc::clone(&counters), None);
        let start = Instant::now();
        let mut headers = HeaderMap::new();
        headers.insert("x-tenant", HeaderValue::from_static("busy"));
        while admitted(&policy.check(Phase::BeforeIdentity, &facts(&headers), &stores, start).await) {}
        for n in 0..20_000u32 {
            headers.insert("x-tenant", HeaderValue::from(n));
            let now = start + Duration::from_micros(1);
            assert!(admitted(&policy.check(Phase::BeforeIdentity, &facts(&headers), &stores, now).await));
            assert!(counters.cells() <= 6400);
        }
        if algorithm == BUCKET {
            headers.insert("x-tenant", HeaderValue::from_static("busy"));
            assert!(!admitted(&policy.check(Phase::BeforeIdentity, &facts(&headers), &stores, start).await));
        }
    }
}

#[tokio::test]
async fn a_broken_policy_refuses_everything() {
    // The controller fills in nothing else of such a policy.
    let config = v1::RateLimit { broken: "no such Redis".into(), ..v1::RateLimit::default() };
    let policy = policy(&config);
    assert!(policy.has(Phase::BeforeIdentity) && policy.has(Phase::WithIdentity));
    assert!(matches!(check(&policy, &stores(None)).await.verdict, Verdict::Broken));
}

#[tokio::test]
async fn without_a_redis_a_policy_counts_locally() {
    let policy = policy(&config(LimitStore::Redis, vec![limit("a", BUCKET, 1, 60_000)]));
    let stores = stores(None);
    assert!(admitted(&check(&policy, &stores).await));
    assert!(!admitted(&check(&policy, &stores).await));
}

#[test]
fn what_can_not_be_enforced_is_refused_with_a_reason() {
    let valid = config(LimitStore::Local, vec![limit("a", BUCKET, 1, 1000)]);
    type Change = fn(&mut v1::RateLimit);
    let cases: [(&str, Change); 12] = [
        ("`requests` of limit `a`", |c| c.limits[0].requests = 0),
        ("`requests` of limit `a`", |c| c.limits[0].requests = u64::MAX),
        ("`per` of limit `a`", |c| c.limits[0].per_ms = 0),
        ("`per` of limit `a`", |c| c.limits[0].per_ms = u64::MAX),
        ("`burst` of limit `a`", |c| c.limits[0].burst = u64::MAX),
        ("ten years", |c| (c.limits[0].per_ms, c.limits[0].burst) = (86_400_000, 1_000_000)),
        ("algorithm", |c| c.limits[0].algorithm = 77),
        ("store", |c| c.store = 0),
        ("two limits are named `a`", |c| c.limits.push(c.limits[0].clone())),
        ("`ipv4Prefix`", |c| {
            let address = v1::ClientAddress { ipv4_prefix: 33, ipv6_prefix: 0 };
            c.limits[0].key = vec![key(Kind::ClientIp(address))];
        }),
        ("header `a b`", |c| c.limits[0].key = vec![key(Kind::Header("a b".into()))]),
        ("tier `gold` of limit `a`", |c| {
            c.limits[0].tiers = vec![v1::LimitTier { tier: "gold".into(), ..Default::default() }];
        }),
    ];
    assert!(Policy::compile("ratelimit/a/b", &valid, &Metrics::default()).is_ok());
    for (expected, change) in cases {
        let mut config = valid.clone();
        change(&mut config);
        let error = Policy::compile("ratelimit/a/b", &config, &Metrics::default()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_redis_target_is_checked_and_keeps_its_password_to_itself() {
    let parse = |url: &str| RedisTarget::parse(&v1::Redis { url: url.into(), ..v1::Redis::default() });
    let target = parse("redis://user:sesame@redis.shop:6379/2").unwrap();
    assert!(!format!("{target:?} {:?}", stores(Some(&target))).contains("sesame"));
    assert_eq!(target, parse("redis://user:sesame@redis.shop:6379/2").unwrap());
    assert_ne!(target, parse("redis://user:other@redis.shop:6379/2").unwrap());
    assert!(parse("rediss://:sesame@redis").is_ok());
    for url in ["", "http://sesame@redis", "redis://:sesame@", "rediss://:sesame@", "redis://:sesame@h/x"] {
        let error = parse(url).unwrap_err().to_string();
        assert!(error.contains("redis://") && !error.contains("sesame"), "{error}");
    }
}
