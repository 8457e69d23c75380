//! Brings the objects of a Plan to the API server, by server-side apply.
//!
//! It makes calls only for what differs from what this process applied last, so an idle controller makes none; what others
//! change in the meantime is not watched here ([`Applier::forget`] makes it look again). It takes over nothing and deletes
//! nothing that is not owned by the Gateway.

mod live;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions},
};
use serde_json::{Value, json};

use super::{Object, Plan, identity, object::Fingerprint};
use crate::resources::ObjectKey;
use live::Standing;

/// In `managedFields`, of everything that the controller writes.
const MANAGER: &str = "gatehouse.dev/controller";
/// Holds the number of replicas between us and an autoscaler that has not written it yet.
const HANDOVER: &str = "gatehouse.dev/replicas";
/// The longest that one object may take.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// Run by the leader alone: two would write the same, twice.
pub struct Applier {
    client: Client,
    applied: BTreeMap<ObjectKey, Memory>,
}

/// Of one Gateway: its objects by kind and name, and as what each was brought to the API server. `None`: as absent.
type Memory = BTreeMap<(String, String), Option<Fingerprint>>;

/// Why an object is not as planned, in the words of the API server or ours.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Refused(String),
    #[error("the API server did not answer as it should: {0}")]
    Broken(kube::Error),
    #[error("the API server did not answer within {} s", TIME_LIMIT.as_secs())]
    Slow,
    #[error("there is one that does not belong to this Gateway: delete it, or rename the Gateway")]
    Foreign,
    #[error("the one of a deleted Gateway of the same name is not gone yet")]
    Leftover,
    #[error("it is being deleted and will be made anew")]
    Going,
}

impl Applier {
    pub fn new(client: Client) -> Self {
        Applier { client, applied: BTreeMap::new() }
    }

    /// Tries every object, whatever becomes of the others.
    ///
    /// # Errors
    /// A sentence for each object that is not as planned, fit for the Gateway's status. The next call tries these again, and
    /// only these: call it until there are none.
    pub async fn apply(&mut self, plan: &Plan) -> Result<(), Vec<String>> {
        let mut failures = Vec::new();
        for object in plan.objects() {
            let id = (object.resource.kind.clone(), object.name.clone());
            let wanted = object.fingerprint();
            let memory = self.applied.entry(plan.gateway.clone()).or_default();
            if memory.get(&id) == Some(&wanted) {
                continue;
            }
            // Until it has succeeded, nobody knows what is there.
            memory.remove(&id);
            let done = tokio::time::timeout(TIME_LIMIT, bring(&self.client, plan, &object)).await;
            match done.unwrap_or(Err(Failure::Slow)) {
                Ok(()) => {
                    memory.insert(id, wanted);
                }
                Err(failure) => {
                    let namespace = &plan.gateway.namespace;
                    failures.push(format!("{} {namespace}/{}: {failure}", id.0, id.1));
                }
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    /// The next plan of the Gateway is applied whole. For Gateways that are gone, objects that somebody else changed, and all
    /// Gateways of one who becomes leader again.
    pub fn forget(&mut self, gateway: &ObjectKey) {
        self.applied.remove(gateway);
    }
}

impl std::fmt::Debug for Applier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applier").field("applied", &self.applied).finish_non_exhaustive()
    }
}

async fn bring(client: &Client, plan: &Plan, object: &Object) -> Result<(), Failure> {
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &plan.gateway.namespace, &object.resource);
    let live = api.get_opt(&object.name).await?;
    let standing = live.as_ref().map(|live| live::standing(live, plan));
    match (&object.content, live, standing) {
        // Without force: whoever was faster keeps what is theirs.
        (Some(content), None, _) => write(&api, object, content, MANAGER, false).await,
        (Some(content), Some(live), Some(Standing::Ours)) => {
            let mut content = content.clone();
            let uid = live.metadata.uid.clone().unwrap_or_default();
            content["metadata"]["uid"] = Value::String(uid);
            hand_replicas_over(&api, object, &content, &live).await?;
            write(&api, object, &content, MANAGER, true).await
        }
        (Some(_), _, Some(Standing::Going)) => Err(Failure::Going),
        (Some(_), _, Some(Standing::Leftover)) => Err(Failure::Leftover),
        (Some(_), _, _) => Err(Failure::Foreign),
        // Made by us, and not only owned by the Gateway.
        (None, Some(live), Some(Standing::Ours)) if identity::is_labelled(&live) => {
            remove(&api, object, live).await
        }
        // There is none, or none of ours.
        (None, _, _) => Ok(()),
    }
}

async fn write(
    api: &Api<DynamicObject>,
    object: &Object,
    content: &Value,
    manager: &str,
    force: bool,
) -> Result<(), Failure> {
    let parameters = PatchParams { force, field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    api.patch(&object.name, &parameters, &Patch::Apply(content)).await?;
    Ok(())
}

/// A field that its owner leaves out is taken away, and a Deployment without a number of replicas gets one: when an
/// autoscaler is to own the number, it must not fall to that in between. So the number that holds goes to another manager
/// first. (Kubernetes: "Server-Side Apply", transferring ownership.)
async fn hand_replicas_over(
    api: &Api<DynamicObject>,
    object: &Object,
    content: &Value,
    live: &DynamicObject,
) -> Result<(), Failure> {
    let is_deployment = object.resource.kind == Deployment::kind(&());
    let leaves_it_out = content.pointer("/spec/replicas").is_none();
    let Some(replicas) = live.data.pointer("/spec/replicas") else { return Ok(()) };
    if !is_deployment || !leaves_it_out || !live::owns_replicas(live, MANAGER) {
        return Ok(());
    }
    let handover = json!({
        "apiVersion": content["apiVersion"],
        "kind": content["kind"],
        "metadata": {"name": object.name, "uid": content["metadata"]["uid"]},
        "spec": {"replicas": replicas},
    });
    write(api, object, &handover, HANDOVER, true).await
}

async fn remove(api: &Api<DynamicObject>, object: &Object, live: DynamicObject) -> Result<(), Failure> {
    let preconditions = Preconditions { uid: live.metadata.uid, resource_version: None };
    let parameters = DeleteParams::background().preconditions(preconditions);
    match api.delete(&object.name, &parameters).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        done => Ok(done.map(drop)?),
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if !status.message.is_empty() => Failure::Refused(status.message),
            other => Failure::Broken(other),
        }
    }
}

#[cfg(test)]
mod tests;
