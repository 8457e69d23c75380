//! One canonical path and host (security catalogue 3.4), and rewrites of it.

use std::time::Duration;

use gatehouse_tests::{
    backend::Backend,
    client::{get, raw},
    gateway::Gateway,
};

use crate::{route, to_echo};

#[tokio::test]
async fn the_backend_sees_the_path_that_was_matched() {
    let backend = Backend::echo("echo").await;
    let rules = "
- matches: [{path: {value: /admin}}]
  respond: {status: 403}
- backendRefs: [{name: echo, port: 80}]";
    // As the Gateway API allows rules to be written; requests are compared in their canonical form.
    let escaped = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: escaped}\nspec:\n  \
                   parentRefs: [{name: edge}]\n  rules:\n  - matches: [{path: {type: PathPrefix, value: \
                   '/caf%c3%a9/%7Eme'}}]\n    filters: [{type: RequestRedirect, requestRedirect: {statusCode: 302}}]\n";
    let gateway = Gateway::with(&format!("{}{escaped}", route(rules)), &[("echo", backend.address)]).await;
    for path in ["/caf%c3%a9/%7Eme", "/caf%C3%A9/~me/x"] {
        assert_eq!(get(gateway.http(), path).send().await.status, 302, "{path}");
    }
    for (path, wanted) in [
        ("/%61dmin", None),
        ("/x/../admin", None),
        ("/x/%2e%2E/admin", None),
        ("/./admin/x", None),
        ("/ADMIN", Some("/ADMIN")),
        ("/admin%2fx", Some("/admin%2Fx")),
        ("/administrator", Some("/administrator")),
        ("/a//b/%7Ec?d=%2e%2e//e", Some("/a//b/~c?d=%2e%2e//e")),
        ("/a/./b/../c/", Some("/a/c/")),
        ("/a;v=1", Some("/a;v=1")),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = raw(gateway.http(), request.as_bytes(), Duration::from_secs(3)).await;
        match wanted {
            None => assert_eq!(answer.statuses(), [403], "{path}: {answer:?}"),
            Some(wanted) => {
                assert_eq!(answer.statuses(), [200], "{path}: {answer:?}");
                assert_eq!(backend.seen().last().unwrap().path, wanted, "{path}");
            }
        }
    }
    let before = backend.seen().len();
    for path in ["/..", "/%2e%2e/x", "/a%00b", "/a%zz", "/a%2", "/a\\b", "/a<b", "*", "a"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = raw(gateway.http(), request.as_bytes(), Duration::from_secs(3)).await;
        assert_eq!(answer.statuses(), [400], "{path}: {answer:?}");
    }
    assert_eq!(backend.seen().len(), before);
}

#[tokio::test]
async fn hosts_are_one_and_well_formed() {
    let backend = Backend::echo("echo").await;
    let manifests = to_echo().replace("parentRefs", "hostnames: [a.example.com]\n  parentRefs");
    let gateway = Gateway::with(&manifests, &[("echo", backend.address)]).await;
    for (host, status) in [
        ("a.example.com", 200),
        ("A.Example.Com:1234", 200),
        ("a.example.com.", 200),
        ("b.example.com", 404),
        ("a.example.com:80:80", 400),
        ("user@a.example.com", 400),
        ("a.example.com:99999", 400),
        ("a..example.com", 404),
    ] {
        assert_eq!(get(gateway.http(), "/").host(host).send().await.status, status, "{host}");
    }
    let absolute = b"GET http://a.example.com/x HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n";
    let answer = raw(gateway.http(), absolute, Duration::from_secs(3)).await;
    assert_eq!(answer.statuses(), [200], "{answer:?}");
}

#[tokio::test]
async fn rewrites_join_with_one_slash() {
    let backend = Backend::echo("echo").await;
    let mut rules = String::new();
    for (index, replacement) in ["", "/", "/q", "/q/"].into_iter().enumerate() {
        rules.push_str(&format!(
            "- matches: [{{path: {{value: /p{index}/}}}}]\n  rewrite: {{path: {{type: ReplacePrefixMatch, replacePrefixMatch: \
             \"{replacement}\"}}}}\n  backendRefs: [{{name: echo, port: 80}}]\n"
        ));
    }
    rules.push_str(
        "- matches: [{path: {value: /whole}}]\n  rewrite: {hostname: inner.example, path: {type: ReplaceFullPath, \
         replaceFullPath: /one}}\n  backendRefs: [{name: echo, port: 80}]\n",
    );
    let gateway = Gateway::with(&route(&rules), &[("echo", backend.address)]).await;
    for (index, wanted) in [
        (0, ["/", "/", "/x", "/x/", "/x", "/?a=//b"]),
        (1, ["/", "/", "/x", "/x/", "/x", "/?a=//b"]),
        (2, ["/q", "/q/", "/q/x", "/q/x/", "/q/x", "/q?a=//b"]),
        (3, ["/q", "/q/", "/q/x", "/q/x/", "/q/x", "/q?a=//b"]),
    ] {
        for (rest, wanted) in ["", "/", "/x", "/x/", "//x", "?a=//b"].into_iter().zip(wanted) {
            let answer = get(gateway.http(), &format!("/p{index}{rest}")).send().await;
            assert_eq!(answer.json()["path"], wanted, "/p{index}{rest}");
        }
    }
    let answer = get(gateway.http(), "/whole/x?y").send().await.json();
    assert_eq!(
        (answer["path"].as_str(), answer["headers"]["host"][0].as_str()),
        (Some("/one?y"), Some("inner.example"))
    );
}
