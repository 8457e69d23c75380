//! The shape of the workspace: which crate may know which, and how long a file may grow.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

/// Who may depend on whom, of our own.
const ARROWS: &[(&str, &[&str])] = &[
    ("gatehouse-proto", &[]),
    ("gatehouse-crds", &[]),
    ("gatehouse-controller", &["gatehouse-proto", "gatehouse-crds"]),
    ("gatehouse-dataplane", &["gatehouse-proto"]),
    ("gatehouse-cli", &["gatehouse-proto", "gatehouse-crds", "gatehouse-controller", "gatehouse-dataplane"]),
    (
        "gatehouse-tests",
        &["gatehouse-proto", "gatehouse-crds", "gatehouse-controller", "gatehouse-dataplane"],
    ),
    ("gatehouse-bench", &["gatehouse-proto", "gatehouse-controller", "gatehouse-tests"]),
    ("gatehouse-limits", &["gatehouse-proto", "gatehouse-dataplane", "gatehouse-tests"]),
    ("gatehouse-soak", &["gatehouse-tests"]),
];

/// What a crate must not see.
const BANNED: &[(&str, &[&str])] = &[
    ("gatehouse-dataplane", &["kube", "k8s-openapi"]),
    ("gatehouse-crds", &["tonic", "tokio"]),
    ("gatehouse-proto", &["kube", "k8s-openapi", "hyper"]),
];

const LONGEST_FILE: usize = 600;

/// Arrows of a crate that are not allowed, tests of it excepted.
fn forbidden(package: &Value) -> Vec<String> {
    let name = package["name"].as_str().unwrap_or("");
    let find = |table: &'static [(&str, &[&str])]| {
        table
            .iter()
            .find(|(of, _)| *of == name)
            .map(|(_, names)| names.iter().copied().collect::<BTreeSet<_>>())
    };
    let Some(allowed) = find(ARROWS) else { return vec![format!("{name} is not in the table of crates")] };
    let banned = find(BANNED).unwrap_or_default();
    let dependencies = package["dependencies"].as_array().into_iter().flatten();
    dependencies
        .filter(|dependency| dependency["kind"].is_null() || dependency["kind"] == "build")
        .filter_map(|dependency| dependency["name"].as_str())
        .filter(|to| banned.contains(to) || (to.starts_with("gatehouse-") && !allowed.contains(to)))
        .map(|to| format!("{name} -> {to}"))
        .collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[test]
fn arrows_point_one_way() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert_eq!(packages.len(), ARROWS.len());
    let found: Vec<String> = packages.iter().flat_map(forbidden).collect();
    assert!(found.is_empty(), "forbidden dependencies: {found:?}");
}

#[test]
fn a_forbidden_arrow_is_found() {
    let package = |name: &str, to: &str, kind: Option<&str>| serde_json::json!({"name": name, "dependencies": [{"name": to, "kind": kind}]});
    assert_eq!(forbidden(&package("gatehouse-dataplane", "gatehouse-crds", None)).len(), 1);
    assert_eq!(forbidden(&package("gatehouse-dataplane", "kube", None)).len(), 1);
    assert_eq!(forbidden(&package("gatehouse-crds", "tokio", None)).len(), 1);
    assert_eq!(forbidden(&package("gatehouse-new", "x", None)).len(), 1);
    assert_eq!(forbidden(&package("gatehouse-crds", "tokio", Some("dev"))).len(), 0);
    assert_eq!(forbidden(&package("gatehouse-controller", "gatehouse-crds", None)).len(), 0);
}

#[test]
fn no_file_is_longer_than_anybody_reads() {
    let mut long = Vec::new();
    visit(root(), &mut |path| {
        let lines = fs::read_to_string(path).unwrap().lines().count();
        if lines > LONGEST_FILE {
            long.push(format!("{}: {lines}", path.display()));
        }
    });
    assert!(long.is_empty(), "cut these up: {long:?}");
}

fn visit(folder: &Path, file: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            // Built, generated, or not ours.
            if !["target", ".git", "gen"].iter().any(|skipped| name == *skipped) {
                visit(&path, file);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            file(&path);
        }
    }
}
