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

use redis::{ErrorKind, RedisError, Script, ServerErrorKind, aio::MultiplexedConnection};

use super::cluster::Shelf;
use super::escrow::Want;
use super::lease::{Answer, LEASE_US};
use super::link::Link;
use super::local::Counters;
use super::plan::Pick;
use super::rule::Raw;
use super::server::RedisTarget;
use super::store::StoreError;

/// Numbers that the script answers for a count.
const ANSWERS: usize = 8;
/// Tells whether Redis still has what it counted.
const EPOCH: &str = "epoch";

static SOURCE: &str = include_str!("lease.lua");
static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// A worker's way to Redis.
#[derive(Debug)]
pub(super) struct Remote {
    /// One a shelf.
    links: Vec<Arc<Link>>,
}

impl Remote {
    pub(super) fn new(target: &RedisTarget) -> Remote {
        let shelves = target.server.shelves().iter();
        let link = |shelf| Link::new(Arc::clone(&target.server), shelf, target.timeout);
        Remote { links: shelves.map(link).collect() }
    }

    /// To the shelf on which a request's count lies.
    pub(super) fn link(&self, pick: &Pick<'_>) -> &Arc<Link> {
        match self.links.as_slice() {
            [link] => link,
            _ => self.at(pick.spread()),
        }
    }

    /// `spread`: of a pick.
    pub(super) fn at(&self, spread: usize) -> &Arc<Link> {
        &self.links[spread % self.links.len()]
    }

    /// They lie together.
    pub(super) fn together(&self, one: &Pick<'_>, other: &Pick<'_>) -> bool {
        Arc::ptr_eq(self.link(one), self.link(other))
    }

    /// The longest that a decision may wait.
    pub(super) fn limit(&self) -> Duration {
        self.links.first().map_or(Duration::ZERO, |link| link.limit())
    }
}

/// Asks for all of them at once: the answers stand in their order.
pub(super) async fn ask(
    wants: &[Want],
    counters: &Counters,
    link: &Arc<Link>,
) -> Result<Vec<Answer>, StoreError> {
    let shelf = link.shelf();
    let known = counters.epoch(shelf);
    let call = Call { shelf, wants, holder: counters.holder(), known, limit: link.limit() };
    let answer = link.run(&call).await?;
    let (epoch, answers) = read(wants, &answer).ok_or(StoreError::Refused)?;
    counters.learn(shelf, epoch);
    Ok(answers)
}

/// Runs a script that writes, as asks do: a replica that takes no writes or a Redis that is still loading answers a PING,
/// but not this.
pub(super) async fn probe(connection: &mut MultiplexedConnection, shelf: &Shelf) -> Result<(), StoreError> {
    let mut command = redis::cmd("EVAL");
    command.arg("return redis.call('SET', KEYS[1], '', 'PX', 1)").arg(1).arg(shelf.key("probe"));
    command.exec_async(connection).await.map_err(|error| kind(&error))
}

/// One run of the script.
pub(super) struct Call<'a> {
    shelf: &'a Shelf,
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
        command.arg(script).arg(self.wants.len() + 1).arg(self.shelf.key(EPOCH));
        for want in self.wants {
            command.arg(&want.name);
        }
        let seq = self.wants.iter().map(|want| want.ask.seq).max().unwrap_or_default();
        let call = u64::try_from(self.limit.as_micros()).unwrap_or(u64::MAX);
        command.arg(format!("{:x}", self.holder)).arg(self.known).arg(seq).arg(LEASE_US);
        for Want { rule, ask, strict, .. } in self.wants {
            let ((algorithm, numbers), ahead) = (rule.arguments(), rule.ahead());
            command.arg(algorithm).arg(&numbers);
            let ages =
                ask.ages.iter().fold(String::new(), |text, (age, count)| format!("{text}{age}:{count} "));
            command.arg(ask.left).arg(ask.spent).arg(ages).arg(ask.wanted).arg(ask.ahead);
            command.arg(ahead.most).arg(ahead.least).arg(rule.waits(call, LEASE_US)).arg(u8::from(*strict));
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
        let [admitted, granted, kept, lasts, others, a, b, c] = *answer else { return None };
        let raw = Raw { admitted: admitted == 1, numbers: [number(a)?, number(b)?, number(c)?] };
        Some(Answer {
            granted: number(granted)?,
            kept: kept == 1,
            lasts: number(lasts)?,
            others: number(others)?,
            count: want.rule.read(raw),
        })
    });
    Some((number(*epoch)?, answers.collect::<Option<_>>()?))
}

pub(super) fn kind(error: &RedisError) -> StoreError {
    let refused = error.code().is_some_and(|code| ["NOAUTH", "WRONGPASS", "NOPERM"].contains(&code));
    if refused || error.kind() == ErrorKind::AuthenticationFailed {
        StoreError::Login
    } else if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) {
        StoreError::Moved
    } else if error.is_timeout() {
        StoreError::TimedOut
    } else if error.is_io_error() || error.is_connection_dropped() {
        StoreError::Lost
    } else {
        StoreError::Refused
    }
}
