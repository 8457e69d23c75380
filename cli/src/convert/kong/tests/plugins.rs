//! Which plugins run on a route and what becomes of them.

use serde_json::json;

use super::{converted, converted_with, told};
use crate::convert::report::Verdict;

fn routed(plugins: &str, rest: &str) -> String {
    format!(
        "_format_version: \"3.0\"\nservices:\n- name: s\n  url: http://s\n  routes:\n  - name: r\n    paths: [/a]\n    plugins: \
         {plugins}\n{rest}"
    )
}

#[test]
fn what_guarded_a_route_and_is_not_converted_closes_it() {
    for (plugin, config) in [
        ("oauth2", "{}"),
        ("hmac-auth", "{}"),
        ("pre-function", "{access: ['return kong.response.exit(403)']}"),
        ("my-own-plugin", "{x: 1}"),
        ("jwt", "{key_claim_name: kid}"),
        ("jwt", "{maximum_expiration: 60}"),
        ("rate-limiting", "{year: 5}"),
        ("request-termination", "{trigger: x-stop}"),
    ] {
        let text = routed(
            &format!("[{{name: {plugin}, config: {config}}}]"),
            "consumers: [{username: a, jwt_secrets: [{key: a, secret: a-secret-of-thirty-two-bytes-or-more}]}]\n",
        );
        let closed = converted(&text);
        let route = closed.object("GatewayRoute", "r").expect("a route");
        assert_eq!(route["metadata"]["annotations"]["gatehouse.dev/unconverted"], format!("plugin {plugin}"));
        let told = told(&closed);
        assert_eq!(told.len(), 1, "{plugin}: {told:?}");
        assert!(told[0].starts_with("Unconverted: closed") && told[0].contains(plugin), "{told:?}");
        let entry = closed.entry("services[0].routes[0].plugins[0].name");
        assert_eq!((entry.verdict, entry.line), (Verdict::Refused, 8), "{entry:?}");
        let open = converted_with(&text, &[plugin]);
        assert_eq!(super::told(&open), [""; 0], "{plugin}");
        assert!(open.refused().is_empty(), "{:?}", open.refused());
    }
}

#[test]
fn the_most_specific_plugin_runs_alone() {
    let converted = converted(
        r#"_format_version: "3.0"
services:
- name: s
  url: http://s
  plugins: [{name: rate-limiting, config: {minute: 2}}]
  routes:
  - {name: own, paths: [/own], plugins: [{name: rate-limiting, config: {minute: 3}}]}
  - {name: shared, paths: [/shared]}
routes:
- {name: loose, paths: [/loose], service: s}
plugins:
- {name: rate-limiting, config: {minute: 1}}
- {name: rate-limiting, route: loose, service: s, config: {minute: 4}}
- {name: prometheus}
- {name: oauth2, enabled: false, config: {x: 1}}
"#,
    );
    assert_eq!(told(&converted), [""; 0]);
    let limit = |route: &str| {
        let names = &converted.spec("GatewayRoute", route)["defaults"]["rateLimits"];
        assert_eq!(names.as_array().map(Vec::len), Some(1), "{route}");
        let policy = converted.spec("RateLimitPolicy", names[0]["name"].as_str().unwrap());
        policy["limits"][0]["requests"].as_i64().unwrap()
    };
    assert_eq!([limit("own"), limit("shared"), limit("loose")], [3, 2, 4]);
    let unused = converted.entry("plugins[0].config.minute");
    assert_eq!(unused.verdict, Verdict::Exact, "it runs nowhere in Kong either");
    assert_eq!(converted.entry("plugins[2].name").verdict, Verdict::Warning);
    assert!(converted.refused().is_empty(), "{:?}", converted.refused());
}

#[test]
fn keys_and_anonymous() {
    let consumers = r#"consumers:
- {username: alice, custom_id: "7", keyauth_credentials: [{key: alices-key}, {key: $KEY}]}
- {username: bob, keyauth_credentials: [{key: alices-key}, {key: x, ttl: 60}], acls: [{group: staff}]}
- {username: nobody, plugins: [{name: request-termination, config: {status_code: 401}}]}
"#;
    let keys = converted(&routed(
        "[{name: key-auth, config: {key_names: [x-key], hide_credentials: true}}]",
        consumers,
    ));
    let spec = keys.spec("AuthPolicy", "key-auth");
    assert_eq!(
        spec["anyOf"][0]["apiKey"]["sources"],
        json!([{"header": {"name": "x-key"}}, {"query": {"name": "x-key"}}])
    );
    assert_eq!(spec["identity"], json!(null));
    let alice = keys.spec("Consumer", "alice");
    assert_eq!((&alice["username"], &alice["customId"]), (&json!("alice"), &json!("7")));
    assert_eq!(keys.spec("Consumer", "bob")["groups"], json!(["staff"]));
    assert!(keys.entry("consumers[1].keyauth_credentials[0].key").changes.contains("consumer alice too"));
    assert_eq!(keys.entry("consumers[1].keyauth_credentials[1].ttl").verdict, Verdict::Refused);
    let secret = keys.object("Secret", "consumer-alice").expect("a Secret");
    assert_eq!(secret["stringData"], json!({"key-1": "alices-key"}), "and nothing for what is not known");

    let alternatives =
        "[{name: key-auth, config: {anonymous: nobody}}, {name: jwt, config: {anonymous: nobody}}]";
    let tokens = format!(
        "{consumers}- {{username: carol, jwt_secrets: [{{key: carol, secret: a-secret-of-thirty-two-bytes-or-more}}]}}\n"
    );
    let both = converted(&routed(alternatives, &tokens));
    let spec = both.spec("AuthPolicy", "jwt-key-auth");
    assert_eq!(spec["anyOf"].as_array().map(Vec::len), Some(2));
    assert_eq!(spec["anonymous"], "Deny", "nobody is kept out by a plugin of its own");
    let open = converted(&routed("[{name: key-auth, config: {anonymous: somebody}}]", consumers));
    assert_eq!(open.spec("AuthPolicy", "key-auth")["anonymous"], "Allow");
    let all = converted(&routed("[{name: key-auth}, {name: jwt}]", &tokens));
    assert!(told(&all).iter().any(|told| told.starts_with("Unconverted")), "both must succeed");
}

#[test]
fn groups_addresses_and_passwords() {
    let consumers = "consumers:\n- {username: alice, acls: [{group: staff}], basicauth_credentials: [{username: al, password: secret-of-alice}]}\n";
    let all = converted(&routed(
        "[{name: basic-auth}, {name: acl, config: {allow: [staff, night]}}, {name: ip-restriction, config: {allow: [10.0.0.0/8, '::1'], deny: [10.1.2.3]}}]",
        consumers,
    ));
    assert_eq!(told(&all), [""; 0]);
    let spec = all.spec("AuthPolicy", "acl-basic-auth-ip-restriction");
    assert_eq!(spec["anyOf"], json!([{"basic": {}}]));
    assert_eq!(
        spec["authorize"],
        json!([{"groups": ["night", "staff"], "clientIPs": ["10.0.0.0/8", "::1"]}])
    );
    assert_eq!(spec["denyClientIPs"], json!(["10.1.2.3"]));
    assert_eq!(spec["anonymous"], "Deny");
    let alice = all.spec("Consumer", "alice");
    assert_eq!(alice["credentials"][0]["basic"]["username"], "al");
    assert_eq!(
        all.object("Secret", "consumer-alice").unwrap()["stringData"]["password-1"],
        "secret-of-alice"
    );
    let alone = converted(&routed("[{name: ip-restriction, config: {deny: [10.1.2.3]}}]", ""));
    assert_eq!(alone.spec("AuthPolicy", "ip-restriction")["anonymous"], "Allow");
    assert_eq!(told(&alone), [""; 0]);
    for plugins in [
        "[{name: acl, config: {allow: [staff]}}]",
        "[{name: basic-auth}, {name: acl, config: {deny: [staff]}}]",
        "[{name: ip-restriction, config: {allow: [everybody]}}]",
    ] {
        let closed = converted(&routed(plugins, consumers));
        assert!(told(&closed).iter().any(|told| told.starts_with("Unconverted")), "{plugins}");
    }
    let hashed =
        routed("[{name: basic-auth}]", consumers).replace("services:", "_transform: false\nservices:");
    let hashed = converted(&hashed);
    assert!(
        hashed.entry("consumers[0].basicauth_credentials[0].password").changes.contains("Kong's own hash")
    );
}

#[test]
fn credentials_that_no_dataplane_takes() {
    let rsa = include_str!("weak.pem").replace('\n', "\\n");
    let converted = converted(&routed(
        "[{name: jwt}]",
        &format!(
            "consumers:\n- username: a\n  jwt_secrets:\n  - {{key: short, secret: short}}\n  - {{key: weak, algorithm: RS256, rsa_public_key: \"{rsa}\"}}\n  \
             - {{key: good, algorithm: HS512, secret: \"{}\"}}\n  - {{key: good, secret: \"{}\"}}\n  - {{secret: none}}\n",
            "x".repeat(64),
            "y".repeat(64)
        ),
    ));
    assert_eq!(told(&converted), [""; 0]);
    assert_eq!(converted.spec("AuthPolicy", "jwt")["anyOf"].as_array().map(Vec::len), Some(1));
    for (index, words) in [(0, "bytes"), (1, "bits"), (3, "consumer a too"), (4, "has no key")] {
        let entry = converted.entry(&format!(
            "consumers[0].jwt_secrets[{index}].{}",
            if index == 4 { "secret" } else { "key" }
        ));
        assert!(entry.verdict == Verdict::Refused && entry.changes.contains(words), "{entry:?}");
    }
}

#[test]
fn limits_of_consumers_take_the_place_of_those_of_routes() {
    let converted = converted(&routed(
        "[{name: rate-limiting, config: {minute: 5, policy: local}}]",
        "consumers:\n- username: big\n  plugins: [{name: rate-limiting, config: {minute: 500, hour: 1000}}]\n- username: small\n",
    ));
    assert_eq!(
        told(&converted).iter().filter(|told| !told.contains("Unused")).count(),
        0,
        "{:?}",
        told(&converted)
    );
    let limits = &converted.spec("GatewayRoute", "r")["defaults"]["rateLimits"];
    assert_eq!(limits, &json!([{"name": "r-rate-limiting"}, {"name": "consumers-rate-limiting"}]));
    assert_eq!(converted.spec("Consumer", "big")["tier"], "big");
    let of_route = &converted.spec("RateLimitPolicy", "r-rate-limiting")["limits"][0];
    assert_eq!(of_route["tiers"], json!([{"tier": "big", "requests": 1_000_000_000_000_i64}]));
    let own = converted.spec("RateLimitPolicy", "consumers-rate-limiting");
    assert_eq!(own["limits"][0]["tiers"], json!([{"tier": "big", "requests": 500}]));
    assert_eq!(own["limits"][1]["name"], "hour");
}

#[test]
fn filters() {
    let converted = converted(&routed(
        r#"
    - name: cors
      config: {origins: ["https://a.example.com", "re.*"], methods: [PUT], credentials: true, max_age: 60}
    - name: request-transformer
      config:
        remove: {headers: [x-internal]}
        add: {headers: ["x-via: kong", "x-user:$(headers.user)"], querystring: ["a:b"]}
        append: {headers: ["x-list:1"]}
        replace: {uri: /x}
    - name: response-transformer
      config: {add: {headers: ["x-frame-options:DENY"], json: []}}
"#,
        "",
    ));
    assert_eq!(told(&converted), [""; 0]);
    let rule = &converted.spec("GatewayRoute", "r")["rules"][0];
    assert_eq!(rule["cors"]["allowOrigins"], json!(["https://a.example.com"]));
    assert_eq!(rule["cors"]["allowCredentials"], true);
    assert_eq!(rule["requestHeaders"]["set"], json!([{"name": "x-via", "value": "kong"}]));
    assert_eq!(rule["requestHeaders"]["add"], json!([{"name": "x-list", "value": "1"}]));
    assert_eq!(rule["requestHeaders"]["remove"], json!(["x-internal"]));
    assert_eq!(rule["responseHeaders"]["set"][0]["name"], "x-frame-options");
    let of = "services[0].routes[0].plugins";
    assert_eq!(
        converted.refused(),
        [
            format!("{of}[0].config.origins[1]"),
            format!("{of}[1].config.add.headers[1]"),
            format!("{of}[1].config.add.querystring[0]"),
            format!("{of}[1].config.replace.uri"),
        ]
    );
}

#[test]
fn ends_and_redirects() {
    let ended =
        converted(&routed("[{name: request-termination, config: {status_code: 403, message: closed}}]", ""));
    let rule = &ended.spec("GatewayRoute", "r")["rules"][0];
    assert_eq!(
        (&rule["respond"]["status"], &rule["respond"]["body"]),
        (&json!(403), &json!("{\"message\":\"closed\"}"))
    );
    let moved =
        converted(&routed("[{name: redirect, config: {location: 'https://b.example.com:8443/x'}}]", ""));
    let redirect = &moved.spec("GatewayRoute", "r")["rules"][0]["redirect"];
    assert_eq!(
        (&redirect["hostname"], &redirect["port"], &redirect["statusCode"]),
        (&json!("b.example.com"), &json!(8443), &json!(301))
    );
    assert_eq!(redirect["path"]["replaceFullPath"], "/x");
    assert_eq!(told(&moved), [""; 0]);
}

#[test]
fn a_file_that_is_none_is_refused() {
    for (text, words) in
        [("a: 1\n", "no _format_version"), ("_format_version: '4.0'\n", "none of 1.1, 2.1 and 3.0")]
    {
        let sources = [super::source(text)];
        let report = crate::convert::report::Report::default();
        let error = super::convert(&sources, &report, &super::options(&[])).expect_err("no configuration");
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn limits_answer_as_they_did_and_bodies_are_bounded() {
    let made = converted(&routed(
        "[{name: rate-limiting, config: {month: 9, error_code: 503, error_message: later}}, {name: request-size-limiting, config: \
         {allowed_payload_size: 8, size_unit: kilobytes}}]",
        "",
    ));
    let limits = made.spec("RateLimitPolicy", "r-rate-limiting");
    assert_eq!((&limits["limits"][0]["per"], &limits["limits"][0]["requests"]), (&json!("720h"), &json!(9)));
    assert_eq!(limits["response"]["status"], 503);
    assert_eq!(limits["response"]["body"], r#"{"message":"later"}"#);
    assert_eq!(made.spec("GatewayRoute", "r")["rules"][0]["maxRequestBodyBytes"], 8192);
    assert_eq!((made.refused(), told(&made)), (Vec::new(), Vec::new()));
}

#[test]
fn upstreams_share_requests_as_they_did() {
    let upstream = |fields: &str| {
        converted(&format!(
            "_format_version: '3.0'\nservices:\n- {{name: s, host: u, routes: [{{name: r, hosts: [a.com]}}]}}\nupstreams:\n- name: u\n  \
             targets: [{{target: 'one:80'}}, {{target: 'two:80'}}]\n{fields}"
        ))
    };
    let hashed = upstream("  algorithm: consistent-hashing\n  hash_on: header\n  hash_on_header: X-Tenant\n");
    for name in ["one", "two"] {
        let balancing = &hashed.spec("TrafficPolicy", name)["loadBalancing"];
        assert_eq!(balancing["consistentHash"]["header"]["name"], "X-Tenant");
    }
    let checked = upstream(
        "  healthchecks:\n    active: {http_path: /up, timeout: 2, healthy: {interval: 5, successes: 2}, unhealthy: {interval: 5, \
         http_failures: 3}}\n    passive: {unhealthy: {http_failures: 4, tcp_failures: 2}}\n",
    );
    let check = &checked.spec("TrafficPolicy", "one")["healthCheck"];
    assert_eq!(check["active"]["http"]["path"], "/up");
    assert_eq!((&check["active"]["interval"], &check["active"]["timeout"]), (&json!("5s"), &json!("2s")));
    assert_eq!(
        (&check["active"]["healthyThreshold"], &check["active"]["unhealthyThreshold"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(check["passive"]["consecutive5xxErrors"], 4);
    assert_eq!(check["passive"]["consecutiveGatewayErrors"], 2);
    for made in [&hashed, &checked] {
        assert_eq!((made.refused(), told(made)), (Vec::new(), Vec::new()));
    }
    let off = upstream("  healthchecks: {active: {healthy: {interval: 0, successes: 0}}}\n");
    assert!(off.object("TrafficPolicy", "one").is_none());
    let unlike = upstream("  hash_on: path\n");
    assert_eq!(unlike.refused(), ["upstreams[0].hash_on"]);
}
