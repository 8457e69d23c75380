//! Counts in Redis: one atomic script an ask, within a hard time limit.
//!
//! `lease.lua` grants on all counts of an ask or on none; it sets state and expiry together and reads Redis's own clock,
//! so dataplanes need not agree on the time. It needs Redis 6.2 (`PXAT`) or Valkey.
//!
//! What an ask may cost: the time limit includes connecting, loading the script and asking again. What Redis granted to a
//! call that timed out is never spent. After a fail-over to a replica that lagged, lost writes are admitted again: Redis
//! replicates asynchronously.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gatehouse_proto::config::v1;
use redis::{Client, ErrorKind, RedisError, Script, ServerErrorKind, aio::MultiplexedConnection};

use super::Invalid;
use super::escrow::Want;
use super::lease::{Answer, LEASE_US};
use super::link::Link;
use super::local::Counters;
use super::rule::Raw;
use super::store::StoreError;

const DEFAULT_TIMEOUT_MS: u32 = 20;
const MAX_TIMEOUT_MS: u32 = 50;
/// Numbers that the script answers for a count.
const ANSWERS: usize = 7;
/// Tells whether Redis still has what it counted.
const EPOCH: &str = "gatehouse:epoch";

static SOURCE: &str = include_str!("lease.lua");
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// Where Redis is, checked once. Its debug output holds no password.
#[derive(Clone)]
pub(crate) struct RedisTarget {
    url: String,
    client: Client,
    timeout: Duration,
}

/// A worker's way to Redis.
#[derive(Debug)]
pub(super) struct Remote {
    link: Arc<Link>,
}

impl RedisTarget {
    /// # Errors
    /// When the URL is not one, or asks for TLS.
    pub(crate) fn parse(config: &v1::Redis) -> Result<RedisTarget, Invalid> {
        // Never the URL itself in a message: it may hold a password.
        if ["rediss://", "valkeys://"].iter().any(|scheme| config.url.starts_with(scheme)) {
            return Err(Invalid(
                "the Redis URL asks for TLS, which this dataplane can't speak to Redis: use redis://"
                    .to_owned(),
            ));
        }
        let client = Client::open(config.url.as_str()).map_err(|error| {
            Invalid(format!(
                "the Redis URL is not valid ({}): use redis://[user:password@]host:port[/db]",
                error.category()
            ))
        })?;
        let timeout = if config.timeout_ms == 0 { DEFAULT_TIMEOUT_MS } else { config.timeout_ms };
        let timeout = Duration::from_millis(u64::from(timeout.min(MAX_TIMEOUT_MS)));
        Ok(RedisTarget { url: config.url.clone(), client, timeout })
    }
}

impl PartialEq for RedisTarget {
    fn eq(&self, other: &RedisTarget) -> bool {
        self.url == other.url && self.timeout == other.timeout
    }
}

impl Eq for RedisTarget {}

impl std::fmt::Debug for RedisTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisTarget").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Remote {
    pub(super) fn new(target: &RedisTarget) -> Remote {
        Remote { link: Link::new(target.client.clone(), target.timeout) }
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }
}

/// Asks for all of them at once: the answers stand in their order.
pub(super) async fn ask(
    wants: &[Want],
    counters: &Counters,
    link: &Arc<Link>,
) -> Result<Vec<Answer>, StoreError> {
    let call = Call { wants, holder: counters.holder(), known: counters.epoch(), limit: link.limit() };
    let answer = link.run(&call).await?;
    let (epoch, answers) = read(wants, &answer).ok_or(StoreError::Refused)?;
    counters.learn(epoch);
    Ok(answers)
}

/// Runs a script that writes, as asks do: a replica that takes no writes or a Redis that is still loading answers a PING,
/// but not this.
pub(super) async fn probe(connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
    let mut command = redis::cmd("EVAL");
    command.arg("return redis.call('SET', KEYS[1], '', 'PX', 1)").arg(1).arg("gatehouse:probe");
    command.exec_async(connection).await.map_err(|error| kind(&error))
}

/// One run of the script.
pub(super) struct Call<'a> {
    wants: &'a [Want],
    holder: u64,
    known: u64,
    limit: Duration,
}

impl Call<'_> {
    /// By the script's hash; with its source when Redis does not have it.
    pub(super) async fn send(&self, connection: &mut MultiplexedConnection) -> Result<Vec<i64>, StoreError> {
        let answer = self.command("EVALSHA", SCRIPT.get_hash()).query_async(connection).await;
        match answer {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.command("EVAL", SOURCE).query_async(connection).await
            }
            answer => answer,
        }
        .map_err(|error| kind(&error))
    }

    fn command(&self, name: &str, script: &str) -> redis::Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.wants.len() + 1).arg(EPOCH);
        for want in self.wants {
            command.arg(&want.name);
        }
        let seq = self.wants.iter().map(|want| want.ask.seq).max().unwrap_or_default();
        let limit = u64::try_from(self.limit.as_micros()).unwrap_or(u64::MAX);
        command.arg(format!("{:x}", self.holder)).arg(self.known).arg(seq).arg(limit).arg(LEASE_US);
        for Want { rule, ask, strict, .. } in self.wants {
            let ((algorithm, numbers), ahead) = (rule.arguments(), rule.ahead());
            command.arg(algorithm).arg(&numbers);
            command.arg(ask.left).arg(ask.spent).arg(ask.age).arg(ask.more).arg(ask.ahead);
            command.arg(ahead.most).arg(ahead.least).arg(u8::from(*strict));
        }
        command
    }
}

fn read(wants: &[Want], answer: &[i64]) -> Option<(u64, Vec<Answer>)> {
    let number = |value: i64| u64::try_from(value).ok();
    let (epoch, answer) = answer.split_first()?;
    if answer.len() != wants.len() * ANSWERS {
        return None;
    }
    let answers = wants.iter().zip(answer.chunks_exact(ANSWERS)).map(|(want, answer)| {
        let [admitted, granted, kept, lasts, a, b, c] = *answer else { return None };
        let raw = Raw { admitted: admitted == 1, numbers: [number(a)?, number(b)?, number(c)?] };
        Some(Answer {
            granted: number(granted)?,
            kept: kept == 1,
            lasts: number(lasts)?,
            count: want.rule.read(raw),
        })
    });
    Some((number(*epoch)?, answers.collect::<Option<_>>()?))
}

fn kind(error: &RedisError) -> StoreError {
    if error.is_timeout() {
        StoreError::TimedOut
    } else if error.is_io_error() || error.is_connection_dropped() {
        StoreError::Lost
    } else {
        StoreError::Refused
    }
}
