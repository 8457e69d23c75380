//! What every command that reads a folder, or a cluster in its place, shares: its objects as the controller takes them, and what translation and
//! dataplanes say of them, each with the place of its object.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use gatehouse_controller::{
    resources::Resources,
    translate::{Condition, Config, ObjectId, Settings, Statuses},
};
use gatehouse_dataplane::inspect::Inspected;
use gatehouse_proto::config::v1;

use crate::{
    args::ClusterOptions,
    cluster::Cluster,
    manifests::{Folder, Identity, Problem, Severity, folder::Object},
    run::RunError,
};

/// What the user wants to be read: a folder, or else the objects of a cluster.
pub(crate) fn objects(folder: Option<&Path>, cluster: &ClusterOptions) -> Result<Folder, RunError> {
    match folder {
        Some(path) => self::folder(path),
        None => Ok(Folder::of_objects(Cluster::of(cluster)?.all()?)),
    }
}

/// Fails where there is nothing to read.
pub(crate) fn folder(path: &Path) -> Result<Folder, RunError> {
    let name = path.display().to_string();
    let mut folder = Folder::new(path);
    match folder.read() {
        Err(error) => Err(RunError::Folder { folder: name, error }),
        Ok(_) if !folder.has_files() => Err(RunError::Empty(name)),
        Ok(_) => Ok(folder),
    }
}

/// What translation depends on besides the objects: here one dataplane serves a Gateway.
pub(crate) fn settings() -> Settings {
    Settings { namespace: "gatehouse-system".into(), ..Settings::default() }
}

/// The objects, and those that do not have the shape of their kind.
pub(crate) fn resources(folder: &Folder) -> (Resources, Vec<Problem>) {
    let (mut resources, mut problems) = (Resources::default(), Vec::new());
    for object in folder.objects() {
        if let Err(error) = resources.apply(object.value.clone()) {
            problems.push(Problem {
                file: object.file.clone(),
                line: object.line,
                severity: Severity::Error,
                message: format!("{}: {error}", object.identity),
            });
        }
    }
    (resources, problems)
}

/// A route resource, by its name.
pub(crate) fn route<'a>(config: &'a Config, name: &str) -> Option<&'a v1::Route> {
    match config.get(name).map(Arc::as_ref) {
        Some(v1::resource::Kind::Route(route)) => Some(route),
        _ => None,
    }
}

/// A listener resource, by its name.
pub(crate) fn listener<'a>(config: &'a Config, name: &str) -> Option<&'a v1::Listener> {
    match config.get(name).map(Arc::as_ref) {
        Some(v1::resource::Kind::Listener(listener)) => Some(listener),
        _ => None,
    }
}

/// As a dataplane of the Gateway would hold it.
pub(crate) fn inspect(config: &Config) -> Inspected {
    let resource = |(name, kind): (&Arc<str>, &Arc<v1::resource::Kind>)| v1::Resource {
        name: name.to_string(),
        version: Vec::new(),
        kind: Some((**kind).clone()),
    };
    Inspected::new(config.iter().map(resource).collect())
}

/// Where the objects of a folder stand.
pub(crate) struct Places<'a>(BTreeMap<&'a Identity, &'a Object>);

impl<'a> Places<'a> {
    pub(crate) fn of(folder: &'a Folder) -> Self {
        Places(folder.objects().map(|object| (&object.identity, object)).collect())
    }

    /// An object, and where it stands.
    pub(crate) fn named(&self, identity: &Identity) -> String {
        match self.0.get(identity) {
            Some(object) if !object.file.is_empty() => {
                format!("{}:{}: {identity}", object.file, object.line)
            }
            _ => identity.to_string(),
        }
    }

    /// A problem of an object. `about` continues its name.
    pub(crate) fn problem(&self, identity: &Identity, severity: Severity, about: &str) -> Problem {
        let place = self.0.get(identity);
        Problem {
            file: place.map_or_else(String::new, |object| object.file.clone()),
            line: place.map_or(0, |object| object.line),
            severity,
            message: format!("{identity}{about}"),
        }
    }

    /// What its owner must act on, as statuses would tell.
    pub(crate) fn told<'s>(
        &self,
        statuses: &'s Statuses,
    ) -> impl Iterator<Item = (&'s ObjectId, &'s Condition, Problem)> {
        statuses.problems().map(|(id, place, condition)| {
            let place = if place.is_empty() { String::new() } else { format!(" ({place})") };
            let status = if condition.status { "True" } else { "False" };
            let about =
                format!("{place}: {}={status} {}: {}", condition.kind, condition.reason, condition.message);
            (id, condition, self.problem(&Identity::new(id.kind, &id.key), Severity::Error, &about))
        })
    }

    /// A dataplane's word on a resource, as a status would tell it.
    pub(crate) fn refused(&self, resource: &str, reason: &str) -> Problem {
        let about = format!("Programmed=False Rejected: {reason}");
        match Identity::of_resource(resource) {
            Some(identity) => self.problem(&identity, Severity::Error, &format!(": {about}")),
            None => Problem {
                file: String::new(),
                line: 0,
                severity: Severity::Error,
                message: format!("{resource}: {about}"),
            },
        }
    }
}
