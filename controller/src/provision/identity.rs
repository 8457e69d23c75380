//! What all objects of a Gateway have in common: labels, annotations and their owner.

use std::collections::BTreeMap;

use gatehouse_crds::{GATEWAY_GROUP, Gateway};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use super::names;
use crate::resources::ObjectKey;

/// Which program an object is of.
const PROGRAM: &str = "app.kubernetes.io/name";
/// Who made an object.
const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "gatehouse");
/// GEP-1762: which Gateway an object is for.
pub(super) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
const GATEWAY_CLASS_NAME: &str = "gateway.networking.k8s.io/gateway-class-name";

#[derive(Debug)]
pub(super) struct Identity {
    pub(super) gateway: ObjectKey,
    pub(super) owner: OwnerReference,
    name: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    selector: BTreeMap<String, String>,
}

/// Made by us.
pub(super) fn is_labelled(object: &impl ResourceExt) -> bool {
    object.labels().get(MANAGED_BY.0).is_some_and(|manager| manager == MANAGED_BY.1)
}

impl Identity {
    pub(super) fn new(gateway: &Gateway) -> Self {
        let key = ObjectKey::of(gateway);
        let selector: BTreeMap<String, String> = [
            (PROGRAM.to_owned(), "gatehouse-dataplane".to_owned()),
            (GATEWAY_NAME.to_owned(), names::label_value(&key.name)),
        ]
        .into();
        let infrastructure = gateway.spec.infrastructure.clone().unwrap_or_default();
        let mut labels = infrastructure.labels;
        // Ours go last: Services find the pods by them.
        labels.extend(selector.clone());
        labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
        labels.insert(GATEWAY_CLASS_NAME.to_owned(), names::label_value(&gateway.spec.gateway_class_name));
        let own = || OwnerReference {
            api_version: format!("{GATEWAY_GROUP}/v1"),
            kind: "Gateway".to_owned(),
            name: key.name.clone(),
            // Whatever the API server holds has one.
            uid: gateway.meta().uid.clone().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        };
        // A Gateway that an IngressClass implies is no object: its own owner takes its place.
        let implied_by = gateway.owner_references().first().filter(|_| gateway.meta().uid.is_none());
        let owner = implied_by.cloned().unwrap_or_else(own);
        Identity {
            name: names::object_name(&key.name),
            gateway: key,
            owner,
            labels,
            annotations: infrastructure.annotations,
            selector,
        }
    }

    /// Of all objects but the headless Service.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn metadata(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.gateway.namespace.clone()),
            owner_references: Some(vec![self.owner.clone()]),
            ..self.pod_metadata()
        }
    }

    /// Labels and annotations alone.
    pub(super) fn pod_metadata(&self) -> ObjectMeta {
        ObjectMeta {
            labels: Some(self.labels.clone()),
            annotations: Some(self.annotations.clone()).filter(|annotations| !annotations.is_empty()),
            ..ObjectMeta::default()
        }
    }

    /// Labels by which the pods are found. They stay as they are for as long as the Gateway lives.
    pub(super) fn selector(&self) -> &BTreeMap<String, String> {
        &self.selector
    }

    pub(super) fn label_selector(&self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.selector.clone()), ..LabelSelector::default() }
    }
}
