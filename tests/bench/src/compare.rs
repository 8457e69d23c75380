//! One worker of each gateway on one core, in turns, under the same load.
//!
//! ```text
//! cell -> every gateway started -> rate = half of the slowest's most -> rounds of shuffled slices -> paired ratios
//! ```
//!
//! Core 0 runs the gateway under measurement and nothing else; core 1 runs the load and the backend. Method and void
//! rules: docs/performance.md.

pub mod cell;
pub mod controller;
pub mod load;
pub mod peers;
pub mod report;
pub mod run;
pub mod slice;
