//! Policies by what they target. Of two with the same target one counts: what is required before what is not, because
//! nothing may weaken it; then the older, then the one whose name comes first (GEP-713).

use std::collections::{BTreeMap, BTreeSet};

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
type Claim = (bool, i64, ObjectKey);

#[derive(Debug, Default)]
pub(super) struct Index {
    /// The one that counts.
    by_target: BTreeMap<Target, Claim>,
    targets: BTreeMap<ObjectKey, Vec<TargetRef>>,
    /// By kind and object, the policies that target it or a part of it.
    by_object: BTreeMap<(String, ObjectKey), BTreeSet<ObjectKey>>,
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

impl Index {
    /// Policies with what they target and whether they are required.
    pub(super) fn new<'a, P: ResourceExt + 'a>(
        policies: impl Iterator<Item = (&'a ObjectKey, &'a P, &'a [TargetRef], bool)>,
    ) -> Self {
        let mut index = Index::default();
        for (key, policy, targets, is_required) in policies {
            index.targets.insert(key.clone(), targets.to_vec());
            for target in targets {
                let claim = (!is_required, created(policy), key.clone());
                let target = Target::of(target, key);
                let object = (target.kind.clone(), target.key.clone());
                index.by_object.entry(object).or_default().insert(key.clone());
                let winner = index.by_target.entry(target).or_insert_with(|| claim.clone());
                if claim < *winner {
                    *winner = claim;
                }
            }
        }
        index
    }

    pub(super) fn at(&self, target: &Target) -> Option<&ObjectKey> {
        self.by_target.get(target).map(|(_, _, key)| key)
    }

    /// Policies that target the object or a part of it, whether or not they count there.
    pub(super) fn of(&self, kind: &str, key: &ObjectKey) -> impl Iterator<Item = &ObjectKey> {
        self.by_object.get(&(kind.to_owned(), key.clone())).into_iter().flatten()
    }

    /// What a policy targets, each with the policy that counts there.
    pub(super) fn targets_of(&self, policy: &ObjectKey) -> Vec<(TargetRef, &ObjectKey)> {
        let Some((key, targets)) = self.targets.get_key_value(policy) else { return Vec::new() };
        targets
            .iter()
            .map(|target| (target.clone(), self.at(&Target::of(target, policy)).unwrap_or(key)))
            .collect()
    }
}
