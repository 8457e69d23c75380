//! Bad input: named with file, line and field; nothing else is harmed; and what can't start says so in one line.

use std::{fs, net::TcpListener, process::Command};

use gatehouse_tests::{
    backend::Backend,
    client::get,
    eventually,
    gateway::{EDGE, Gateway, binary},
};

use crate::{route, to_echo};

#[tokio::test]
async fn each_broken_object_is_named_and_the_others_keep_working() {
    let backend = Backend::echo("echo").await;
    let gateway = Gateway::with(&to_echo(), &[("echo", backend.address)]).await;
    let named = |name: &str, rules: &str| route(rules).replace("{name: r}", &format!("{{name: {name}}}"));
    let large = format!("({})", "a|".repeat(500_000));
    let cases = [
        ("yaml", "kind: [".to_owned(), "bad-yaml.yaml:"),
        ("no-version", "kind: Gateway\n".into(), "apiVersion is missing"),
        (
            "kind",
            "apiVersion: gatehouse.dev/v1alpha1\nkind: GatewayRoutes\nmetadata: {name: x}\n".into(),
            "did you mean GatewayRoute?",
        ),
        (
            "type",
            named("bad", "- backendRefs: [{name: echo, port: eighty}]"),
            "spec.rules[0].backendRefs[0].port",
        ),
        ("port", named("bad", "- backendRefs: [{name: echo, port: 0}]"), "spec.rules[0].backendRefs[0].port"),
        (
            "two actions",
            named("bad", "- respond: {status: 200}\n  redirect: {scheme: https}"),
            "give exactly one of",
        ),
        (
            "expression",
            named(
                "bad",
                "- matches: [{path: {type: RegularExpression, value: '/(['}}]\n  respond: {status: 200}",
            ),
            "regular expression",
        ),
        (
            "large",
            named(
                "bad",
                &format!(
                    "- matches: [{{headers: [{{name: a, type: RegularExpression, value: '{}'}}]}}]\n  respond: {{status: 200}}",
                    "(x{1000}){1000}"
                ),
            ),
            "too large",
        ),
        (
            "10 MB",
            named(
                "bad",
                &format!(
                    "- matches: [{{path: {{type: RegularExpression, value: '{large}'}}}}]\n  respond: {{status: 200}}"
                ),
            ),
            "spec.rules[0].matches[0].path.value",
        ),
        (
            "header",
            named("bad", "- requestHeaders: {set: [{name: 'a b', value: x}]}\n  respond: {status: 200}"),
            "spec.rules[0].requestHeaders.set[0].name",
        ),
        (
            "framing",
            named(
                "bad",
                "- matches: [{path: {value: /bad}}]\n  responseHeaders: {remove: [Content-Length]}\n  respond: {status: 200}",
            ),
            "frames the message",
        ),
        (
            "parent",
            named("bad", "- respond: {status: 200}").replace(
                "{name: \
         edge}",
                "{name: edge, sectionName: nowhere}",
            ),
            "NoMatchingParent",
        ),
    ];
    for (what, text, said) in cases {
        let file = format!("bad-{}.yaml", what.replace(' ', "-"));
        gateway.write(&file, &text);
        let line = gateway.said(said).await;
        assert!(line.contains(".yaml:"), "{what}: names file and line: {line}");
        // It keeps serving, and it keeps updating.
        assert_eq!(get(gateway.http(), "/").send().await.status, 200, "{what}");
        let probe = named(
            "probe",
            &format!("- matches: [{{path: {{value: '/{file}'}}}}]\n  respond: {{status: 204}}"),
        );
        gateway.write("probe.yaml", &probe);
        eventually(&format!("a change beside {what} serves"), async || {
            (get(gateway.http(), &format!("/{file}")).send().await.status == 204).then_some(())
        })
        .await;
        gateway.remove(&file);
    }
    gateway.said("mended").await;
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    // Should it start after all, it must not hold the tests up.
    let output = Command::new("timeout").arg("20").arg(binary()).arg("run").args(args).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_can_not_start_says_so_in_one_line_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let check = |args: &[&str], wanted: &str| {
        let (code, said) = run(args);
        let last: Vec<&str> = said.lines().filter(|line| line.starts_with("gatehouse: ")).collect();
        assert_eq!((code, last.len()), (Some(2), 1), "{said}");
        assert!(last[0].contains(wanted), "{said}");
    };
    check(&["/does/not/exist"], "/does/not/exist: No such file or directory");
    check(&[path], "there are no .yaml, .yml or .json files in it");
    fs::write(folder.path().join("a.yaml"), "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n").unwrap();
    check(&[path], "there is no Gateway or Ingress of class gatehouse in it");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    fs::write(folder.path().join("edge.yaml"), EDGE.replace("8080", &port.to_string())).unwrap();
    check(&[path], &format!("can't listen on 127.0.0.1:{port}: Address already in use"));
    drop(taken);

    let https = EDGE.replace(
        "protocol: HTTP, port: 8080",
        "protocol: HTTPS, port: 8443, tls: {certificateRefs: [{name: c}]}",
    );
    fs::write(folder.path().join("edge.yaml"), https).unwrap();
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: c}\nstringData: {tls.crt: no certificate, tls.key: no key}\n";
    fs::write(folder.path().join("secret.yaml"), secret).unwrap();
    check(
        &[path, "--free-ports"],
        "listener http: certificateRefs: Secret default/c holds no PEM certificate",
    );
}
