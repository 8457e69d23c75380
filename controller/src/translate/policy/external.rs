//! A Service that says whether requests may pass.

use gatehouse_crds::{
    ExternalAuthFailure, ExternalAuthProtocol, ExternalAuthVerb, ExternalMethod, GROUP, parse_duration,
};
use gatehouse_proto::config::v1::{self, UpstreamProtocol};

use super::BackendTls;
use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        backend::{self, BackendKey, Spoken},
        check,
        conditions::{Problem, reason},
        grant, names,
    },
};

/// What every question has, or only the gateway says.
const OWN_HEADERS: [&str; 3] = ["host", "x-request-id", "expect"];

/// The Service that a method asks, whether or not it is there.
pub(super) fn service(external: &ExternalMethod, policy: &ObjectKey) -> ObjectKey {
    let backend = &external.backend_ref;
    ObjectKey::new(backend.namespace.as_deref().unwrap_or(&policy.namespace), &backend.name)
}

pub(super) fn compile(
    external: &ExternalMethod,
    place: &str,
    policy: &ObjectKey,
    backend_tls: &BackendTls,
    resources: &Resources,
) -> Result<(v1::ExternalAuth, v1::Service), Problem> {
    let (key, service) = resolve(external, policy, backend_tls, resources).map_err(|problem| {
        Problem::new(problem.reason, format!("{place}.backendRef: {}", problem.message))
    })?;
    let invalid =
        |field: &str, what: String| Problem::new(reason::INVALID, format!("{place}.{field}: {what}"));
    check::path(&external.path).map_err(|what| invalid("path", what))?;
    let milliseconds = |field: &str, text: &str| {
        let duration = parse_duration(text).map_err(|error| invalid(field, error.to_string()))?;
        Ok::<_, Problem>(u32::try_from(duration.as_millis()).unwrap_or(u32::MAX))
    };
    let forward = match &*external.forward_headers {
        [] if external.protocol == ExternalAuthProtocol::Http => {
            vec!["Authorization".to_owned(), "Cookie".to_owned()]
        }
        given => given.to_vec(),
    };
    let is_ours = |name: &String| {
        let name = name.to_ascii_lowercase();
        check::header_name(&name).is_err()
            || OWN_HEADERS.contains(&&*name)
            || ["x-forwarded", "x-consumer", "x-real-ip"].iter().any(|owned| name.starts_with(owned))
    };
    let identity = external.identity_header.iter();
    for (field, names) in [("forwardHeaders", &forward), ("copyHeaders", &external.copy_headers)] {
        if let Some(name) = names.iter().find(|name| is_ours(name)) {
            return Err(invalid(field, format!("the gateway itself sets {name}")));
        }
    }
    if let Some(name) = identity.clone().find(|name| check::token(name).is_err()) {
        return Err(invalid("identityHeader", format!("{name:?} is no header name")));
    }
    let (namespace, name) = (&key.service.namespace, &key.service.name);
    let wire = v1::ExternalAuth {
        host: format!("{name}.{namespace}.svc:{}", key.port),
        service: names::service(&key),
        path: external.path.clone(),
        head: external.method == ExternalAuthVerb::Head,
        forward_headers: forward,
        copy_headers: external.copy_headers.clone(),
        identity_header: external.identity_header.clone().unwrap_or_default(),
        timeout_ms: milliseconds("timeout", &external.timeout)?,
        allow_on_failure: external.failure_mode == ExternalAuthFailure::Allow,
        cache_ms: external.cache_ttl.as_deref().map_or(Ok(0), |ttl| milliseconds("cacheTTL", ttl))?,
    };
    Ok((wire, service))
}

/// The problem does not name the field.
fn resolve(
    external: &ExternalMethod,
    policy: &ObjectKey,
    backend_tls: &BackendTls,
    resources: &Resources,
) -> Result<(BackendKey, v1::Service), Problem> {
    let service = self::service(external, policy);
    let from = grant::From { group: GROUP, kind: "AuthPolicy", namespace: &policy.namespace };
    if !grant::permits(resources, from, "", "Service", &service) {
        let message = format!(
            "no ReferenceGrant in namespace {} lets an AuthPolicy of {} use Service {}",
            service.namespace, policy.namespace, service.name
        );
        return Err(Problem::new(reason::REF_NOT_PERMITTED, message));
    }
    let number = external.backend_ref.port;
    let found = resources.services.get(&service);
    let object = found.ok_or_else(|| {
        Problem::new(reason::BACKEND_NOT_FOUND, format!("Service {service} does not exist"))
    })?;
    if object.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName") {
        let message = format!(
            "Service {service} is an ExternalName, which can't be asked: use a Service with endpoints"
        );
        return Err(Problem::new(reason::UNSUPPORTED_VALUE, message));
    }
    let port = backend::port(object, number, Spoken::Auth).ok_or_else(|| {
        Problem::new(reason::BACKEND_NOT_FOUND, format!("Service {service} has no port {number}"))
    })?;
    let tls = backend_tls.of(&service, port.name.as_deref()).transpose()?;
    let said = port.app_protocol.as_deref().unwrap_or("");
    let protocol = match said.strip_prefix("kubernetes.io/").unwrap_or(said) {
        "https" | "tls" | "wss" if tls.is_none() => {
            let message = format!(
                "port {number} of Service {service} has appProtocol {said}, and no BackendTLSPolicy says how to verify what is \
                 behind it"
            );
            return Err(Problem::new(reason::UNSUPPORTED_PROTOCOL, message));
        }
        "h2c" => UpstreamProtocol::H2c,
        _ if external.protocol == ExternalAuthProtocol::Grpc => UpstreamProtocol::H2c,
        _ => UpstreamProtocol::Http1,
    };
    let spoken = match external.protocol {
        ExternalAuthProtocol::Http => Spoken::Auth,
        ExternalAuthProtocol::Grpc => Spoken::AuthGrpc,
    };
    let key = BackendKey { service, port: number, spoken };
    Ok((key, v1::Service { protocol: protocol.into(), tls, ..v1::Service::default() }))
}
