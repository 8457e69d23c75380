//! The whole state of one Gateway at one moment, as values: immutable, versioned, sharing what did not change with the
//! state before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use gatehouse_proto::config::v1::Resource;
use prost::Message;

use super::{content::Content, state::StateVersion, table::Table, version::Version};
use crate::parallel::in_parallel;

/// The largest resource that the channel carries, encoded, in bytes.
const MAX_RESOURCE_BYTES: usize = 8 << 20;

/// Names one published state. Grows with every change, over all Gateways of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub(super) u64);

/// A resource under its name, or its removal.
pub type Change = (Arc<str>, Option<Content>);

#[derive(Debug)]
pub(super) struct Versioned {
    pub(super) name: Arc<str>,
    pub(super) version: Version,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) struct Published {
    pub(super) generation: Generation,
    pub(super) version: StateVersion,
    pub(super) resources: Table,
    /// Resources that are too large to be sent, and why, for the user. What was published under the name before stays.
    pub(super) oversized: BTreeMap<String, String>,
}

impl Versioned {
    /// The `Resource` as it crosses the channel.
    pub(super) fn encoded(&self) -> Bytes {
        let head = Resource { name: self.name.to_string(), version: self.version.to_wire(), kind: None };
        let content = self.content.encoded();
        let mut encoded = Vec::with_capacity(head.encoded_len() + content.len());
        // A vector always has room.
        let _ = head.encode(&mut encoded);
        encoded.extend_from_slice(content);
        encoded.into()
    }
}

/// What a change comes to.
enum Verdict {
    /// Nothing.
    Same,
    Gone,
    New(Versioned),
    TooLarge(String),
}

impl Verdict {
    fn on(name: &Arc<str>, after: Option<&Content>, before: Option<&Versioned>) -> Self {
        let Some(content) = after else {
            return if before.is_some() { Verdict::Gone } else { Verdict::Same };
        };
        if before.is_some_and(|before| before.content == *content) {
            return Verdict::Same;
        }
        let length = content.encoded().len();
        if length > MAX_RESOURCE_BYTES {
            return Verdict::TooLarge(format!(
                "it takes {length} bytes, and a resource may have {MAX_RESOURCE_BYTES}: split the object"
            ));
        }
        let name = Arc::clone(before.map_or(name, |before| &before.name));
        Verdict::New(Versioned { name, version: Version::of(content), content: content.clone() })
    }
}

impl Published {
    /// The state of these resources alone that follows `previous`, or, when nothing differs, the generation of `previous`.
    pub(super) fn after(
        previous: Option<&Self>,
        resources: impl IntoIterator<Item = (Arc<str>, impl Into<Content>)>,
        generation: Generation,
    ) -> Result<Self, Generation> {
        let mut changes: Vec<Change> =
            resources.into_iter().map(|(name, content)| (name, Some(content.into()))).collect();
        if let Some(previous) = previous {
            let names: BTreeSet<&str> = changes.iter().map(|(name, _)| &**name).collect();
            let known = previous.resources.iter().map(|resource| &*resource.name);
            let known = known.chain(previous.oversized.keys().map(String::as_str));
            let gone: Vec<Change> =
                known.filter(|name| !names.contains(name)).map(|name| (Arc::from(name), None)).collect();
            changes.extend(gone);
        }
        Self::changed(previous, changes, generation)
    }

    /// `previous` with these changes, each of another name; or, when nothing differs, the generation of `previous`.
    pub(super) fn changed(
        previous: Option<&Self>,
        changes: Vec<Change>,
        generation: Generation,
    ) -> Result<Self, Generation> {
        let resources = previous.map(|previous| previous.resources.clone()).unwrap_or_default();
        let mut oversized = previous.map(|previous| previous.oversized.clone()).unwrap_or_default();
        let verdicts = in_parallel(&changes, |(name, after)| {
            Verdict::on(name, after.as_ref(), resources.get(name).map(|before| &**before))
        });
        let mut news = Vec::new();
        for ((name, _), verdict) in changes.into_iter().zip(verdicts) {
            oversized.remove(&*name);
            match verdict {
                Verdict::Same => {}
                Verdict::Gone => news.push((name, None)),
                Verdict::New(resource) => news.push((Arc::clone(&resource.name), Some(Arc::new(resource)))),
                Verdict::TooLarge(reason) => {
                    oversized.insert(name.to_string(), reason);
                }
            }
        }
        match previous {
            Some(previous) if news.is_empty() && oversized == previous.oversized => Err(previous.generation),
            _ => {
                let resources = resources.with(news);
                let version = StateVersion::of(&resources);
                Ok(Self { generation, version, resources, oversized })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use gatehouse_proto::config::v1::{Endpoint, Endpoints, Respond, Route, Service, resource::Kind, route};

    use super::{Content, Generation, MAX_RESOURCE_BYTES, Published};

    fn kinds(service: i32, body: usize) -> BTreeMap<Arc<str>, Content> {
        let respond = Respond { body: "x".repeat(body), ..Respond::default() };
        let route = Route { action: Some(route::Action::Respond(respond)), ..Route::default() };
        BTreeMap::from([
            ("service/a".into(), Kind::Service(Service { protocol: service, ..Service::default() }).into()),
            ("route/a".into(), Kind::Route(route).into()),
        ])
    }

    #[test]
    fn what_is_unchanged_is_shared() {
        let first = Published::after(None, kinds(1, 10), Generation(1)).unwrap();
        let second = Published::after(Some(&first), kinds(2, 10), Generation(2)).unwrap();
        let shared =
            |name| Arc::ptr_eq(first.resources.get(name).unwrap(), second.resources.get(name).unwrap());
        assert!(shared("route/a") && !shared("service/a"));
        assert_ne!(
            first.resources.get("service/a").unwrap().version,
            second.resources.get("service/a").unwrap().version
        );
    }

    #[test]
    fn nothing_new_makes_no_generation_but_the_first() {
        assert!(
            Published::after(None, BTreeMap::<_, Content>::new(), Generation(1)).is_ok(),
            "an empty state is a state"
        );
        let first = Published::after(None, kinds(1, 10), Generation(1)).unwrap();
        assert_eq!(Published::after(Some(&first), kinds(1, 10), Generation(2)).unwrap_err(), Generation(1));
        let mut fewer = kinds(1, 10);
        fewer.remove("route/a");
        assert_eq!(Published::after(Some(&first), fewer, Generation(3)).unwrap().resources.iter().count(), 1);
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
                let kinds = [("name".into(), kind)];
                Published::after(None, kinds, Generation(1)).unwrap().resources.get("name").unwrap().version
            })
            .collect();
        assert!(versions[0] != versions[1] && versions[1] != versions[2]);
    }

    #[test]
    fn what_is_too_large_keeps_its_former_content_and_says_so() {
        let first = Published::after(None, kinds(1, 10), Generation(1)).unwrap();
        let second = Published::after(Some(&first), kinds(1, MAX_RESOURCE_BYTES), Generation(2)).unwrap();
        assert!(Arc::ptr_eq(
            first.resources.get("route/a").unwrap(),
            second.resources.get("route/a").unwrap()
        ));
        assert!(second.oversized["route/a"].contains("split the object"));
        let same = Published::after(Some(&second), kinds(1, MAX_RESOURCE_BYTES), Generation(3));
        assert_eq!(same.unwrap_err(), Generation(2));
        let healed = Published::after(Some(&second), kinds(1, 11), Generation(4)).unwrap();
        assert!(healed.oversized.is_empty());
    }

    /// Whether a state was made by changes or whole, it is the same, and only what changed differs.
    #[test]
    fn changes_lead_to_what_the_whole_would_be() {
        let kind = |protocol| Content::from(Kind::Service(Service { protocol, ..Service::default() }));
        let name = |number: i32| Arc::<str>::from(format!("service/ns/{number}/80"));
        let mut whole: BTreeMap<Arc<str>, Content> =
            (0..2000).map(|number| (name(number), kind(1))).collect();
        let mut state = Published::after(None, whole.clone(), Generation(1)).unwrap();
        for step in 0..200 {
            let (edited, gone, fresh) = (name(step * 7), name(step * 11 + 1), name(5000 + step));
            whole.remove(&gone);
            let changes = vec![
                (edited.clone(), Some(kind(step + 2))),
                (gone.clone(), None),
                (fresh.clone(), Some(kind(0))),
            ];
            let changes: Vec<_> =
                changes.into_iter().filter(|(one, after)| after.is_none() || *one != gone).collect();
            for (name, after) in &changes {
                after.iter().for_each(|after| drop(whole.insert(name.clone(), after.clone())));
            }
            let next = Published::changed(Some(&state), changes, Generation(1)).unwrap();
            let differences = next.resources.differences(&state.resources);
            let named = |one: &super::Versioned| [&edited, &gone, &fresh].contains(&&one.name);
            assert!(
                differences.into_iter().all(|one| one.before.or(one.after).is_some_and(|one| named(one)))
            );
            let again = Published::after(None, whole.clone(), Generation(1)).unwrap();
            assert_eq!((next.version, next.resources.iter().count()), (again.version, whole.len()));
            assert!(Published::after(Some(&next), whole.clone(), Generation(1)).is_err(), "nothing differs");
            state = next;
        }
    }
}
