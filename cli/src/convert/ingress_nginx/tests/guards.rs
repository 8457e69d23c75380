//! Addresses, passwords, who is asked, limits, headers and Services.

use serde_json::json;

use super::{converted, ingress, named, rules, verdict};
use crate::convert::report::Verdict;

#[test]
fn addresses() {
    let made = converted(&ingress(
        &["whitelist-source-range: '10.0.0.0/8,192.168.1.1'", "denylist-source-range: 10.1.0.0/16"],
        &["/ Prefix"],
    ));
    let policy = made.spec("AuthPolicy", "shop-auth");
    assert_eq!(policy["authorize"], json!([{"clientIPs": ["10.0.0.0/8", "192.168.1.1"]}]));
    assert_eq!(policy["denyClientIPs"], json!(["10.1.0.0/16"]));
    assert_eq!(policy["anonymous"], "Allow");
    assert_eq!(made.spec("GatewayRoute", "shop")["defaults"]["auth"]["policyRef"]["name"], "shop-auth");
    assert_eq!((made.refused(), made.told()), (Vec::new(), Vec::new()));
}

#[test]
fn passwords_are_issued_anew() {
    let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: users}\nstringData: {auth: \"ann:$apr1$x$y\\nbob:{PLAIN}bobs-long-password\\n\"}\n";
    let made = converted(&(ingress(&["auth-type: basic", "auth-secret: users"], &["/ Prefix"]) + secret));
    let policy = made.spec("AuthPolicy", "shop-auth");
    assert_eq!(policy["anyOf"], json!([{"basic": {}}]));
    assert_eq!(policy["authorize"], json!([{"groups": ["users"]}]));
    assert_eq!(made.spec("Consumer", "ann")["groups"], json!(["users"]));
    let (verdict, changes) = verdict(&made, "auth-secret");
    assert!(verdict == Verdict::Refused && changes.contains("password of ann"), "{changes}");
    assert!(!changes.contains("password of bob") && !changes.contains("apr1"), "{changes}");
    let bob = made.object("Secret", "bob-password").expect("bob's is known");
    assert_eq!(bob["stringData"]["password"], "bobs-long-password");
}

#[test]
fn somebody_is_asked() {
    let login = named("login", &[], &["/oauth2 Prefix"]);
    let made = converted(
        &(ingress(
            &[
                "auth-url: https://$host/oauth2/auth",
                "auth-signin: https://$host/oauth2/start",
                "auth-response-headers: 'X-Auth-Request-User, X-Auth-Request-Email'",
                "auth-cache-key: $cookie_session",
                "auth-cache-duration: 200 202 10m",
            ],
            &["/ Prefix"],
        ) + &login),
    );
    let external = &made.spec("AuthPolicy", "shop-auth")["anyOf"][0]["external"];
    assert_eq!(external["backendRef"], json!({"name": "login", "port": 80}));
    assert_eq!(external["path"], "/oauth2/auth");
    assert_eq!(external["copyHeaders"], json!(["X-Auth-Request-User", "X-Auth-Request-Email"]));
    assert_eq!(external["cacheTTL"], "300s");
    assert_eq!(verdict(&made, "auth-signin").0, Verdict::Refused);
    assert_eq!(made.told(), Vec::<String>::new());
    let service = ingress(&["auth-url: http://auth.default.svc.cluster.local:9000/verify"], &["/ Prefix"]);
    let made = converted(&service);
    let external = &made.spec("AuthPolicy", "shop-auth")["anyOf"][0]["external"];
    assert_eq!(external["backendRef"], json!({"name": "auth", "port": 9000}));
}

#[test]
fn limits_share_a_count_and_a_burst() {
    let made = converted(&ingress(
        &[
            "limit-rps: '10'",
            "limit-rpm: '60'",
            "limit-connections: '3'",
            "limit-burst-multiplier: '2'",
            "limit-whitelist: 10.0.0.0/8",
        ],
        &["/ Prefix"],
    ));
    let spec = made.spec("RateLimitPolicy", "shop-limits");
    assert_eq!((&spec["limits"][0]["requests"], &spec["limits"][0]["burst"]), (&json!(10), &json!(21)));
    assert_eq!(spec["limits"][1]["per"], "1m");
    assert_eq!(spec["limits"][0]["when"], json!([{"clientIP": {"ranges": ["10.0.0.0/8"]}, "not": true}]));
    assert_eq!(spec["concurrency"][0]["requests"], 3);
    assert_eq!((&spec["store"], &spec["response"]["status"]), (&json!("Local"), &json!(503)));
    assert_eq!((made.refused(), made.told()), (Vec::new(), Vec::new()));
}

#[test]
fn cors_as_browsers_see_it() {
    let made = converted(&ingress(&["enable-cors: 'true'"], &["/ Prefix"]));
    let cors = &rules(&made, "shop")[0]["cors"];
    assert_eq!((&cors["allowOrigins"], &cors["maxAge"]), (&json!(["*"]), &json!(1_728_000)));
    assert_eq!(cors["allowCredentials"], false);
    assert!(verdict(&made, "enable-cors").1.contains("beside `*` browsers refuse it"));
    let made = converted(&ingress(
        &[
            "enable-cors: 'true'",
            "cors-allow-origin: 'https://A.example.com, https://*.b.com'",
            "cors-expose-headers: X-A",
        ],
        &["/ Prefix"],
    ));
    let cors = &rules(&made, "shop")[0]["cors"];
    assert_eq!(cors["allowOrigins"], json!(["https://a.example.com", "https://*.b.com"]));
    assert_eq!(cors["allowCredentials"], true);
    assert_eq!(made.told(), Vec::<String>::new());
}

#[test]
fn services() {
    let made = converted(&ingress(
        &[
            "backend-protocol: HTTPS",
            "affinity: cookie",
            "session-cookie-name: route",
            "session-cookie-max-age: '172800'",
            "upstream-vhost: inner.example",
        ],
        &["/ Prefix"],
    ));
    assert_eq!(made.spec("BackendTLSPolicy", "shop")["validation"]["hostname"], "shop.default.svc");
    assert_eq!(
        made.spec("TrafficPolicy", "shop")["loadBalancing"],
        json!({"type": "ConsistentHash", "consistentHash": {"cookie": {"name": "route", "ttl": "48h"}}})
    );
    assert_eq!(rules(&made, "shop")[0]["rewrite"]["hostname"], "inner.example");
    let made = converted(&ingress(&["upstream-hash-by: $http_x_tenant"], &["/ Prefix"]));
    let hash = &made.spec("TrafficPolicy", "shop")["loadBalancing"]["consistentHash"];
    assert_eq!(hash["header"]["name"], "x-tenant");
}

#[test]
fn ports_by_name_need_the_service() {
    let text = ingress(&[], &["/ Prefix"]).replace("number: 80", "name: web");
    let made = converted(&text);
    assert_eq!(rules(&made, "shop")[0]["respond"]["status"], 503);
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec: {ports: [{name: web, port: 8080}]}\n";
    let made = converted(&(text + service));
    assert_eq!(rules(&made, "shop")[0]["backendRefs"][0]["port"], 8080);
}

#[test]
fn snippets_of_constants() {
    let made = converted(&ingress(
        &["configuration-snippet: 'more_set_headers \"X-Frame-Options: DENY\"; proxy_set_header X-Up on;'"],
        &["/ Prefix"],
    ));
    let rule = &rules(&made, "shop")[0];
    assert_eq!(rule["responseHeaders"]["set"], json!([{"name": "X-Frame-Options", "value": "DENY"}]));
    assert_eq!(rule["requestHeaders"]["set"], json!([{"name": "X-Up", "value": "on"}]));
    assert_eq!(verdict(&made, "configuration-snippet").0, Verdict::Exact);
}
