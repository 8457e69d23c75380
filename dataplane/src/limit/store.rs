//! What a place that keeps counts must do. Two do it: this process (`local`) and Redis (`redis`).

use super::key::Key;
use super::rule::{Rule, Taken};

/// One limit's part in a decision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge<'a> {
    pub(super) key: Key,
    /// Stands before the key in Redis; for people who look there.
    pub(super) prefix: &'a str,
    pub(super) rule: Rule,
}

/// Keeps counts.
pub(super) trait Store {
    /// Why it could not decide.
    type Error;

    /// Takes one request from every charge, or from none when one of them refuses. The answers stand in the order of
    /// the charges; when one refuses, the others say what is left untaken.
    async fn take(&self, charges: &[Charge<'_>]) -> Result<Vec<Taken>, Self::Error>;
}

/// Why Redis did not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StoreError {
    /// Not asked: earlier calls failed, and a probe has not succeeded since.
    #[error("Redis is considered down until a probe succeeds")]
    Down,
    #[error("Redis did not answer in time")]
    TimedOut,
    #[error("the connection to Redis broke")]
    Lost,
    /// It answered with an error, such as LOADING, READONLY or OOM.
    #[error("Redis answered with an error")]
    Refused,
}
