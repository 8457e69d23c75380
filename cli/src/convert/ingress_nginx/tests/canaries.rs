//! Pairs of Ingresses.

use serde_json::json;

use super::{converted, ingress, named, rules};

#[test]
fn header_then_cookie_then_weight() {
    let canary = named(
        "next",
        &["canary: 'true'", "canary-by-header: X-Canary", "canary-by-cookie: canary", "canary-weight: '10'"],
        &["/ Prefix"],
    );
    let made = converted(&(ingress(&[], &["/ Prefix"]) + &canary));
    let all = rules(&made, "shop");
    let seen: Vec<_> = all
        .iter()
        .map(|rule| (&rule["matches"][0]["headers"][0]["value"], &rule["backendRefs"][0]["name"]))
        .collect();
    assert_eq!(seen[0], (&json!("always"), &json!("next")));
    assert_eq!(seen[1], (&json!("never"), &json!("shop")));
    assert_eq!(seen[2].1, "next");
    assert_eq!(seen[3].1, "shop");
    assert_eq!(
        (&all[4]["backendRefs"][0]["weight"], &all[4]["backendRefs"][1]["weight"]),
        (&json!(90), &json!(10))
    );
    assert_eq!((made.refused(), made.told()), (Vec::new(), Vec::new()));
}

#[test]
fn a_value_or_pattern_of_the_header() {
    for (line, kind, value) in [
        ("canary-by-header-value: eu", "Exact", "eu"),
        ("canary-by-header-pattern: 'e[uv]'", "RegularExpression", "(?s).*(?:e[uv]).*"),
    ] {
        let canary = named("next", &["canary: 'true'", "canary-by-header: X-Region", line], &["/ Prefix"]);
        let made = converted(&(ingress(&[], &["/ Prefix"]) + &canary));
        let all = rules(&made, "shop");
        assert_eq!(
            all[0]["matches"][0]["headers"],
            json!([{"name": "X-Region", "type": kind, "value": value}])
        );
        assert_eq!(
            all[1]["backendRefs"],
            json!([{"name": "shop", "port": 80, "weight": 1, "group": "", "kind": "Service"}])
        );
        assert_eq!(made.told(), Vec::<String>::new());
    }
}

#[test]
fn a_canary_of_nothing_says_so() {
    let made =
        converted(&(ingress(&[], &["/ Prefix"]) + &named("next", &["canary: 'true'"], &["/other Prefix"])));
    assert!(made.entries.iter().any(|entry| entry.changes.contains("takes a share of nothing")));
}
