//! The whole state of one Gateway at one moment, as values: immutable, versioned, sharing what did not change with the
//! state before it.

use std::{collections::BTreeMap, sync::Arc};

use gatehouse_proto::config::v1::{Resource, resource::Kind};

use super::{state::StateVersion, version::Version};

/// The largest resource that the channel carries, encoded, in bytes.
const MAX_RESOURCE_BYTES: usize = 8 << 20;

/// Names one published state. Grows with every change, over all Gateways of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub(super) u64);

#[derive(Debug)]
pub(super) struct Versioned {
    pub(super) name: Arc<str>,
    pub(super) version: Version,
    /// Bytes that the content takes on the wire.
    pub(super) encoded_len: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) struct Published {
    pub(super) generation: Generation,
    pub(super) version: StateVersion,
    pub(super) resources: BTreeMap<Arc<str>, Arc<Versioned>>,
    /// Resources that are too large to be sent, and why, for the user. What was published under the name before stays.
    pub(super) oversized: BTreeMap<String, String>,
}

impl Versioned {
    pub(super) fn to_resource(&self) -> Resource {
        Resource {
            name: self.name.to_string(),
            version: self.version.to_wire(),
            kind: Some(self.kind.clone()),
        }
    }
}

impl Published {
    /// The state that follows `previous`, or, when nothing differs, the generation of `previous`.
    pub(super) fn after(
        previous: Option<&Self>,
        kinds: BTreeMap<String, Kind>,
        generation: Generation,
    ) -> Result<Self, Generation> {
        let mut resources: BTreeMap<Arc<str>, Arc<Versioned>> = BTreeMap::new();
        let mut oversized = BTreeMap::new();
        let mut kept = 0;
        for (name, kind) in kinds {
            let before = previous.and_then(|previous| previous.resources.get(name.as_str()));
            if let Some(before) = before
                && before.kind == kind
            {
                kept += 1;
                resources.insert(before.name.clone(), before.clone());
                continue;
            }
            let (version, encoded_len) = Version::of(&kind);
            if encoded_len > MAX_RESOURCE_BYTES {
                if let Some(before) = before {
                    kept += 1;
                    resources.insert(before.name.clone(), before.clone());
                }
                oversized.insert(
                    name,
                    format!(
                        "it takes {encoded_len} bytes, and a resource may have {MAX_RESOURCE_BYTES}: split the object"
                    ),
                );
                continue;
            }
            let name = Arc::<str>::from(name);
            resources.insert(name.clone(), Arc::new(Versioned { name, version, encoded_len, kind }));
        }
        match previous {
            Some(previous)
                if kept == previous.resources.len()
                    && kept == resources.len()
                    && oversized == previous.oversized =>
            {
                Err(previous.generation)
            }
            _ => {
                let version = StateVersion::of(resources.values().map(Arc::as_ref));
                Ok(Self { generation, version, resources, oversized })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use gatehouse_proto::config::v1::{Endpoint, Endpoints, Respond, Route, Service, resource::Kind, route};

    use super::{Generation, MAX_RESOURCE_BYTES, Published};

    fn kinds(service: i32, body: usize) -> BTreeMap<String, Kind> {
        let respond = Respond { body: "x".repeat(body), ..Respond::default() };
        let route = Route { action: Some(route::Action::Respond(respond)), ..Route::default() };
        BTreeMap::from([
            ("service/a".into(), Kind::Service(Service { protocol: service })),
            ("route/a".into(), Kind::Route(route)),
        ])
    }

    #[test]
    fn what_is_unchanged_is_shared() {
        let first = Published::after(None, kinds(1, 10), Generation(1)).unwrap();
        let second = Published::after(Some(&first), kinds(2, 10), Generation(2)).unwrap();
        let shared = |name| Arc::ptr_eq(&first.resources[name], &second.resources[name]);
        assert!(shared("route/a") && !shared("service/a"));
        assert_ne!(first.resources["service/a"].version, second.resources["service/a"].version);
    }

    #[test]
    fn nothing_new_makes_no_generation_but_the_first() {
        assert!(Published::after(None, BTreeMap::new(), Generation(1)).is_ok(), "an empty state is a state");
        let first = Published::after(None, kinds(1, 10), Generation(1)).unwrap();
        assert_eq!(Published::after(Some(&first), kinds(1, 10), Generation(2)).unwrap_err(), Generation(1));
        let mut fewer = kinds(1, 10);
        fewer.remove("route/a");
        assert_eq!(Published::after(Some(&first), fewer, Generation(3)).unwrap().resources.len(), 1);
    }

    #[test]
    fn the_version_is_of_the_kind_and_its_content() {
        let empty: [Kind; 2] = [Kind::Service(Service::default()), Kind::Endpoints(Endpoints::default())];
        let full =
            Kind::Endpoints(Endpoints { endpoints: vec![Endpoint::default()], ..Endpoints::default() });
        let versions: Vec<_> = empty
            .into_iter()
            .chain([full])
            .map(|kind| {
                let kinds = BTreeMap::from([("name".to_owned(), kind)]);
                Published::after(None, kinds, Generation(1)).unwrap().resources["name"].version
            })
            .collect();
        assert!(versions[0] != versions[1] && versions[1] != versions[2]);
    }

    #[test]
    fn what_is_too_large_keeps_its_former_content_and_says_so() {
        let first = Published::after(None, kinds(1, 10), Generation(1)).unwrap();
        let second = Published::after(Some(&first), kinds(1, MAX_RESOURCE_BYTES), Generation(2)).unwrap();
        assert!(Arc::ptr_eq(&first.resources["route/a"], &second.resources["route/a"]));
        assert!(second.oversized["route/a"].contains("split the object"));
        let same = Published::after(Some(&second), kinds(1, MAX_RESOURCE_BYTES), Generation(3));
        assert_eq!(same.unwrap_err(), Generation(2));
        let healed = Published::after(Some(&second), kinds(1, 11), Generation(4)).unwrap();
        assert!(healed.oversized.is_empty());
    }
}
