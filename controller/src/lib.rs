//! Turns the objects that users write into the state that dataplanes serve by.
//!
//! ```text
//! Resources -> translate -> config + statuses -> serve -> dataplanes
//! ```

pub mod fetch;
pub mod provision;
pub mod resources;
pub mod serve;
pub mod status;
pub mod translate;
