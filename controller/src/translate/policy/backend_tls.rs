//! BackendTLSPolicies (GEP-1897): how the backends behind a port of a Service must prove who they are, and what became of
//! each policy.
//!
//! A policy for a port counts before one for its whole Service; of two for the same the older (GEP-713). Where the one
//! that counts can't verify anything, the backend is not spoken to.

use std::collections::BTreeMap;

use gatehouse_crds::{BackendTlsPolicy, SubjectAltName, TargetRef, TypedRef};
use gatehouse_proto::config::v1::{self, subject_name::Kind as NameKind};
use rustls_pki_types::DnsName;

use super::{
    Findings, ancestor, conditions,
    index::{Index, Target},
};
use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        authorities,
        conditions::{Problem, reason},
        status::{ObjectStatus, ParentStatus},
    },
};

/// All of them.
#[derive(Debug, Default)]
pub(in crate::translate) struct BackendTls {
    index: Index,
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
            index: Index::new(
                policies.iter().map(|(key, policy, targets)| (*key, *policy, &**targets, false)),
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
        if self.compiled.is_empty() {
            return None;
        }
        let of_port = port.and_then(|name| self.index.at(&Target::new("Service", service, Some(name))));
        let policy = of_port.or_else(|| self.index.at(&Target::new("Service", service, None)))?;
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
        if self.compiled.is_empty() {
            return Vec::new();
        }
        let is_for = |target: &TargetRef| {
            let section = target.section_name.as_deref();
            target.name == service.name && section.is_none_or(|section| Some(section) == port)
        };
        let of_service = self.index.of("Service", service);
        let of_port = of_service
            .filter(|policy| self.index.targets_of(policy).iter().any(|(target, _)| is_for(target)));
        of_port.cloned().collect()
    }

    /// `gateways`: those whose routes lead to what it targets.
    pub(in crate::translate) fn status<'a>(
        &self,
        policy: &ObjectKey,
        gateways: impl IntoIterator<Item = &'a ObjectKey>,
    ) -> Option<ObjectStatus> {
        let (_, findings) = self.compiled.get(policy)?;
        let targets = self.index.targets_of(policy);
        let lost: Vec<String> = targets
            .iter()
            .filter(|(_, winner)| *winner != policy)
            .map(|(target, winner)| {
                format!("{winner} comes before it on the same target, Service {}", target.name)
            })
            .collect();
        let conflict = (!lost.is_empty() && lost.len() == targets.len())
            .then(|| Problem::new(reason::CONFLICTED, lost.join("; ")));
        let notes = if conflict.is_some() { Vec::new() } else { lost };
        let findings = Findings { notes, ..findings.clone() };
        let parents = gateways.into_iter().map(|gateway| ParentStatus {
            parent_ref: ancestor(gateway),
            conditions: conditions(&findings, conflict.as_ref()),
            gateway: Some(gateway.clone()),
            attached: Vec::new(),
        });
        Some(ObjectStatus { parents: parents.collect(), ..ObjectStatus::default() })
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
