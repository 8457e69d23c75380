//! Which policy of one kind counts for a port of a Service, and what is told of the others.
//!
//! A policy for a port counts before one for its whole Service; of two for the same the older (GEP-713).

use gatehouse_crds::TargetRef;
use kube::ResourceExt;

use super::{
    Findings, ancestor, as_parent, conditions,
    index::{Index, Target},
};
use crate::{
    resources::{ObjectKey, Resources},
    translate::{
        conditions::{Problem, reason},
        status::{ObjectStatus, ParentStatus},
    },
};

/// By what they target.
#[derive(Debug, Default)]
pub(super) struct OfServices {
    index: Index,
    is_empty: bool,
}

impl OfServices {
    /// Policies with the Services that they target.
    pub(super) fn new<'a, P: ResourceExt + 'a>(
        policies: impl Iterator<Item = (&'a ObjectKey, &'a P, &'a [TargetRef])>,
    ) -> Self {
        let mut policies = policies.peekable();
        let is_empty = policies.peek().is_none();
        let index = Index::new(policies.map(|(key, policy, targets)| (key, policy, targets, false)));
        OfServices { index, is_empty }
    }

    /// The one that counts for the port of this name.
    pub(super) fn at(&self, service: &ObjectKey, port: Option<&str>) -> Option<&ObjectKey> {
        if self.is_empty {
            return None;
        }
        let of_port = port.and_then(|name| self.index.at(&Target::new("Service", service, Some(name))));
        of_port.or_else(|| self.index.at(&Target::new("Service", service, None)))
    }

    /// Those that target the port or its whole Service, whether or not they count there.
    pub(super) fn targeting(&self, service: &ObjectKey, port: Option<&str>) -> Vec<ObjectKey> {
        if self.is_empty {
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

    /// All that target the Service or a port of it.
    pub(super) fn of(&self, service: &ObjectKey) -> impl Iterator<Item = &ObjectKey> {
        self.index.of("Service", service)
    }

    /// `gateways`: those whose routes lead to what it targets.
    pub(super) fn status<'a>(
        &self,
        policy: &ObjectKey,
        findings: &Findings,
        gateways: impl IntoIterator<Item = &'a ObjectKey>,
    ) -> ObjectStatus {
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
        ObjectStatus { parents: parents.collect(), ..ObjectStatus::default() }
    }

    /// Entries for targets that are no Services or have no such port.
    pub(super) fn missing(
        &self,
        policy: &ObjectKey,
        findings: &Findings,
        resources: &Resources,
    ) -> Vec<ParentStatus> {
        let targets = self.index.targets_of(policy);
        let missing = targets.into_iter().filter_map(|(target, _)| {
            let service = resources.services.get(&ObjectKey::new(&policy.namespace, &target.name));
            let message = match (service, target.section_name.as_deref()) {
                (None, _) => format!("targetRefs: Service {} does not exist", target.name),
                (Some(service), Some(section)) => {
                    let mut ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
                    if ports.any(|port| port.name.as_deref() == Some(section)) {
                        return None;
                    }
                    format!("targetRefs: Service {} has no port of the name {section}", target.name)
                }
                (Some(_), None) => return None,
            };
            let problem = Problem::new(reason::TARGET_NOT_FOUND, message);
            Some(ParentStatus {
                parent_ref: as_parent(&target),
                conditions: conditions(findings, Some(&problem)),
                gateway: None,
                attached: Vec::new(),
            })
        });
        missing.collect()
    }
}
