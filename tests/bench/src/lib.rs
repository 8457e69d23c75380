//! What the benchmarks share: processes on a core of their own, and figures that carry their uncertainty.
//!
//! Each benchmark is a program in `src/bin`. Nothing here is part of a test run: `make bench` and its siblings build it
//! with the release profile.

pub mod scale;
