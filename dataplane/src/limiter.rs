//! Rate limits by themselves: the policies, leases and way to Redis that requests meet, without HTTP around them.
//!
//! For programs that check what limits promise, such as `tests/limits`; what serves traffic uses `limit`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Instant,
};

use gatehouse_proto::config::v1;
use http::HeaderMap;

use crate::{
    limit::{Counters, Facts, Phase, Policy, RedisTarget, Stores, Verdict},
    observe::metrics::Metrics,
};

/// The limits of one process: what a dataplane is to Redis.
#[derive(Debug)]
pub struct Limiter {
    policy: Arc<Policy>,
    counters: Arc<Counters>,
    redis: Option<RedisTarget>,
}

/// A thread's part, with a connection of its own; it stays on the thread.
#[derive(Debug)]
pub struct Worker {
    policy: Arc<Policy>,
    counters: Arc<Counters>,
    stores: Stores,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// `leased_at`: the time as of which leases were spent, to a microsecond; absent when they were not what admitted it.
    Admitted {
        leased_at: Option<Instant>,
    },
    Refused,
    /// The store can't be asked, or the policy can't be enforced.
    Unavailable,
}

/// Why there is no limiter; a sentence for who wrote the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(String);

impl Limiter {
    /// # Errors
    /// When the policy or the place of Redis is not valid.
    pub fn new(name: &str, policy: &v1::RateLimit, redis: Option<&v1::Redis>) -> Result<Limiter, Invalid> {
        let invalid = |error: crate::limit::Invalid| Invalid(error.to_string());
        Ok(Limiter {
            policy: Arc::new(Policy::compile(name, policy, &Metrics::default()).map_err(invalid)?),
            counters: Arc::default(),
            redis: redis.map(RedisTarget::parse).transpose().map_err(invalid)?,
        })
    }

    pub fn worker(&self) -> Worker {
        let stores = Stores::new(Arc::clone(&self.counters), self.redis.as_ref());
        Worker { policy: Arc::clone(&self.policy), counters: Arc::clone(&self.counters), stores }
    }
}

impl Worker {
    /// Decides on a request of nobody in particular, by the limits that need no identity. `response` gets the fields
    /// that tell what is left. Call it within a tokio runtime.
    pub async fn decide(&self, request: &HeaderMap, response: &mut HeaderMap) -> Decision {
        let facts = Facts {
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            method: "GET",
            path: "/",
            host: "",
            query: None,
            headers: request,
            consumer: None,
            credential: None,
            tier: None,
            groups: &[],
            claims: None,
            route: "",
        };
        let outcome = self.policy.check(Phase::BeforeIdentity, &facts, &self.stores, Instant::now()).await;
        match outcome.verdict {
            Verdict::Admit(quota) => {
                if let Some(quota) = quota {
                    quota.write(response);
                }
                Decision::Admitted { leased_at: outcome.leased_at.map(|at| self.counters.instant(at)) }
            }
            Verdict::Refuse(quota) => {
                quota.write(response);
                Decision::Refused
            }
            Verdict::Unavailable | Verdict::Broken => Decision::Unavailable,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}
