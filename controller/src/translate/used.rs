//! How often the routes of each Gateway name each backend and each policy: what nothing names any more is not served.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use gatehouse_proto::config::v1;

use super::{Namespaces, names, names::Owner, policy::PolicyKind};
use crate::resources::ObjectKey;

/// A policy of a kind.
pub(super) type PolicyKey = (PolicyKind, ObjectKey);

#[derive(Debug, Default)]
pub(super) struct Used {
    /// By Gateway, by the resource name of the backend.
    backends: BTreeMap<ObjectKey, HashMap<Arc<str>, usize>>,
    /// By policy, by Gateway.
    policies: BTreeMap<PolicyKey, BTreeMap<ObjectKey, usize>>,
}

/// What began or ceased to be named.
#[derive(Debug, Default)]
pub(super) struct Turned {
    pub(super) backends: Vec<Arc<str>>,
    pub(super) policies: Vec<PolicyKey>,
}

impl Used {
    /// A route's resource is served by the Gateway.
    pub(super) fn add(&mut self, gateway: &ObjectKey, route: &v1::Route) -> Turned {
        let mut turned = Turned::default();
        for name in names::backends(route) {
            if !self.backends.contains_key(gateway) {
                self.backends.insert(gateway.clone(), HashMap::new());
            }
            let Some(known) = self.backends.get_mut(gateway) else { continue };
            match known.get_mut(name) {
                Some(count) => *count += 1,
                None => {
                    let name = Arc::<str>::from(name);
                    turned.backends.push(Arc::clone(&name));
                    known.insert(name, 1);
                }
            }
        }
        for policy in policies(route) {
            let count = self.policies.entry(policy.clone()).or_default().entry(gateway.clone()).or_default();
            *count += 1;
            if *count == 1 {
                turned.policies.push(policy);
            }
        }
        turned
    }

    /// It is no more.
    pub(super) fn remove(&mut self, gateway: &ObjectKey, route: &v1::Route) -> Turned {
        let mut turned = Turned::default();
        for name in names::backends(route) {
            let Some(known) = self.backends.get_mut(gateway) else { continue };
            if let Some(count) = known.get_mut(name) {
                *count -= 1;
                if *count == 0
                    && let Some((name, _)) = known.remove_entry(name)
                {
                    turned.backends.push(name);
                }
            }
        }
        for policy in policies(route) {
            let Some(gateways) = self.policies.get_mut(&policy) else { continue };
            if let Some(count) = gateways.get_mut(gateway) {
                *count -= 1;
                if *count == 0 {
                    gateways.remove(gateway);
                    if gateways.is_empty() {
                        self.policies.remove(&policy);
                    }
                    turned.policies.push(policy);
                }
            }
        }
        turned
    }

    pub(super) fn has_backend(&self, gateway: &ObjectKey, name: &str) -> bool {
        self.backends.get(gateway).is_some_and(|known| known.contains_key(name))
    }

    /// Policies that take effect somewhere.
    pub(super) fn policies(&self) -> impl Iterator<Item = &PolicyKey> {
        self.policies.keys()
    }

    /// The Gateways that a policy takes effect on.
    pub(super) fn gateways(&self, policy: &PolicyKey) -> Vec<&ObjectKey> {
        self.policies.get(policy).map(|gateways| gateways.keys().collect()).unwrap_or_default()
    }

    /// Namespaces of the AuthPolicies of each Gateway.
    pub(super) fn namespaces(&self) -> Namespaces {
        let mut namespaces = Namespaces::new();
        for ((kind, key), gateways) in &self.policies {
            if *kind == PolicyKind::Auth {
                for gateway in gateways.keys() {
                    namespaces.entry(gateway.clone()).or_default().insert(key.namespace.clone());
                }
            }
        }
        namespaces
    }
}

fn policies(route: &v1::Route) -> impl Iterator<Item = PolicyKey> {
    route.auth.iter().chain(&route.rate_limits).filter_map(|name| match names::owner(name)? {
        Owner::Object(id) => {
            let kind = PolicyKind::ALL.into_iter().find(|kind| kind.kind() == id.kind)?;
            Some((kind, id.key))
        }
        Owner::Gateway | Owner::Listener { .. } => None,
    })
}
