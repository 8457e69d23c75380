//! The addresses behind Services, from EndpointSlices. They come and go with pods, so they can be had by themselves:
//! nothing else of a configuration depends on them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use gatehouse_proto::config::v1::{self, resource::Kind};
use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::{Endpoint, EndpointSlice},
};
use kube::ResourceExt;

use super::{Contents, backend, backend::BackendKey, names};
use crate::resources::{ObjectKey, Resources, SERVICE_NAME};

/// The endpoints of one backend, named as its `Service` resource is (`service/NAMESPACE/NAME/PORT`), under their own
/// resource name. `None` if it is no such name.
pub(super) fn endpoints(resources: &Resources, service: &str) -> Option<(String, v1::Endpoints)> {
    let backend = parse(service)?;
    let slices: Vec<&EndpointSlice> = resources.slices_of(&backend.service).collect();
    Some((names::endpoints(&backend), of(&backend, &slices, resources)))
}

/// The backends of a configuration that are ports of this Service, named as their `Service` resources are.
pub(super) fn backends_of(config: &Contents, service: &ObjectKey) -> Vec<Arc<str>> {
    super::named(config, &names::service_ports(service))
}

/// Adds the endpoints of every Service in the configurations.
pub(super) fn emit(resources: &Resources, configs: &mut BTreeMap<ObjectKey, Contents>) {
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
            config.insert(names::endpoints(&key).into(), Kind::Endpoints(endpoints).into());
        }
    }
}

/// The inverse of [`names::service`].
fn parse(name: &str) -> Option<BackendKey> {
    name.strip_prefix("service/")?.parse().ok()
}

fn of(key: &BackendKey, slices: &[&EndpointSlice], resources: &Resources) -> v1::Endpoints {
    let service = names::service(key);
    let object = resources.services.get(&key.service);
    let port = object.and_then(|service| backend::port(service, key.port, key.spoken));
    let Some(port) = port else { return v1::Endpoints { service, ..v1::Endpoints::default() } };
    let port = port.name.as_deref().unwrap_or("");
    let mut found = collect(slices, port, is_ready);
    if found.is_empty() {
        // When all are on their way out, those that still serve are better than none (KEP-1669).
        found = collect(slices, port, is_leaving);
    }
    // As kube-proxy has it: hints count if nobody lacks them (KEP-2433). The cluster gives them where the Service asks for it.
    let is_hinted = !found.is_empty() && found.values().all(|zones| !zones.hinted.is_empty());
    let endpoint = |((address, port), zones): ((IpAddr, u16), Zones<'_>)| v1::Endpoint {
        address: address.to_string(),
        port: port.into(),
        zones: if is_hinted { zones.hinted } else { zones.own }.into_iter().map(ToOwned::to_owned).collect(),
    };
    v1::Endpoints {
        service,
        prefer_zone: is_hinted || object.is_some_and(prefers_zone),
        endpoints: found.into_iter().map(endpoint).collect(),
    }
}

/// What it says to all that send to it (KEP-4444, KEP-3015). Nearer than the zone is not told apart.
fn prefers_zone(service: &Service) -> bool {
    let distribution = service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref());
    matches!(distribution, Some("PreferClose" | "PreferSameZone" | "PreferSameNode"))
}

/// Of an address and port.
#[derive(Debug, Default)]
struct Zones<'a> {
    own: BTreeSet<&'a str>,
    hinted: BTreeSet<&'a str>,
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

/// In their order, each once.
fn collect<'a>(
    slices: &[&'a EndpointSlice],
    port_name: &str,
    usable: fn(&Endpoint) -> bool,
) -> BTreeMap<(IpAddr, u16), Zones<'a>> {
    let mut found = BTreeMap::<_, Zones<'a>>::new();
    for slice in slices.iter().filter(|slice| slice.address_type != "FQDN") {
        let ports = slice.ports.iter().flatten();
        let ports = ports.filter(|port| port.name.as_deref().unwrap_or("") == port_name);
        let ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
        for endpoint in slice.endpoints.iter().filter(|endpoint| usable(endpoint)) {
            let hints = endpoint.hints.iter().flat_map(|hints| hints.for_zones.iter().flatten());
            // One that is none would make a dataplane refuse all of them.
            let addresses = endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok());
            for address in addresses {
                for port in &ports {
                    let zones = found.entry((address, *port)).or_default();
                    zones.own.extend(endpoint.zone.as_deref().filter(|zone| !zone.is_empty()));
                    zones.hinted.extend(hints.clone().map(|hint| hint.name.as_str()));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
