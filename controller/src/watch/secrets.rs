//! Secrets: the names and versions of all, the content of those that something refers to.
//!
//! A cluster has many large Secrets that are none of our business. A Secret becomes part of the view when it is wanted,
//! and leaves it when it is no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::{
    Change, Effect, Source,
    kind::{Backoff, tell_error},
};
use crate::resources::ObjectKey;

/// Reads at one time.
const CONCURRENT: usize = 16;
/// Releases of Helm are the many large ones, and nothing can refer to them.
const FIELDS: &str = "type!=helm.sh/release.v1";

/// A version of a Secret, as the API server counts.
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

pub(super) async fn run(
    client: Client,
    source: Source,
    mut wanted: watch::Receiver<BTreeSet<ObjectKey>>,
    out: mpsc::Sender<Change>,
) {
    let api: Api<PartialObjectMeta<Secret>> = source.namespaced(client.clone());
    let mut events = pin!(watcher(api, watcher::Config::default().fields(FIELDS)));
    let mut backoff = Backoff::default();
    let mut list = BTreeMap::new();
    let mut shelf = Shelf::default();
    let mut reading = FuturesUnordered::new();
    wanted.mark_changed();
    loop {
        for task in shelf.tasks() {
            let change = match task {
                Task::Read(key) => {
                    reading.push(read(client.clone(), key));
                    continue;
                }
                Task::Absent(key) => gone(key),
                Task::Drop(key) => Change::new(move |view| {
                    view.secrets.remove(&key);
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
                shelf.wanted = wanted.borrow_and_update().iter().filter(|key| source.covers(key)).cloned().collect();
                continue;
            }
            Some((key, result)) = reading.next() => match result {
                Ok(Some(secret)) => {
                    if !shelf.read(&key, secret.resource_version()) {
                        continue;
                    }
                    Change::new(move |view| {
                        view.secrets.insert(key.clone(), secret);
                        Effect::Secret(key)
                    })
                }
                Ok(None) => {
                    if !shelf.read(&key, None) {
                        continue;
                    }
                    gone(key)
                }
                Err(error) => {
                    warn!(secret = %key, %error, "can't be read");
                    backoff.wait().await;
                    shelf.failed(&key);
                    continue;
                }
            },
            Some(event) = events.next() => match event {
                Err(error) => {
                    tell_error("Secret", &error);
                    backoff.wait().await;
                    continue;
                }
                Ok(event) => {
                    backoff.reset();
                    match event {
                        Event::Init => list.clear(),
                        Event::InitApply(secret) => {
                            list.insert(key(&secret), version(&secret));
                        }
                        Event::Apply(secret) => {
                            shelf.present.insert(key(&secret), version(&secret));
                        }
                        Event::Delete(secret) => {
                            shelf.present.remove(&key(&secret));
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

async fn read(client: Client, key: ObjectKey) -> (ObjectKey, kube::Result<Option<Secret>>) {
    let api: Api<Secret> = Api::namespaced(client, &key.namespace);
    let mut result = api.get_opt(&key.name).await;
    if let Ok(Some(secret)) = &mut result {
        secret.metadata.managed_fields = None;
        // kubectl leaves a copy of the whole Secret there.
        secret.metadata.annotations = None;
    }
    (key, result)
}

fn gone(key: ObjectKey) -> Change {
    Change::new(move |view| {
        view.secrets.remove(&key);
        Effect::Secret(key)
    })
}

fn key(secret: &PartialObjectMeta<Secret>) -> ObjectKey {
    ObjectKey::new(secret.namespace().unwrap_or_default(), secret.name_any())
}

fn version(secret: &PartialObjectMeta<Secret>) -> Version {
    secret.resource_version().unwrap_or_default()
}

#[cfg(test)]
mod tests;
