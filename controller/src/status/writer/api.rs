//! The API server, by a merge patch of the status subresource.

use kube::{
    Client,
    api::{Api, DynamicObject, Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde::Serialize;
use serde_json::Value;

use super::{StatusApi, WriteError};
use crate::status::{FIELD_MANAGER, plan::Write};

#[derive(Clone)]
pub struct KubeStatusApi {
    client: Client,
}

#[derive(Debug, Serialize)]
struct StatusPatch<'a> {
    metadata: Precondition<'a>,
    status: &'a Value,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Precondition<'a> {
    resource_version: &'a str,
}

impl std::fmt::Debug for KubeStatusApi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KubeStatusApi").finish_non_exhaustive()
    }
}

impl KubeStatusApi {
    pub fn new(client: Client) -> Self {
        KubeStatusApi { client }
    }
}

impl StatusApi for KubeStatusApi {
    async fn write(&self, write: &Write) -> Result<String, WriteError> {
        let key = &write.id.key;
        // Of the answer, only the metadata are read.
        let api: Api<PartialObjectMeta<DynamicObject>> = match key.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &write.resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &write.resource),
        };
        let metadata = Precondition { resource_version: &write.resource_version };
        let patch = StatusPatch { metadata, status: &write.status };
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        match api.patch_status(&key.name, &params, &Patch::Merge(&patch)).await {
            Ok(object) => Ok(object.metadata.resource_version.unwrap_or_default()),
            Err(kube::Error::Api(status)) if status.code == 409 => Err(WriteError::Conflict),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(WriteError::NotFound),
            Err(error) => Err(WriteError::Failed(error.to_string())),
        }
    }
}
