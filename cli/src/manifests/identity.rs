//! What an object is called.

use std::fmt;

use gatehouse_controller::{resources::ObjectKey, translate};
use serde_json::Value;

/// Kinds without a namespace, of those that mean something here.
const CLUSTER_WIDE: [&str; 3] = ["GatewayClass", "IngressClass", "Namespace"];

/// Kind, namespace and name: no two objects of a folder share it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    kind: String,
    /// Empty where the kind has none.
    namespace: String,
    name: String,
}

impl Identity {
    pub(crate) fn new(kind: &str, key: &ObjectKey) -> Self {
        let namespace = if CLUSTER_WIDE.contains(&kind) { "" } else { key.namespace.as_str() };
        Identity { kind: kind.to_owned(), namespace: namespace.to_owned(), name: key.name.clone() }
    }

    /// Of a manifest, however little of it is right. An object without namespace is in `default`.
    pub(crate) fn of(object: &Value) -> Self {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().unwrap_or("default");
        let name = metadata["name"].as_str().unwrap_or_default();
        Identity::new(object["kind"].as_str().unwrap_or_default(), &ObjectKey::new(namespace, name))
    }

    /// Of the object that a resource of the configuration was made from, where its name tells.
    pub(crate) fn of_resource(name: &str) -> Option<Self> {
        translate::object_of(name).map(|object| Identity::new(object.kind, &object.key))
    }

    /// What to call a resource by: the object that it was made from, or else its own name.
    pub(crate) fn text_of_resource(name: &str) -> String {
        Identity::of_resource(name).map_or_else(|| name.to_owned(), |identity| identity.to_string())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "(without a name)" } else { &self.name };
        if self.namespace.is_empty() {
            return write!(f, "{} {name}", self.kind);
        }
        write!(f, "{} {}/{name}", self.kind, self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Identity;

    #[test]
    fn names() {
        for (object, wanted) in [
            (json!({"kind": "Secret", "metadata": {"name": "a", "namespace": "b"}}), "Secret b/a"),
            (json!({"kind": "Secret", "metadata": {"name": "a"}}), "Secret default/a"),
            (json!({"kind": "Namespace", "metadata": {"name": "a"}}), "Namespace a"),
            (json!({"kind": "Secret"}), "Secret default/(without a name)"),
        ] {
            assert_eq!(Identity::of(&object).to_string(), wanted);
        }
    }

    #[test]
    fn resources_name_their_objects() {
        for (resource, wanted) in [
            ("route/HTTPRoute/b/a/0", Some("HTTPRoute b/a")),
            ("listener/b/a/http", Some("Gateway b/a")),
            ("listener/ListenerSet/b/a/http", Some("ListenerSet b/a")),
            ("certificate/b/a", Some("Secret b/a")),
            ("settings", None),
        ] {
            assert_eq!(
                Identity::of_resource(resource).map(|identity| identity.to_string()).as_deref(),
                wanted
            );
        }
    }
}
