//! What the benchmarks share: processes on a core of their own, and figures that carry their uncertainty.
//!
//! Each benchmark is a program in `src/bin`. Nothing here is part of a test run: `make bench` and its siblings build it
//! with the release profile.

// A measurement that can't be taken should fail loudly.
#![allow(clippy::unwrap_used, clippy::panic, missing_debug_implementations)]

pub mod account;
pub mod backend;
pub mod compare;
pub mod machine;
pub mod scale;
pub mod stats;
