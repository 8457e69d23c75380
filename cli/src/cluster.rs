//! The objects of a cluster, as its API server hands them out. They are read once, and nothing is written.

mod kinds;

use std::{collections::BTreeSet, time::Duration};

use gatehouse_controller::{resources::Resources, translate};
use kube::{
    Api, Client, Config,
    api::{DynamicObject, ListParams},
    config::KubeConfigOptions,
    core::ApiResource,
};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::{args::ClusterOptions, run::RunError};

pub(crate) use kinds::{Kind, of_controller};

/// Objects that are asked for at once.
const PAGE: u32 = 500;
/// For a connection to the API server.
const PATIENCE: Duration = Duration::from_secs(10);
/// What `kubectl apply` keeps beside an object: all of it once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An API server, and what is read of it.
pub(crate) struct Cluster {
    client: Client,
    runtime: Runtime,
    /// None: all.
    namespaces: Vec<String>,
}

impl Cluster {
    /// Nothing has been asked of it yet.
    pub(crate) fn of(options: &ClusterOptions) -> Result<Self, RunError> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(RunError::Thread)?;
        let client = runtime.block_on(async {
            let mut config = match &options.context {
                None => Config::infer().await.map_err(|error| with_causes(&error))?,
                Some(context) => {
                    let wanted =
                        KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
                    Config::from_kubeconfig(&wanted).await.map_err(|error| with_causes(&error))?
                }
            };
            config.connect_timeout = Some(PATIENCE);
            Client::try_from(config).map_err(|error| with_causes(&error))
        });
        let client = client.map_err(RunError::Cluster)?;
        Ok(Cluster { client, runtime, namespaces: options.namespaces.clone() })
    }

    /// All objects that the controller would read, and of Secrets and ConfigMaps those that they refer to.
    pub(crate) fn all(&self) -> Result<Vec<Value>, RunError> {
        let (mut objects, mut resources) = (Vec::new(), Resources::default());
        for kind in of_controller() {
            objects.extend(self.list(&kind)?);
        }
        for object in &objects {
            // What has not the shape of its kind refers to nothing; whoever takes the objects tells of it.
            let _ = resources.apply(object.clone());
        }
        for id in translate::wanted(&resources) {
            let kind = Kind::core(id.kind);
            if self.namespaces.is_empty() || self.namespaces.contains(&id.key.namespace) {
                objects.extend(self.get(&kind, &id.key.namespace, &id.key.name)?);
            }
        }
        Ok(objects)
    }

    /// Of the namespaces that are read. None where the cluster does not have the kind.
    pub(crate) fn list(&self, kind: &Kind) -> Result<Vec<Value>, RunError> {
        self.pages(kind, &ListParams::default())
    }

    /// Of these, the ones with such labels.
    pub(crate) fn labelled(&self, kind: &Kind, labels: &str) -> Result<Vec<Value>, RunError> {
        self.pages(kind, &ListParams::default().labels(labels))
    }

    fn pages(&self, kind: &Kind, page: &ListParams) -> Result<Vec<Value>, RunError> {
        let resource = kind.resource();
        let apis: Vec<Api<DynamicObject>> = if self.namespaces.is_empty() || !kind.is_namespaced {
            vec![Api::all_with(self.client.clone(), &resource)]
        } else {
            let of = |namespace: &String| Api::namespaced_with(self.client.clone(), namespace, &resource);
            self.namespaces.iter().map(of).collect()
        };
        let mut objects = Vec::new();
        for api in apis {
            let mut page = page.clone().limit(PAGE);
            loop {
                let listed = match self.runtime.block_on(api.list(&page)) {
                    Err(kube::Error::Api(status)) if status.code == 404 => break,
                    listed => listed.map_err(|error| refused(kind, &error))?,
                };
                objects.extend(listed.items.iter().map(|object| plain(object, kind)));
                match listed.metadata.continue_.filter(|next| !next.is_empty()) {
                    Some(next) => page.continue_token = Some(next),
                    None => break,
                }
            }
        }
        Ok(objects)
    }

    /// `None`: there is none.
    pub(crate) fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Option<Value>, RunError> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind.resource());
        let found = self.runtime.block_on(api.get_opt(name));
        let found = found.map_err(|error| refused(kind, &error))?;
        Ok(found.map(|object| plain(&object, kind)))
    }

    /// The names of the classes of a controller of Ingresses, and whether one of them is for Ingresses that name none.
    pub(crate) fn ingress_classes(&self, controller: &str) -> Result<(BTreeSet<String>, bool), RunError> {
        let classes = self.list(&Kind::ingress_class())?;
        let of_it: Vec<&Value> =
            classes.iter().filter(|class| class["spec"]["controller"] == controller).collect();
        let names = of_it.iter().filter_map(|class| class["metadata"]["name"].as_str().map(str::to_owned));
        let is_default = |class: &&Value| {
            class["metadata"]["annotations"]["ingressclass.kubernetes.io/is-default-class"] == "true"
        };
        Ok((names.collect(), of_it.iter().any(is_default)))
    }
}

/// With the type that lists leave out, and without what is kept beside it.
fn plain(object: &DynamicObject, kind: &Kind) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    let ApiResource { api_version, kind, .. } = kind.resource();
    value["apiVersion"] = api_version.into();
    value["kind"] = kind.into();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    value
}

fn refused(kind: &Kind, error: &kube::Error) -> RunError {
    let why = match error {
        kube::Error::Api(status) => status.message.clone(),
        other => with_causes(other),
    };
    RunError::Cluster(format!("{} can't be read: {why}", kind.plural))
}

/// In one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}
