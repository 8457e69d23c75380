//! From what translation found out and dataplanes acknowledged to the statuses on the objects.
//!
//! ```text
//! published states + acks + ready pods -> Tracker -\
//! Resources + Statuses + addresses + errors -------+-> plan -> Vec<Write> -> writer -> API server, events
//! ```
//!
//! `plan` and everything before it is pure; only the writer and the events do I/O, and only on the leader.

mod addresses;
mod plan;
mod programmed;
mod ready;

pub use addresses::addresses;
pub use plan::{Flip, GatewayFacts, Input, Trouble, Write, plan};
pub use programmed::{Programmed, Tracker};
pub use ready::ready;
