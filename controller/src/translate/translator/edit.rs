//! What an update has touched so far, so that in the end only what really differs is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Contents, Update};
use crate::{
    resources::ObjectKey,
    serve::Content,
    translate::{
        policy::OfBackend,
        status::ObjectId,
        used::{PolicyKey, Turned},
    },
};

#[derive(Debug, Default)]
pub(super) struct Edit {
    /// Everything is made: nobody asks what differs.
    is_whole: bool,
    /// By Gateway and name, what was there before.
    before: BTreeMap<ObjectKey, BTreeMap<Arc<str>, Option<Content>>>,
    /// Gateways, each with its ListenerSet or `None` for itself, whose listeners count other routes.
    pub(super) counted: BTreeSet<(ObjectKey, Option<ObjectKey>)>,
    /// Backends that began or ceased to be named, by Gateway.
    pub(super) backends: BTreeSet<(ObjectKey, Arc<str>)>,
    pub(super) policies: BTreeSet<PolicyKey>,
    /// Policies of backends whose Gateways may not be what they were.
    pub(super) of_backends: BTreeSet<OfBackend>,
    pub(super) statuses: BTreeSet<ObjectId>,
}

impl Edit {
    /// For who makes everything.
    pub(super) fn nothing() -> Self {
        Edit { is_whole: true, ..Edit::default() }
    }

    /// To be called before a resource is touched.
    pub(super) fn note(&mut self, gateway: &ObjectKey, name: &Arc<str>, config: &Contents) {
        if self.is_whole {
            return;
        }
        let known = self.before.entry(gateway.clone()).or_default();
        known.entry(Arc::clone(name)).or_insert_with(|| config.get(name).cloned());
    }

    pub(super) fn turned(&mut self, gateway: &ObjectKey, turned: Turned) {
        if self.is_whole {
            return;
        }
        self.backends.extend(turned.backends.into_iter().map(|name| (gateway.clone(), name)));
        self.policies.extend(turned.policies);
    }

    /// Tells what differs. What is as it was shares its content with what was.
    pub(super) fn finish(self, configs: &mut BTreeMap<ObjectKey, Contents>) -> Update {
        let mut changes = BTreeMap::new();
        for (gateway, before) in self.before {
            let Some(config) = configs.get_mut(&gateway) else { continue };
            let mut differing = Vec::new();
            for (name, before) in before {
                match (before, config.get_mut(&name)) {
                    (None, None) => {}
                    (Some(before), Some(after)) if before == *after => *after = before,
                    (_, after) => differing.push((name, after.cloned())),
                }
            }
            if !differing.is_empty() {
                changes.insert(gateway, differing);
            }
        }
        Update { changes, statuses: self.statuses }
    }
}
