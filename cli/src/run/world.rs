//! The objects of the folder, and what is added to them as a cluster would.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use gatehouse_controller::{
    fetch::JwksState,
    resources::{ObjectKey, Resources, SERVICE_NAME, service_of},
    translate::{self, ConditionType, ImpliedGateways, ObjectId, Translation},
};
use gatehouse_crds::{Listener, RolloutStatus};
use gatehouse_dataplane::ListenPort;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use crate::{
    args::EndpointArg,
    development::{Certificates, add_classes},
    manifests::{Folder, Identity, Problem},
    offline,
};

#[derive(Debug)]
pub(crate) struct World {
    endpoints: Vec<EndpointArg>,
    certificates: Certificates,
    resources: Resources,
    /// Gateways that Ingresses stand for.
    implied: ImpliedGateways,
    /// What ListenerSets add to Gateways.
    joined: BTreeMap<ObjectKey, Vec<Listener>>,
    /// Objects that do not have the shape of their kind.
    problems: Vec<Problem>,
    /// What was done in place of the user, and what is worth knowing.
    notes: BTreeSet<String>,
}

impl World {
    pub(super) fn new(endpoints: &[EndpointArg]) -> Self {
        World {
            endpoints: endpoints.to_vec(),
            certificates: Certificates::default(),
            resources: Resources::default(),
            implied: ImpliedGateways::new(),
            joined: BTreeMap::new(),
            problems: Vec::new(),
            notes: BTreeSet::new(),
        }
    }

    pub(super) fn build(&mut self, folder: &Folder, jwks: BTreeMap<String, JwksState>) {
        (self.resources, self.problems) = offline::resources(folder);
        self.resources.jwks = jwks;
        self.notes.clear();
        add_classes(&mut self.resources);
        self.implied = translate::implied_gateways(&self.resources, &offline::settings());
        let is_meant = |secret: &ObjectKey| folder.has_refused(&Identity::new("Secret", secret));
        for secret in self.certificates.add_missing(&mut self.resources, &self.implied, is_meant) {
            self.notes.insert(format!(
                "Secret {secret} does not exist: a self-signed certificate for development takes its place"
            ));
        }
        self.add_endpoints();
        self.note_services_without_endpoints();
    }

    /// What was given by hand takes the place of what the folder says.
    fn add_endpoints(&mut self) {
        let given: BTreeSet<ObjectKey> = self.endpoints.iter().map(EndpointArg::key).collect();
        self.resources
            .endpoint_slices
            .retain(|_, slice| !service_of(slice).is_some_and(|service| given.contains(&service)));
        for key in &given {
            let external = self.resources.services.get_mut(key).filter(|service| is_external_name(service));
            if let Some(spec) = external.and_then(|service| service.spec.as_mut()) {
                spec.type_ = None;
            }
        }
        for endpoint in &self.endpoints {
            let key = endpoint.key();
            let service = self.resources.services.get(&key);
            let slice = service.and_then(|service| slice(endpoint, service));
            let Some(slice) = slice else {
                let port = endpoint.port.map_or_else(String::new, |port| format!(" with port {port}"));
                self.notes.insert(format!("--endpoint {endpoint}: there is no Service {key}{port}"));
                continue;
            };
            if let Err(error) = self.resources.apply(slice) {
                tracing::error!(%key, %error, "endpoint");
            }
        }
    }

    fn note_services_without_endpoints(&mut self) {
        let slices = &self.resources.endpoint_slices;
        let served: BTreeSet<ObjectKey> = slices.values().filter_map(service_of).collect();
        let unserved = self.resources.services.iter().filter(|(key, _)| !served.contains(*key));
        let unserved = unserved.filter(|(_, service)| !is_external_name(service));
        self.notes.extend(unserved.map(|(key, _)| {
            format!("Service {key} has no endpoints: give an EndpointSlice or --endpoint {key}=HOST:PORT")
        }));
    }

    /// What became of rollouts stands in the objects, as an API server would have it.
    pub(super) fn set_rollouts(&mut self, rollouts: &BTreeMap<ObjectKey, Vec<RolloutStatus>>) {
        for (key, statuses) in rollouts {
            if let Some(route) = self.resources.gateway_routes.get_mut(key) {
                route.status.get_or_insert_default().rollouts.clone_from(statuses);
            }
        }
    }

    pub(super) fn resources(&self) -> &Resources {
        &self.resources
    }

    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(super) fn notes(&self) -> &BTreeSet<String> {
        &self.notes
    }

    /// What translation made of ListenerSets.
    pub(super) fn join(&mut self, joined: BTreeMap<ObjectKey, Vec<Listener>>) {
        self.joined = joined;
    }

    fn listeners(&self, gateway: &ObjectKey) -> impl Iterator<Item = &Listener> {
        let implied = self.implied.get(gateway).map(|(gateway, _)| gateway);
        let own = implied
            .or_else(|| self.resources.gateways.get(gateway))
            .map_or(&[][..], |gateway| &gateway.spec.listeners);
        own.iter().chain(self.joined.get(gateway).into_iter().flatten())
    }

    /// As the Gateway or ListenerSet says.
    pub(super) fn protocol(&self, gateway: &ObjectKey, listener: &str) -> Option<&str> {
        let mut listeners = self.listeners(gateway);
        listeners.find(|known| known.name == listener).map(|listener| listener.protocol.as_str())
    }

    /// PEM, if it was made for development.
    pub(crate) fn certificate(&self, secret: &ObjectKey) -> Option<&str> {
        self.certificates.certificate(secret)
    }

    /// By the listener's name.
    pub(super) fn listener_addresses(
        &self,
        gateway: &ObjectKey,
        open: &BTreeMap<ListenPort, SocketAddr>,
    ) -> BTreeMap<String, SocketAddr> {
        self.listeners(gateway)
            .filter_map(|listener| {
                let number = u16::try_from(listener.port).ok()?;
                let is_udp = listener.protocol == "UDP";
                let port = if is_udp { ListenPort::Udp(number) } else { ListenPort::Tcp(number) };
                Some((listener.name.clone(), *open.get(&port)?))
            })
            .collect()
    }

    /// A listener whose certificate is there and can't be used.
    pub(super) fn unusable_certificate(
        &self,
        gateway: &ObjectKey,
        translation: &Translation,
    ) -> Option<(String, String)> {
        let status = translation.statuses.0.get(&ObjectId { kind: "Gateway", key: gateway.clone() })?;
        status.listeners.iter().find_map(|listener| {
            let condition = listener.conditions.iter().find(|condition| {
                condition.kind == ConditionType::ResolvedRefs && condition.reason == "InvalidCertificateRef"
            })?;
            (!condition.status).then(|| (listener.name.clone(), condition.message.clone()))
        })
    }
}

/// Its addresses are what DNS says.
fn is_external_name(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName")
}

/// `None`: the Service has no such port.
fn slice(endpoint: &EndpointArg, service: &Service) -> Option<serde_json::Value> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let ports: Vec<_> = ports
        .filter(|port| endpoint.port.is_none_or(|wanted| wanted == port.port))
        .map(|port| json!({"name": port.name.as_deref().unwrap_or(""), "port": endpoint.address.port()}))
        .collect();
    if ports.is_empty() {
        return None;
    }
    let family = match endpoint.address.ip() {
        IpAddr::V4(_) => "IPv4",
        IpAddr::V6(_) => "IPv6",
    };
    Some(json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": endpoint.namespace,
            // One for each that was given.
            "name": endpoint.to_string(),
            "labels": {SERVICE_NAME: endpoint.service},
        },
        "addressType": family,
        "ports": ports,
        "endpoints": [{"addresses": [endpoint.address.ip().to_string()]}],
    }))
}
