//! What every command that reads a folder shares: its objects as the controller takes them, and what translation and
//! dataplanes say of them, each with the place of its object.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use gatehouse_controller::{
    resources::Resources,
    translate::{Condition, Config, ObjectId, Settings, Statuses},
};
use gatehouse_dataplane::inspect::Inspected;
use gatehouse_proto::config::v1;

use crate::{
    manifests::{Folder, Identity, Problem, Severity, folder::Object},
    run::RunError,
};

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
            Some(object) => format!("{}:{}: {identity}", object.file, object.line),
            None => identity.to_string(),
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
