//! Gateways and ListenerSets that are not ours any more: what we wrote on them goes, as far as nobody has written it anew.
//!
//! `managedFields` tell that, whichever process of ours wrote it: a field that another manager changes is theirs from then on
//! (Kubernetes, "Server-Side Apply", field ownership).

use gatehouse_crds::{Gateway, ListenerSet, ListenerStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::{Write, write};
use crate::{
    resources::ObjectKey,
    status::FIELD_MANAGER,
    translate::{ConditionType, conditions::reason},
};

/// What stands in the fields of every condition of ours.
const FIELDS: [&str; 4] = ["f:status", "f:reason", "f:message", "f:lastTransitionTime"];

/// The fields of a status that are ours, as `fieldsV1` tells them.
struct Ours<'a>(&'a Value);

impl<'a> Ours<'a> {
    /// `None`: it has nothing of us.
    fn of(object: &'a impl Resource) -> Option<Self> {
        let entry = object.managed_fields().iter().find(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER) && entry.subresource.as_deref() == Some("status")
        })?;
        entry.fields_v1.as_ref()?.0.get("f:status").map(Ours)
    }

    fn has(&self, field: &str) -> bool {
        self.0.get(format!("f:{field}")).is_some()
    }

    /// Of a listener by its name, as far as it has conditions.
    fn listener(&self, name: &str) -> Option<Ours<'a>> {
        self.0.get("f:listeners")?.get(format!("k:{}", json!({ "name": name }))).map(Ours)
    }

    /// Whoever writes a condition anew changes at least one of its fields.
    fn is_ours(&self, condition: &Condition) -> bool {
        let fields = self
            .0
            .get("f:conditions")
            .and_then(|conditions| conditions.get(format!("k:{}", json!({ "type": condition.type_ }))));
        let generation = condition.observed_generation.map(|_| "f:observedGeneration");
        fields.is_some_and(|fields| {
            FIELDS.into_iter().chain(generation).all(|field| fields.get(field).is_some())
        })
    }

    /// Those of others stay; of ours those that every object has from the start become what they were.
    fn without_ours(&self, conditions: &[Condition]) -> Vec<Condition> {
        let kept = conditions.iter().filter_map(|condition| {
            if self.is_ours(condition) { unclaimed(condition) } else { Some(condition.clone()) }
        });
        kept.collect()
    }

    fn listeners_of_others(&self, listeners: &[ListenerStatus]) -> Vec<ListenerStatus> {
        let is_ours = |status: &&ListenerStatus| {
            self.listener(&status.name)
                .is_some_and(|ours| status.conditions.iter().all(|condition| ours.is_ours(condition)))
        };
        listeners.iter().filter(|status| !is_ours(status)).cloned().collect()
    }
}

/// What the CRDs give as default: no controller has claimed the object.
fn unclaimed(condition: &Condition) -> Option<Condition> {
    let kinds = [ConditionType::Accepted, ConditionType::Programmed];
    kinds.iter().any(|kind| kind.as_str() == condition.type_).then(|| Condition {
        type_: condition.type_.clone(),
        status: "Unknown".to_owned(),
        reason: reason::PENDING.to_owned(),
        message: "Waiting for controller".to_owned(),
        observed_generation: None,
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    })
}

pub(super) fn gateway(key: &ObjectKey, gateway: &Gateway) -> Option<Write> {
    let ours = Ours::of(gateway)?;
    let observed = gateway.status.as_ref()?;
    let mut wanted = observed.clone();
    wanted.conditions = ours.without_ours(&observed.conditions);
    wanted.listeners = ours.listeners_of_others(&observed.listeners);
    if ours.has("addresses") {
        wanted.addresses.clear();
    }
    if ours.has("attachedListenerSets") {
        wanted.attached_listener_sets = None;
    }
    if wanted == *observed {
        return None;
    }
    let status = json!({
        "addresses": wanted.addresses,
        "conditions": wanted.conditions,
        "listeners": wanted.listeners,
        "attachedListenerSets": wanted.attached_listener_sets,
    });
    write("Gateway", key, gateway, status, Vec::new())
}

pub(super) fn listener_set(key: &ObjectKey, set: &ListenerSet) -> Option<Write> {
    let ours = Ours::of(set)?;
    let observed = set.status.as_ref()?;
    let conditions = ours.without_ours(&observed.conditions);
    let listeners = ours.listeners_of_others(&observed.listeners);
    if conditions == observed.conditions && listeners == observed.listeners {
        return None;
    }
    let status = json!({ "conditions": conditions, "listeners": listeners });
    write("ListenerSet", key, set, status, Vec::new())
}

#[cfg(test)]
mod tests {
    use gatehouse_crds::Gateway;
    use serde_json::{Value, json};

    use crate::resources::ObjectKey;

    fn condition(kind: &str, message: &str) -> Value {
        json!({"type": kind, "status": "True", "reason": "Accepted", "message": message,
            "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    fn plan(status: &Value, ours: &Value) -> Option<Value> {
        let gateway: Gateway = serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
            "metadata": {"namespace": "shop", "name": "edge", "resourceVersion": "7", "managedFields": [
                {"manager": "gatehouse.dev/controller", "operation": "Update", "subresource": "status",
                    "apiVersion": "gateway.networking.k8s.io/v1", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:status": ours}}]},
            "spec": {"gatewayClassName": "other"}, "status": status,
        }))
        .unwrap();
        super::gateway(&ObjectKey::new("shop", "edge"), &gateway).map(|write| write.status)
    }

    #[test]
    fn what_is_ours_goes_and_what_others_wrote_stays() {
        let whole = json!({"f:status": {}, "f:reason": {}, "f:message": {}, "f:observedGeneration": {}, "f:lastTransitionTime": {}});
        let mut partly = whole.clone();
        partly.as_object_mut().unwrap().remove("f:observedGeneration");
        let ours = json!({
            "f:addresses": {},
            "f:attachedListenerSets": {},
            "f:conditions": {"k:{\"type\":\"Accepted\"}": whole, "k:{\"type\":\"ResolvedRefs\"}": whole,
                "k:{\"type\":\"Programmed\"}": partly},
            "f:listeners": {
                "k:{\"name\":\"http\"}": {"f:conditions": {"k:{\"type\":\"Accepted\"}": whole}},
                "k:{\"name\":\"https\"}": {"f:conditions": {"k:{\"type\":\"Accepted\"}": partly}},
            },
        });
        let theirs = [condition("Programmed", "theirs"), condition("example.com/Other", "theirs")];
        let listener = |name: &str| json!({"name": name, "attachedRoutes": 1, "conditions": [condition("Accepted", "")]});
        let status = json!({
            "addresses": [{"type": "IPAddress", "value": "192.0.2.1"}],
            "attachedListenerSets": 2,
            "conditions": [condition("Accepted", ""), theirs[0], condition("ResolvedRefs", ""), theirs[1]],
            "listeners": [listener("http"), listener("https"), listener("other")],
        });
        let left = plan(&status, &ours).unwrap();
        let unclaimed = json!({"type": "Accepted", "status": "Unknown", "reason": "Pending",
            "message": "Waiting for controller", "lastTransitionTime": "1970-01-01T00:00:00Z"});
        assert_eq!(left["conditions"], json!([unclaimed, theirs[0], theirs[1]]));
        let names: Vec<&Value> =
            left["listeners"].as_array().unwrap().iter().map(|listener| &listener["name"]).collect();
        assert_eq!(names, ["https", "other"]);
        assert_eq!((&left["addresses"], &left["attachedListenerSets"]), (&json!([]), &Value::Null));
        // It is done once, although what it leaves is ours again.
        assert_eq!(plan(&left, &ours), None);
        assert_eq!(plan(&status, &json!({})), None);
    }
}
