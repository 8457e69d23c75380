//! Where the other replicas are: the EndpointSlices of the controller's own Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    pin::pin,
    time::Duration,
};

use futures_util::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use tokio::{sync::watch, time::sleep};
use tracing::warn;

const RETRY: Duration = Duration::from_secs(1);

/// Runs for ever. `pod` is the own one, which is left out. Those that are not ready count: they may still be spoken to.
pub async fn find(
    client: Client,
    namespace: String,
    service: String,
    pod: String,
    port: u16,
    replicas: watch::Sender<BTreeSet<SocketAddr>>,
) {
    let api: Api<EndpointSlice> = Api::namespaced(client, &namespace);
    let config = watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
    let mut events = pin!(watcher(api, config));
    let mut slices: BTreeMap<String, EndpointSlice> = BTreeMap::new();
    let mut list = BTreeMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => list.clear(),
            Ok(Event::InitApply(slice)) => {
                list.insert(slice.name_any(), slice);
            }
            Ok(Event::InitDone) => slices = std::mem::take(&mut list),
            Ok(Event::Apply(slice)) => {
                slices.insert(slice.name_any(), slice);
            }
            Ok(Event::Delete(slice)) => {
                slices.remove(&slice.name_any());
            }
            Err(error) => {
                warn!(%error, "the other replicas");
                sleep(RETRY).await;
            }
        }
        let present = addresses(slices.values(), &pod, port);
        replicas.send_if_modified(|before| {
            let differs = *before != present;
            *before = present;
            differs
        });
    }
}

fn addresses<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    pod: &str,
    port: u16,
) -> BTreeSet<SocketAddr> {
    slices
        .flat_map(|slice| &slice.endpoints)
        .filter(|endpoint| {
            endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref()) != Some(pod)
        })
        .flat_map(|endpoint| &endpoint.addresses)
        .filter_map(|address| Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, port)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_but_the_own_pod() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "s-1"}, "addressType": "IPv4", "endpoints": [
                {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "me"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}, "targetRef": {"kind": "Pod", "name": "you"}},
                {"addresses": ["10.0.0.3"]},
                {"addresses": ["not an address"]},
            ]
        }))
        .unwrap();
        let found = addresses([&slice].into_iter(), "me", 18000);
        let expected = ["10.0.0.2:18000", "10.0.0.3:18000"].map(|address| address.parse().unwrap());
        assert_eq!(found, BTreeSet::from(expected));
    }
}
