//! ReferenceGrants: a namespace says who may refer into it.

use crate::resources::{ObjectKey, Resources};

/// Who refers.
#[derive(Debug, Clone, Copy)]
pub(super) struct From<'a> {
    pub(super) group: &'a str,
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
}

/// A reference within a namespace needs no grant.
pub(super) fn permits(
    resources: &Resources,
    from: From<'_>,
    group: &str,
    kind: &str,
    to: &ObjectKey,
) -> bool {
    if from.namespace == to.namespace {
        return true;
    }
    let first = ObjectKey::new(&*to.namespace, "");
    let grants =
        resources.reference_grants.range(first..).take_while(|(key, _)| key.namespace == to.namespace);
    grants.map(|(_, grant)| &grant.spec).any(|grant| {
        grant.from.iter().any(|allowed| {
            allowed.group == from.group && allowed.kind == from.kind && allowed.namespace == from.namespace
        }) && grant.to.iter().any(|allowed| {
            allowed.group == group
                && allowed.kind == kind
                && allowed.name.as_ref().is_none_or(|name| *name == to.name)
        })
    })
}
