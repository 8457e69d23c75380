//! Which CRDs are installed, so that kinds join and leave at run time.

use std::{collections::BTreeSet, pin::pin};

use futures_util::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    core::PartialObjectMeta,
    runtime::watcher::{self, Event, watcher},
};
use tokio::{sync::watch, task::JoinSet};

use super::kind::{Backoff, tell_error};

/// Names of the CRDs that are installed; `None` until they have been listed.
pub(super) type Crds = watch::Receiver<Option<BTreeSet<String>>>;

pub(super) fn watch(client: Client, tasks: &mut JoinSet<()>) -> Crds {
    let (names, receiver) = watch::channel(None);
    tasks.spawn(run(client, names));
    receiver
}

async fn run(client: Client, names: watch::Sender<Option<BTreeSet<String>>>) {
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client);
    let mut events = pin!(watcher(api, watcher::Config::default()));
    let mut backoff = Backoff::default();
    let mut list = BTreeSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                backoff.reset();
                match event {
                    Event::Init => list.clear(),
                    Event::InitApply(crd) => {
                        list.insert(crd.name_any());
                    }
                    Event::InitDone => {
                        names.send_replace(Some(std::mem::take(&mut list)));
                    }
                    Event::Apply(crd) => change(&names, |present| present.insert(crd.name_any())),
                    Event::Delete(crd) => change(&names, |present| present.remove(&crd.name_any())),
                }
            }
            Err(error) => {
                tell_error("CustomResourceDefinition", &error);
                backoff.wait().await;
            }
        }
    }
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
