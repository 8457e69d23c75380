//! An object as the API server takes it, whatever its kind.

use aws_lc_rs::digest::{SHA256, digest};
use kube::{Resource, core::ApiResource};
use serde::Serialize;
use serde_json::Value;

/// An object that a Gateway is to have, or is not to have.
#[derive(Debug, Clone)]
pub struct Object {
    pub resource: ApiResource,
    pub name: String,
    /// `None`: there is to be none of this name.
    pub content: Option<Value>,
}

/// SHA-256 of an object's content: whether it is what was applied last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Object {
    pub(super) fn new<K>(name: &str, object: Option<&K>) -> Self
    where
        K: Resource<DynamicType = ()> + Serialize,
    {
        Object {
            resource: ApiResource::erase::<K>(&()),
            name: name.to_owned(),
            content: object
                .map(|object| serde_json::to_value(object).expect("types of Kubernetes are made for JSON")),
        }
    }

    /// Of the content as JSON, whose fields have one order. `None` for what is not to be.
    pub(super) fn fingerprint(&self) -> Option<Fingerprint> {
        let content = self.content.as_ref()?.to_string();
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, content.as_bytes()).as_ref());
        Some(Fingerprint(fingerprint))
    }
}
