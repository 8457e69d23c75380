//! The Services of a Gateway: the one in front of its pods, and the headless one by which the pods find each other.

use std::collections::BTreeSet;

use gatehouse_crds::{ExternalTrafficPolicy, Gateway, ServiceConfig, ServiceType};
use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{ADMIN_PORT, PEERS_PORT, identity::Identity, names};
use crate::translate;

/// One port a listener port. `None` without any: the API server knows no such Service.
pub(super) fn public(
    identity: &Identity,
    gateway: &Gateway,
    config: Option<&ServiceConfig>,
) -> Option<Service> {
    let ports = listener_ports(gateway);
    if ports.is_empty() {
        return None;
    }
    let defaults = ServiceConfig::default();
    let config = config.unwrap_or(&defaults);
    let mut metadata = identity.metadata(identity.name());
    metadata.annotations.get_or_insert_default().extend(config.annotations.clone());
    metadata.annotations = metadata.annotations.filter(|annotations| !annotations.is_empty());
    let is_load_balancer = config.kind == ServiceType::LoadBalancer;
    let is_external = config.kind != ServiceType::ClusterIp;
    let ranges = &config.load_balancer_source_ranges;
    let spec = ServiceSpec {
        type_: Some(type_name(config.kind).to_owned()),
        selector: Some(identity.selector().clone()),
        ports: Some(ports.into_iter().map(|(transport, port)| listener_port(transport, port)).collect()),
        // The schema lets each stand only with the types that know it.
        external_traffic_policy: config
            .external_traffic_policy
            .filter(|_| is_external)
            .map(|policy| policy_name(policy).to_owned()),
        // The one field for it takes one address.
        load_balancer_ip: translate::requested(gateway)
            .next()
            .filter(|_| is_load_balancer)
            .map(str::to_owned),
        load_balancer_class: config.load_balancer_class.clone().filter(|_| is_load_balancer),
        load_balancer_source_ranges: (is_load_balancer && !ranges.is_empty()).then(|| ranges.clone()),
        ..ServiceSpec::default()
    };
    Some(Service { metadata, spec: Some(spec), status: None })
}

/// A pod that is not ready has no state to give.
pub(super) fn peers(identity: &Identity) -> Service {
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        publish_not_ready_addresses: Some(false),
        selector: Some(identity.selector().clone()),
        ports: Some(vec![service_port("TCP", "peers".to_owned(), PEERS_PORT)]),
        ..ServiceSpec::default()
    };
    let metadata = identity.metadata(&names::peers_name(&identity.gateway.name));
    Service { metadata, spec: Some(spec), status: None }
}

/// Ports that the dataplane opens, with their transports. Its own are never among them: they are not for the world.
fn listener_ports(gateway: &Gateway) -> BTreeSet<(&'static str, i32)> {
    let listeners = gateway.spec.listeners.iter();
    listeners
        .filter_map(|listener| match listener.protocol.as_str() {
            "HTTP" | "HTTPS" | "TLS" | "TCP" => Some(("TCP", listener.port)),
            "UDP" => Some(("UDP", listener.port)),
            _ => None,
        })
        .filter(|(_, port)| (1..=65535).contains(port) && ![ADMIN_PORT, PEERS_PORT].contains(port))
        .collect()
}

fn listener_port(transport: &str, port: i32) -> ServicePort {
    service_port(transport, format!("{}-{port}", transport.to_ascii_lowercase()), port)
}

fn service_port(transport: &str, name: String, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name),
        port,
        target_port: Some(IntOrString::Int(port)),
        protocol: Some(transport.to_owned()),
        ..ServicePort::default()
    }
}

fn type_name(kind: ServiceType) -> &'static str {
    match kind {
        ServiceType::LoadBalancer => "LoadBalancer",
        ServiceType::ClusterIp => "ClusterIP",
        ServiceType::NodePort => "NodePort",
    }
}

fn policy_name(policy: ExternalTrafficPolicy) -> &'static str {
    match policy {
        ExternalTrafficPolicy::Cluster => "Cluster",
        ExternalTrafficPolicy::Local => "Local",
    }
}
