//! `make bench-scale`: what tables of a thousand to a hundred thousand routes cost.
//!
//! ```text
//! pretended API server -> gatehouse-controller -> gatehouse-dataplane (two) -> backend
//!  edit of one route ------------------------------> first 200 on each
//! ```
//!
//! The binaries are the real ones. What is pretended is the API server, so that its own time is not measured, and its
//! objects are those of howardjohn/gateway-api-bench.

mod cell;
mod objects;
mod report;
mod wire;

pub use cell::{Plan, run};
pub use objects::Services;
pub use report::{Figure, Report};
