//! For the tests of every origin: converts a text, and holds what is written to the schemas and to the controller.

use serde_json::Value;

use super::{
    Convert, Options,
    probes::Probe,
    report::{Entry, Report, Verdict},
    tree::Source,
};
use crate::{
    development::add_classes,
    manifests::{admit::admit, read},
    offline,
};

/// What came of a configuration.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) objects: Vec<Value>,
    pub(super) entries: Vec<Entry>,
    pub(super) probes: Vec<Probe>,
}

impl Outcome {
    pub(super) fn object(&self, kind: &str, name: &str) -> Option<&Value> {
        self.objects.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    /// The spec of an object.
    pub(super) fn spec(&self, kind: &str, name: &str) -> &Value {
        let all =
            || self.objects.iter().map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
        let found = self.object(kind, name);
        &found.unwrap_or_else(|| panic!("no {kind} {name}: {:?}", all().collect::<Vec<_>>()))["spec"]
    }

    /// What is said of a field.
    pub(super) fn entry(&self, field: &str) -> &Entry {
        let found = self.entries.iter().find(|entry| entry.field == field);
        found.unwrap_or_else(|| panic!("no entry for {field}: {:#?}", self.entries))
    }

    pub(super) fn refused(&self) -> Vec<&str> {
        let refused = self.entries.iter().filter(|entry| entry.verdict == Verdict::Refused);
        refused.map(|entry| &*entry.field).collect()
    }

    /// What the controller and a dataplane would say of it, each as `REASON: MESSAGE`.
    pub(super) fn told(&self) -> Vec<String> {
        let mut resources = gatehouse_controller::resources::Resources::default();
        for object in &self.objects {
            resources.apply(object.clone()).expect("the shape of its kind");
        }
        add_classes(&mut resources);
        let translation = gatehouse_controller::translate::translate(&resources, &offline::settings());
        let problems = translation.statuses.problems();
        let mut told: Vec<String> = problems
            .map(|(_, _, condition)| format!("{}: {}", condition.reason, condition.message))
            .collect();
        for config in translation.gateways.values() {
            let inspected = offline::inspect(config);
            told.extend(
                inspected.refused().iter().map(|refused| format!("{}: {}", refused.name, refused.reason)),
            );
        }
        told
    }
}

/// As `convert` reads a file.
pub(super) fn sources(file: &str, text: &str) -> Vec<Source> {
    let documents = read::documents(text).into_iter().flat_map(|document| document.expect("YAML").objects());
    let source = |(index, document)| Source { file: file.into(), index, document };
    documents.enumerate().map(source).collect()
}

/// # Errors
/// As `convert` says that it is no such configuration.
pub(super) fn outcome(
    file: &str,
    text: &str,
    convert: Convert,
    options: &Options,
) -> Result<Outcome, String> {
    let sources = sources(file, text);
    let report = Report::default();
    let made = convert(&sources, &report, options)?;
    let texts = made.manifests.texts().expect("YAML");
    let mut objects = Vec::new();
    for (file, text) in texts {
        for document in read::documents(&text) {
            let document = document.unwrap_or_else(|error| panic!("{file:?}: {error:?}\n{text}"));
            let (admitted, problems) = admit(&document, file.name());
            assert!(problems.is_empty(), "{problems:#?}\n{text}");
            objects.extend(admitted);
        }
    }
    Ok(Outcome { objects, entries: report.entries(&sources), probes: made.probes })
}
