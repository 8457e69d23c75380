//! The objects of a pretended API server: versions, history, and the rules by which a status is patched.
//!
//! Objects are kept as the bytes that go over the wire, so that what is measured is not this.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

/// Events of a kind that are remembered; a watch from before is told to list again.
const HISTORY: usize = 400_000;

/// Namespace and name; the namespace is empty for kinds without.
pub type Key = (String, String);

/// Every object, by kind: `gateway.networking.k8s.io/httproutes`.
#[derive(Debug, Default)]
pub struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    version: u64,
    kinds: BTreeMap<String, Collection>,
    status_writes: u64,
}

#[derive(Debug, Default)]
struct Collection {
    objects: BTreeMap<Key, Bytes>,
    history: VecDeque<Event>,
    /// The version up to which events were forgotten.
    forgotten: u64,
    news: watch::Sender<u64>,
}

/// A change as a watch tells it.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) version: u64,
    pub(super) namespace: String,
    pub(super) line: Bytes,
}

/// Some objects of a kind.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) version: u64,
    pub(super) objects: Vec<Bytes>,
    /// After which object the next page begins.
    pub(super) next: Option<Key>,
}

/// Why the API server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotFound,
    Exists,
    Conflict,
}

/// How a stored object is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patch {
    /// A merge patch (RFC 7386) of the whole object, or its replacement where there is none yet.
    Merge,
    /// The same of the status alone.
    Status,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A test that panicked has ended the run anyway.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates or replaces an object as its author would; gives its version.
    pub fn put(&self, kind: &str, mut object: Value) -> u64 {
        let mut inner = self.lock();
        let key = key(&object);
        let before = inner.kinds.get(kind).and_then(|known| known.objects.get(&key)).map(parse);
        complete(&mut object, before.as_ref(), inner.version + 1);
        inner.store(kind, key, &object, before.is_some())
    }

    /// The object, if there is one.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (namespace.to_owned(), name.to_owned());
        Some(parse(self.lock().kinds.get(kind)?.objects.get(&key)?))
    }

    /// How many statuses have been written.
    pub fn status_writes(&self) -> u64 {
        self.lock().status_writes
    }

    pub(super) fn json(&self, kind: &str, key: &Key) -> Option<Bytes> {
        self.lock().kinds.get(kind)?.objects.get(key).cloned()
    }

    pub(super) fn list(&self, kind: &str, namespace: &str, after: Option<&Key>, limit: usize) -> Page {
        use std::ops::Bound::{Excluded, Unbounded};
        let inner = self.lock();
        let mut page = Page { version: inner.version, objects: Vec::new(), next: None };
        let Some(collection) = inner.kinds.get(kind) else { return page };
        let begin = after.map_or(Unbounded, Excluded);
        let wanted = |(key, _): &(&Key, &Bytes)| namespace.is_empty() || key.0 == namespace;
        let mut objects = collection.objects.range::<Key, _>((begin, Unbounded)).filter(wanted).peekable();
        while let Some((key, json)) = objects.next() {
            page.objects.push(json.clone());
            if page.objects.len() == limit && objects.peek().is_some() {
                page.next = Some(key.clone());
                break;
            }
        }
        page
    }

    pub(super) fn create(&self, kind: &str, mut object: Value) -> Result<Bytes, Refusal> {
        let mut inner = self.lock();
        let key = key(&object);
        if inner.kinds.get(kind).is_some_and(|known| known.objects.contains_key(&key)) {
            return Err(Refusal::Exists);
        }
        complete(&mut object, None, inner.version + 1);
        inner.store(kind, key.clone(), &object, false);
        inner.json(kind, &key)
    }

    /// `PUT`: the object must still have the version that it names.
    pub(super) fn replace(&self, kind: &str, mut object: Value) -> Result<Bytes, Refusal> {
        let mut inner = self.lock();
        let key = key(&object);
        let before = inner.object(kind, &key)?;
        check_version(&object, &before)?;
        complete(&mut object, Some(&before), inner.version + 1);
        inner.store(kind, key.clone(), &object, true);
        inner.json(kind, &key)
    }

    pub(super) fn patch(&self, kind: &str, key: &Key, patch: Value, how: Patch) -> Result<Bytes, Refusal> {
        let mut inner = self.lock();
        let before = match inner.object(kind, key) {
            Ok(before) => before,
            Err(Refusal::NotFound) if how == Patch::Merge => json!({}),
            Err(refusal) => return Err(refusal),
        };
        let is_new = before.as_object().is_some_and(serde_json::Map::is_empty);
        check_version(&patch, &before)?;
        let mut object = before.clone();
        match how {
            Patch::Merge => merge(&mut object, patch),
            Patch::Status => {
                inner.status_writes += 1;
                merge(&mut object, json!({ "status": patch["status"] }));
            }
        }
        if object == before {
            return inner.json(kind, key);
        }
        if is_new {
            object["metadata"]["namespace"] = key.0.clone().into();
            object["metadata"]["name"] = key.1.clone().into();
        }
        complete(&mut object, Some(&before).filter(|_| !is_new), inner.version + 1);
        inner.store(kind, key.clone(), &object, !is_new);
        inner.json(kind, key)
    }

    /// Gives the object as it was.
    ///
    /// # Errors
    /// There is none.
    pub fn delete(&self, kind: &str, key: &Key) -> Result<Bytes, Refusal> {
        let mut inner = self.lock();
        inner.object(kind, key)?;
        inner.version += 1;
        let version = inner.version;
        let collection = inner.kinds.entry(kind.to_owned()).or_default();
        let gone = collection.objects.remove(key).ok_or(Refusal::NotFound)?;
        collection.tell(version, key, "DELETED", &gone);
        Ok(gone)
    }

    /// Tells of news of a kind, by the version of the last.
    pub(super) fn news(&self, kind: &str) -> watch::Receiver<u64> {
        self.lock().kinds.entry(kind.to_owned()).or_default().news.subscribe()
    }

    /// What came after a version. `None`: not all of it is remembered.
    pub(super) fn events(&self, kind: &str, after: u64) -> Option<Vec<Event>> {
        let inner = self.lock();
        let Some(collection) = inner.kinds.get(kind) else { return Some(Vec::new()) };
        if collection.forgotten > after {
            return None;
        }
        let first = collection.history.partition_point(|event| event.version <= after);
        Some(collection.history.range(first..).cloned().collect())
    }

    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }
}

impl Inner {
    fn object(&self, kind: &str, key: &Key) -> Result<Value, Refusal> {
        let stored = self.kinds.get(kind).and_then(|known| known.objects.get(key));
        stored.map(parse).ok_or(Refusal::NotFound)
    }

    fn json(&self, kind: &str, key: &Key) -> Result<Bytes, Refusal> {
        let stored = self.kinds.get(kind).and_then(|known| known.objects.get(key));
        stored.cloned().ok_or(Refusal::NotFound)
    }

    fn store(&mut self, kind: &str, key: Key, object: &Value, existed: bool) -> u64 {
        self.version += 1;
        let version = self.version;
        let json = Bytes::from(object.to_string());
        let collection = self.kinds.entry(kind.to_owned()).or_default();
        collection.tell(version, &key, if existed { "MODIFIED" } else { "ADDED" }, &json);
        collection.objects.insert(key, json);
        version
    }
}

impl Collection {
    fn tell(&mut self, version: u64, key: &Key, what: &str, json: &Bytes) {
        if self.news.receiver_count() == 0 {
            // Nobody watches: the list is all that will be asked for.
            self.forgotten = version;
            self.history.clear();
            return;
        }
        let mut line = format!("{{\"type\":\"{what}\",\"object\":").into_bytes();
        line.extend_from_slice(json);
        line.extend_from_slice(b"}\n");
        self.history.push_back(Event { version, namespace: key.0.clone(), line: line.into() });
        if self.history.len() > HISTORY
            && let Some(event) = self.history.pop_front()
        {
            self.forgotten = event.version;
        }
        self.news.send_replace(version);
    }
}

/// What an API server adds. A generation counts what is not status.
fn complete(object: &mut Value, before: Option<&Value>, version: u64) {
    let generation = match before {
        None => 1,
        Some(before) => {
            let is_same = object["spec"] == before["spec"];
            before["metadata"]["generation"].as_u64().unwrap_or(1) + u64::from(!is_same)
        }
    };
    let known = |field: &str| before.map(|before| before["metadata"][field].clone());
    let uid = known("uid").unwrap_or_else(|| format!("00000000-0000-4000-8000-{version:012x}").into());
    let created = known("creationTimestamp").unwrap_or_else(|| "2026-01-01T00:00:00Z".into());
    let status = before.map(|before| before["status"].clone()).filter(|status| !status.is_null());
    if let Some(status) = status
        && object["status"].is_null()
    {
        object["status"] = status;
    }
    let metadata = &mut object["metadata"];
    metadata["uid"] = uid;
    metadata["creationTimestamp"] = created;
    metadata["generation"] = generation.into();
    metadata["resourceVersion"] = version.to_string().into();
}

fn check_version(named: &Value, present: &Value) -> Result<(), Refusal> {
    match named["metadata"]["resourceVersion"].as_str() {
        Some(version) if present["metadata"]["resourceVersion"] != version => Err(Refusal::Conflict),
        _ => Ok(()),
    }
}

fn key(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or("").to_owned();
    (text("namespace"), text("name"))
}

fn parse(json: &Bytes) -> Value {
    // It was written by this module.
    serde_json::from_slice(json).unwrap_or(Value::Null)
}

/// RFC 7386.
fn merge(object: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *object = patch;
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            if let Some(fields) = object.as_object_mut() {
                fields.remove(&name);
            }
        } else {
            merge(&mut object[name], value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::{Patch, Refusal, Store};

    #[test]
    fn statuses_are_patched_beside_the_rest_and_only_on_the_version_they_are_of() {
        let store = Store::default();
        let key = ("ns".to_owned(), "a".to_owned());
        let object = json!({"metadata": {"namespace": "ns", "name": "a"}, "spec": {"x": 1}});
        let first = store.put("kind", object);
        let patch =
            |version: u64| json!({"metadata": {"resourceVersion": version.to_string()}, "status": {"s": 1}});
        assert_eq!(store.patch("kind", &key, patch(first + 7), Patch::Status), Err(Refusal::Conflict));
        store.patch("kind", &key, patch(first), Patch::Status).unwrap();
        let written = store.get("kind", "ns", "a").unwrap();
        assert_eq!((&written["metadata"]["generation"], &written["status"]["s"]), (&json!(1), &json!(1)));
        store.put("kind", json!({"metadata": {"namespace": "ns", "name": "a"}, "spec": {"x": 2}}));
        let edited = store.get("kind", "ns", "a").unwrap();
        assert_eq!((&edited["metadata"]["generation"], &edited["status"]["s"]), (&json!(2), &json!(1)));
        assert_eq!(edited["metadata"]["uid"], written["metadata"]["uid"]);
    }

    #[test]
    fn a_watch_gets_what_came_after_its_list() {
        let store = Store::default();
        let object = |name: &str| json!({"metadata": {"namespace": "ns", "name": name}});
        store.put("kind", object("a"));
        assert_eq!(store.events("kind", 0).map(|events| events.len()), None, "nobody watched");
        let _watch = store.news("kind");
        let listed = store.list("kind", "", None, 10).version;
        store.put("kind", object("b"));
        store.delete("kind", &("ns".to_owned(), "a".to_owned())).unwrap();
        let events = store.events("kind", listed).unwrap();
        let types: Vec<_> =
            events.iter().map(|event| String::from_utf8_lossy(&event.line)[..16].to_owned()).collect();
        assert_eq!(types, ["{\"type\":\"ADDED\",", "{\"type\":\"DELETED"]);
    }

    #[test]
    fn pages_follow_each_other() {
        let store = Store::default();
        for name in ["a", "b", "c"] {
            store.put("kind", json!({"metadata": {"namespace": "ns", "name": name}}));
        }
        let first = store.list("kind", "", None, 2);
        assert_eq!(first.objects.len(), 2);
        let second = store.list("kind", "", first.next.as_ref(), 2);
        assert_eq!((second.objects.len(), second.next), (1, None));
    }
}
