//! Turns the objects that users write into the state that dataplanes serve by.
//!
//! ```text
//! Resources -> translate -> config + statuses -> serve -> dataplanes
//! ```

pub mod admin;
pub mod channel;
pub mod election;
pub mod fetch;
pub mod latest;
pub mod metrics;
pub mod parallel;
pub mod provision;
pub mod reconcile;
pub mod replicas;
pub mod resources;
pub mod rollout;
pub mod serve;
pub mod status;
pub mod translate;
pub mod watch;
