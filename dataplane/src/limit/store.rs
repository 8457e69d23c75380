//! Why Redis did not decide.

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
