//! What tests of golden files have in common: cases, manifests, and outputs that are kept.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use gatehouse_controller::resources::{Applied, Resources};
use serde_json::Value;

/// What is in a folder, in order.
pub(crate) fn folders(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Every document of a text, as `kubectl` would read it.
pub(crate) fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n")
        .map(|document| serde_saphyr::from_str(document).expect("YAML"))
        .filter(|value: &Value| !value.is_null())
        .collect()
}

pub(crate) fn resources<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Resources {
    let mut resources = Resources::default();
    for document in documents {
        assert_eq!(
            resources.apply(document.clone()).expect("its kind's shape"),
            Applied::Taken,
            "{document}"
        );
    }
    resources
}

/// Compares the `out.yaml` of each case with what `show` makes of it. With `UPDATE=1` it writes what it would else compare.
///
/// # Panics
/// With the differences.
pub(crate) fn outputs_are_what_they_were(cases: &[PathBuf], show: impl Fn(&Path) -> String) {
    let mut stale = Vec::new();
    for case in cases {
        let shown = show(case);
        let output = case.join("out.yaml");
        if env::var_os("UPDATE").is_some() {
            fs::write(&output, &shown).unwrap();
        }
        let kept = fs::read_to_string(&output).unwrap_or_default();
        if kept != shown {
            let diff = similar::TextDiff::from_lines(&kept, &shown);
            stale.push(format!("{}\n{}", output.display(), diff.unified_diff()));
        }
    }
    assert!(stale.is_empty(), "{}", stale.join("\n"));
}
