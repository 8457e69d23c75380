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
    /// What is asked for is elsewhere in the cluster, or Redis is one, and was not said to be.
    #[error("this node of a Redis Cluster does not have the slot")]
    Moved,
    /// It answered with an error, such as LOADING, READONLY, OOM, TRYAGAIN or CLUSTERDOWN.
    #[error("Redis answered with an error")]
    Refused,
    /// The user or password is wrong, or the user may not do what limits need.
    #[error("Redis refused the user or password, or does not let the user run scripts")]
    Login,
    #[error("the TLS handshake with Redis failed")]
    Untrusted,
}

impl StoreError {
    /// A new connection may do better at once.
    pub(super) fn needs_another(self) -> bool {
        matches!(self, StoreError::Lost | StoreError::Moved)
    }
}
