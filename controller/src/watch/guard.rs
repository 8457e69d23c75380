//! An object of a list or a watch that may not have the shape of its kind, so that one bad object spoils no other.
//!
//! The same as kube's `DeserializeGuard`, which keeps a parsed copy of every object for the case that it is bad, and costs
//! most of the time that a large list takes. This one keeps the text.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::PartialObjectMeta};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use serde_json::value::RawValue;

/// An object, or why it is none.
#[derive(Debug, Clone)]
pub(super) struct Guard<K>(pub(super) Result<K, Unreadable>);

#[derive(Debug, Clone)]
pub(super) struct Unreadable {
    pub(super) error: String,
    metadata: ObjectMeta,
}

impl<'de, K: DeserializeOwned + Resource> Deserialize<'de> for Guard<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let object = serde_json::from_str(text.get()).map(Ok).or_else(|error| {
            let partial: PartialObjectMeta<K> = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
            Ok(Err(Unreadable { error: error.to_string(), metadata: partial.metadata }))
        });
        object.map(Guard)
    }
}

impl<K: Resource> Resource for Guard<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|unreadable| &unreadable.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|unreadable| &mut unreadable.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use gatehouse_crds::HttpRoute;
    use kube::{
        ResourceExt,
        core::{ObjectList, WatchEvent},
    };
    use serde_json::json;

    use super::Guard;

    #[test]
    fn a_bad_object_is_known_by_its_name_and_spoils_no_other() {
        let good = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"namespace": "a", "name": "good"}, "spec": {}});
        let bad = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"namespace": "a", "name": "bad"}, "spec": {"rules": 7}});
        let list = json!({"apiVersion": "v1", "kind": "HTTPRouteList", "metadata": {}, "items": [good, bad]});
        let list: ObjectList<Guard<HttpRoute>> = serde_json::from_str(&list.to_string()).unwrap();
        let names: Vec<_> = list.items.iter().map(|one| (one.name_any(), one.0.is_ok())).collect();
        assert_eq!(names, [("good".to_owned(), true), ("bad".to_owned(), false)]);
        let event = format!("{{\"type\":\"ADDED\",\"object\":{bad}}}");
        let event: WatchEvent<Guard<HttpRoute>> = serde_json::from_str(&event).unwrap();
        let WatchEvent::Added(Guard(Err(unreadable))) = event else { panic!("{event:?}") };
        assert!(unreadable.error.contains("invalid type"), "{}", unreadable.error);
    }
}
