//! What routes match and where they lead.

use serde_json::json;

use super::{converted, told};
use crate::convert::report::Verdict;

#[test]
fn conditions_of_every_kind() {
    let converted = converted(
        r#"_format_version: "3.0"
services:
- name: shop
  host: shop.apps.svc.cluster.local
  port: 8080
  path: /v1
  read_timeout: 1500
  connect_timeout: 2000
  retries: 3
  routes:
  - name: all
    hosts: [Shop.example.com, "*.shop.example.com"]
    methods: [GET, post]
    paths: [/a, "/b//c/"]
    headers: {X-Version: ["2", "~*^beta"]}
    strip_path: false
    preserve_host: true
  - name: expression
    paths: ["~/users/\\d+$"]
"#,
    );
    assert_eq!(told(&converted), [""; 0]);
    let route = converted.spec("GatewayRoute", "all");
    assert_eq!(route["hostnames"], json!(["shop.example.com", "*.shop.example.com"]));
    let rules = route["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 2, "each path is put behind the service's own");
    assert_eq!(
        rules[0]["rewrite"],
        json!({"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v1/a"}})
    );
    assert_eq!(rules[1]["rewrite"]["path"]["replacePrefixMatch"], "/v1/b/c");
    assert_eq!(rules[1]["matches"][0]["path"]["value"], "/b/c/");
    assert_eq!(rules[0]["matches"][0]["method"], "GET");
    assert_eq!(rules[0]["matches"][1]["method"], "POST");
    assert_eq!(rules[0]["matches"][0]["headers"][0]["value"], "(?i)(?:2|.*(?:^beta).*)");
    assert_eq!(rules[0]["timeouts"], serde_json::json!({"connect": "2s", "idle": "1s500ms"}));
    assert_eq!(rules[0]["retry"]["attempts"], 3);
    assert_eq!(rules[0]["backendRefs"][0]["namespace"], "apps");
    assert_eq!(converted.spec("ReferenceGrant", "kong-routes-shop")["from"][0]["namespace"], "default");
    let expression = &converted.spec("GatewayRoute", "expression")["rules"][0];
    assert_eq!(expression["matches"][0]["path"]["value"], "(?:/users/\\d+$).*");
    assert_eq!(expression["rewrite"]["path"], json!({"type": "ReplaceFullPath", "replaceFullPath": "/v1"}));
    let slash = converted.entry("services[0].routes[0].paths[1]");
    assert!(slash.changes.starts_with("takes /b/c too"), "{slash:?}");
}

#[test]
fn what_would_widen_a_route_leaves_it_out() {
    let converted = converted(
        r#"_format_version: "3.0"
services:
- name: s
  url: http://s
  routes:
  - {name: hosts, hosts: ["example.*", "a.example.com:8080"]}
  - {name: paths, paths: ["~/a(?!b)"]}
  - {name: snis, snis: [a.example.com]}
  - {name: methods, methods: [PURGE]}
  - {name: stripped, paths: ["~/a"], hosts: [a.example.com]}
  - {name: stream, protocols: [tcp], sources: [{ip: 10.0.0.1}]}
  - {name: good, hosts: [a.example.com, "b.*"]}
"#,
    );
    assert_eq!(told(&converted), [""; 0]);
    let routes = converted.objects.iter().filter(|object| object["kind"] == "GatewayRoute");
    let names: Vec<_> = routes.map(|route| route["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["good"]);
    assert_eq!(converted.spec("GatewayRoute", "good")["hostnames"], json!(["a.example.com"]));
    for (route, name) in ["hosts", "paths", "snis", "methods", "stripped", "stream"].iter().enumerate() {
        let entry = converted.entry(&format!("services[0].routes[{route}].name"));
        assert_eq!((entry.verdict, &*entry.object), (Verdict::Refused, &*format!("route {name}")));
    }
}

#[test]
fn old_files_tell_expressions_by_their_characters() {
    let text = |version: &str| {
        format!(
            "_format_version: \"{version}\"\nservices: [{{name: s, url: 'http://s', routes: [{{name: r, strip_path: false, paths: ['/a/(?<id>\\d+)']}}]}}]\n"
        )
    };
    let old = converted(&text("2.1"));
    let path = |converted: &super::Outcome| {
        converted.spec("GatewayRoute", "r")["rules"][0]["matches"][0]["path"]["type"].clone()
    };
    assert_eq!(path(&old), "RegularExpression");
    // `?` never stands in a path: there is nothing that Kong would match.
    let new = converted(&text("3.0"));
    assert!(new.object("GatewayRoute", "r").is_none());
    assert!(
        new.entry("services[0].routes[0].paths[0]").changes.contains("Kong 3 matches it letter by letter")
    );
}

#[test]
fn routes_whose_order_differs_are_told_with_a_request() {
    let converted = converted(
        r#"_format_version: "3.0"
services:
- name: s
  url: http://s
  routes:
  - {name: read, paths: [/a], methods: [GET]}
  - {name: deep, paths: [/a/b]}
  - {name: other, paths: [/c]}
"#,
    );
    // Two kinds of conditions go before one there, and the longer path here.
    let entry = converted.entry("services[0].routes[0].paths[0]");
    assert!(entry.changes.contains("takes GET /a/b before route deep in Kong"), "{entry:?}");
    assert!(entry.probes.contains(&"order-1".to_owned()), "{entry:?}");
    let probe = converted.probes.iter().find(|probe| probe.id == "order-1").expect("a probe");
    assert_eq!((&*probe.method, &*probe.path, probe.line), ("GET", "/a/b", 6));
    assert_eq!(converted.probes.iter().filter(|probe| probe.id.starts_with("order")).count(), 1);
}

#[test]
fn only_https_has_others_told() {
    let converted = converted(
        r#"_format_version: "3.0"
services:
- name: s
  url: http://s
  routes:
  - {name: moved, protocols: [https], hosts: [a.example.com], https_redirect_status_code: 301}
  - {name: refused, protocols: [https], paths: [/x]}
  - {name: plain, protocols: [http], paths: [/y]}
"#,
    );
    let redirect = converted.spec("GatewayRoute", "moved-to-https");
    assert_eq!(redirect["parentRefs"][0]["sectionName"], "http");
    assert_eq!(redirect["rules"][0]["redirect"]["statusCode"], 301);
    assert_eq!(converted.spec("GatewayRoute", "refused-to-https")["rules"][0]["respond"]["status"], 426);
    assert_eq!(converted.spec("GatewayRoute", "moved")["parentRefs"][0]["sectionName"], "https");
    assert_eq!(converted.spec("GatewayRoute", "plain")["parentRefs"][0]["sectionName"], "http");
    assert_eq!(converted.spec("Gateway", "kong")["listeners"][1]["port"], 8443);
}

#[test]
fn targets_by_address_by_name_and_by_weight() {
    let converted = converted(
        r#"_format_version: "3.0"
upstreams:
- name: same
  targets: [{target: "10.0.0.1:80"}, {target: "10.0.0.2:80"}]
- name: weighted
  targets: [{target: "10.0.0.3:80", weight: 9}, {target: "blue:8080", weight: 1}]
services:
- {name: same, host: same, routes: [{name: same, paths: [/same]}]}
- {name: weighted, host: weighted, routes: [{name: weighted, paths: [/weighted]}]}
- {name: outside, url: "https://api.example.org", routes: [{name: outside, paths: [/outside]}]}
"#,
    );
    assert_eq!(told(&converted), [""; 0]);
    let references = |name: &str| converted.spec("GatewayRoute", name)["rules"][0]["backendRefs"].clone();
    assert_eq!(references("same").as_array().map(Vec::len), Some(1));
    let slice = converted.object("EndpointSlice", "same-1").expect("a slice");
    assert_eq!(slice["endpoints"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        (&references("weighted")[0]["weight"], &references("weighted")[1]["name"]),
        (&json!(9), &json!("blue"))
    );
    assert!(converted.entry("services[2].url").changes.contains("make it an ExternalName"));
    assert_eq!(
        converted.spec("BackendTLSPolicy", "api-example-org")["validation"]["hostname"],
        "api.example.org"
    );
}
