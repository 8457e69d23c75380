//! What an object that stands in the API server is to a Gateway.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{ResourceExt, api::DynamicObject};

use crate::provision::Plan;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Ours,
    /// Ours, and on its way out.
    Going,
    /// Of a Gateway of the same name that is gone; Kubernetes collects it.
    Leftover,
    Foreign,
}

pub(super) fn standing(live: &DynamicObject, plan: &Plan) -> Standing {
    let group = |owner: &OwnerReference| owner.api_version.split('/').next().map(str::to_owned);
    let is_ours = |owner: &&OwnerReference| owner.uid == plan.owner.uid;
    let was_ours = |owner: &&OwnerReference| {
        group(owner) == group(&plan.owner) && owner.kind == plan.owner.kind && owner.name == plan.owner.name
    };
    let owners = live.owner_references();
    if owners.iter().any(|owner| is_ours(&owner)) {
        if live.metadata.deletion_timestamp.is_some() { Standing::Going } else { Standing::Ours }
    } else if owners.iter().any(|owner| was_ours(&owner)) {
        Standing::Leftover
    } else {
        Standing::Foreign
    }
}

/// A manager's last apply had a number of replicas, and nobody has written another since.
pub(super) fn owns_replicas(live: &DynamicObject, manager: &str) -> bool {
    live.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(manager)
            && entry.operation.as_deref() == Some("Apply")
            && entry.subresource.as_deref().unwrap_or("").is_empty()
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    })
}
