//! From what translation found out and dataplanes acknowledged to the statuses on the objects.
//!
//! ```text
//! published states + acks + ready pods -> Tracker -\
//! Resources + Statuses + addresses + errors -------+-> plan -> Vec<Write> -> write_statuses -> API server
//!                                                                                 \-> send_events
//! ```
//!
//! Everything up to the plan is pure; only what writes and sends does I/O, and only on the leader.

mod addresses;
mod affected;
mod events;
mod plan;
mod programmed;
mod ready;
mod writer;

pub use addresses::addresses;
pub use affected::Affected;
pub use events::{EventCounters, send_events};
pub use plan::{Flip, GatewayFacts, Input, News, Trouble, Write, plan, plan_of};
pub use programmed::{Programmed, Tracker};
pub use ready::ready;
pub use writer::{
    KubeStatusApi, Planned, StatusApi, WriteError, WriterCounters, WriterOptions, write_statuses,
};

/// Whose the fields are that the controller writes.
pub(crate) const FIELD_MANAGER: &str = "gatehouse.dev/controller";
