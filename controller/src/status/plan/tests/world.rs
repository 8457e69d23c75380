//! An API server with a controller beside it, and dataplanes that do as they are told.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_crds::{GatewayAddress, RolloutStatus};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    resources::{ObjectKey, Resources},
    serve::{Acks, ConfigServer, Options},
    status::{GatewayFacts, Input, Tracker, Write, plan},
    translate::{Settings, translate},
};

#[derive(Default)]
pub(super) struct World {
    pub(super) objects: BTreeMap<(String, String), Value>,
    pub(super) tracker: Tracker,
    pub(super) facts: BTreeMap<ObjectKey, GatewayFacts>,
    pub(super) rollouts: BTreeMap<ObjectKey, Vec<RolloutStatus>>,
    now: i64,
    version: u64,
}

/// What the dataplane of every Gateway does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Dataplane {
    Absent,
    Silent,
    Acknowledges,
    /// Every how manieth resource.
    Rejects(usize),
}

impl World {
    pub(super) fn of(manifests: &str) -> Self {
        let mut world = World::default();
        for document in manifests.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document).unwrap();
            if !object.is_null() {
                world.apply(object);
            }
        }
        world
    }

    pub(super) fn apply(&mut self, mut object: Value) {
        self.version += 1;
        let id = id_of(&object);
        let before = self.objects.get(&id);
        let generation = before.map_or(1, |before| before["metadata"]["generation"].as_i64().unwrap() + 1);
        let status = before.map(|before| before["status"].clone());
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        object["metadata"]["uid"] = json!(id.1);
        object["metadata"]["generation"] = json!(generation);
        if let Some(status) = status {
            object["status"] = status;
        }
        self.objects.insert(id, object);
    }

    fn resources(&self) -> Resources {
        let mut resources = Resources::default();
        for object in self.objects.values() {
            let mut object = object.clone();
            if object["status"].is_null() {
                object.as_object_mut().unwrap().remove("status");
            }
            resources.apply(object).unwrap();
        }
        resources
    }

    pub(super) fn plan(&mut self, dataplane: Dataplane) -> Vec<Write> {
        let resources = self.resources();
        let translation = translate(&resources, &Settings::default());
        let server = ConfigServer::new(Options::default());
        for (gateway, config) in &translation.gateways {
            server.publish(&gateway.to_string(), config.clone());
            let state = server.published(&gateway.to_string()).unwrap();
            let names: Vec<String> = state.names().map(str::to_owned).collect();
            let rejected: BTreeMap<String, String> = match dataplane {
                Dataplane::Rejects(step) => names
                    .into_iter()
                    .step_by(step)
                    .map(|name| (name.clone(), format!("{name} is bad")))
                    .collect(),
                _ => BTreeMap::new(),
            };
            let ready = (dataplane != Dataplane::Absent).then(|| "a".to_owned());
            let spoke = matches!(dataplane, Dataplane::Acknowledges | Dataplane::Rejects(_));
            let acks = json!({"dataplanes": {"a": {"build": "1", "connected_ms": 1,
                "state": spoke.then(|| state.version()), "rejected": rejected}}, "oversized": {}});
            let acks: Acks = serde_json::from_value(acks).unwrap();
            self.tracker.published(gateway, state);
            self.tracker.acknowledged(gateway, &acks, &ready.into_iter().collect::<BTreeSet<_>>());
        }
        self.now += 10;
        plan(&Input {
            resources: &resources,
            statuses: &translation.statuses,
            tracker: &self.tracker,
            facts: &self.facts,
            rollouts: &self.rollouts,
            settling: false,
            now: Timestamp::from_millisecond(self.now * 1000 + 345).unwrap(),
        })
    }

    /// As a merge patch of the status subresource does.
    fn carry_out(&mut self, writes: &[Write]) {
        for write in writes {
            let id = (write.id.kind.to_owned(), write.id.key.to_string());
            let object = self.objects.get_mut(&id).unwrap();
            assert_eq!(object["metadata"]["resourceVersion"], write.resource_version.as_str());
            if object["status"].is_null() {
                object["status"] = json!({});
            }
            let before = object["status"].clone();
            for (field, value) in write.status.as_object().unwrap() {
                object["status"][field] = value.clone();
            }
            assert_ne!(object["status"], before, "{id:?} has what it had");
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
    }

    pub(super) fn settle(&mut self, dataplane: Dataplane) -> Vec<Write> {
        let writes = self.plan(dataplane);
        self.carry_out(&writes);
        writes
    }

    pub(super) fn status(&self, kind: &str, name: &str) -> &Value {
        &self.objects[&(kind.to_owned(), name.to_owned())]["status"]
    }

    pub(super) fn reach(&mut self, gateway: &str) {
        let address = GatewayAddress { kind: Some("IPAddress".into()), value: "192.0.2.1".into() };
        let facts = GatewayFacts { addresses: vec![address], errors: Vec::new() };
        self.facts.insert(ObjectKey::new("default", gateway), facts);
    }
}

fn id_of(object: &Value) -> (String, String) {
    let kind = object["kind"].as_str().unwrap().to_owned();
    let cluster_wide = ["GatewayClass", "Namespace"].contains(&kind.as_str());
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    let namespace = if cluster_wide { "" } else { namespace };
    (kind, format!("{namespace}/{}", object["metadata"]["name"].as_str().unwrap()))
}
