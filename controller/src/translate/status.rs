//! What translation found out about each object, for its status.

use std::collections::BTreeMap;

use gatehouse_crds::ParentRef;
use serde::Serialize;

use super::conditions::Condition;
use crate::resources::ObjectKey;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectId {
    pub kind: &'static str,
    pub key: ObjectKey,
}

/// By object. An object that is not here is not ours, or nothing refers to it.
#[derive(Debug, Default)]
pub struct Statuses(pub BTreeMap<ObjectId, ObjectStatus>);

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectStatus {
    /// Of the object as a whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Of a Gateway or ListenerSet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerStatus>,
    /// Of a Gateway that has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attached_listener_sets: Option<i32>,
    /// Of a route for each parent, of a policy for each ancestor.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ParentStatus>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerStatus {
    pub name: String,
    pub attached_routes: i32,
    pub supported_kinds: Vec<&'static str>,
    pub conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentStatus {
    pub parent_ref: ParentRef,
    pub conditions: Vec<Condition>,
    /// The Gateway that it leads to, if it is one of ours.
    #[serde(skip)]
    pub(crate) gateway: Option<ObjectKey>,
    /// The listeners of that Gateway that count the route as attached, by index.
    #[serde(skip)]
    pub(super) attached: Vec<usize>,
}

impl Statuses {
    pub(super) fn set(&mut self, kind: &'static str, key: &ObjectKey, status: ObjectStatus) {
        self.0.insert(ObjectId { kind, key: key.clone() }, status);
    }

    /// Everything that a user must act on: the object, where in it, and the condition.
    pub fn problems(&self) -> impl Iterator<Item = (&ObjectId, String, &Condition)> {
        self.0.iter().flat_map(|(id, status)| {
            let own = told(&status.conditions).map(|condition| (String::new(), condition));
            let listeners = status.listeners.iter().flat_map(|listener| {
                told(&listener.conditions).map(|condition| (format!("listener {}", listener.name), condition))
            });
            let parents = status.parents.iter().flat_map(|parent| {
                let name = &parent.parent_ref.name;
                told(&parent.conditions).map(move |condition| (format!("on {name}"), condition))
            });
            own.chain(listeners).chain(parents).map(move |(place, condition)| (id, place, condition))
        })
    }
}

/// The problems among conditions. What one cause makes of several conditions is told once.
fn told(conditions: &[Condition]) -> impl Iterator<Item = &Condition> {
    conditions.iter().enumerate().filter_map(|(index, condition)| {
        let is_told = conditions[..index]
            .iter()
            .any(|before| before.is_problem() && before.message == condition.message);
        (condition.is_problem() && !is_told).then_some(condition)
    })
}
