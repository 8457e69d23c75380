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
        ports: Some(ports.into_iter().map(|port| tcp(format!("tcp-{port}"), port)).collect()),
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
        ports: Some(vec![tcp("peers".to_owned(), PEERS_PORT)]),
        ..ServiceSpec::default()
    };
    let metadata = identity.metadata(&names::peers_name(&identity.gateway.name));
    Service { metadata, spec: Some(spec), status: None }
}

/// Ports that the dataplane opens. Its own are never among them: they are not for the world.
fn listener_ports(gateway: &Gateway) -> BTreeSet<i32> {
    let listeners = gateway.spec.listeners.iter();
    listeners
        .filter(|listener| ["HTTP", "HTTPS", "TLS", "TCP"].contains(&listener.protocol.as_str()))
        .map(|listener| listener.port)
        .filter(|port| (1..=65535).contains(port) && ![ADMIN_PORT, PEERS_PORT].contains(port))
        .collect()
}

fn tcp(name: String, port: i32) -> ServicePort {
    ServicePort {
        name: Some(name),
        port,
        target_port: Some(IntOrString::Int(port)),
        protocol: Some("TCP".to_owned()),
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
