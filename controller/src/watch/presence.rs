//! Which CRDs are installed, so that kinds join and leave at run time; and which versions of the Gateway API's, for the view.

use std::{collections::BTreeSet, pin::pin};

use futures_util::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use tokio::sync::{mpsc, watch};

use super::{
    Change, Effect, Source,
    kind::{Backoff, tell_error},
    source::Place,
};
use crate::resources::{Installed, Resources};

const KIND: &str = "CustomResourceDefinition";

/// Names of the CRDs that are installed; `None` until they have been listed.
pub(super) type Crds = watch::Receiver<Option<BTreeSet<String>>>;

/// All of the cluster: CRDs have no namespace.
pub(super) fn source() -> Source {
    Source::new(KIND, Place::Cluster)
}

/// Ends when nobody takes changes any more.
pub(super) async fn run(
    client: Client,
    names: watch::Sender<Option<BTreeSet<String>>>,
    out: mpsc::Sender<Change>,
) {
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client);
    let mut events = pin!(watcher(api, watcher::Config::default()));
    let mut backoff = Backoff::default();
    let (mut list, mut installed) = (BTreeSet::new(), Installed::default());
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tell_error(KIND, &error);
                backoff.wait().await;
                continue;
            }
        };
        backoff.reset();
        let step = match event {
            Event::Init => {
                list.clear();
                installed = Installed::default();
                continue;
            }
            Event::InitApply(crd) => {
                installed.insert(&crd.name_any(), crd.annotations());
                list.insert(crd.name_any());
                continue;
            }
            Event::InitDone => {
                names.send_replace(Some(std::mem::take(&mut list)));
                let installed = std::mem::take(&mut installed);
                step(move |view| *view = installed).completes(&source())
            }
            Event::Apply(crd) => {
                change(&names, |present| present.insert(crd.name_any()));
                step(move |view| view.insert(&crd.name_any(), crd.annotations()))
            }
            Event::Delete(crd) => {
                change(&names, |present| present.remove(&crd.name_any()));
                step(move |view| view.remove(&crd.name_any()))
            }
        };
        if out.send(step).await.is_err() {
            return;
        }
    }
}

/// GatewayClasses alone tell of it, and it hardly ever changes.
fn step(change: impl FnOnce(&mut Installed) + Send + 'static) -> Change {
    Change::new(|view: &mut Resources| {
        let before = view.installed.clone();
        change(&mut view.installed);
        if view.installed == before { Effect::Nothing } else { Effect::Configuration }
    })
}

fn change(
    names: &watch::Sender<Option<BTreeSet<String>>>,
    change: impl FnOnce(&mut BTreeSet<String>) -> bool,
) {
    names.send_if_modified(|names| change(names.get_or_insert_default()));
}

/// Waits until the CRD is there (or not there). Ends for ever if nobody watches any more.
pub(super) async fn wait_for(crds: &mut Crds, name: &str, present: bool) {
    let met =
        |crds: &Option<BTreeSet<String>>| crds.as_ref().is_some_and(|names| names.contains(name) == present);
    if crds.wait_for(met).await.is_err() {
        std::future::pending::<()>().await;
    }
}
