//! What each request goes through besides matching: its header fields, and a limit that counts in this process.

use std::{
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use gatehouse_proto::config::v1;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{Case, Work};
use crate::{
    auth::Told,
    cache::{
        Cache, Stored,
        policy::{Selection, Terms, Wants},
    },
    filter::{CommonChanges, HeaderChanges},
    http::{
        cached::{key, response},
        headers::{Hop, clean_request, set_forwarded},
    },
    limit,
    observe::metrics::Metrics,
};

pub(super) const CASES: &[Case] = &[
    Case { name: "headers/clean-and-forward", prepare: clean },
    Case { name: "headers/change-three", prepare: change },
    Case { name: "limit/local", prepare: local },
    Case { name: "cache/hit", prepare: kept },
];

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

/// Those of a browser, more or less.
fn headers() -> HeaderMap {
    [
        ("host", "shop.example.com"),
        ("connection", "keep-alive"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("accept-language", "en-US,en;q=0.5"),
        ("accept-encoding", "gzip, deflate, br"),
        ("cookie", "session=0123456789abcdef0123456789abcdef"),
        ("x-forwarded-for", "203.0.113.9"),
        ("content-length", "2"),
        ("content-type", "application/json"),
    ]
    .into_iter()
    .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
    .collect()
}

/// Among it is the copy of the fields that each turn begins with.
fn clean() -> Work {
    let (headers, authority) = (headers(), HeaderValue::from_static("shop.example.com"));
    let hop = Hop::new(CLIENT, "https", 443);
    Box::new(move || {
        let mut headers = black_box(&headers).clone();
        clean_request(&mut headers, false);
        set_forwarded(&mut headers, &hop, &authority);
        black_box(&headers);
    })
}

fn change() -> Work {
    let header = |name: &str| v1::Header { name: name.into(), value: "a value of some length".into() };
    let changes = v1::HeaderChanges {
        set: vec![header("x-tenant")],
        add: vec![header("x-hop")],
        remove: vec!["accept-language".into()],
    };
    let changes = HeaderChanges::compile(Some(&changes), &mut CommonChanges::default());
    let changes = changes.expect("the names are fit to be changed");
    let headers = headers();
    Box::new(move || {
        let mut headers = black_box(&headers).clone();
        changes.apply(&mut headers);
        black_box(&headers);
    })
}

/// A token bucket by client address that never runs dry.
fn local() -> Work {
    let key = v1::limit_key::Kind::ClientIp(v1::ClientAddress { ipv4_prefix: 32, ipv6_prefix: 64 });
    let config = v1::RateLimit {
        limits: vec![v1::Limit {
            name: "steady".into(),
            key: vec![v1::LimitKey { kind: Some(key) }],
            requests: 1_000_000_000,
            per_ms: 1_000,
            algorithm: v1::Algorithm::TokenBucket.into(),
            ..v1::Limit::default()
        }],
        scope: v1::LimitScope::Policy.into(),
        store: v1::LimitStore::Local.into(),
        on_store_failure: v1::StoreFailure::FallbackLocal.into(),
        replicas: 1,
        ..v1::RateLimit::default()
    };
    let policy = limit::Policy::compile("ratelimit/shop/steady", &config, &Metrics::default())
        .expect("the policy is valid");
    let stores = limit::Stores::new(Arc::default(), None);
    let headers = headers();
    let now = Instant::now();
    Box::new(move || {
        let facts = limit::Facts {
            client: CLIENT,
            method: "GET",
            path: "/orders/1",
            host: "shop.example.com",
            query: None,
            headers: &headers,
            consumer: None,
            credential: None,
            tier: None,
            groups: &[],
            claims: None,
            route: "HTTPRoute/shop/orders",
        };
        let checked = policy.check(limit::Phase::BeforeIdentity, &facts, &stores, now).now_or_never();
        let outcome = checked.expect("what counts in this process never waits");
        assert!(matches!(outcome.verdict, limit::Verdict::Admit(Some(_))));
    })
}

/// An answer that is kept, from a request's fields to the head that goes out.
fn kept() -> Work {
    let (cache, headers) = (Cache::new(1 << 20), headers());
    let (authority, now) = (HeaderValue::from_static("shop.example.com"), tokio::time::Instant::now());
    let key = move |headers: &HeaderMap| key(b"rule", &authority, "/orders/1", &Told::Nobody, headers);
    let answer = [
        ("cache-control", "public, max-age=60"),
        ("content-type", "application/json"),
        ("etag", "\"0123456789abcdef\""),
        ("date", "Mon, 30 Nov 2026 08:00:00 GMT"),
        ("vary", "accept-encoding"),
    ];
    let answer = answer.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
    let answer = HeaderMap::from_iter(answer);
    let terms = Terms { age: Duration::ZERO, fresh_for: Duration::from_secs(60), ..Terms::default() };
    let stored = Stored {
        status: StatusCode::OK,
        selection: Selection::of(&answer, &headers).expect("it varies by one field"),
        headers: answer,
        body: Bytes::from_static(b"{}"),
        terms,
        arrived: now,
        epoch: cache.epoch("shop.example.com", "/orders/1", None),
        service: 0,
        refreshing: false.into(),
    };
    assert!(cache.keep(&key(&headers), Arc::new(stored)), "there is room");
    Box::new(move || {
        let headers = black_box(&headers);
        let epoch = cache.epoch("shop.example.com", "/orders/1", None);
        let wants = Wants::of(headers);
        let entry = cache.get(&key(headers)).expect("it is kept");
        let found = entry.select(headers, epoch).expect("it is for this request");
        assert!(wants.take(found.age(now), found.fresh_for(now)) && found.is_fresh(now));
        black_box(response(found, now, headers, false));
    })
}
