//! Whole configurations: what is written, what is said, and that the controller takes it.

use serde_json::{Value, json};

use super::convert;
use crate::convert::{
    Options,
    report::Verdict,
    testing::{Outcome, outcome},
};

mod canaries;
mod guards;
mod paths;

/// An Ingress `shop` of host `a.example.com` with these annotations, as lines `NAME: VALUE`, and these paths, as `PATH KIND`.
fn ingress(annotations: &[&str], paths: &[&str]) -> String {
    named("shop", annotations, paths)
}

fn named(name: &str, annotations: &[&str], paths: &[&str]) -> String {
    let annotations: String =
        annotations.iter().map(|line| format!("    nginx.ingress.kubernetes.io/{line}\n")).collect();
    let path = |path: &&str| {
        let (path, kind) = path.rsplit_once(' ').expect("PATH KIND");
        format!(
            "      - {{path: {path:?}, pathType: {kind}, backend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}\n"
        )
    };
    let paths: String = paths.iter().map(path).collect();
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  annotations:\n    a: b\n{annotations}\
         spec:\n  ingressClassName: nginx\n  rules:\n  - host: a.example.com\n    http:\n      paths:\n{paths}"
    )
}

fn options(without: &[&str], exact_paths: bool) -> Options {
    Options {
        namespace: "default".into(),
        gateway: "edge".into(),
        without: without.iter().map(|&name| name.to_owned()).collect(),
        exact_paths,
    }
}

fn converted(text: &str) -> Outcome {
    outcome("ingress.yaml", text, convert, &options(&[], false)).expect("an Ingress")
}

fn annotation(name: &str) -> String {
    format!("metadata.annotations.nginx.ingress.kubernetes.io/{name}")
}

/// What was said of each annotation.
fn verdict(outcome: &Outcome, name: &str) -> (Verdict, String) {
    let entry = outcome.entry(&annotation(name));
    (entry.verdict, entry.changes.clone())
}

#[test]
fn without_annotations_defaults_are_kept() {
    let made = converted(&ingress(&[], &["/ Prefix", "/exact Exact"]));
    assert_eq!(made.refused(), Vec::<&str>::new());
    let spec = made.spec("GatewayRoute", "shop");
    assert_eq!(
        spec["parentRefs"],
        json!([{"name": "edge", "group": "gateway.networking.k8s.io", "kind": "Gateway"}])
    );
    assert_eq!(spec["hostnames"], json!(["a.example.com"]));
    assert_eq!(spec["defaults"]["maxRequestBodyBytes"], 1 << 20);
    assert_eq!(spec["defaults"]["timeouts"], json!({"connect": "5s", "idle": "60s"}));
    assert_eq!(spec["defaults"]["retry"]["attempts"], 2);
    assert_eq!(spec["rules"][1]["matches"][0]["path"], json!({"type": "Exact", "value": "/exact"}));
    assert_eq!(made.told(), Vec::<String>::new());
    assert!(made.entries.iter().all(|entry| entry.verdict == Verdict::Exact), "{:#?}", made.entries);
    assert_eq!(made.probes.iter().map(|probe| &*probe.path).collect::<Vec<_>>(), ["/", "/exact"]);
}

#[test]
fn a_certificate_brings_redirects_and_hsts() {
    let tls = "  tls:\n  - {hosts: [a.example.com], secretName: shop-tls}\n";
    let made = converted(&(ingress(&[], &["/ Prefix"]) + tls));
    let gateway = made.spec("Gateway", "edge");
    assert_eq!(gateway["listeners"][1]["tls"]["certificateRefs"][0]["name"], "shop-tls");
    let spec = made.spec("GatewayRoute", "shop");
    assert_eq!(spec["parentRefs"][0]["sectionName"], "https-a.example.com");
    assert_eq!(
        spec["rules"][0]["responseHeaders"]["set"],
        json!([{"name": "Strict-Transport-Security", "value": "max-age=31536000; includeSubDomains"}])
    );
    let plain = made.spec("GatewayRoute", "shop-to-https");
    assert_eq!(plain["parentRefs"][0]["sectionName"], "http");
    assert_eq!(plain["rules"][0]["redirect"], json!({"scheme": "https", "statusCode": 308}));

    let off = converted(&(ingress(&["ssl-redirect: 'false'"], &["/ Prefix"]) + tls));
    assert!(off.object("GatewayRoute", "shop-to-https").is_none());
    assert_eq!(off.spec("GatewayRoute", "shop")["parentRefs"][0].get("sectionName"), None);
    let forced = converted(&ingress(&["force-ssl-redirect: 'true'"], &["/ Prefix"]));
    assert!(forced.object("GatewayRoute", "shop-to-https").is_some());
    let listener = &forced.spec("Gateway", "edge")["listeners"][1];
    assert_eq!(listener["tls"]["certificateRefs"][0]["name"], "tls-default");
}

/// A Gateway with more listeners than it may have would be refused as a whole.
#[test]
fn hosts_beyond_what_a_gateway_listens_for_are_told_of() {
    let host = |index: usize, annotations: &[&str], tls: bool| {
        let host = format!("h{index:02}.example.com");
        let text = named(&format!("h{index:02}"), annotations, &["/ Prefix"]).replace("a.example.com", &host);
        if tls { text + &format!("  tls:\n  - {{hosts: [{host}], secretName: all}}\n") } else { text }
    };
    let with = |count: usize| (0..count).map(|index| host(index, &[], true)).collect::<String>();
    let forced = |index| host(index, &["force-ssl-redirect: 'true'"], false);
    let aliased = |index: usize| host(index, &["server-alias: 'x.example.com, y.example.com'"], true);
    for (text, told) in [
        (with(63), &[][..]),
        (with(62) + &forced(62), &[]),
        (with(64), &["spec.tls[0].hosts[0]", "spec.tls[0].secretName"]),
        (with(63) + &forced(63), &["metadata.annotations.nginx.ingress.kubernetes.io/force-ssl-redirect"]),
        (with(61) + &aliased(61), &["metadata.annotations.nginx.ingress.kubernetes.io/server-alias"]),
    ] {
        let made = converted(&text);
        assert_eq!(made.spec("Gateway", "edge")["listeners"].as_array().map(Vec::len), Some(64));
        assert_eq!(made.refused(), told);
    }
}

#[test]
fn the_controllers_config_map_counts_where_the_ingress_says_nothing() {
    let globals = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: ingress-nginx-controller, namespace: ingress-nginx}\ndata:\n  \
                   proxy-body-size: 8m\n  ssl-redirect: 'false'\n  hsts: 'false'\n  server-tokens: 'false'\n";
    let tls = "  tls:\n  - {hosts: [a.example.com], secretName: shop-tls}\n";
    let made = converted(&(ingress(&[], &["/ Prefix"]) + tls + globals));
    let spec = made.spec("GatewayRoute", "shop");
    assert_eq!(spec["defaults"]["maxRequestBodyBytes"], 8 << 20);
    assert!(made.object("GatewayRoute", "shop-to-https").is_none());
    assert_eq!(spec["rules"][0].get("responseHeaders"), None);
    assert_eq!(made.refused(), ["data.server-tokens"]);
}

#[test]
fn what_guarded_and_is_not_converted_closes() {
    for (lines, name) in [
        (&["enable-modsecurity: 'true'"][..], "enable-modsecurity"),
        (&["auth-type: digest", "auth-secret: users"], "auth-type"),
        (&["auth-url: https://login.example.com/auth"], "auth-url"),
        (&["auth-url: http://auth.other.svc:80/auth"], "auth-url"),
        (&["auth-url: http://auth.default.svc:80/auth?x=y"], "auth-url"),
        (&["auth-tls-secret: default/ca"], "auth-tls-secret"),
        (&["whitelist-source-range: 10.0.0.0/8, nowhere"], "whitelist-source-range"),
        (&["configuration-snippet: 'deny all;'"], "configuration-snippet"),
        (&["server-snippet: 'location / { deny all; }'"], "server-snippet"),
        (&["permanent-redirect: 'https://$host/x'"], "permanent-redirect"),
        (&["backend-protocol: FCGI"], "backend-protocol"),
    ] {
        let text = ingress(lines, &["/ Prefix"]);
        let made = converted(&text);
        let object = made.object("GatewayRoute", "shop").expect("it is there");
        let closed = object["metadata"]["annotations"]["gatehouse.dev/unconverted"].as_str();
        assert_eq!(closed, Some(&*format!("annotation {name}")), "{lines:?}");
        let (verdict, changes) = verdict(&made, name);
        assert!(verdict == Verdict::Refused && changes.contains(&format!("`--without {name}`")), "{changes}");
        assert!(made.told().iter().any(|told| told.starts_with("Unconverted")), "{:?}", made.told());

        let open = outcome("ingress.yaml", &text, convert, &options(&[name], false)).expect("an Ingress");
        let object = open.object("GatewayRoute", "shop").expect("it is there");
        assert_eq!(object["metadata"].get("annotations"), None, "{lines:?} without {name}");
    }
}

#[test]
fn times_are_those_of_nginx_and_that_for_reads_counts() {
    for (lines, timeouts, warned, refused) in [
        (
            &["proxy-connect-timeout: '9'", "proxy-read-timeout: 5m", "proxy-send-timeout: '300'"][..],
            json!({"connect": "9s", "idle": "300s"}),
            &[][..],
            &[][..],
        ),
        (
            &["proxy-read-timeout: '600'", "proxy-send-timeout: '30'"],
            json!({"connect": "5s", "idle": "600s"}),
            &["proxy-send-timeout"],
            &[],
        ),
        (
            &["proxy-send-timeout: '600'", "proxy-connect-timeout: '3600'"],
            json!({"connect": "300s", "idle": "60s"}),
            &["proxy-send-timeout", "proxy-connect-timeout"],
            &[],
        ),
        (
            &["proxy-read-timeout: long"],
            json!({"connect": "5s", "idle": "60s"}),
            &[],
            &["proxy-read-timeout"],
        ),
        (
            &[
                "configuration-snippet: 'proxy_read_timeout 90s; proxy_send_timeout 90; proxy_connect_timeout 2;'",
            ],
            json!({"connect": "2s", "idle": "90s"}),
            &[],
            &[],
        ),
    ] {
        let made = converted(&ingress(lines, &["/ Prefix"]));
        assert_eq!(made.spec("GatewayRoute", "shop")["defaults"]["timeouts"], timeouts, "{lines:?}");
        let of = |wanted| {
            let entries = made.entries.iter().filter(|entry| entry.verdict == wanted);
            entries.map(|entry| entry.field.clone()).collect::<Vec<_>>()
        };
        let fields = |names: &[&str]| names.iter().map(|name| annotation(name)).collect::<Vec<_>>();
        assert_eq!(
            (of(Verdict::Warning), of(Verdict::Refused)),
            (fields(warned), fields(refused)),
            "{lines:?}"
        );
        assert_eq!(made.told(), Vec::<String>::new());
    }
}

#[test]
fn every_annotation_has_a_verdict() {
    let made = converted(&ingress(
        &[
            "proxy-buffering: 'on'",
            "mirror-target: https://x",
            "no-such-thing: 'x'",
            "enable-modsecurity: 'false'",
            "auth-realm: alone",
            "proxy-read-timeout: '3600'",
        ],
        &["/ Prefix"],
    ));
    let said = |name| verdict(&made, name).0;
    assert_eq!(said("proxy-buffering"), Verdict::Exact);
    assert_eq!(said("mirror-target"), Verdict::Refused);
    assert_eq!(said("no-such-thing"), Verdict::Warning);
    assert_eq!(said("enable-modsecurity"), Verdict::Exact);
    assert_eq!(said("auth-realm"), Verdict::Exact);
    assert_eq!(said("proxy-read-timeout"), Verdict::Exact);
    let timeouts = &made.spec("GatewayRoute", "shop")["defaults"]["timeouts"];
    assert_eq!(*timeouts, json!({"connect": "5s", "idle": "3600s"}));
    assert_eq!(made.told(), Vec::<String>::new());
}

#[test]
fn what_is_no_ingress_is_refused_as_a_whole() {
    let error = outcome("x.yaml", "kind: Service\n", convert, &options(&[], false)).expect_err("none");
    assert!(error.contains("no Ingress"), "{error}");
}

fn rules(outcome: &Outcome, name: &str) -> Vec<Value> {
    outcome.spec("GatewayRoute", name)["rules"].as_array().cloned().expect("rules")
}
