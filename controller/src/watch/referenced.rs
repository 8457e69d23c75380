//! Secrets and ConfigMaps: the names and versions of all, the content of those that something refers to.
//!
//! A cluster has many large ones that are none of our business. One becomes part of the view when it is wanted, and leaves
//! it when it is no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    pin::pin,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::{
    Change, Effect, Source,
    kind::{Backoff, tell_error},
};
use crate::{
    resources::{ObjectKey, Resources},
    translate::ObjectId,
};

/// Reads at one time.
const CONCURRENT: usize = 16;

/// A kind whose content is read only where it is referred to.
pub(super) trait Referenced:
    kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    const KIND: &'static str;
    /// A field selector for those that something may refer to.
    const FIELDS: &'static str = "";

    fn objects(view: &mut Resources) -> &mut BTreeMap<ObjectKey, Self>;
}

impl Referenced for Secret {
    const KIND: &'static str = "Secret";
    /// Releases of Helm are the many large ones, and nothing can refer to them.
    const FIELDS: &'static str = "type!=helm.sh/release.v1";

    fn objects(view: &mut Resources) -> &mut BTreeMap<ObjectKey, Self> {
        &mut view.secrets
    }
}

impl Referenced for ConfigMap {
    const KIND: &'static str = "ConfigMap";

    fn objects(view: &mut Resources) -> &mut BTreeMap<ObjectKey, Self> {
        &mut view.config_maps
    }
}

/// A version of an object, as the API server counts.
type Version = String;

/// What is known and what is wanted. Pure.
#[derive(Debug, Default)]
struct Shelf {
    /// All that exist.
    present: BTreeMap<ObjectKey, Version>,
    wanted: BTreeSet<ObjectKey>,
    /// What the view holds of the wanted ones; `None`: it knows that there is none.
    told: BTreeMap<ObjectKey, Option<Version>>,
    /// Being read.
    reading: BTreeSet<ObjectKey>,
    listed: bool,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    Read(ObjectKey),
    /// The view must forget it, or learn that it does not exist.
    Absent(ObjectKey),
    /// Nobody wants it any more.
    Drop(ObjectKey),
}

impl Shelf {
    /// Each task is given once until its end is told.
    fn tasks(&mut self) -> Vec<Task> {
        if !self.listed {
            return Vec::new();
        }
        let mut tasks = Vec::new();
        let unwanted: Vec<_> = self.told.keys().filter(|key| !self.wanted.contains(*key)).cloned().collect();
        for key in unwanted {
            self.told.remove(&key);
            tasks.push(Task::Drop(key));
        }
        for key in &self.wanted {
            match self.present.get(key) {
                Some(version) => {
                    let is_told =
                        self.told.get(key).is_some_and(|told| told.as_deref() == Some(version.as_str()));
                    if !is_told && self.reading.len() < CONCURRENT && self.reading.insert(key.clone()) {
                        tasks.push(Task::Read(key.clone()));
                    }
                }
                None if self.told.get(key) != Some(&None) => {
                    self.told.insert(key.clone(), None);
                    tasks.push(Task::Absent(key.clone()));
                }
                None => {}
            }
        }
        tasks
    }

    /// Whether the view is to be told.
    fn read(&mut self, key: &ObjectKey, version: Option<Version>) -> bool {
        self.reading.remove(key);
        if !self.wanted.contains(key) {
            return false;
        }
        // The watch may be behind what was read.
        match &version {
            Some(version) => self.present.insert(key.clone(), version.clone()),
            None => self.present.remove(key),
        };
        self.told.insert(key.clone(), version);
        true
    }

    fn failed(&mut self, key: &ObjectKey) {
        self.reading.remove(key);
    }
}

pub(super) async fn run<K: Referenced>(
    client: Client,
    source: Source,
    mut wanted: watch::Receiver<BTreeSet<ObjectId>>,
    out: mpsc::Sender<Change>,
) {
    let api: Api<PartialObjectMeta<K>> = source.namespaced(client.clone());
    let mut events = pin!(watcher(api, watcher::Config::default().fields(K::FIELDS)));
    let mut backoff = Backoff::default();
    let mut list = BTreeMap::new();
    let mut shelf = Shelf::default();
    let mut reading = FuturesUnordered::new();
    wanted.mark_changed();
    loop {
        for task in shelf.tasks() {
            let change = match task {
                Task::Read(key) => {
                    reading.push(read::<K>(client.clone(), key));
                    continue;
                }
                Task::Absent(key) => gone::<K>(key),
                Task::Drop(key) => Change::new(move |view| {
                    K::objects(view).remove(&key);
                    Effect::Nothing
                }),
            };
            if out.send(change).await.is_err() {
                return;
            }
        }
        let change = tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return;
                }
                let wanted = wanted.borrow_and_update();
                let ours = wanted.iter().filter(|id| id.kind == K::KIND && source.covers(&id.key));
                shelf.wanted = ours.map(|id| id.key.clone()).collect();
                continue;
            }
            Some((key, result)) = reading.next() => match result {
                Ok(Some(object)) => {
                    if !shelf.read(&key, object.resource_version()) {
                        continue;
                    }
                    Change::new(move |view| {
                        K::objects(view).insert(key.clone(), object);
                        Effect::Content(id::<K>(key))
                    })
                }
                Ok(None) => {
                    if !shelf.read(&key, None) {
                        continue;
                    }
                    gone::<K>(key)
                }
                Err(error) => {
                    warn!(kind = K::KIND, object = %key, %error, "can't be read");
                    backoff.wait().await;
                    shelf.failed(&key);
                    continue;
                }
            },
            Some(event) = events.next() => match event {
                Err(error) => {
                    tell_error(K::KIND, &error);
                    backoff.wait().await;
                    continue;
                }
                Ok(event) => {
                    backoff.reset();
                    match event {
                        Event::Init => list.clear(),
                        Event::InitApply(object) => {
                            list.insert(key(&object), version(&object));
                        }
                        Event::Apply(object) => {
                            shelf.present.insert(key(&object), version(&object));
                        }
                        Event::Delete(object) => {
                            shelf.present.remove(&key(&object));
                        }
                        Event::InitDone => {
                            shelf.present = std::mem::take(&mut list);
                            if !std::mem::replace(&mut shelf.listed, true) {
                                let change = Change::new(|_| Effect::Nothing).completes(&source);
                                if out.send(change).await.is_err() {
                                    return;
                                }
                            }
                        }
                    }
                    continue;
                }
            },
        };
        if out.send(change).await.is_err() {
            return;
        }
    }
}

async fn read<K: Referenced>(client: Client, key: ObjectKey) -> (ObjectKey, kube::Result<Option<K>>) {
    let api: Api<K> = Api::namespaced(client, &key.namespace);
    let mut result = api.get_opt(&key.name).await;
    if let Ok(Some(object)) = &mut result {
        let metadata = object.meta_mut();
        metadata.managed_fields = None;
        // kubectl leaves a copy of the whole object there.
        metadata.annotations = None;
    }
    (key, result)
}

fn gone<K: Referenced>(key: ObjectKey) -> Change {
    Change::new(move |view| {
        K::objects(view).remove(&key);
        Effect::Content(id::<K>(key))
    })
}

fn id<K: Referenced>(key: ObjectKey) -> ObjectId {
    ObjectId { kind: K::KIND, key }
}

fn key<K: Referenced>(object: &PartialObjectMeta<K>) -> ObjectKey {
    ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

fn version<K: Referenced>(object: &PartialObjectMeta<K>) -> Version {
    object.resource_version().unwrap_or_default()
}

#[cfg(test)]
mod tests;
