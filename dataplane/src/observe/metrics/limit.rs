//! Counts of one limit of one policy.

use super::Counter;

#[derive(Debug, Default)]
pub(crate) struct LimitMetrics {
    /// `NAMESPACE/NAME`.
    policy: Box<str>,
    limit: Box<str>,
    /// Requests for which there was room.
    pub(crate) allowed: Counter,
    /// Those for which there was none.
    pub(crate) limited: Counter,
    /// The same, of a limit that does not refuse.
    pub(crate) shadow_limited: Counter,
    /// Decisions that were made without the store, besides.
    pub(crate) fell_back: Counter,
}

impl LimitMetrics {
    pub(super) fn new(policy: &str, limit: &str) -> Self {
        LimitMetrics { policy: policy.into(), limit: limit.into(), ..LimitMetrics::default() }
    }

    pub(super) fn policy(&self) -> &str {
        &self.policy
    }

    pub(super) fn limit(&self) -> &str {
        &self.limit
    }

    pub(super) fn outcomes(&self) -> [(&'static str, &Counter); 4] {
        [
            ("allowed", &self.allowed),
            ("limited", &self.limited),
            ("shadow_limited", &self.shadow_limited),
            ("fell_back", &self.fell_back),
        ]
    }
}
