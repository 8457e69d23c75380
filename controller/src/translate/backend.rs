//! Backend references: the Service, its protocol, and whether the route may use it.

use std::{borrow::Cow, collections::BTreeSet, fmt, str::FromStr};

use gatehouse_proto::config::v1::{self, UpstreamProtocol};
use k8s_openapi::api::core::v1::{Service, ServicePort};

use super::{
    conditions::{Problem, reason},
    external_name, grant,
    input::{BackendInput, RouteInput, Takes},
    policy::{OfBackend, Policies},
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
    /// Questions whether requests may pass. Routes that lead to the same port come and go without it.
    Auth,
    /// The same by gRPC.
    AuthGrpc,
}

impl Spoken {
    /// In names of resources. Empty for the first.
    const SUFFIXES: [(Spoken, &str); 5] = [
        (Spoken::AsSaid, ""),
        (Spoken::Grpc, "/h2c"),
        (Spoken::Udp, "/udp"),
        (Spoken::Auth, "/auth"),
        (Spoken::AuthGrpc, "/h2c/auth"),
    ];

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
#[derive(Debug)]
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

/// `field` is where the reference stands, for messages; `of_backend` gets the policies that are for the backend.
pub(super) fn resolve(
    field: &str,
    backend: &BackendInput<'_>,
    route: &RouteInput<'_>,
    policies: &Policies,
    resources: &Resources,
    of_backend: &mut BTreeSet<OfBackend>,
) -> Result<(BackendKey, v1::Service), Problem> {
    let found = find(backend, route, resources).and_then(|Found { service, port, dns }| {
        let name = port.name.as_deref();
        let tls = policies.backend_tls.of(&service, name).transpose();
        // What is on a stream is between client and backend.
        let tls = if route.takes.is_raw() {
            tls.unwrap_or_default()
        } else {
            of_backend.extend(policies.backend_tls.targeting(&service, name).into_iter().map(OfBackend::Tls));
            tls?
        };
        let (protocol, spoken) = protocol(&service, &port, tls.is_some(), route)?;
        let wire = v1::Service { protocol: protocol.into(), tls, ..v1::Service::default() };
        of_backend.extend(policies.traffic.targeting(&service, name).into_iter().map(OfBackend::Traffic));
        let mut wire = policies.traffic.apply(&service, name, wire);
        if spoken == Spoken::Udp {
            // Nothing answers a connection there.
            wire.active = None;
        }
        wire.dns = dns;
        Ok((BackendKey { service, port: port.port, spoken }, wire))
    });
    found.map_err(|problem| Problem::new(problem.reason, format!("{field}: {}", problem.message)))
}

/// A port of a Service.
struct Found<'a> {
    service: ObjectKey,
    port: Cow<'a, ServicePort>,
    /// In place of endpoints.
    dns: Option<v1::DnsName>,
}

/// The problem does not name the field.
fn find<'a>(
    backend: &BackendInput<'_>,
    route: &RouteInput<'_>,
    resources: &'a Resources,
) -> Result<Found<'a>, Problem> {
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
    let external = external_name::of(&service, object).transpose()?;
    let spoken = spoken(route);
    let (found, wanted) = match (reference.port, backend.port_name) {
        (Some(port), _) => (self::port(object, port, spoken), port.to_string()),
        (None, Some(name)) => (named_port(object, name), name.to_owned()),
        (None, None) => {
            let message = format!("port of Service {service} is missing");
            return Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
        }
    };
    if let Some(name) = external
        && let Some(asked) = reference.port.or(found.map(|port| port.port))
        && (found.is_some() || external_name::lists_no_ports(object))
    {
        let port = external_name::port(found, asked).ok_or_else(|| {
            let message = format!("Service {service} has no port {wanted} that could be connected to");
            Problem::new(reason::BACKEND_NOT_FOUND, message)
        })?;
        let unlisted = || Cow::Owned(ServicePort { port: asked, ..ServicePort::default() });
        let found = found.map_or_else(unlisted, Cow::Borrowed);
        return Ok(Found { service, port: found, dns: Some(v1::DnsName { name, port }) });
    }
    let Some(found) = found else {
        let transport = if spoken == Spoken::Udp { "UDP " } else { "" };
        let message = format!("Service {service} has no {transport}port {wanted}");
        return Err(Problem::new(reason::BACKEND_NOT_FOUND, message));
    };
    Ok(Found { service, port: Cow::Borrowed(found), dns: None })
}

fn spoken(route: &RouteInput<'_>) -> Spoken {
    if route.takes == Takes::Datagrams { Spoken::Udp } else { Spoken::AsSaid }
}

/// By the port's appProtocol (KEP-3726). A port that says TLS is never spoken to in clear text: that is not what it
/// understands, and not what its owner wants on the wire. Gives what is spoken beyond that, too.
fn protocol(
    service: &ObjectKey,
    port: &ServicePort,
    is_tls: bool,
    route: &RouteInput<'_>,
) -> Result<(UpstreamProtocol, Spoken), Problem> {
    let said = port.app_protocol.as_deref().unwrap_or("");
    let lower = said.to_ascii_lowercase();
    match lower.strip_prefix("kubernetes.io/").unwrap_or(&lower) {
        "https" | "tls" | "wss" if !is_tls && !route.takes.is_raw() => {
            let message = format!(
                "port {} of Service {service} has appProtocol {said}, and no BackendTLSPolicy says how to verify what \
                 is behind it",
                port.port
            );
            Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message))
        }
        _ if said == "kubernetes.io/h2c" => Ok((UpstreamProtocol::H2c, spoken(route))),
        // gRPC is HTTP/2, whether the Service says so or not.
        _ if route.takes == Takes::Calls => Ok((UpstreamProtocol::H2c, Spoken::Grpc)),
        _ => Ok((UpstreamProtocol::Http1, spoken(route))),
    }
}

pub(super) fn port(service: &Service, port: i32, spoken: Spoken) -> Option<&ServicePort> {
    let is_udp = |port: &ServicePort| port.protocol.as_deref() == Some("UDP");
    let mut ports = service.spec.as_ref()?.ports.iter().flatten();
    ports.find(|known| known.port == port && is_udp(known) == (spoken == Spoken::Udp))
}

fn named_port<'a>(service: &'a Service, name: &str) -> Option<&'a ServicePort> {
    service.spec.as_ref()?.ports.iter().flatten().find(|known| known.name.as_deref() == Some(name))
}
