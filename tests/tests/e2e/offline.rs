//! `gatehouse check` and `gatehouse explain`: what is told of a folder without serving it.

use std::{
    fs, io,
    process::{Command, Output, Stdio},
};

use gatehouse_tests::{
    client::get,
    gateway::{EDGE, Gateway, binary, service},
};
use serde_json::{Value, json};

use crate::route;

/// Writes the manifests to a folder and runs `gatehouse` there.
fn gatehouse(manifests: &[String], args: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    for (index, manifest) in manifests.iter().enumerate() {
        fs::write(folder.path().join(format!("{index}.yaml")), manifest).unwrap();
    }
    Command::new(binary()).current_dir(folder.path()).args(args).output().unwrap()
}

fn check(manifests: &[String]) -> (Option<i32>, Vec<Value>) {
    let output = gatehouse(manifests, &["check", ".", "--output", "json"]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

fn named(rules: &str, name: &str) -> String {
    route(rules).replace("{name: r}", &format!("{{name: {name}}}"))
}

/// A Secret for a listener, with a certificate that is valid for so many days from yesterday on.
fn certificate(days: i64) -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["shop.example.com".to_owned()]).unwrap();
    params.not_before = time::OffsetDateTime::now_utc() - time::Duration::days(1);
    params.not_after = params.not_before + time::Duration::days(days);
    let indented = |pem: String| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\nmetadata: {{name: shop}}\nstringData:\n  tls.crt: |\n{}  \
         tls.key: |\n{}",
        indented(params.self_signed(&key).unwrap().pem()),
        indented(key.serialize_pem())
    )
}

fn https() -> String {
    EDGE.replace(
        "protocol: HTTP, port: 8080",
        "protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: shop}]}",
    )
}

#[test]
fn each_kind_of_finding_with_its_place_and_exit_status() {
    let guarded = "- matches: [{path: {value: /}}]\n  respond: {status: 204}";
    let policy = "apiVersion: gatehouse.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {name: few}\nspec:\n  limits: [{name: \
                  all, requests: 1, per: 1m}]\n";
    for (manifests, status, code, place, said) in [
        (vec![EDGE.to_owned(), route(guarded)], 0, "", "", ""),
        (
            vec![EDGE.to_owned(), service("echo"), route("- backendRefs: [{name: echo, port: 80}]")],
            0,
            "no-auth",
            "./2.yaml:2",
            "GatewayRoute default/r: no AuthPolicy covers rule 0",
        ),
        (
            vec![EDGE.to_owned(), route(guarded), named(guarded, "s")],
            3,
            "shadowed-rule",
            "./2.yaml:2",
            "GatewayRoute default/s: rule 0 match 0 gets no request: rule 0 of GatewayRoute default/r",
        ),
        (
            vec![EDGE.to_owned(), route(guarded), policy.to_owned()],
            3,
            "unused-policy",
            "./2.yaml:1",
            "RateLimitPolicy default/few",
        ),
        (
            vec![https(), certificate(10)],
            3,
            "certificate-expiry",
            "./1.yaml:1",
            "Secret default/shop: the certificate of ",
        ),
        (vec![https(), certificate(1)], 4, "certificate-expiry", "./1.yaml:1", "expired at "),
        (
            vec![EDGE.replace("gatewayClassName: gatehouse", "class: gatehouse")],
            4,
            "manifest",
            "./0.yaml:5",
            "spec.gatewayClassName",
        ),
        (
            vec![EDGE.to_owned(), route("- backendRefs: [{name: gone, port: 80}]")],
            4,
            "status",
            "./1.yaml:2",
            "ResolvedRefs=False BackendNotFound",
        ),
    ] {
        let (exit, findings) = check(&manifests);
        assert_eq!(exit, Some(status), "{findings:#?}");
        if code.is_empty() {
            assert!(findings.is_empty(), "{findings:#?}");
            continue;
        }
        let found = findings.iter().any(|finding| {
            let at = format!("{}:{}", finding["file"].as_str().unwrap(), finding["line"]);
            finding["code"] == code && at == place && finding["message"].as_str().unwrap().contains(said)
        });
        assert!(found, "{code} {place} {said}: {findings:#?}");
    }
}

#[test]
fn what_cannot_be_checked_or_explained_ends_with_2() {
    for (args, said) in [
        (vec!["check", "nowhere"], "nowhere: "),
        (vec!["check", "."], "no .yaml, .yml or .json files"),
        (vec!["explain", "GET", "http://h/", "-f", "nowhere"], "nowhere: "),
    ] {
        let output = gatehouse(&[], &args);
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    }
    let bad = gatehouse(&[EDGE.to_owned()], &["explain", "GET", "http://h:8080/%zz", "-f", "."]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&bad.stderr).contains("The request is malformed."), "{bad:?}");
}

/// As `head -n 0` does: what was found out is told by the exit status all the same.
#[test]
fn who_prints_ends_well_where_nobody_reads() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("edge.yaml", EDGE);
    write("service.yaml", &service("echo"));
    write("routes.yaml", &route("- backendRefs: [{name: echo, port: 80}]"));
    write("requests.jsonl", &"{\"method\": \"GET\", \"url\": \"http://h:8080/\"}\n".repeat(3));
    write("ingress.txt", &ingress());
    write(
        "kong.txt",
        "_format_version: '3.0'\nservices: [{name: a, url: 'http://a', routes: [{name: a, paths: [/]}]}]\n",
    );
    write("probes.json", "[]");
    let log = json!({"method": "GET", "scheme": "http", "host": "h", "path": "/", "listener": "default/edge/http",
        "route": "GatewayRoute/default/r", "rule": "0"});
    write("log.jsonl", &format!("{log}\n"));
    for args in [
        &["check", "."][..],
        &["check", ".", "--output", "json"],
        &["check", ".", "--diff", "."],
        &["explain", "GET", "http://h:8080/", "-f", "."],
        &["explain", "--requests", "requests.jsonl", "-f", "."],
        &["explain", "--log", "log.jsonl", "-f", "."],
        &["convert", "kong", "kong.txt", "-o", "OUT"],
        &["convert", "ingress-nginx", "ingress.txt", "-o", "OUT"],
        &["convert", "verify", "probes.json", "--old", "http://127.0.0.1:1", "--new", "http://127.0.0.1:1"],
        &["check", "--help"],
    ] {
        let run = |out: &str, stdout: Stdio| {
            let args = args.iter().map(|arg| if *arg == "OUT" { out } else { arg });
            Command::new(binary()).current_dir(folder.path()).args(args).stdout(stdout).output().unwrap()
        };
        let (nobody, closed) = io::pipe().unwrap();
        drop(nobody);
        let unread = run("unread", closed.into());
        let read = run("read", Stdio::piped());
        assert!(!read.stdout.is_empty(), "{args:?}: {read:?}");
        assert_eq!((unread.status.code(), &unread.stderr), (read.status.code(), &read.stderr), "{args:?}");
        let full = run("full", fs::File::create("/dev/full").unwrap().into());
        if !args.contains(&"--help") {
            assert_eq!(full.status.code(), Some(2), "{args:?}: {full:?}");
        }
        for out in ["unread", "read", "full"] {
            let _ = fs::remove_dir_all(folder.path().join(out));
        }
    }
}

fn ingress() -> String {
    "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec:\n  rules:\n  - http: {paths: [{path: /, \
     pathType: Prefix, backend: {service: {name: a, port: {number: 80}}}}]}\n"
        .to_owned()
}

/// Each rule answers with a status of its own, so that the answer tells which took the request.
#[tokio::test]
async fn explain_says_what_the_gateway_does() {
    let rules = "- matches: [{path: {value: /a}}]\n  respond: {status: 201}\n- matches: [{path: {type: Exact, value: \
                 /a/b}}]\n  respond: {status: 202}\n- matches: [{path: {value: /a}, method: POST}]\n  respond: {status: \
                 203}\n- matches: [{path: {value: /a}, headers: [{name: x-v, value: '2'}]}]\n  respond: {status: 205}\n- \
                 matches: [{path: {type: RegularExpression, value: '/a/[0-9]+'}}]\n  respond: {status: 206}\n- matches: \
                 [{path: {value: /a}, queryParams: [{name: q, value: '1'}]}]\n  respond: {status: 207}\n";
    let manifests = [EDGE.to_owned(), route(rules)];
    let gateway =
        Gateway::builder().file("edge.yaml", &manifests[0]).file("routes.yaml", &manifests[1]).start().await;
    for (method, path, header) in [
        ("GET", "/a", None),
        ("GET", "/a/b", None),
        ("GET", "/a/b/c", None),
        ("POST", "/a/x", None),
        ("GET", "/a", Some("2")),
        ("GET", "/a", Some("3")),
        ("POST", "/a", Some("2")),
        ("GET", "/a/7", None),
        ("GET", "/a/7?q=1", Some("2")),
        ("GET", "/a?q=1", None),
        ("GET", "/a?q=2", None),
        ("GET", "/%61/b", None),
        ("GET", "/ab", None),
        ("GET", "/", None),
    ] {
        let url = format!("http://h:8080{path}");
        let mut args = vec!["explain", method, &url, "--folder", ".", "--output", "json"];
        let field = header.map(|value| format!("x-v: {value}"));
        if let Some(field) = &field {
            args.extend(["-H", field]);
        }
        let told: Value = serde_json::from_slice(&gatehouse(&manifests, &args).stdout).unwrap();
        let does = told[0]["taken"]["does"][0].as_str();
        let mut request = get(gateway.http(), path).method(method).host("h");
        if let Some(value) = header {
            request = request.header("x-v", value);
        }
        let status = request.send().await.status;
        let wanted = (status != 404).then(|| format!("answers by itself, {status}"));
        assert_eq!(does, wanted.as_deref(), "{method} {path} {header:?}: {told:#}");
    }
}

/// Each kind of change to a request's way, and that what is the same is not told.
#[test]
fn a_diff_names_the_requests_that_go_elsewhere() {
    let folders = tempfile::tempdir().unwrap();
    let write = |name: &str, rules: &str| {
        let folder = folders.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("edge.yaml"), EDGE).unwrap();
        fs::write(folder.join("routes.yaml"), route(rules)).unwrap();
        folder.display().to_string()
    };
    let diff = |one: &str, other: &str| {
        let output = Command::new(binary())
            .args(["check", one, "--diff", other, "--output", "json"])
            .output()
            .unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        (output.status.code(), told)
    };
    let one = "- name: a\n  matches: [{path: {value: /a}}]\n  respond: {status: 201}\n";
    let number = "- name: number\n  matches: [{path: {type: RegularExpression, value: '/n/[0-9]+'}, headers: [{name: x-v, value: \
                  '2'}], queryParams: [{name: q, value: 'a b'}]}]\n  respond: {status: 202}\n";
    let now = write("now", &format!("{one}{number}"));
    let (status, told) = diff(&now, &now);
    assert_eq!((status, &told["compared"]), (Some(0), &Value::from(3)), "{told:#}");
    for (then, requests) in [
        (one.to_owned(), vec!["GET http://any-host.example:8080/n/1?q=a+b -H 'x-v: 2'"]),
        (format!("{number}{}", one.replace("status: 201", "status: 204")), vec!["/a", "/a/below"]),
        (
            format!("{one}{number}{}", one.replace("name: a", "name: b").replace("/a}", "/a/below}")),
            vec!["/a/below", "/a/below/below"],
        ),
    ] {
        let (status, told) = diff(&now, &write("then", &then));
        assert_eq!(status, Some(3), "{told:#}");
        let different: Vec<&str> = told["different"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["request"].as_str().unwrap())
            .collect();
        assert_eq!(different.len(), requests.len(), "{told:#}");
        for (request, wanted) in different.iter().zip(requests) {
            assert!(request.ends_with(wanted), "{request} is not {wanted}");
        }
    }
}
