//! What the replicas of the controller tell each other: which states their dataplanes have acknowledged.
//!
//! ```text
//! own acks -> service -> (another replica) -> follow -> what is said elsewhere
//! ```
//!
//! A dataplane speaks to one replica, and statuses are written by the one that leads, so it has to know what the others
//! heard. All of them follow all others, so that a new leader knows at once.

mod account;
mod client;
mod find;
mod service;

use std::{collections::BTreeMap, sync::Arc};

use crate::serve::Acks;

pub use account::own_account;
pub use client::{Peers, follow};
pub use find::Replica;
pub use service::ReplicaServer;

/// By Gateway (`namespace/name`).
pub type AcksByGateway = BTreeMap<String, Acks>;
/// As it goes through a `watch` channel.
pub type SharedAcks = Arc<AcksByGateway>;
