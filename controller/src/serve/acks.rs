//! What the dataplanes of a Gateway say about the states that they were sent. Status is made from this.
//!
//! A dataplane is connected to one replica of the controller. What all replicas know together is [`Acks::merge`] of what
//! each says; it can be serialized for that.

use std::collections::{BTreeMap, btree_map::Entry};

use serde::{Deserialize, Serialize};

use super::{published::Generation, report::Report, state::StateVersion};

/// The dataplanes of one Gateway that are connected now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acks {
    /// By the name of the dataplane.
    pub dataplanes: BTreeMap<String, DataplaneAck>,
    /// Resources of the latest state that no dataplane is sent, because they are too large, and why. What was published
    /// under these names before stays in force.
    pub oversized: BTreeMap<String, String>,
}

/// What one dataplane last acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataplaneAck {
    /// Its version, as it says.
    pub build: String,
    /// When it connected, Unix milliseconds by the replica's clock.
    pub connected_ms: i64,
    /// The state that it has whole, but for `rejected`. `None`: it has acknowledged nothing since it connected.
    pub state: Option<StateVersion>,
    /// The same as this process counts: `None` also for a dataplane of another replica.
    #[serde(skip)]
    pub generation: Option<Generation>,
    /// Resources of that state that it can't use, and why.
    pub rejected: BTreeMap<String, String>,
    /// What it has counted for rollouts. Only told to other replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// A dataplane that reconnects may meet its own former stream, which must not speak for it any more.
    #[serde(skip)]
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

    /// Adds what another replica knows. A dataplane that both have moved from one to the other: where it connected last
    /// counts.
    pub fn merge(&mut self, other: Acks) {
        for (name, theirs) in other.dataplanes {
            match self.dataplanes.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(theirs);
                }
                Entry::Occupied(mut ours) if ours.get().connected_ms < theirs.connected_ms => {
                    ours.insert(theirs);
                }
                Entry::Occupied(_) => {}
            }
        }
        for (name, reason) in other.oversized {
            self.oversized.entry(name).or_insert(reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{Acks, DataplaneAck};
    use crate::serve::{ConfigServer, Options, StateVersion};

    fn acks(name: &str, connected_ms: i64, state: Option<StateVersion>) -> Acks {
        let ack = DataplaneAck {
            build: "1".into(),
            connected_ms,
            state,
            generation: None,
            rejected: BTreeMap::from([("route/a".into(), "is bad".into())]),
            report: None,
            stream: 0,
        };
        Acks { dataplanes: BTreeMap::from([(name.into(), ack)]), oversized: BTreeMap::new() }
    }

    #[test]
    fn the_latest_connection_speaks_for_a_dataplane() {
        let server = ConfigServer::new(Options::default());
        server.publish("ns/edge", crate::translate::Config::new());
        let version = server.published("ns/edge").unwrap().version();
        let (old, new) = (acks("a", 1, None), acks("a", 2, Some(version)));
        for (mut one, other) in [(old.clone(), new.clone()), (new.clone(), old)] {
            one.merge(other);
            assert_eq!(one, new);
            one.merge(acks("b", 1, None));
            assert_eq!(one.dataplanes.len(), 2);
        }
    }

    #[test]
    fn what_another_replica_says_survives_serialization() {
        let server = ConfigServer::new(Options::default());
        server.publish("ns/edge", crate::translate::Config::new());
        let sent = acks("a", 5, Some(server.published("ns/edge").unwrap().version()));
        let text = serde_json::to_string(&sent).unwrap();
        assert_eq!(serde_json::from_str::<Acks>(&text).unwrap(), sent);
    }
}
