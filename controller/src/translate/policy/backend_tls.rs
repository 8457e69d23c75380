//! BackendTLSPolicies (GEP-1897): how the backends behind a port of a Service must prove who they are, and what became of
//! each policy.
//!
//! Where the one that counts can't verify anything, the backend is not spoken to.

use std::collections::BTreeMap;

use gatehouse_crds::{BackendTlsPolicy, SubjectAltName, TargetRef, TypedRef};
use gatehouse_proto::config::v1::{self, subject_name::Kind as NameKind};
use rustls_pki_types::DnsName;

use super::{Findings, services::OfServices};
use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        authorities,
        conditions::{Problem, reason},
        status::ObjectStatus,
    },
};

/// All of them.
#[derive(Debug, Default)]
pub(in crate::translate) struct BackendTls {
    services: OfServices,
    compiled: BTreeMap<ObjectKey, (v1::UpstreamTls, Findings)>,
}

impl BackendTls {
    pub(super) fn new(resources: &Resources) -> Self {
        let policies: Vec<(&ObjectKey, &BackendTlsPolicy, Vec<TargetRef>)> = resources
            .backend_tls_policies
            .iter()
            .map(|(key, policy)| (key, policy, services(policy)))
            .collect();
        BackendTls {
            services: OfServices::new(
                policies.iter().map(|(key, policy, targets)| (*key, *policy, &**targets)),
            ),
            compiled: policies
                .iter()
                .map(|(key, policy, _)| ((*key).clone(), compile(key, policy, resources)))
                .collect(),
        }
    }

    /// What the backends behind a port are verified by. `None`: no policy is for it. The problem is a whole sentence.
    pub(in crate::translate) fn of(
        &self,
        service: &ObjectKey,
        port: Option<&str>,
    ) -> Option<Result<v1::UpstreamTls, Problem>> {
        let policy = self.services.at(service, port)?;
        let (tls, findings) = self.compiled.get(policy)?;
        Some(match &findings.unaccepted {
            None => Ok(tls.clone()),
            Some(problem) => {
                let message = format!("BackendTLSPolicy {policy} can't be used: {}", problem.message);
                Err(Problem::new(reason::INVALID, message))
            }
        })
    }

    /// Policies that target the port or its whole Service, whether or not they count there.
    pub(in crate::translate) fn targeting(&self, service: &ObjectKey, port: Option<&str>) -> Vec<ObjectKey> {
        self.services.targeting(service, port)
    }

    /// `gateways`: those whose routes lead to what it targets.
    pub(in crate::translate) fn status<'a>(
        &self,
        policy: &ObjectKey,
        gateways: impl IntoIterator<Item = &'a ObjectKey>,
    ) -> Option<ObjectStatus> {
        let (_, findings) = self.compiled.get(policy)?;
        Some(self.services.status(policy, findings, gateways))
    }
}

/// Targets of other kinds are none of ours.
fn services(policy: &BackendTlsPolicy) -> Vec<TargetRef> {
    let targets = policy.spec.target_refs.iter();
    targets
        .filter(|target| (target.group.as_str(), target.kind.as_str()) == ("", "Service"))
        .map(|target| TargetRef {
            group: target.group.clone(),
            kind: target.kind.clone(),
            name: target.name.clone(),
            section_name: target.section_name.clone().filter(|name| !name.is_empty()),
        })
        .collect()
}

fn compile(key: &ObjectKey, policy: &BackendTlsPolicy, resources: &Resources) -> (v1::UpstreamTls, Findings) {
    let validation = &policy.spec.validation;
    let mut roots = Vec::new();
    let mut problems = Vec::new();
    for reference in &validation.ca_certificate_refs {
        match trusted(reference, &key.namespace, resources) {
            Ok(found) => roots.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    let mut findings = Findings { unresolved: Problem::join(problems), ..Findings::default() };
    let well_known = validation.well_known_ca_certificates.as_deref().filter(|name| !name.is_empty());
    if roots.is_empty() && well_known.is_none() {
        let message = match &findings.unresolved {
            Some(problem) => problem.message.clone(),
            None => "validation.caCertificateRefs is empty".to_owned(),
        };
        findings.unaccepted = Some(Problem::new(reason::NO_VALID_CA_CERTIFICATE, message));
    }
    let mut refuse = |message: String| {
        findings.unaccepted.get_or_insert(Problem::new(reason::INVALID, message));
    };
    if let Some(name) = well_known.filter(|name| *name != "System") {
        refuse(format!("validation.wellKnownCACertificates: {name} is not known: use System"));
    }
    if DnsName::try_from(validation.hostname.as_str()).is_err() {
        refuse(format!("validation.hostname: {:?} is no host name", validation.hostname));
    }
    let mut subject_names = Vec::new();
    for name in &validation.subject_alt_names {
        match subject_name(name) {
            Ok(kind) => subject_names.push(v1::SubjectName { kind: Some(kind) }),
            Err(message) => refuse(message),
        }
    }
    let tls = v1::UpstreamTls {
        server_name: validation.hostname.clone(),
        roots,
        public_roots: well_known.is_some(),
        subject_names,
    };
    (tls, findings)
}

fn trusted(reference: &TypedRef, namespace: &str, resources: &Resources) -> Result<Vec<Vec<u8>>, Problem> {
    let told = |message: String| format!("validation.caCertificateRefs: {message}");
    if (reference.group.as_str(), reference.kind.as_str()) != ("", "ConfigMap") {
        let message = format!("{} {} is no ConfigMap", reference.kind, reference.name);
        return Err(Problem::new(reason::INVALID_KIND, told(message)));
    }
    authorities::read(&ObjectKey::new(namespace, &reference.name), resources)
        .map_err(|message| Problem::new(reason::INVALID_CA_CERTIFICATE_REF, told(message)))
}

fn subject_name(name: &SubjectAltName) -> Result<NameKind, String> {
    match (name.kind.as_str(), &name.hostname, &name.uri) {
        ("Hostname", Some(host), _) if DnsName::try_from(host.strip_prefix("*.").unwrap_or(host)).is_ok() => {
            Ok(NameKind::Hostname(host.clone()))
        }
        ("Hostname", host, _) => {
            let host = host.as_deref().unwrap_or("");
            Err(format!("validation.subjectAltNames: {host:?} is no host name"))
        }
        ("URI", _, Some(uri)) if !uri.is_empty() => Ok(NameKind::Uri(uri.clone())),
        ("URI", ..) => Err("validation.subjectAltNames: uri is missing".into()),
        (other, ..) => Err(format!("validation.subjectAltNames: type {other:?}: use Hostname or URI")),
    }
}
