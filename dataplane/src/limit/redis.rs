//! Counts in Redis: one atomic script a decision, within a hard time limit.
//!
//! `take.lua` checks all limits of a decision and takes from all or none; it sets state and expiry together and reads
//! Redis's own clock, so dataplanes need not agree on the time. It needs Redis 6.2 (`PXAT`) or Valkey.
//!
//! What a decision may cost: the time limit includes connecting, loading the script and asking again. A call that timed
//! out may still be counted by Redis, which admits less, never more. After a fail-over to a replica that lagged, lost
//! writes are admitted again: Redis replicates asynchronously.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gatehouse_proto::config::v1;
use redis::{Client, ErrorKind, RedisError, Script, ServerErrorKind, aio::MultiplexedConnection};

use super::Invalid;
use super::key::{Encoded, Field};
use super::link::Link;
use super::rule::{Raw, Rule, Taken};
use super::store::{Charge, Store, StoreError};

const DEFAULT_TIMEOUT_MS: u32 = 20;
const MAX_TIMEOUT_MS: u32 = 50;
/// Numbers that the script answers for a limit.
const ANSWERS: usize = 4;

static SOURCE: &str = include_str!("take.lua");
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
}

impl Store for Remote {
    type Error = StoreError;

    async fn take(&self, charges: &[Charge<'_>]) -> Result<Vec<Taken>, StoreError> {
        let call = Call::of(charges);
        let answer = self.link.run(async |connection| call.send(connection).await).await?;
        read(charges, &answer).ok_or(StoreError::Refused)
    }
}

/// Asks for a decision that nobody needs, to learn whether the others would be made: a replica that takes no writes or
/// a Redis that is still loading answers a PING, but not this.
pub(super) async fn probe(connection: &mut MultiplexedConnection) -> Result<(), StoreError> {
    let charge = Charge {
        key: Encoded::default().with(Field::Policy, b"").key(),
        prefix: "gatehouse:{probe}:",
        rule: Rule::Bucket(super::bucket::Bucket::new(1, 1000, 1)),
    };
    Call::of(&[charge])
        .command("EVAL", SOURCE)
        .query_async::<Vec<i64>>(connection)
        .await
        .map_err(|e| kind(&e))?;
    Ok(())
}

/// One run of the script.
struct Call {
    keys: Vec<String>,
    arguments: Vec<(&'static str, [u64; 5])>,
}

impl Call {
    fn of(charges: &[Charge<'_>]) -> Call {
        Call {
            keys: charges.iter().map(|charge| format!("{}{}", charge.prefix, charge.key)).collect(),
            arguments: charges.iter().map(|charge| charge.rule.arguments()).collect(),
        }
    }

    /// By the script's hash; with its source when Redis does not have it.
    async fn send(&self, connection: &mut MultiplexedConnection) -> Result<Vec<i64>, StoreError> {
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
        command.arg(script).arg(self.keys.len()).arg(&self.keys);
        for (algorithm, numbers) in &self.arguments {
            command.arg(*algorithm).arg(numbers);
        }
        command
    }
}

fn read(charges: &[Charge<'_>], answer: &[i64]) -> Option<Vec<Taken>> {
    if answer.len() != charges.len() * ANSWERS {
        return None;
    }
    charges
        .iter()
        .zip(answer.chunks_exact(ANSWERS))
        .map(|(charge, answer)| {
            let [admitted, a, b, c] = *answer else { return None };
            let number = |value: i64| u64::try_from(value).ok();
            Some(
                charge
                    .rule
                    .read(Raw { admitted: admitted == 1, numbers: [number(a)?, number(b)?, number(c)?] }),
            )
        })
        .collect()
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
