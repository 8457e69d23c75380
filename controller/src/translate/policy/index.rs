//! Policies by what they target. Of two with the same target one counts: what is required before what is not, because
//! nothing may weaken it; then the older, then the one whose name comes first (GEP-713).

use std::collections::BTreeMap;

use gatehouse_crds::TargetRef;
use kube::ResourceExt;

use crate::{resources::ObjectKey, translate::input::created};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    kind: String,
    key: ObjectKey,
    section: Option<String>,
}

/// The smallest counts: `false` for what is required, age, name.
type Claim<'a> = (bool, i64, &'a ObjectKey);

#[derive(Debug)]
pub(super) struct Index<'a> {
    /// The one that counts.
    by_target: BTreeMap<Target, Claim<'a>>,
    targets: BTreeMap<&'a ObjectKey, &'a [TargetRef]>,
}

impl Target {
    pub(super) fn new(kind: &str, key: &ObjectKey, section: Option<&str>) -> Self {
        Target { kind: kind.into(), key: key.clone(), section: section.map(str::to_owned) }
    }

    fn of(target: &TargetRef, policy: &ObjectKey) -> Self {
        let key = ObjectKey::new(&policy.namespace, &target.name);
        Target { kind: target.kind.clone(), key, section: target.section_name.clone() }
    }
}

impl<'a> Index<'a> {
    /// Policies with what they target and whether they are required.
    pub(super) fn new<P: ResourceExt + 'a>(
        policies: impl Iterator<Item = (&'a ObjectKey, &'a P, &'a [TargetRef], bool)>,
    ) -> Self {
        let mut index = Index { by_target: BTreeMap::new(), targets: BTreeMap::new() };
        for (key, policy, targets, is_required) in policies {
            index.targets.insert(key, targets);
            let claim = (!is_required, created(policy), key);
            for target in targets {
                index
                    .by_target
                    .entry(Target::of(target, key))
                    .and_modify(|winner| *winner = claim.min(*winner))
                    .or_insert(claim);
            }
        }
        index
    }

    pub(super) fn at(&self, target: &Target) -> Option<&'a ObjectKey> {
        self.by_target.get(target).map(|(_, _, key)| *key)
    }

    /// What a policy targets, each with the policy that counts there.
    pub(super) fn targets_of(&self, policy: &ObjectKey) -> Vec<(TargetRef, &'a ObjectKey)> {
        let Some((key, targets)) = self.targets.get_key_value(policy) else { return Vec::new() };
        targets
            .iter()
            .map(|target| (target.clone(), self.at(&Target::of(target, policy)).unwrap_or(key)))
            .collect()
    }
}
