//! Paths, rewrites and redirects.

use serde_json::json;

use super::{converted, ingress, named, options, outcome, rules, verdict};
use crate::convert::{ingress_nginx::convert, report::Verdict};

#[test]
fn usual_rewrites_are_prefixes() {
    let text =
        ingress(&["use-regex: 'true'", "rewrite-target: /$2"], &["/api(/|$)(.*) ImplementationSpecific"]);
    let made = converted(&text);
    let all = rules(&made, "shop");
    assert_eq!(all[0]["matches"][0]["path"], json!({"type": "PathPrefix", "value": "/api"}));
    assert_eq!(all[0]["rewrite"]["path"], json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}));
    let entry = made.entry("spec.rules[0].http.paths[0].path");
    assert!(
        entry.verdict == Verdict::Warning && entry.changes.contains("--exact-paths"),
        "{}",
        entry.changes
    );
    assert_eq!(made.told(), Vec::<String>::new());

    let exact = outcome("ingress.yaml", &text, convert, &options(&[], true)).expect("an Ingress");
    let all = rules(&exact, "shop");
    assert_eq!(all[0]["matches"][0]["path"]["value"], "(?i)(?:/api(/|$)(.*)).*");
    assert_eq!(all[0]["rewrite"]["path"]["replaceRegexMatch"]["substitution"], "/$2");
    assert_eq!(exact.entry("spec.rules[0].http.paths[0].path").verdict, Verdict::Exact);
    assert_eq!(exact.told(), Vec::<String>::new());
}

/// One unusual path has all of them matched by expressions.
#[test]
fn an_expression_is_for_the_whole_host() {
    let made = converted(
        &(ingress(&["rewrite-target: /v/$1"], &["/x/([0-9]+) ImplementationSpecific"])
            + &named("other", &[], &["/ Prefix", "/xy Exact"])),
    );
    assert_eq!(rules(&made, "other")[1]["matches"][0]["path"]["value"], "(?i)(?:/xy).*");
    assert_eq!(
        rules(&made, "shop")[0]["rewrite"]["path"]["replaceRegexMatch"],
        json!({"pattern": "(?i)(?:/x/([0-9]+)).*", "substitution": "/v/$1"})
    );
    assert_eq!(made.told(), Vec::<String>::new());
}

#[test]
fn a_rewrite_to_its_own_path_is_none() {
    let made = converted(&ingress(&["rewrite-target: /"], &["/ Prefix"]));
    assert_eq!(rules(&made, "shop")[0].get("rewrite"), None);
    assert_eq!(rules(&made, "shop")[0]["matches"][0]["path"]["type"], "PathPrefix");
}

#[test]
fn a_rewrite_to_a_url_is_a_redirect() {
    let made = converted(&ingress(&["rewrite-target: https://new.example.com/here"], &["/old Prefix"]));
    assert_eq!(
        rules(&made, "shop")[0]["redirect"],
        json!({"scheme": "https", "hostname": "new.example.com", "statusCode": 302,
               "path": {"type": "ReplaceFullPath", "replaceFullPath": "/here"}})
    );
}

#[test]
fn what_has_no_like_as_an_expression_is_closed() {
    let made =
        converted(&ingress(&["use-regex: 'true'"], &["/a/(?!admin).* ImplementationSpecific", "/ Prefix"]));
    let all = rules(&made, "shop");
    assert_eq!(all[0]["matches"][0]["path"]["value"], "(?i)(?:/a/).*");
    assert_eq!(all[0]["respond"]["status"], 503);
    assert_eq!(made.refused(), ["spec.rules[0].http.paths[0].path"]);
}

#[test]
fn redirects_are_not_guarded() {
    let made = converted(&ingress(
        &["permanent-redirect: https://new.example.com/x?y=z", "whitelist-source-range: 10.0.0.0/8"],
        &["/ Prefix"],
    ));
    let rule = &rules(&made, "shop")[0];
    assert_eq!(rule["auth"], json!({"public": true}));
    assert_eq!(rule["respond"]["status"], 301);
    assert_eq!(rule["respond"]["headers"][0]["value"], "https://new.example.com/x?y=z");
    assert_eq!(made.told(), Vec::<String>::new());
}

#[test]
fn what_a_host_leaves_is_nobodys() {
    let wide = named("wide", &[], &["/ Prefix"]).replace("a.example.com", "'*.example.com'");
    let made = converted(&(ingress(&[], &["/api Prefix"]) + &wide));
    let rest = made.spec("GatewayRoute", "a-example-com-rest");
    assert_eq!(rest["rules"][0]["respond"]["status"], 404);
    assert_eq!(made.told(), Vec::<String>::new());
}

#[test]
fn hosts_that_stand_for_others() {
    let made = converted(&ingress(
        &["server-alias: 'b.example.com, ~^x'", "from-to-www-redirect: 'true'", "app-root: /start"],
        &["/ Prefix"],
    ));
    let spec = made.spec("GatewayRoute", "shop");
    assert_eq!(spec["hostnames"], json!(["a.example.com", "b.example.com"]));
    assert_eq!(spec["rules"][0]["matches"][0]["path"], json!({"type": "Exact", "value": "/"}));
    assert_eq!(spec["rules"][0]["respond"]["headers"][0]["value"], "/start");
    let www = made.spec("GatewayRoute", "a-example-com-from-to-www");
    assert_eq!(www["hostnames"], json!(["www.a.example.com"]));
    assert_eq!(www["rules"][0]["redirect"], json!({"hostname": "a.example.com", "statusCode": 308}));
    assert!(verdict(&made, "server-alias").1.contains("~^x is not converted"));
}

#[test]
fn the_first_of_two_has_a_path() {
    let made = converted(&(ingress(&[], &["/ Prefix"]) + &named("later", &[], &["/ Prefix"])));
    assert!(made.object("GatewayRoute", "shop").is_none(), "later comes first by its name");
    let of_shop = made.entries.iter().find(|entry| entry.changes.contains("is left out, as there"));
    assert_eq!(of_shop.map(|entry| &*entry.object), Some("Ingress default/shop"));
}
