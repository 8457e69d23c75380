//! Backend references: the Service, its protocol, and whether the route may use it.

use std::{fmt, str::FromStr};

use gatehouse_proto::config::v1::{self, UpstreamProtocol};
use k8s_openapi::api::core::v1::{Service, ServicePort};

use super::{
    conditions::{Problem, reason},
    grant,
    input::{BackendInput, RouteInput},
};
use crate::resources::{ObjectKey, Resources};

const GRPC: &str = "/h2c";

/// A Service and one of its ports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BackendKey {
    pub(super) service: ObjectKey,
    pub(super) port: i32,
    /// gRPC is spoken to it, although its Service does not say so: it is another backend than the one that others
    /// speak HTTP/1 to.
    pub(super) is_grpc: bool,
}

/// What follows the kind in the names of its resources.
impl fmt::Display for BackendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}{}", self.service, self.port, if self.is_grpc { GRPC } else { "" })
    }
}

/// Not what a [`BackendKey`] is shown as.
pub(super) struct NoBackend;

impl FromStr for BackendKey {
    type Err = NoBackend;

    fn from_str(text: &str) -> Result<Self, NoBackend> {
        let plain = text.strip_suffix(GRPC);
        let mut parts = plain.unwrap_or(text).splitn(3, '/');
        let mut next = || parts.next().ok_or(NoBackend);
        let service = ObjectKey::new(next()?, next()?);
        Ok(BackendKey { service, port: next()?.parse().map_err(|_| NoBackend)?, is_grpc: plain.is_some() })
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
    let (found, wanted) = match (reference.port, backend.port_name) {
        (Some(port), _) => (self::port(object, port), port.to_string()),
        (None, Some(name)) => (named_port(object, name), name.to_owned()),
        (None, None) => {
            let message = format!("port of Service {service} is missing");
            return Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
        }
    };
    let Some(found) = found else {
        let message = format!("Service {service} has no port {wanted}");
        return Err(Problem::new(reason::BACKEND_NOT_FOUND, message));
    };
    let port = found.port;
    let (protocol, is_grpc) = match found.app_protocol.as_deref() {
        Some("kubernetes.io/h2c") => (UpstreamProtocol::H2c, false),
        // Plain text is not what such a port understands, and not what its owner wants on the wire. What is on a stream is
        // between client and backend.
        Some(secure @ ("https" | "tls" | "kubernetes.io/wss")) if !route.is_stream => {
            let message = format!(
                "port {port} of Service {service} has appProtocol {secure}, and TLS to backends is not served"
            );
            return Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
        }
        // gRPC is HTTP/2, whether the Service says so or not.
        _ if route.is_grpc => (UpstreamProtocol::H2c, true),
        _ => (UpstreamProtocol::Http1, false),
    };
    Ok((BackendKey { service, port, is_grpc }, v1::Service { protocol: protocol.into() }))
}

pub(super) fn port(service: &Service, port: i32) -> Option<&ServicePort> {
    service.spec.as_ref()?.ports.iter().flatten().find(|known| known.port == port)
}

fn named_port<'a>(service: &'a Service, name: &str) -> Option<&'a ServicePort> {
    service.spec.as_ref()?.ports.iter().flatten().find(|known| known.name.as_deref() == Some(name))
}
