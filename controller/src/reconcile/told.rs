//! Problems of kinds that have no conditions: their events are all that users see. Each is told once, and again when it
//! has changed or was mended in between.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::{Resource, ResourceExt, core::ApiResource};
use serde_json::Value;

use crate::{
    resources::Resources,
    status::{Flip, Trouble, Write},
    translate::{Condition, ObjectId, Statuses},
};

/// What has been told and still holds.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<ObjectId, Vec<Condition>>);

impl Told {
    /// What is to be told now, in the form of the events that go with a status.
    pub(super) fn news(&mut self, statuses: &Statuses, view: &Resources) -> Vec<Write> {
        let mut problems: BTreeMap<ObjectId, Vec<Condition>> = BTreeMap::new();
        let without_conditions = |id: &ObjectId| ["Ingress", "IngressClass"].contains(&id.kind);
        for (id, _, condition) in statuses.problems().filter(|(id, ..)| without_conditions(id)) {
            problems.entry(id.clone()).or_default().push(condition.clone());
        }
        let mut news = Vec::new();
        for (id, present) in &problems {
            let before = self.0.get(id).map_or(&[][..], Vec::as_slice);
            let fresh = present.iter().filter(|condition| !before.contains(condition)).map(worse);
            let kinds: Vec<_> = present.iter().map(|condition| condition.kind).collect();
            let mended = before.iter().filter(|condition| !kinds.contains(&condition.kind)).map(better);
            news.extend(write(id, view, fresh.chain(mended).collect()));
        }
        for (id, before) in self.0.iter().filter(|(id, _)| !problems.contains_key(*id)) {
            news.extend(write(id, view, before.iter().map(better).collect()));
        }
        self.0 = problems;
        news
    }
}

fn worse(condition: &Condition) -> Flip {
    let trouble = Trouble { reason: condition.reason, message: condition.message.clone() };
    Flip { place: String::new(), kind: condition.kind, problem: Some(trouble) }
}

fn better(condition: &Condition) -> Flip {
    Flip { place: String::new(), kind: condition.kind, problem: None }
}

/// `None`: there is nothing to tell, or nobody to tell it of.
fn write(id: &ObjectId, view: &Resources, flips: Vec<Flip>) -> Option<Write> {
    if flips.is_empty() {
        return None;
    }
    match id.kind {
        "Ingress" => view.ingresses.get(&id.key).map(|object| of::<Ingress>(id, object, flips)),
        _ => view.ingress_classes.get(&id.key.name).map(|object| of::<IngressClass>(id, object, flips)),
    }
}

fn of<K: Resource<DynamicType = ()>>(id: &ObjectId, object: &K, flips: Vec<Flip>) -> Write {
    Write {
        id: id.clone(),
        resource: ApiResource::erase::<K>(&()),
        uid: object.uid().unwrap_or_default(),
        resource_version: object.resource_version().unwrap_or_default(),
        status: Value::Null,
        flips,
        news: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::translate::{Settings, translate};

    #[test]
    fn each_problem_is_told_once_and_its_end_too() {
        let view = |service: &str| {
            let mut view = Resources::default();
            for object in [
                json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "gatehouse"},
                    "spec": {"controller": "gatehouse.dev/ingress-controller"}}),
                json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
                    "spec": {"ports": [{"port": 80}]}}),
                json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
                    "metadata": {"name": "web", "namespace": "shop", "uid": "u"},
                    "spec": {"ingressClassName": "gatehouse", "defaultBackend":
                        {"service": {"name": service, "port": {"number": 80}}}}}),
            ] {
                view.apply(object).unwrap();
            }
            view
        };
        let mut told = Told::default();
        let mut news = |service: &str| {
            let view = view(service);
            told.news(&translate(&view, &Settings::default()).statuses, &view)
        };
        assert!(news("web").is_empty());
        let broken = news("nobody");
        assert_eq!((broken.len(), broken[0].uid.as_str()), (1, "u"), "{broken:?}");
        let problem = broken[0].flips[0].problem.as_ref().unwrap();
        assert!(problem.message.contains("nobody"), "{problem:?}");
        assert!(news("nobody").is_empty());
        assert!(news("nobody-else")[0].flips[0].problem.is_some());
        assert!(news("web")[0].flips[0].problem.is_none());
        assert!(news("web").is_empty());
    }
}
