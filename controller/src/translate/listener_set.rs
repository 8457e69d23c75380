//! ListenerSets (GEP-1713): listeners that others add to a Gateway, which says whose it takes.

use std::{collections::BTreeMap, ops::Range};

use gatehouse_crds::{GATEWAY_GROUP, Gateway, ListenerSet, ListenersFrom};

use super::{
    conditions::{Condition, Problem, reason},
    input::created,
    listener,
};
use crate::resources::{ObjectKey, Resources};

/// By Gateway, in the order in which they take what they claim: the older first, then by namespace and name.
pub(super) type ByGateway<'a> = BTreeMap<ObjectKey, Vec<(&'a ObjectKey, &'a ListenerSet)>>;

/// One of a Gateway of ours.
#[derive(Debug)]
pub(super) struct SetView {
    /// Its listeners among those of the Gateway. None: the Gateway does not take it.
    pub(super) listeners: Range<usize>,
    pub(super) accepted: Condition,
}

pub(super) fn by_gateway(resources: &Resources) -> ByGateway<'_> {
    let mut by_gateway = ByGateway::new();
    for (key, set) in &resources.listener_sets {
        if let Some(gateway) = parent(key, set) {
            by_gateway.entry(gateway).or_default().push((key, set));
        }
    }
    for sets in by_gateway.values_mut() {
        sets.sort_by_key(|(key, set)| (created(*set), *key));
    }
    by_gateway
}

/// The Gateway that a ListenerSet wants to join.
pub(crate) fn parent(key: &ObjectKey, set: &ListenerSet) -> Option<ObjectKey> {
    let parent = &set.spec.parent_ref;
    let is_gateway = parent.group.as_deref().is_none_or(|group| group == GATEWAY_GROUP)
        && parent.kind.as_deref().is_none_or(|kind| kind == "Gateway");
    let namespace = parent.namespace.as_deref().unwrap_or(&key.namespace);
    is_gateway.then(|| ObjectKey::new(namespace, &parent.name))
}

/// Whether a Gateway takes ListenerSets of a namespace.
pub(super) fn admit(
    key: &ObjectKey,
    gateway: &Gateway,
    namespace: &str,
    resources: &Resources,
) -> Result<(), Problem> {
    let allowed = gateway.spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
    let is_allowed = allowed.is_some_and(|allowed| match allowed.from {
        ListenersFrom::None => false,
        ListenersFrom::All => true,
        ListenersFrom::Same => namespace == key.namespace,
        ListenersFrom::Selector => allowed
            .selector
            .as_ref()
            .is_some_and(|selector| listener::selects(selector, namespace, resources)),
    });
    if is_allowed {
        return Ok(());
    }
    let message = format!("Gateway {key} takes no ListenerSet of namespace {namespace} (allowedListeners)");
    Err(Problem::new(reason::NOT_ALLOWED, message))
}
