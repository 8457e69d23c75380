//! Which of the replicas this one is, and where the others are: the EndpointSlices of the controller's own Service. Pure.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use crate::resources::{ObjectKey, Resources};

/// A replica of the controller.
#[derive(Debug, Clone)]
pub struct Replica {
    /// The Service of all replicas, in the controller's namespace.
    pub service: ObjectKey,
    /// Its own pod.
    pub pod: String,
    /// Where each serves the channel.
    pub port: u16,
}

impl Replica {
    /// Those that are not ready count: dataplanes may still speak to them.
    pub fn others(&self, resources: &Resources) -> BTreeSet<SocketAddr> {
        resources
            .slices_of(&self.service)
            .flat_map(|slice| &slice.endpoints)
            .filter(|endpoint| {
                let pod = endpoint.target_ref.as_ref().and_then(|target| target.name.as_deref());
                pod != Some(&self.pod)
            })
            .flat_map(|endpoint| &endpoint.addresses)
            .filter_map(|address| Some(SocketAddr::new(address.parse::<IpAddr>().ok()?, self.port)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_but_the_own_pod() {
        let mut resources = Resources::default();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "s-1", "namespace": "ns", "labels": {"kubernetes.io/service-name": "s"}},
            "endpoints": [
                {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "me"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}, "targetRef": {"kind": "Pod", "name": "you"}},
                {"addresses": ["10.0.0.3"]},
                {"addresses": ["not an address"]},
            ]
        });
        resources.apply(slice).unwrap();
        let replica = Replica { service: ObjectKey::new("ns", "s"), pod: "me".into(), port: 18000 };
        let expected = ["10.0.0.2:18000", "10.0.0.3:18000"].map(|address| address.parse().unwrap());
        assert_eq!(replica.others(&resources), BTreeSet::from(expected));
        let stranger = Replica { service: ObjectKey::new("elsewhere", "s"), ..replica };
        assert_eq!(stranger.others(&resources), BTreeSet::new());
    }
}
