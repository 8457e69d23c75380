//! The configuration channel, both ends in one process over a pipe.
//!
//! `client` and `resume` drive the real client against the real server; `wire` is a hostile client, `fake` a hostile
//! server.

// A helper of a test that panics has failed it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod client;
mod fake;
mod resume;
mod rig;
mod wire;
