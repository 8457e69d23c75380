//! Broken objects: each is named in its own status, harms nothing else, and heals when it is mended.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use gatehouse_tests::certs::Authority;
use serde_json::Value;

use crate::{
    kubectl::{get, installed, run, within},
    shop::{HOST, Shop},
    traffic::Traffic,
};

/// What becomes of it.
enum Fate {
    /// A condition at this place is a problem, and its message says this.
    Told { place: &'static str, says: &'static str },
    /// The API server does not take it, and says this.
    Refused(&'static str),
}

struct Case {
    name: &'static str,
    /// `kind/name` of the object that is looked at.
    object: String,
    broken: String,
    /// `None`: it is deleted.
    mended: Option<String>,
    fate: Fate,
}

const PARENTS: &str = "/status/parents/0/conditions";
const ANCESTORS: &str = "/status/ancestors/0/conditions";
const LISTENER: &str = "/status/listeners/0/conditions";
const OWN: &str = "/status/conditions";

/// Either kind of route, with one rule.
fn route_of(kind: &str, name: &str, rule: &str) -> String {
    let version = if kind == "HTTPRoute" { "gateway.networking.k8s.io/v1" } else { "gatehouse.dev/v1alpha1" };
    format!(
        "apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  parentRefs: [{{name: edge}}]\n  hostnames: [{name}.example.com]\n  rules:\n  - {rule}\n"
    )
}

fn route(name: &str, rule: &str) -> String {
    route_of("GatewayRoute", name, rule)
}

fn gateway(name: &str, listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: {name}}}\nspec: {{gatewayClassName: gatehouse, listeners: [{listeners}]}}\n"
    )
}

fn policy(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{targetRefs: [{{group: gatehouse.dev, kind: GatewayRoute, name: shop}}], {spec}}}\n"
    )
}

fn consumer(name: &str, secret: &str) -> String {
    format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nmetadata: {{name: {name}}}\nspec: {{credentials: [{{name: key, apiKey: {{secretRef: {{name: {secret}}}}}}}]}}\n"
    )
}

fn secret(name: &str, entries: &[(&str, &str)]) -> String {
    let data: serde_json::Map<String, Value> =
        entries.iter().map(|(entry, text)| ((*entry).to_owned(), Value::from(*text))).collect();
    serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
        .to_string()
        + "\n"
}

const GOOD: &str = "backendRefs: [{name: web, port: 3000}]";

/// A rule of either kind of route that is mended by a good one.
fn rule_of(kind: &str, name: &'static str, rule: &str, fate: Fate) -> Case {
    Case {
        name,
        object: format!("{kind}/{name}"),
        broken: route_of(kind, name, rule),
        mended: Some(route_of(kind, name, GOOD)),
        fate,
    }
}

fn rule(name: &'static str, rule: &str, fate: Fate) -> Case {
    rule_of("GatewayRoute", name, rule, fate)
}

fn http_rule(name: &'static str, rule: &str, fate: Fate) -> Case {
    rule_of("HTTPRoute", name, rule, fate)
}

fn told(place: &'static str, says: &'static str) -> Fate {
    Fate::Told { place, says }
}

#[allow(clippy::too_many_lines)] // A table.
fn cases() -> Vec<Case> {
    let authority = Authority::default();
    let (one, two) = (authority.issue(&["a.example.com"]), authority.issue(&["b.example.com"]));
    let long = format!("(a{{1,9}}){}", "x".repeat(900));
    let listener = |name: &str, rest: &str| format!("{{name: {name}, port: 8443, protocol: HTTPS, {rest}}}");
    let certified =
        |secret: &str| listener("https", &format!("tls: {{certificateRefs: [{{name: {secret}}}]}}"));
    let tls = |name: &str, certificate: &str, key: &str| {
        secret(name, &[("tls.crt", certificate), ("tls.key", key)])
    };
    let plain = "{name: http, port: 8081, protocol: HTTP}";
    let jwt = |keys: &str| format!("anyOf: [{{jwt: {{issuer: \"https://i.example.com\", {keys}}}}}]");
    vec![
        rule("bad-regex", "matches: [{path: {type: RegularExpression, value: \"/a(\"}}]\n    backendRefs: [{name: web, port: 3000}]", told(PARENTS, "regular expression")),
        rule("bad-header-regex", "matches: [{headers: [{name: X-A, type: RegularExpression, value: \"[\"}]}]\n    backendRefs: [{name: web, port: 3000}]", told(PARENTS, "regular expression")),
        rule("huge-regex", &format!("matches: [{{path: {{type: RegularExpression, value: \"/({long}){{1000}}\"}}}}]\n    backendRefs: [{{name: web, port: 3000}}]"), told(PARENTS, "")),
        rule("header-with-space", "matches: [{headers: [{name: \"X A\", value: b}]}]\n    backendRefs: [{name: web, port: 3000}]", Fate::Refused("headers[0].name")),
        rule("port-zero", "backendRefs: [{name: web, port: 0}]", Fate::Refused("port")),
        rule("absent-service", "backendRefs: [{name: nobody, port: 80}]", told(PARENTS, "nobody")),
        rule("absent-port", "backendRefs: [{name: web, port: 81}]", told(PARENTS, "81")),
        rule("foreign-service", "backendRefs: [{name: kubernetes, namespace: default, port: 443}]", told(PARENTS, "ReferenceGrant")),
        rule("absent-policy", "auth: {policyRef: {name: nobody}}\n    backendRefs: [{name: web, port: 3000}]", told(PARENTS, "AuthPolicy")),
        rule("absent-limit", "rateLimits: [{name: nobody}]\n    backendRefs: [{name: web, port: 3000}]", told(PARENTS, "RateLimitPolicy")),
        rule("nothing-to-do", "matches: [{path: {value: /x}}]", Fate::Refused("exactly one")),
        rule("two-actions", "redirect: {statusCode: 302}\n    backendRefs: [{name: web, port: 3000}]", Fate::Refused("exactly one")),
        rule("relative-path", "matches: [{path: {value: x}}]\n    backendRefs: [{name: web, port: 3000}]", Fate::Refused("path")),
        rule("bad-duration", "timeouts: {request: 1 hour}\n    backendRefs: [{name: web, port: 3000}]", Fate::Refused("timeouts")),
        http_rule("http-bad-regex", "matches: [{path: {type: RegularExpression, value: \"/a(\"}}]\n    backendRefs: [{name: web, port: 3000}]", told(PARENTS, "regular expression")),
        http_rule("http-absent-service", "backendRefs: [{name: nobody, port: 80}]", told(PARENTS, "nobody")),
        http_rule("http-wrong-kind", "backendRefs: [{group: example.com, kind: Bucket, name: web, port: 80}]", told(PARENTS, "Bucket")),
        http_rule("http-unserved-filter", "filters: [{type: ExtensionRef, extensionRef: {group: example.com, kind: Plugin, name: x}}]\n    backendRefs: [{name: web, port: 3000}]", told(PARENTS, "filters[0]")),
        Case {
            name: "absent-gateway-section",
            object: "gatewayroute/lost".into(),
            broken: route("lost", GOOD).replace("{name: edge}", "{name: edge, sectionName: nowhere}"),
            mended: Some(route("lost", GOOD)),
            fate: told(PARENTS, "sectionName"),
        },
        Case {
            name: "foreign-hostname",
            object: "gateway/narrow".into(),
            broken: gateway("narrow", plain).replace("protocol: HTTP}", "protocol: HTTP, tls: {certificateRefs: [{name: x}]}}"),
            mended: None,
            fate: Fate::Refused("tls"),
        },
        Case {
            name: "missing-certificate",
            object: "gateway/uncertified".into(),
            broken: gateway("uncertified", &certified("no-such")),
            mended: Some(gateway("uncertified", &certified("no-such")) + "---\n" + &tls("no-such", &one.certificate, &one.key)),
            fate: told(LISTENER, "no-such"),
        },
        Case {
            name: "mismatched-pair",
            object: "gateway/mismatched".into(),
            broken: gateway("mismatched", &certified("mixed")) + "---\n" + &tls("mixed", &one.certificate, &two.key),
            mended: Some(tls("mixed", &two.certificate, &two.key)),
            fate: told(LISTENER, "key"),
        },
        Case {
            name: "garbled-certificate",
            object: "gateway/garbled".into(),
            broken: gateway("garbled", &certified("garbage")) + "---\n" + &tls("garbage", "no certificate", &two.key),
            mended: Some(tls("garbage", &two.certificate, &two.key)),
            fate: told(LISTENER, "PEM"),
        },
        Case {
            name: "foreign-certificate",
            object: "gateway/foreign".into(),
            broken: gateway("foreign", &certified("x, namespace: kube-system")),
            mended: None,
            fate: told(LISTENER, "ReferenceGrant"),
        },
        Case {
            name: "conflicting-listeners",
            object: "gateway/rivals".into(),
            broken: gateway("rivals", &format!("{{name: a, port: 8081, protocol: HTTP}}, {}", listener("b", "tls: {certificateRefs: [{name: edge}]}").replace("8443", "8081"))),
            mended: Some(gateway("rivals", plain)),
            fate: told(LISTENER, ""),
        },
        Case {
            name: "unserved-protocol",
            object: "gateway/protocol".into(),
            broken: gateway("protocol", "{name: u, port: 53, protocol: example.com/speech}"),
            mended: Some(gateway("protocol", plain)),
            fate: told(LISTENER, "example.com/speech"),
        },
        Case {
            name: "absent-config",
            object: "gateway/unconfigured".into(),
            broken: gateway("unconfigured", plain).replace("gatewayClassName: gatehouse,", "gatewayClassName: gatehouse, infrastructure: {parametersRef: {group: gatehouse.dev, kind: GatewayConfig, name: nobody}},"),
            mended: Some(gateway("unconfigured", plain)),
            fate: told(OWN, "GatewayConfig"),
        },
        Case {
            name: "absent-key-secret",
            object: "consumer/keyless".into(),
            broken: consumer("keyless", "no-key"),
            mended: Some(secret("no-key", &[("key", "a-key-of-its-own")])),
            fate: told(OWN, "no-key"),
        },
        Case {
            name: "duplicate-key",
            object: "consumer/second".into(),
            broken: format!("{}---\n{}---\n{}", secret("shared", &[("key", "one-and-the-same")]), consumer("first", "shared"), consumer("second", "shared")),
            mended: Some(secret("own", &[("key", "another-key-altogether")]) + "---\n" + &consumer("second", "own")),
            fate: told(OWN, "first"),
        },
        Case {
            name: "absent-target",
            object: "ratelimitpolicy/astray".into(),
            broken: policy("RateLimitPolicy", "astray", "limits: [{name: a, key: [{clientIP: {}}], requests: 100000, per: 1s}]").replace("name: shop", "name: nobody"),
            mended: None,
            fate: told(ANCESTORS, "nobody"),
        },
        Case {
            name: "absent-jwt-secret",
            object: "authpolicy/keys".into(),
            broken: policy("AuthPolicy", "keys", &jwt("secretRef: {name: no-keys, key: jwks.json}")).replace("name: shop", "name: lost"),
            mended: None,
            fate: told(ANCESTORS, "no-keys"),
        },
        Case {
            name: "two-key-sources",
            object: "authpolicy/both".into(),
            broken: policy("AuthPolicy", "both", &jwt("secretRef: {name: a, key: b}, jwks: {url: \"https://a.example.com\"}")),
            mended: None,
            fate: Fate::Refused("exactly one"),
        },
        Case {
            name: "bad-range",
            object: "gatewayconfig/ranges".into(),
            broken: "apiVersion: gatehouse.dev/v1alpha1\nkind: GatewayConfig\nmetadata: {name: ranges}\nspec: {trustedProxies: [\"10.0.0.0/99\"]}\n".into(),
            mended: None,
            fate: Fate::Refused("trustedProxies"),
        },
    ]
}

/// The conditions at the place, but for those that only dataplanes can meet.
fn conditions(namespace: &str, object: &str, place: &str) -> Option<Vec<Value>> {
    let found = get(namespace, &[object])?;
    let mut conditions = found.pointer(place)?.as_array()?.clone();
    conditions
        .retain(|condition| condition["type"].as_str().is_none_or(|kind| !kind.ends_with("Programmed")));
    Some(conditions)
}

/// That a rule serves everybody is a warning, whatever becomes of the rule.
fn is_problem(condition: &Value) -> bool {
    if condition["type"] == "gatehouse.dev/Protected" {
        return false;
    }
    let good = condition["type"] != "Conflicted" && condition["type"] != "PartiallyInvalid";
    (condition["status"] == "True") != good
}

/// The message of a problem at the place, if it says so.
fn problem(namespace: &str, object: &str, place: &str, says: &str) -> Option<String> {
    let conditions = conditions(namespace, object, place)?;
    let problems = conditions.iter().filter(|condition| is_problem(condition));
    let mut messages = problems.filter_map(|condition| condition["message"].as_str());
    messages.find(|message| message.contains(says)).map(str::to_owned)
}

fn healed(namespace: &str, object: &str, place: &str) -> Option<()> {
    let conditions = conditions(namespace, object, place)?;
    (!conditions.iter().any(is_problem)).then_some(())
}

#[test]
fn broken_objects_harm_only_themselves() {
    installed();
    let shop = Shop::open("broken", 1, 1);
    let traffic = Traffic::start(shop.address, HOST, 50);
    let cases = cases();
    assert!(cases.len() >= 30, "{}", cases.len());
    let mut failures = Vec::new();
    let mut slowest = Duration::ZERO;
    for case in &cases {
        let applied = run("kubectl", &["-n", &shop.namespace, "apply", "-f", "-"], &case.broken);
        match (&case.fate, applied) {
            (Fate::Refused(says), Err(error)) if error.contains(says) => {}
            (Fate::Refused(says), result) => {
                failures.push(format!("{}: not refused with {says:?}: {result:?}", case.name));
            }
            (Fate::Told { .. }, Err(error)) => failures.push(format!("{}: refused: {error}", case.name)),
            (Fate::Told { place, says }, Ok(_)) => {
                let started = Instant::now();
                let told = loop {
                    if let Some(message) = problem(&shop.namespace, &case.object, place, says) {
                        break Some(message);
                    }
                    if started.elapsed() > Duration::from_secs(4) {
                        break None;
                    }
                    sleep(Duration::from_millis(20));
                };
                slowest = slowest.max(started.elapsed());
                match told {
                    Some(message) => eprintln!("{}: {message}", case.name),
                    None => failures.push(format!(
                        "{}: not told {says:?}: {:?}",
                        case.name,
                        get(&shop.namespace, &[&case.object]).map(|found| found["status"].clone())
                    )),
                }
            }
        }
    }
    eprintln!("told within {slowest:?}");
    // All of them stand; a good route is edited, and served as it says.
    shop.edit("beside");
    within(5, "an edit beside broken objects", || shop.serves_edit("beside"));
    for case in &cases {
        let Fate::Told { place, .. } = case.fate else { continue };
        match &case.mended {
            Some(mended) => {
                shop.apply(mended);
                within(10, &format!("{} heals", case.name), || healed(&shop.namespace, &case.object, place));
            }
            None => {
                shop.kubectl(&["delete", &case.object]);
            }
        }
    }
    traffic.stop().none_failed();
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
