//! What a process is told: its limit, what comes to it, and when. Shared by the parent and its processes.

use std::path::PathBuf;

use gatehouse_proto::config::v1;
use serde::{Deserialize, Serialize};

/// The request header whose value is a request's key.
pub(crate) const KEY: &str = "x-key";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) redis: String,
    pub(crate) limit: Limit,
    pub(crate) load: Load,
    /// Threads, each with its own connection to Redis.
    pub(crate) workers: u32,
    /// On the shared clock, in microseconds.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) seed: u64,
    pub(crate) log: PathBuf,
    /// Compare each decision's time with one of a policy without limits.
    pub(crate) measure: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Algorithm {
    TokenBucket,
    SlidingWindow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Limit {
    pub(crate) algorithm: Algorithm,
    pub(crate) requests: u64,
    /// Milliseconds.
    pub(crate) per: u64,
    /// Of a token bucket.
    pub(crate) burst: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) keys: Keys,
    /// Requests a second, to one process.
    pub(crate) rate: f64,
    /// All that comes in a fifth of a second comes in its first fifth.
    pub(crate) bursts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Keys {
    /// One.
    Hot,
    /// So many, equally often.
    Uniform(u32),
    /// So many, the nth with a weight of 1/n.
    Zipf(u32),
}

impl Limit {
    /// `None`: a policy without limits.
    pub(crate) fn policy(limit: Option<&Limit>) -> v1::RateLimit {
        let limits = limit.map(|limit| v1::Limit {
            name: "proof".into(),
            key: vec![v1::LimitKey { kind: Some(v1::limit_key::Kind::Header(KEY.into())) }],
            requests: limit.requests,
            per_ms: limit.per,
            burst: match limit.algorithm {
                Algorithm::TokenBucket => limit.burst,
                Algorithm::SlidingWindow => 0,
            },
            algorithm: match limit.algorithm {
                Algorithm::TokenBucket => v1::Algorithm::TokenBucket,
                Algorithm::SlidingWindow => v1::Algorithm::SlidingWindow,
            }
            .into(),
            ..v1::Limit::default()
        });
        v1::RateLimit {
            limits: limits.into_iter().collect(),
            store: v1::LimitStore::Redis.into(),
            // Nothing passes that Redis did not grant.
            on_store_failure: v1::StoreFailure::Deny.into(),
            replicas: 1,
            ..v1::RateLimit::default()
        }
    }
}

impl Keys {
    pub(crate) fn count(self) -> u32 {
        match self {
            Keys::Hot => 1,
            Keys::Uniform(count) | Keys::Zipf(count) => count,
        }
    }
}
