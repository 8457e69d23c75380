//! What the dataplanes of a Gateway say about the states that they were sent. Status is made from this.

use std::collections::BTreeMap;

use super::published::Generation;

/// The dataplanes of one Gateway that are connected now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acks {
    /// By the name of the dataplane.
    pub dataplanes: BTreeMap<String, DataplaneAck>,
    /// Resources of the latest state that no dataplane is sent, because they are too large, and why. What was published
    /// under these names before stays in force.
    pub oversized: BTreeMap<String, String>,
}

/// What one dataplane last acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataplaneAck {
    /// Its version, as it says.
    pub build: String,
    /// The state that it has whole, but for `rejected`. `None`: it has acknowledged nothing since it connected.
    pub generation: Option<Generation>,
    /// Resources of that state that it can't use, and why.
    pub rejected: BTreeMap<String, String>,
    /// A dataplane that reconnects may meet its own former stream, which must not speak for it any more.
    pub(super) stream: u64,
}

impl Acks {
    /// True when there is a dataplane, and every one has this state or a later one, rejections aside.
    pub fn acknowledged(&self, generation: Generation) -> bool {
        !self.dataplanes.is_empty()
            && self.dataplanes.values().all(|dataplane| dataplane.generation >= Some(generation))
    }

    /// Why any dataplane rejects the resource in the state that it acknowledged.
    pub fn rejection(&self, resource: &str) -> Option<&str> {
        self.oversized
            .get(resource)
            .or_else(|| self.dataplanes.values().find_map(|dataplane| dataplane.rejected.get(resource)))
            .map(String::as_str)
    }
}
