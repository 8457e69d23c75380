//! Where a watch looks: a kind, in the whole cluster or in one namespace.

use std::fmt;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};

use crate::resources::ObjectKey;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Cluster,
    Namespace(String),
}

/// One watch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    kind: &'static str,
    place: Place,
}

impl Source {
    pub(super) fn new(kind: &'static str, place: Place) -> Self {
        Source { kind, place }
    }

    pub fn kind(&self) -> &'static str {
        self.kind
    }

    pub(super) fn covers(&self, key: &ObjectKey) -> bool {
        match &self.place {
            Place::Cluster => true,
            Place::Namespace(namespace) => key.namespace == *namespace,
        }
    }

    /// Of a kind with namespaces.
    pub(super) fn namespaced<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match &self.place {
            Place::Cluster => Api::all(client),
            Place::Namespace(namespace) => Api::namespaced(client, namespace),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Cluster => f.write_str(self.kind),
            Place::Namespace(namespace) => write!(f, "{} in {namespace}", self.kind),
        }
    }
}
