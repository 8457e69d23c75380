//! Rollouts of GatewayRoutes: how far the new version of each rule has come.
//!
//! ```text
//! reports of dataplanes -> samples -> analysis (pure) -\
//! rule + status + annotation + time --------------------+-> machine (pure) -> status of the object -> translate of every replica -> weights
//! ```
//!
//! The status is all the memory there is but for counts: whoever leads next goes on from it, and every replica takes the
//! weights from it, by the watch. A new leader counts from its own beginning. [`Rollouts`] is the thin shell around the
//! machine; only the leader runs it.

mod analysis;
mod command;
mod counts;
mod keeper;
mod machine;
mod plan;
mod samples;
mod statistics;
mod window;

pub use keeper::{Look, Rollouts};
pub(crate) use plan::{Plan, Versions};

/// Annotation of a GatewayRoute that commands its rollouts.
pub const ANNOTATION: &str = "gatehouse.dev/rollout";
