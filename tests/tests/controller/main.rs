//! The real `gatehouse-controller` beside a real API server.

#![allow(clippy::unwrap_used)] // helpers of tests, too

mod leaving;
mod rig;
mod rollout;
mod startup;
