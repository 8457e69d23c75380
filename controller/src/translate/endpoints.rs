//! The addresses behind Services, from EndpointSlices. They come and go with pods, so they can be had by themselves:
//! nothing else of a configuration depends on them.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use gatehouse_proto::config::v1::{self, resource::Kind};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::ResourceExt;

use super::{Config, backend, backend::BackendKey, names};
use crate::resources::{ObjectKey, Resources, SERVICE_NAME};

/// The endpoints of one backend, named as its `Service` resource is (`service/NAMESPACE/NAME/PORT`), under their own
/// resource name. `None` if it is no such name.
pub(super) fn endpoints(resources: &Resources, service: &str) -> Option<(String, v1::Endpoints)> {
    let backend = parse(service)?;
    let slices: Vec<&EndpointSlice> = resources.slices_of(&backend.service).collect();
    Some((names::endpoints(&backend), of(&backend, &slices, resources)))
}

/// The backends of a configuration that are ports of this Service, named as their `Service` resources are.
pub(super) fn backends_of(config: &Config, service: &ObjectKey) -> Vec<Arc<str>> {
    super::named(config, &names::service_ports(service))
}

/// Adds the endpoints of every Service in the configurations.
pub(super) fn emit(resources: &Resources, configs: &mut BTreeMap<ObjectKey, Config>) {
    let mut slices: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for (key, slice) in &resources.endpoint_slices {
        if let Some(service) = slice.labels().get(SERVICE_NAME) {
            slices.entry((&key.namespace, service)).or_default().push(slice);
        }
    }
    for config in configs.values_mut() {
        let backends: Vec<BackendKey> = config.keys().filter_map(|name| parse(name)).collect();
        for key in backends {
            let service = (key.service.namespace.as_str(), key.service.name.as_str());
            let endpoints = of(&key, slices.get(&service).map_or(&[][..], Vec::as_slice), resources);
            config.insert(names::endpoints(&key).into(), Arc::new(Kind::Endpoints(endpoints)));
        }
    }
}

/// The inverse of [`names::service`].
fn parse(name: &str) -> Option<BackendKey> {
    name.strip_prefix("service/")?.parse().ok()
}

fn of(key: &BackendKey, slices: &[&EndpointSlice], resources: &Resources) -> v1::Endpoints {
    let service = names::service(key);
    let port = resources.services.get(&key.service);
    let port = port.and_then(|service| backend::port(service, key.port, key.spoken));
    let Some(port) = port else { return v1::Endpoints { service, endpoints: Vec::new() } };
    let port = port.name.as_deref().unwrap_or("");
    let mut endpoints = collect(slices, port, is_ready);
    if endpoints.is_empty() {
        // When all are on their way out, those that still serve are better than none (KEP-1669).
        endpoints = collect(slices, port, is_leaving);
    }
    v1::Endpoints { service, endpoints }
}

/// Unknown means ready (EndpointConditions).
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

/// Terminating, and known to serve until then.
fn is_leaving(endpoint: &Endpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .is_some_and(|conditions| conditions.serving == Some(true) && conditions.terminating == Some(true))
}

fn collect(slices: &[&EndpointSlice], port_name: &str, usable: fn(&Endpoint) -> bool) -> Vec<v1::Endpoint> {
    let mut endpoints = Vec::new();
    for slice in slices.iter().filter(|slice| slice.address_type != "FQDN") {
        let ports = slice.ports.iter().flatten();
        let ports = ports.filter(|port| port.name.as_deref().unwrap_or("") == port_name);
        let ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
        let addresses = slice.endpoints.iter().filter(|endpoint| usable(endpoint));
        for address in addresses.flat_map(|endpoint| &endpoint.addresses) {
            // One that is none would make a dataplane refuse all of them.
            if let Ok(address) = address.parse::<IpAddr>() {
                endpoints.extend(ports.iter().map(|port| (address, *port)));
            }
        }
    }
    endpoints.sort_unstable();
    endpoints.dedup();
    let endpoint =
        |(address, port): (IpAddr, u16)| v1::Endpoint { address: address.to_string(), port: port.into() };
    endpoints.into_iter().map(endpoint).collect()
}

#[cfg(test)]
mod tests;
