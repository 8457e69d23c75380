//! The addresses behind the Services that a configuration refers to, from EndpointSlices.

use gatehouse_proto::config::v1::{Endpoint, Endpoints, resource::Kind};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::ResourceExt;

use super::{Config, backend, backend::BackendKey, names};
use crate::resources::{ObjectKey, Resources};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Adds the endpoints of every Service in the configurations.
pub(super) fn emit(resources: &Resources, configs: &mut std::collections::BTreeMap<ObjectKey, Config>) {
    for config in configs.values_mut() {
        let backends: Vec<BackendKey> = config.keys().filter_map(|name| parse(name)).collect();
        for key in backends {
            let endpoints = of(&key, resources);
            config.insert(names::endpoints(&key.service, key.port), Kind::Endpoints(endpoints));
        }
    }
}

/// The inverse of [`names::service`].
fn parse(name: &str) -> Option<BackendKey> {
    let mut parts = name.strip_prefix("service/")?.splitn(3, '/');
    let (namespace, name, port) = (parts.next()?, parts.next()?, parts.next()?);
    Some(BackendKey { service: ObjectKey::new(namespace, name), port: port.parse().ok()? })
}

fn of(key: &BackendKey, resources: &Resources) -> Endpoints {
    let name = names::service(&key.service, key.port);
    let Some(service) = resources.services.get(&key.service) else {
        return Endpoints { service: name, endpoints: Vec::new() };
    };
    let slices = resources.endpoint_slices.iter().filter(|(slice_key, slice)| {
        slice_key.namespace == key.service.namespace
            && slice.labels().get(SERVICE_NAME) == Some(&key.service.name)
    });
    let slices: Vec<&EndpointSlice> = slices.map(|(_, slice)| slice).collect();
    let ready = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    };
    // When all are on their way out, those that still serve are better than none (KEP-1669).
    let serving = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.serving).unwrap_or(true)
    };
    let mut endpoints = collect(&slices, service, key.port, ready);
    if endpoints.is_empty() {
        endpoints = collect(&slices, service, key.port, serving);
    }
    Endpoints { service: name, endpoints }
}

fn collect(
    slices: &[&EndpointSlice],
    service: &Service,
    port: i32,
    usable: impl Fn(&k8s_openapi::api::discovery::v1::Endpoint) -> bool,
) -> Vec<Endpoint> {
    let port_name = backend::port(service, port).and_then(|port| port.name.as_deref()).unwrap_or("");
    let mut endpoints: Vec<Endpoint> = slices
        .iter()
        .filter(|slice| slice.address_type != "FQDN")
        .flat_map(|slice| {
            let ports = slice.ports.iter().flatten();
            let ports = ports.filter(|port| port.name.as_deref().unwrap_or("") == port_name);
            let ports: Vec<u32> = ports.filter_map(|port| u32::try_from(port.port?).ok()).collect();
            let addresses = slice.endpoints.iter().filter(|endpoint| usable(endpoint));
            let addresses = addresses.flat_map(|endpoint| &endpoint.addresses);
            addresses
                .flat_map(|address| {
                    ports.iter().map(move |port| Endpoint { address: address.clone(), port: *port })
                })
                .collect::<Vec<_>>()
        })
        .collect();
    endpoints.sort_by(|a, b| (&a.address, a.port).cmp(&(&b.address, b.port)));
    endpoints.dedup();
    endpoints
}
