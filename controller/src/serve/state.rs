//! A published state as others than the channel see it, and the version that all replicas call it by.
//!
//! Generations are counted by each process. A dataplane is connected to one replica and the leader writes the statuses,
//! so acknowledgements name states by their content.

use std::{fmt, sync::Arc};

use gatehouse_proto::config::v1::resource::Kind;
use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::{
    published::{Generation, Published},
    table::Table,
};

/// SHA-256 over the names and versions of a state's resources, cut to 16 bytes: equal on every replica that
/// publishes equal resources. Serialized as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct StateVersion(u128);

/// The whole state of one Gateway at one moment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State(Arc<Published>);

/// What is no [`StateVersion`].
#[derive(Debug, thiserror::Error)]
#[error("a state's version has 32 hexadecimal digits")]
pub struct InvalidVersion;

impl StateVersion {
    pub(super) fn of(resources: &Table) -> Self {
        StateVersion(
            resources.digest().iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte)),
        )
    }
}

impl fmt::Display for StateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StateVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<StateVersion> for String {
    fn from(version: StateVersion) -> Self {
        version.to_string()
    }
}

impl TryFrom<String> for StateVersion {
    type Error = InvalidVersion;

    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        let is_whole = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(&text, 16).ok().filter(|_| is_whole).map(StateVersion).ok_or(InvalidVersion)
    }
}

impl State {
    pub(super) fn new(published: Arc<Published>) -> Self {
        State(published)
    }

    pub fn generation(&self) -> Generation {
        self.0.generation
    }

    pub fn version(&self) -> StateVersion {
        self.0.version
    }

    pub fn contains(&self, resource: &str) -> bool {
        self.0.resources.get(resource).is_some()
    }

    /// The names of all resources, in no order that says anything.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.resources.iter().map(|resource| &*resource.name)
    }

    /// Resources in which one of the texts stands, decoded: few are.
    pub(crate) fn holding(&self, texts: &[&str]) -> impl Iterator<Item = (&str, Kind)> {
        let holds =
            |encoded: &[u8]| texts.iter().any(|text| memmem::find(encoded, text.as_bytes()).is_some());
        let resources = self.0.resources.iter().filter(move |resource| holds(resource.content.encoded()));
        resources.map(|resource| (&*resource.name, resource.content.kind()))
    }

    /// Names of the resources that are not the same in a state that came before, those that only one of them has included.
    /// Costs what differs when one was made from the other.
    pub fn differences<'a>(&'a self, before: &'a State) -> impl Iterator<Item = &'a str> {
        let differences = self.0.resources.differences(&before.0.resources);
        differences.filter_map(|one| one.after.or(one.before)).map(|resource| &*resource.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gatehouse_proto::config::v1::{Service, resource::Kind};

    use super::StateVersion;
    use crate::serve::{ConfigServer, Options, State};

    fn published(server: &ConfigServer, services: &[(&str, i32)]) -> State {
        let kinds: BTreeMap<String, Kind> = services
            .iter()
            .map(|(name, protocol)| {
                ((*name).to_owned(), Kind::Service(Service { protocol: *protocol, ..Service::default() }))
            })
            .collect();
        server.publish("ns/edge", kinds);
        server.published("ns/edge").unwrap()
    }

    #[test]
    fn equal_content_has_one_version_on_every_replica() {
        let (one, other) = (ConfigServer::new(Options::default()), ConfigServer::new(Options::default()));
        let first = published(&one, &[("service/a", 1)]);
        let second = published(&one, &[("service/a", 1), ("service/b", 2)]);
        let there = published(&other, &[("service/a", 1), ("service/b", 2)]);
        assert_eq!(second.version(), there.version());
        assert_ne!(first.version(), second.version());
        assert_eq!(published(&one, &[("service/a", 1)]).version(), first.version(), "back again");
        assert_ne!(published(&one, &[("service/b", 1)]).version(), first.version(), "names count");
        assert_ne!(published(&one, &[]).version(), first.version());
    }

    #[test]
    fn versions_survive_the_wire() {
        let server = ConfigServer::new(Options::default());
        let version = published(&server, &[("service/a", 1)]).version();
        let text = serde_json::to_string(&version).unwrap();
        assert_eq!(text.len(), 34, "{text}");
        assert_eq!(serde_json::from_str::<StateVersion>(&text).unwrap(), version);
        for wrong in ["\"\"", "\"+0000000000000000000000000000000\"", "\"xy\""] {
            assert!(serde_json::from_str::<StateVersion>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn differences_are_what_came_went_and_changed() {
        let server = ConfigServer::new(Options::default());
        let before = published(&server, &[("a", 1), ("b", 1), ("c", 1)]);
        let after = published(&server, &[("a", 1), ("b", 2), ("d", 1)]);
        let mut names: Vec<&str> = after.differences(&before).collect();
        names.sort_unstable();
        assert_eq!(names, ["b", "c", "d"]);
        assert_eq!(before.differences(&before.clone()).count(), 0);
    }
}
