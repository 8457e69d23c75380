//! The watch of one kind: lists, then follows, for ever.

mod watched;

use std::{fmt::Debug, mem, pin::pin, time::Duration};

use futures_util::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use serde::de::DeserializeOwned;
use tokio::{sync::mpsc, time::sleep};
use tracing::{error, info, warn};

use super::{
    Change, Effect, Source,
    guard::Guard,
    presence::{self, Crds},
};
use crate::{
    resources::{ObjectKey, Resources},
    status::FIELD_MANAGER,
};

/// Annotation that kubectl leaves: a copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A kind that the view holds.
pub(super) trait Watched:
    kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    const KIND: &'static str;
    /// The CRD that brings it; `None` if every API server has it.
    const CRD: Option<&'static str>;

    fn api(client: Client, source: &Source) -> Api<Guard<Self>>;
    /// Forgets what nothing reads.
    fn trim(&mut self) {}
    fn get<'a>(key: &ObjectKey, view: &'a Resources) -> Option<&'a Self>;
    fn put(self, view: &mut Resources);
    fn take(key: &ObjectKey, view: &mut Resources) -> Option<Self>;
    fn keys(view: &Resources) -> Vec<ObjectKey>;
    /// What follows when an object comes, changes or goes.
    fn effect(before: Option<&Self>, after: Option<&Self>) -> Effect;
}

/// Grows from a tenth of a second to three, so that an API server that comes back is noticed soon.
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }

    pub(super) async fn wait(&mut self) {
        let pause = Duration::from_millis(100 << self.0.min(5)).min(Duration::from_secs(3));
        self.0 += 1;
        sleep(pause).await;
    }
}

pub(super) async fn run<K: Watched>(
    client: Client,
    source: Source,
    mut crds: Crds,
    out: mpsc::Sender<Change>,
) {
    // A kind whose CRD is there and that can't be listed is about to be served, or never in our version: an older bundle.
    let mut unserved = Backoff::default();
    loop {
        if let Some(crd) = K::CRD {
            let installed = {
                // An error means that the watch of CRDs has ended, and this ends with it.
                let Ok(names) = crds.wait_for(Option::is_some).await else { return };
                names.as_ref().is_some_and(|names| names.contains(crd))
            };
            if !installed {
                info!(kind = K::KIND, "the kind is not installed: waiting for its CRD");
                if out.send(replace::<K>(&source, Vec::new(), Vec::new())).await.is_err() {
                    return;
                }
                presence::wait_for(&mut crds, crd, true).await;
                unserved.reset();
            }
        }
        let mut gone = crds.clone();
        tokio::select! {
            ended = follow::<K>(&client, &source, &out) => {
                if ended.is_err() {
                    return;
                }
                if out.send(replace::<K>(&source, Vec::new(), Vec::new())).await.is_err() {
                    return;
                }
                unserved.wait().await;
            }
            () = async {
                match K::CRD {
                    Some(crd) => presence::wait_for(&mut gone, crd, false).await,
                    None => std::future::pending().await,
                }
            } => {}
        }
    }
}

/// Nobody takes changes any more.
struct Closed;

/// Returns when the kind is not served.
async fn follow<K: Watched>(
    client: &Client,
    source: &Source,
    out: &mpsc::Sender<Change>,
) -> Result<(), Closed> {
    let api = K::api(client.clone(), source);
    let mut events = pin!(watcher(api, watcher::Config::default()));
    let mut backoff = Backoff::default();
    let mut list = Vec::new();
    let mut unreadable = Vec::new();
    while let Some(event) = events.next().await {
        let change = match event {
            Err(error) => {
                tell_error(K::KIND, &error);
                if K::CRD.is_some() && is_unserved(&error) {
                    return Ok(());
                }
                backoff.wait().await;
                continue;
            }
            Ok(Event::Init) => {
                list.clear();
                unreadable.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                match readable(object) {
                    Ok(object) => list.push(object),
                    Err(key) => unreadable.push(key),
                }
                continue;
            }
            Ok(Event::InitDone) => {
                let objects = mem::take(&mut list);
                replace::<K>(source, objects, mem::take(&mut unreadable))
            }
            Ok(Event::Apply(object)) => match readable::<K>(object) {
                Ok(object) => Change::new(move |view| {
                    let effect = K::effect(K::get(&key(&object), view), Some(&object));
                    object.put(view);
                    effect
                }),
                Err(_) => continue,
            },
            Ok(Event::Delete(object)) => {
                let key = key(&object);
                Change::new(move |view| match K::take(&key, view) {
                    Some(before) => K::effect(Some(&before), None),
                    None => Effect::Nothing,
                })
            }
        };
        backoff.reset();
        out.send(change).await.map_err(|_| Closed)?;
    }
    Err(Closed)
}

/// Everything of the source at once. What is there and can't be read stays as it was.
fn replace<K: Watched>(source: &Source, objects: Vec<K>, unreadable: Vec<ObjectKey>) -> Change {
    let place = source.clone();
    let step = move |view: &mut Resources| {
        let mut old: Vec<ObjectKey> = K::keys(view);
        old.retain(|key| place.covers(key) && !unreadable.contains(key));
        let nothing = old.is_empty() && objects.is_empty();
        for key in &old {
            K::take(key, view);
        }
        for object in objects {
            object.put(view);
        }
        if nothing { Effect::Nothing } else { Effect::Configuration }
    };
    Change::new(step).completes(source)
}

/// The namespace is empty for kinds without.
fn key(object: &impl ResourceExt) -> ObjectKey {
    ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// Of `managedFields` it is read which of its status is ours, where no name of ours stands in the status itself.
fn keep_ownership(kind: &str, meta: &mut ObjectMeta) {
    if !["Gateway", "ListenerSet"].contains(&kind) {
        meta.managed_fields = None;
    }
    if let Some(entries) = &mut meta.managed_fields {
        entries.retain(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.subresource.as_deref() == Some("status")
        });
    }
}

/// An object that can't be read is told of; `Err` is its name.
fn readable<K: Watched>(object: Guard<K>) -> Result<K, ObjectKey> {
    let key = key(&object);
    match object.0 {
        Ok(mut object) => {
            let meta = object.meta_mut();
            keep_ownership(K::KIND, meta);
            if let Some(annotations) = &mut meta.annotations {
                annotations.remove(LAST_APPLIED);
            }
            object.trim();
            Ok(object)
        }
        Err(invalid) => {
            error!(
                kind = K::KIND,
                object = %key,
                error = invalid.error,
                "can't be read: what was known of it before stays in force"
            );
            Err(key)
        }
    }
}

fn is_unserved(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.code == 404,
        _ => false,
    }
}

pub(super) fn tell_error(kind: &str, error: &watcher::Error) {
    match error {
        // Every long watch ends so now and then; the list follows.
        watcher::Error::WatchError(status) if status.code == 410 => {
            info!(kind, "watch expired: listing again");
        }
        error => warn!(kind, %error, "watch"),
    }
}

#[cfg(test)]
mod tests;
