//! The objects of the folder, and what is added to them as a cluster would.

use std::{collections::BTreeMap, net::SocketAddr};

use gatehouse_controller::{
    fetch::JwksState,
    resources::{ObjectKey, Resources},
    translate::{ConditionType, ObjectId, Translation},
};
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

use crate::{
    args::EndpointArg,
    development::{Certificates, add_class},
    manifests::{Folder, Problem, Severity},
};

const SERVICE_NAME: &str = "kubernetes.io/service-name";

#[derive(Debug)]
pub(crate) struct World {
    endpoints: Vec<EndpointArg>,
    certificates: Certificates,
    resources: Resources,
    /// Objects that do not have the shape of their kind.
    problems: Vec<Problem>,
}

impl World {
    pub(super) fn new(endpoints: &[EndpointArg]) -> Self {
        World {
            endpoints: endpoints.to_vec(),
            certificates: Certificates::default(),
            resources: Resources::default(),
            problems: Vec::new(),
        }
    }

    pub(super) fn build(&mut self, folder: &Folder, jwks: BTreeMap<String, JwksState>) {
        self.resources = Resources { jwks, ..Resources::default() };
        self.problems.clear();
        for object in folder.objects() {
            if let Err(error) = self.resources.apply(object.value.clone()) {
                let kind = object.value["kind"].as_str().unwrap_or("object");
                let name = object.value["metadata"]["name"].as_str().unwrap_or("");
                self.problems.push(Problem {
                    file: object.file.clone(),
                    line: object.line,
                    severity: Severity::Error,
                    message: format!("{kind} {name}: {error}"),
                });
            }
        }
        add_class(&mut self.resources);
        for secret in self.certificates.add_missing(&mut self.resources) {
            eprintln!(
                "Secret {secret} does not exist: a self-signed certificate for development takes its place"
            );
        }
        for endpoint in &self.endpoints {
            let key = ObjectKey::new(&endpoint.namespace, &endpoint.service);
            let Some(service) = self.resources.services.get(&key) else { continue };
            let slice = slice(endpoint, service);
            // What was given by hand takes the place of what the folder says.
            self.resources.endpoint_slices.retain(|slice_key, slice| {
                let of = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME));
                slice_key.namespace != key.namespace
                    || of != Some(&key.name)
                    || slice_key.name.starts_with("given-")
            });
            if let Err(error) = self.resources.apply(slice) {
                tracing::error!(%key, %error, "endpoint");
            }
        }
    }

    pub(super) fn resources(&self) -> &Resources {
        &self.resources
    }

    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// PEM, if it was made for development.
    pub(crate) fn certificate(&self, secret: &ObjectKey) -> Option<&str> {
        self.certificates.certificate(secret)
    }

    /// By the listener's name.
    pub(super) fn listener_addresses(
        &self,
        gateway: &ObjectKey,
        open: &BTreeMap<u16, SocketAddr>,
    ) -> BTreeMap<String, SocketAddr> {
        let listeners =
            self.resources.gateways.get(gateway).map_or(&[][..], |gateway| &gateway.spec.listeners);
        listeners
            .iter()
            .filter_map(|listener| {
                let port = u16::try_from(listener.port).ok()?;
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

fn slice(endpoint: &EndpointArg, service: &Service) -> serde_json::Value {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let ports: Vec<_> = ports
        .filter(|port| endpoint.port.is_none_or(|wanted| wanted == port.port))
        .map(|port| json!({"name": port.name.as_deref().unwrap_or(""), "port": endpoint.address.port()}))
        .collect();
    let family = if endpoint.address.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": endpoint.namespace,
            "name": format!("given-{}-{}", endpoint.service, endpoint.address),
            "labels": {SERVICE_NAME: endpoint.service},
        },
        "addressType": family,
        "ports": ports,
        "endpoints": [{"addresses": [endpoint.address.ip().to_string()]}],
    })
}
