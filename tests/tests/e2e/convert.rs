//! `gatehouse convert kong`: what it writes serves as the report says, and its exit statuses.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use gatehouse_tests::{
    backend::{Backend, header},
    client::{Ask, get},
    gateway::{Gateway, binary},
    redis::Redis,
    tokens::{Signer, now},
};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use tempfile::TempDir;

const ORDERS: &str = include_str!("convert/orders.yml");

/// Runs `gatehouse convert kong kong.yml -o out` in a folder with that file.
fn convert(kong: &str, args: &[&str]) -> (TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("kong.yml"), kong).unwrap();
    let output = convert_in(folder.path(), args);
    (folder, output)
}

fn convert_in(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.current_dir(folder).args(["convert", "kong", "kong.yml", "-o", "out"]).args(args);
    command.output().unwrap()
}

fn report(folder: &TempDir) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.path().join("out/report.json")).unwrap()).unwrap()
}

/// Every manifest that was written, by its file's name.
fn manifests(folder: &TempDir) -> Vec<(String, String)> {
    let place = folder.path().join("out/manifests");
    let mut found = Vec::new();
    for folder in [place.clone(), place.join("local")] {
        for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
            if entry.path().is_file() {
                let name = entry.path().strip_prefix(&place).unwrap().display().to_string().replace('/', "-");
                found.push((name, fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    found
}

fn token(claims: &Value) -> String {
    let alice = Signer::hmac("", b"a-secret-of-thirty-two-bytes-or-more");
    alice.sign_text(r#"{"alg":"HS256","typ":"JWT"}"#, &claims.to_string(), Algorithm::HS256)
}

fn ask(gateway: &Gateway, token: Option<&str>) -> Ask {
    let ask = get(gateway.http(), "/api/orders/7");
    match token {
        Some(token) => ask.header("authorization", &format!("Bearer {token}")),
        None => ask,
    }
}

#[tokio::test]
async fn the_example_of_the_field_serves() {
    let redis = Redis::start().await;
    let port = redis.url().rsplit(':').next().unwrap().to_owned();
    let (folder, output) = convert(
        &ORDERS.replace("port: 6379", &format!("port: {port}")).replace("host: redis", "host: 127.0.0.1"),
        &[],
    );
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let backend = Backend::echo("orders").await;
    let mut builder = Gateway::builder().endpoint("orders-svc", backend.address);
    for (name, text) in manifests(&folder) {
        builder = builder.file(&name, text);
    }
    let gateway = builder.start().await;
    assert_eq!(ask(&gateway, None).send().await.status, 401);
    // Kong's tokens need no `sub`; without `exp` they are refused, as the report says.
    let good = token(&json!({"iss": "alice-key", "exp": now() + 600}));
    let first = ask(&gateway, Some(&good)).send().await;
    assert_eq!(first.status, 200, "{first:?}");
    let seen = first.json();
    assert_eq!(seen["path"], "/7");
    assert_eq!(header(&seen, "x-consumer-username"), Some("alice"));
    let eternal = token(&json!({"iss": "alice-key"}));
    assert_eq!(ask(&gateway, Some(&eternal)).send().await.status, 401);
    let changes = report(&folder)["entries"].to_string();
    assert!(changes.contains("Tokens without `exp` get 401"), "{changes}");
    // What Redis does not count in time is admitted, as Kong would.
    let mut admitted = 1;
    let refused = loop {
        let answer = ask(&gateway, Some(&good)).send().await;
        if answer.status != 200 {
            break answer;
        }
        admitted += 1;
    };
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(admitted - uncounted(&gateway).await, 100);
    let keys = Command::new("redis-cli").args(["-p", &port, "keys", "*"]).output().unwrap();
    let keys = String::from_utf8_lossy(&keys.stdout).into_owned();
    assert!(!keys.trim().is_empty(), "it is counted in Redis");
}

/// Decisions that were made without Redis.
async fn uncounted(gateway: &Gateway) -> usize {
    let metrics = get(gateway.admin(), "/metrics").send().await;
    let text = String::from_utf8_lossy(&metrics.body).into_owned();
    let count = text.lines().find_map(|line| line.strip_prefix("gatehouse_rate_limit_store_failures_total "));
    count.and_then(|count| count.parse().ok()).expect("a count")
}

#[tokio::test]
async fn what_is_not_converted_is_closed_and_says_so() {
    let kong = "_format_version: '3.0'\nservices:\n- name: s\n  url: http://s\n  routes:\n  - {name: open, paths: [/open]}\n  - \
                name: guarded\n    paths: [/guarded]\n    plugins: [{name: oauth2}]\n";
    let (folder, output) = convert(kong, &[]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(manifests(&folder).is_empty(), "not without leave");
    assert!(fs::read_to_string(folder.path().join("out/REPORT.md")).unwrap().contains("plugin oauth2"));
    let output = convert_in(folder.path(), &["--allow-refused"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    let backend = Backend::echo("s").await;
    let mut builder = Gateway::builder().endpoint("s", backend.address);
    for (name, text) in manifests(&folder) {
        builder = builder.file(&name, text);
    }
    let gateway = builder.start().await;
    assert_eq!(get(gateway.http(), "/open").send().await.status, 200);
    let closed = get(gateway.http(), "/guarded/x").send().await;
    assert_eq!((closed.status, &closed.json()["reason"]), (503, &json!("unconverted")));
    gateway
        .said("Accepted=False Unconverted: closed, every request gets 503: plugin oauth2 was not converted")
        .await;
}

#[test]
fn exit_statuses() {
    let exact = "_format_version: '3.0'\nservices:\n- name: s\n  url: http://s\n  routes: [{name: r, hosts: [a.example.com], \
                 strip_path: false}]\n";
    let changed = exact.replace("strip_path", "paths: [/a], strip_path");
    let refused = exact.replace("strip_path", "unknown: 1, strip_path");
    for (kong, args, status, writes) in [
        (exact, &[][..], 0, true),
        (exact, &["--strict"], 0, true),
        (&changed, &[], 3, true),
        (&changed, &["--strict"], 4, false),
        (&refused, &[], 4, false),
        (&refused, &["--allow-refused"], 4, true),
        ("a: 1", &[], 2, false),
        ("a: [", &[], 2, false),
    ] {
        let (folder, output) = convert(kong, args);
        assert_eq!(output.status.code(), Some(status), "{kong} {args:?}: {output:?}");
        assert_eq!(!manifests(&folder).is_empty(), writes, "{kong} {args:?}");
    }
}

#[test]
fn what_was_mended_by_hand_is_not_written_over() {
    let (folder, _) = convert(ORDERS, &[]);
    let place = folder.path().join("out/manifests");
    fs::write(place.join("routes.yaml"), "mine").unwrap();
    let again = convert_in(folder.path(), &[]);
    assert_eq!(again.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&again.stderr).contains("take it away, or write elsewhere"));
    assert_eq!(fs::read_to_string(place.join("routes.yaml")).unwrap(), "mine");
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(place.join("secrets.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_is_written_passes_check() {
    let (folder, _) = convert(ORDERS, &[]);
    let output =
        Command::new(binary()).current_dir(folder.path()).args(["check", "out/manifests"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}

#[tokio::test]
async fn probes_show_what_differs() {
    let (folder, _) = convert(ORDERS, &[]);
    let backend = Backend::echo("orders").await;
    let mut builder = Gateway::builder().endpoint("orders-svc", backend.address);
    for (name, text) in manifests(&folder) {
        // Counted here, and open to all.
        builder = builder.file(&name, text.replace("redis://redis:6379", "redis://127.0.0.1:1"));
    }
    let new = builder.start().await;
    let verify = |old: std::net::SocketAddr, token: String| {
        let mut command = Command::new(binary());
        command.current_dir(folder.path()).args(["convert", "verify", "out/probes.json"]);
        command.args(["--old", &format!("http://{old}"), "--new", &format!("http://{}", new.http())]);
        command.args(["-H", &format!("authorization: Bearer {token}")]);
        async move {
            let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
        }
    };
    let good = token(&json!({"iss": "alice-key", "exp": now() + 600}));
    // A Kong that takes whatever begins with /api/orders, as the backend itself does.
    let kong = Backend::echo("kong").await;
    let (status, told) = verify(kong.address, good).await;
    assert_eq!(status, Some(0), "{told}");
    assert!(told.contains("/api/ordersx: differs, as the report says: old 200, new 404"), "{told}");
    assert!(told.contains("kong.yml:8: services[0].routes[0].paths[0]"), "{told}");
    let (status, told) = verify(kong.address, "wrong".into()).await;
    assert_eq!(status, Some(3), "{told}");
    assert!(
        told.contains("/api/orders: differs, and the report does not say so: old 200, new 401"),
        "{told}"
    );
}
