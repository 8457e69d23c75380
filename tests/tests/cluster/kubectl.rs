//! What people type: kubectl and helm, and waiting for what they show.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) const SYSTEM: &str = "gatehouse-system";

/// What a command printed.
///
/// # Errors
/// What it said when it failed.
pub(crate) fn run(program: &str, args: &[&str], input: &str) -> Result<String, String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{program}: {error}"))?;
    // A command that reads nothing has closed it.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr)))
    }
}

pub(crate) fn kubectl(args: &[&str]) -> String {
    run("kubectl", args, "").unwrap()
}

pub(crate) fn apply(namespace: &str, manifests: &str) {
    run("kubectl", &["-n", namespace, "apply", "-f", "-"], manifests).unwrap();
}

/// `None`: there is none.
pub(crate) fn get(namespace: &str, what: &[&str]) -> Option<Value> {
    let args = [&["-n", namespace, "get", "-o", "json"], what].concat();
    serde_json::from_str(&run("kubectl", &args, "").ok()?).ok()
}

pub(crate) fn helm(args: &[&str]) -> String {
    run("helm", args, "").unwrap()
}

pub(crate) fn chart() -> String {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/gatehouse")).display().to_string()
}

/// `helm upgrade --install` of the images under test.
pub(crate) fn install(more: &[&str]) {
    let chart = chart();
    let args = [
        &["upgrade", "--install", "gatehouse", &chart, "-n", SYSTEM, "--create-namespace"][..],
        &["--set", "image.repository=gatehouse.test/gatehouse-controller,image.tag=dev"],
        &["--set", "dataplane.image.repository=gatehouse.test/gatehouse-dataplane,dataplane.image.tag=dev"],
        more,
    ]
    .concat();
    helm(&args);
}

/// Installed, and its controllers ready.
pub(crate) fn installed() {
    if run("helm", &["status", "gatehouse", "-n", SYSTEM], "").is_err() {
        install(&["--wait", "--timeout", "120s"]);
    }
    kubectl(&["-n", SYSTEM, "rollout", "status", "deployment/gatehouse-controller", "--timeout=120s"]);
}

/// Waits until the condition gives something.
///
/// # Panics
/// If it has not in time.
pub(crate) fn within<T>(seconds: u64, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        if started.elapsed() > Duration::from_secs(seconds) {
            let log = run(
                "kubectl",
                &[
                    "-n",
                    SYSTEM,
                    "logs",
                    "--prefix",
                    "--tail=15",
                    "-l",
                    "app.kubernetes.io/name=gatehouse-controller",
                ],
                "",
            );
            panic!("not within {seconds} s: {what}\n{}", log.unwrap_or_default());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A condition of an object: the first of its type at the JSON pointer.
pub(crate) fn condition(object: &Value, pointer: &str, kind: &str) -> Option<Value> {
    let conditions = object.pointer(pointer)?.as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind).cloned()
}
