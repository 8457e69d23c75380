//! What `kubectl apply` and the API server would do with one object: complete it, and refuse it if it breaks its schema.

use serde_json::Value;

use super::{
    identity::Identity,
    kinds::{Known, find},
    problem::{Problem, Severity},
    read::Document,
    schema::Finding,
};

/// The object, if it is of a kind that means something and breaks nothing; and what its owner should know.
pub(crate) fn admit(document: &Document, file: &str) -> (Option<Value>, Vec<Problem>) {
    let text = |field: &str| document.value[field].as_str().unwrap_or("").to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let problem =
        |severity, line, message: String| Problem { file: file.to_owned(), line, severity, message };
    for (field, value) in [("apiVersion", &api_version), ("kind", &kind)] {
        if value.is_empty() {
            let message = format!("{field} is missing: every Kubernetes object has one");
            return (None, vec![problem(Severity::Error, document.line, message)]);
        }
    }
    let schema = match find(&api_version, &kind) {
        Known::Kind(schema) => schema,
        Known::Foreign => return (None, Vec::new()),
        Known::Unknown(message) => {
            return (None, vec![problem(Severity::Error, document.line_of("kind"), message)]);
        }
    };
    let subject = Identity::of(&document.value);
    let at = |severity, finding: Finding| {
        let place = if finding.path.is_empty() { String::new() } else { format!("{}: ", finding.path) };
        problem(severity, document.line_of(&finding.path), format!("{subject}: {place}{}", finding.message))
    };

    let mut value = document.value.clone();
    let warnings = schema.complete(&mut value);
    let mut errors = schema.check(&value);
    if errors.is_empty() {
        errors = schema.broken_rules(&value);
    }
    let admitted = errors.is_empty().then_some(value);
    let warnings = warnings.into_iter().map(|finding| at(Severity::Warning, finding));
    let problems = warnings.chain(errors.into_iter().map(|finding| at(Severity::Error, finding))).collect();
    (admitted, problems)
}

#[cfg(test)]
mod tests;
