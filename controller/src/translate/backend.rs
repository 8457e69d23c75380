//! Backend references: the Service, its protocol, and whether the route may use it.

use std::{fmt, str::FromStr};

use gatehouse_proto::config::v1::{self, UpstreamProtocol};
use k8s_openapi::api::core::v1::{Service, ServicePort};

use super::{
    conditions::{Problem, reason},
    grant,
    input::{BackendInput, RouteInput, Takes},
};
use crate::resources::{ObjectKey, Resources};

/// A Service and one of its ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BackendKey {
    pub(super) service: ObjectKey,
    pub(super) port: i32,
    pub(super) spoken: Spoken,
}

/// What is spoken to a port, beyond what its number tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spoken {
    /// What its Service says, over TCP.
    AsSaid,
    /// gRPC, although its Service does not say so: it is another backend than the one that others speak HTTP/1 to.
    Grpc,
    /// Datagrams, whose ports have numbers of their own.
    Udp,
}

impl Spoken {
    /// In names of resources. Empty for the first.
    const SUFFIXES: [(Spoken, &str); 3] =
        [(Spoken::AsSaid, ""), (Spoken::Grpc, "/h2c"), (Spoken::Udp, "/udp")];

    fn suffix(self) -> &'static str {
        Self::SUFFIXES.iter().find(|(spoken, _)| *spoken == self).map_or("", |(_, suffix)| suffix)
    }
}

/// What follows the kind in the names of its resources.
impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.service, self.port, self.spoken.suffix())
    }
}

/// Not what a [`BackendKey`] is shown as.
pub(super) struct NoBackend;

impl FromStr for BackendKey {
    type Err = NoBackend;

    fn from_str(text: &str) -> Result<Self, NoBackend> {
        let mut parts = text.splitn(3, '/');
        let mut next = || parts.next().ok_or(NoBackend);
        let service = ObjectKey::new(next()?, next()?);
        let port = next()?;
        let digits = port.find('/').map_or(port, |end| &port[..end]);
        let (spoken, _) = Spoken::SUFFIXES
            .into_iter()
            .find(|(_, suffix)| *suffix == &port[digits.len()..])
            .ok_or(NoBackend)?;
        Ok(BackendKey { service, port: digits.parse().map_err(|_| NoBackend)?, spoken })
    }
}

pub(super) fn resolve(
    backend: &BackendInput<'_>,
    route: &RouteInput<'_>,
    resources: &Resources,
) -> Result<(BackendKey, v1::Service), Problem> {
    find(backend, route, resources).map_err(|problem| {
        Problem::new(problem.reason, format!("{}: {}", route.backend_field, problem.message))
    })
}

/// The problem does not name the field.
fn find(
    backend: &BackendInput<'_>,
    route: &RouteInput<'_>,
    resources: &Resources,
) -> Result<(BackendKey, v1::Service), Problem> {
    let reference = backend.reference;
    let group = reference.group.as_deref().unwrap_or("");
    let kind = reference.kind.as_deref().unwrap_or("Service");
    if (group, kind) != ("", "Service") {
        let message = format!("{kind} {} is not a Service", reference.name);
        return Err(Problem::new(reason::INVALID_KIND, message));
    }
    let namespace = reference.namespace.as_deref().unwrap_or(&route.key.namespace);
    let service = ObjectKey::new(namespace, &reference.name);
    let from = grant::From { group: route.group, kind: route.kind, namespace: &route.key.namespace };
    if !grant::permits(resources, from, "", "Service", &service) {
        let message = format!(
            "no ReferenceGrant in namespace {namespace} lets a {} of {} use Service {}",
            route.kind, route.key.namespace, reference.name
        );
        return Err(Problem::new(reason::REF_NOT_PERMITTED, message));
    }
    let Some(object) = resources.services.get(&service) else {
        let message = format!("Service {service} does not exist");
        return Err(Problem::new(reason::BACKEND_NOT_FOUND, message));
    };
    if object.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        // What it names is outside of what a namespace may grant (CVE-2021-25740).
        let message = format!("Service {service} is an ExternalName, which is not served");
        return Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
    }
    let spoken = if route.takes == Takes::Datagrams { Spoken::Udp } else { Spoken::AsSaid };
    let (found, wanted) = match (reference.port, backend.port_name) {
        (Some(port), _) => (self::port(object, port, spoken), port.to_string()),
        (None, Some(name)) => (named_port(object, name), name.to_owned()),
        (None, None) => {
            let message = format!("port of Service {service} is missing");
            return Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
        }
    };
    let Some(found) = found else {
        let transport = if spoken == Spoken::Udp { "UDP " } else { "" };
        let message = format!("Service {service} has no {transport}port {wanted}");
        return Err(Problem::new(reason::BACKEND_NOT_FOUND, message));
    };
    let port = found.port;
    let (protocol, spoken) = match found.app_protocol.as_deref() {
        Some("kubernetes.io/h2c") => (UpstreamProtocol::H2c, spoken),
        // Plain text is not what such a port understands, and not what its owner wants on the wire. What is on a stream is
        // between client and backend.
        Some(secure @ ("https" | "tls" | "kubernetes.io/wss")) if !route.takes.is_raw() => {
            let message = format!(
                "port {port} of Service {service} has appProtocol {secure}, and TLS to backends is not served"
            );
            return Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
        }
        // gRPC is HTTP/2, whether the Service says so or not.
        _ if route.takes == Takes::Calls => (UpstreamProtocol::H2c, Spoken::Grpc),
        _ => (UpstreamProtocol::Http1, spoken),
    };
    Ok((BackendKey { service, port, spoken }, v1::Service { protocol: protocol.into() }))
}

pub(super) fn port(service: &Service, port: i32, spoken: Spoken) -> Option<&ServicePort> {
    let is_udp = |port: &ServicePort| port.protocol.as_deref() == Some("UDP");
    let mut ports = service.spec.as_ref()?.ports.iter().flatten();
    ports.find(|known| known.port == port && is_udp(known) == (spoken == Spoken::Udp))
}

fn named_port<'a>(service: &'a Service, name: &str) -> Option<&'a ServicePort> {
    service.spec.as_ref()?.ports.iter().flatten().find(|known| known.name.as_deref() == Some(name))
}
