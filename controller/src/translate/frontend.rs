//! Which clients the HTTPS listeners of a port let in (GEP-91): `spec.tls.frontend` of a Gateway.

use gatehouse_crds::{CertificateRef, FrontendTls, FrontendValidation, GATEWAY_GROUP};
use gatehouse_proto::config::v1;

use super::{
    authorities,
    conditions::{Problem, reason},
    grant,
};
use crate::resources::{ObjectKey, Resources};

/// What is asked of clients.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) validation: v1::ClientValidation,
    /// No authority is left: nobody can be let in.
    pub(super) unaccepted: Option<Problem>,
    pub(super) unresolved: Option<Problem>,
}

/// What holds for a port: its own, or the default.
pub(super) fn of_port(frontend: &FrontendTls, port: i32) -> Option<&FrontendValidation> {
    let own = frontend.per_port.iter().find(|one| one.port == port);
    own.map_or(&frontend.default, |own| &own.tls).validation.as_ref()
}

/// Some listener of the Gateway may let in whoever comes.
pub(super) fn is_insecure(frontend: &FrontendTls) -> bool {
    let ports = frontend.per_port.iter().map(|one| &one.tls);
    let mut validations = ports.chain([&frontend.default]).filter_map(|tls| tls.validation.as_ref());
    validations.any(falls_back)
}

fn falls_back(validation: &FrontendValidation) -> bool {
    validation.mode.as_deref() == Some("AllowInsecureFallback")
}

pub(super) fn resolve(validation: &FrontendValidation, namespace: &str, resources: &Resources) -> Clients {
    let mut roots = Vec::new();
    let mut problems = Vec::new();
    for reference in &validation.ca_certificate_refs {
        match trusted(reference, namespace, resources) {
            Ok(found) => roots.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    let unresolved = Problem::join(problems);
    let unaccepted = roots.is_empty().then(|| {
        let message = match &unresolved {
            Some(problem) => problem.message.clone(),
            None => "tls.frontend of the Gateway: caCertificateRefs is empty".to_owned(),
        };
        Problem::new(reason::NO_VALID_CA_CERTIFICATE, message)
    });
    let insecure_fallback = falls_back(validation);
    Clients { validation: v1::ClientValidation { roots, insecure_fallback }, unaccepted, unresolved }
}

fn trusted(
    reference: &CertificateRef,
    namespace: &str,
    resources: &Resources,
) -> Result<Vec<Vec<u8>>, Problem> {
    let problem = |reason, message| {
        Problem::new(reason, format!("tls.frontend.caCertificateRefs of the Gateway: {message}"))
    };
    let kind = reference.kind.as_deref().unwrap_or("");
    if (reference.group.as_deref().unwrap_or(""), kind) != ("", "ConfigMap") {
        let message = format!("{kind} {} is no ConfigMap", reference.name);
        return Err(problem(reason::INVALID_CA_CERTIFICATE_KIND, message));
    }
    let key = ObjectKey::new(reference.namespace.as_deref().unwrap_or(namespace), &reference.name);
    let from = grant::From { group: GATEWAY_GROUP, kind: "Gateway", namespace };
    if !grant::permits(resources, from, "", "ConfigMap", &key) {
        let message = format!(
            "no ReferenceGrant in namespace {} lets a Gateway of {namespace} use ConfigMap {}",
            key.namespace, key.name
        );
        return Err(problem(reason::REF_NOT_PERMITTED, message));
    }
    authorities::read(&key, resources).map_err(|message| problem(reason::INVALID_CA_CERTIFICATE_REF, message))
}
