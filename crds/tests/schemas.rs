//! The CRDs in `generated/` are what the types say, and what is read of the Gateway API exists there.

#![allow(clippy::unwrap_used, reason = "helpers of tests; clippy only knows the test functions")]

use std::{env, fs, path::Path};

use gatehouse_crds::{
    BackendTlsPolicy, CRDS, Gateway, GatewayClass, GrpcRoute, HttpRoute, ListenerSet, ReferenceGrant,
    TcpRoute, TlsRoute, UdpRoute, generated_files, own_crds,
};
use kube::CustomResourceExt;
use serde_json::{Value, json};

/// With `UPDATE=1` it writes what it would else compare.
#[test]
fn generated_yaml_is_fresh() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("generated");
    for (name, text) in generated_files().unwrap() {
        let path = folder.join(name);
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == text,
            "{} is stale: run `UPDATE=1 cargo test -p gatehouse-crds` and read the diff",
            path.display()
        );
    }
}

#[test]
fn every_crd_is_embedded_under_its_plural() {
    for (plural, text) in CRDS {
        let crd: Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(crd["kind"], "CustomResourceDefinition", "{plural}");
        assert_eq!(crd["spec"]["names"]["plural"], *plural);
    }
    for crd in own_crds() {
        assert!(CRDS.iter().any(|(plural, _)| *plural == crd.spec.names.plural), "{}", crd.spec.names.plural);
    }
}

#[test]
fn our_crds_have_what_users_expect() {
    for crd in own_crds() {
        let kind = &crd.spec.names.kind;
        let crd = serde_json::to_value(&crd).unwrap();
        let version = &crd["spec"]["versions"][0];
        assert_eq!(crd["spec"]["group"], gatehouse_crds::GROUP, "{kind}");
        assert_eq!(crd["spec"]["names"]["categories"], json!(["gatehouse"]), "{kind}");
        assert_eq!(crd["spec"]["names"]["shortNames"].as_array().map(Vec::len), Some(1), "{kind}");
        assert_eq!(version["name"], "v1alpha1", "{kind}");
        assert_eq!(version["subresources"]["status"], json!({}), "{kind}");
        let columns = version["additionalPrinterColumns"].as_array().unwrap();
        assert!(columns.iter().any(|column| column["name"] == "Age"), "{kind}");
        let root = &version["schema"]["openAPIV3Schema"];
        assert!(!root["description"].as_str().unwrap().contains("Auto-generated"), "{kind}");
        assert!(!lacks_description(&root["properties"]["spec"], "spec"), "{kind}");
    }
}

/// `null` would mean one thing to the API server's rules and another to the types.
#[test]
fn nothing_is_nullable() {
    let text = serde_json::to_string(&own_crds()).unwrap();
    assert!(!text.contains("nullable") && !text.contains(",null]"));
}

#[test]
fn conditions_merge_by_type() {
    for (kind, pointer) in [
        ("GatewayRoute", "/parents/items/properties/conditions"),
        ("RateLimitPolicy", "/ancestors/items/properties/conditions"),
        ("TrafficPolicy", "/ancestors/items/properties/conditions"),
        ("AuthPolicy", "/ancestors/items/properties/conditions"),
        ("Consumer", "/conditions"),
        ("GatewayConfig", "/conditions"),
    ] {
        let root = schema_of(kind);
        let status = &root["properties"]["status"]["properties"];
        let list = status.pointer(pointer).unwrap();
        assert_eq!(list["x-kubernetes-list-type"], "map", "{kind}");
        assert_eq!(list["x-kubernetes-list-map-keys"], json!(["type"]), "{kind}");
    }
}

/// By what they say; the command line tool and the API server test what they do.
#[test]
fn what_yaml_alone_can_decide_has_a_rule() {
    for (kind, messages) in [
        (
            "GatewayRoute",
            &[
                "give exactly one of backendRefs, redirect, respond and aggregate",
                "aggregate has timeouts of its own",
                "errorsMember is the name of a part",
                "use 1ms to 5m",
                "rewrite needs backendRefs",
                "give each rule its own name",
                "ReplacePrefixMatch needs matches of type PathPrefix alone",
                "give exactly one of policyRef and public",
                "public can only be true: leave it out otherwise",
                "backendRequest can't be longer than request",
                "a Service needs a port",
                "`*` stands alone: it is every origin",
                "`*` stands alone: it is every method",
                "`*` stands alone: it is every header",
                "name the origins: with `*` and allowCredentials every page acts as its visitor",
                "give percent or fraction, not both",
                "numerator must be less than or equal to denominator",
                "mirror needs backendRefs",
                "name the headers: with allowCredentials browsers take `*` as a name",
            ][..],
        ),
        (
            "RateLimitPolicy",
            &[
                "give exactly one of consumer, credential, clientIP, header, cookie, query, claim, path, host and method",
                "give exactly one of methods, pathPrefix, header, clientIP, tiers, groups and anonymous",
                "burst belongs to the algorithm TokenBucket",
                "cost is more than a request can have",
                "give cost or responseCost, not both",
                "give limits, concurrency or both",
                "accuracy belongs to the store Redis",
                "limits and concurrency share their names: give each its own",
                "use 100ms to 744h",
            ],
        ),
        (
            "AuthPolicy",
            &[
                "give exactly one of jwt, apiKey, basic, clientCertificate and external",
                "external decides about who shows nothing, too: leave anonymous at Deny",
                "external decides about all that comes to it: give one, as the last",
                "path and method belong to the protocol HTTP",
                "use 10ms to 10s",
                "without a method in anyOf nobody gets in: add one, or anonymous: Allow",
                "without anyOf the policy needs authorize or denyClientIPs",
                "state at least one of groups, tiers, claims and clientIPs",
                "give exactly one of equals, anyOf and exists",
                "give exactly one of jwks, secretRef and inline",
                "caRefs need a URL that begins with https://",
                "give exactly one of header, query and cookie",
                "a shared secret verifies HS256, HS384 and HS512 only",
            ],
        ),
        (
            "TrafficPolicy",
            &[
                "consistentHash belongs to the type ConsistentHash, and that needs it",
                "give exactly one of clientIP, header, cookie and consumer",
                "give at least one of consecutive5xxErrors, consecutiveGatewayErrors and failurePercent",
                "use 100ms to 1h",
                "use 1s to 1h",
                "give exactly one of http, tcp and grpc",
                "give maxRequests, maxRequestsPerEndpoint, or both",
                "timeout can't be longer than interval",
                "use 10ms to 1h",
            ],
        ),
        (
            "Consumer",
            &[
                "give exactly one of apiKey, jwt, basic and certificate",
                "give exactly one of dns, uri, email and subject",
                "expires must be after notBefore",
            ],
        ),
        (
            "GatewayConfig",
            &[
                "give exactly one of url, urlSecretRef, sentinel and cluster",
                "use 1ms to 50ms",
                "give at most one of deployment.replicas and autoscaling",
                "autoscaling needs deployment.resources.requests.cpu",
                "minReplicas can't be more than maxReplicas",
                "give exactly one of minAvailable and maxUnavailable",
                "externalTrafficPolicy belongs to the types LoadBalancer and NodePort",
                "use 0s to 5m",
            ],
        ),
    ] {
        let text = schema_of(kind).to_string();
        for message in messages {
            assert!(text.contains(&format!("\"message\":\"{message}\"")), "{kind}: {message}");
        }
    }
}

#[test]
fn defaults_stand_in_the_schemas() {
    for (kind, pointer, wanted) in [
        ("GatewayRoute", "/parentRefs/items/properties/kind", json!("Gateway")),
        ("GatewayRoute", "/rules/items/properties/backendRefs/items/properties/weight", json!(1)),
        ("GatewayRoute", "/rules/items/properties/redirect/properties/statusCode", json!(302)),
        ("GatewayRoute", "/rules/items/properties/cors/properties/maxAge", json!(5)),
        ("GatewayRoute", "/rules/items/properties/cache/properties/maxBodyBytes", json!(1 << 20)),
        ("GatewayRoute", "/rules/items/properties/cache/properties/shared", json!(false)),
        ("GatewayRoute", "/rules/items/properties/cache/properties/staleWhileRevalidate", json!("0s")),
        ("GatewayRoute", "/rules/items/properties/aggregate/properties/timeout", json!("5s")),
        ("GatewayRoute", "/rules/items/properties/aggregate/properties/maxPartBytes", json!(1 << 20)),
        (
            "GatewayRoute",
            "/rules/items/properties/aggregate/properties/parts/items/properties/onFailure",
            json!("Fail"),
        ),
        (
            "GatewayRoute",
            "/rules/items/properties/matches/items/properties/path",
            json!({"type": "PathPrefix", "value": "/"}),
        ),
        ("RateLimitPolicy", "/scope", json!("Policy")),
        ("RateLimitPolicy", "/store", json!("Redis")),
        ("RateLimitPolicy", "/accuracy", json!("Strict")),
        ("RateLimitPolicy", "/onStoreFailure", json!("FallbackLocal")),
        ("RateLimitPolicy", "/limits/items/properties/algorithm", json!("TokenBucket")),
        ("RateLimitPolicy", "/limits/items/properties/responseCost/properties/max", json!(1_000_000)),
        ("TrafficPolicy", "/targetRefs/items/properties/kind", json!("Service")),
        ("TrafficPolicy", "/loadBalancing/properties/type", json!("LeastRequest")),
        ("TrafficPolicy", "/healthCheck/properties/passive/properties/consecutive5xxErrors", json!(5)),
        ("TrafficPolicy", "/healthCheck/properties/passive/properties/baseEjectionTime", json!("30s")),
        ("TrafficPolicy", "/healthCheck/properties/passive/properties/maxEjectionPercent", json!(50)),
        ("TrafficPolicy", "/healthCheck/properties/active/properties/interval", json!("3s")),
        ("TrafficPolicy", "/healthCheck/properties/active/properties/timeout", json!("1s")),
        ("TrafficPolicy", "/healthCheck/properties/active/properties/unhealthyThreshold", json!(3)),
        ("TrafficPolicy", "/healthCheck/properties/active/properties/whenNoneHealthy", json!("UseAll")),
        ("AuthPolicy", "/anonymous", json!("Deny")),
        ("AuthPolicy", "/enforcement", json!("Default")),
        ("AuthPolicy", "/anyOf/items/properties/jwt/properties/leewaySeconds", json!(30)),
        ("GatewayConfig", "/redis/properties/timeout", json!("20ms")),
        ("GatewayConfig", "/redis/properties/passwordSecretRef/properties/key", json!("password")),
        ("GatewayConfig", "/accessLog/properties/enabled", json!(true)),
        ("GatewayConfig", "/accessLog/properties/samplingPercent", json!(100.0)),
        ("GatewayConfig", "/limits/properties/maxConnections", json!(50_000)),
        ("GatewayConfig", "/cache/properties/maxBytes", json!(64 << 20)),
        ("GatewayConfig", "/requireAuth", json!(false)),
        ("GatewayConfig", "/externalNames/properties/enabled", json!(false)),
        ("GatewayConfig", "/autoscaling/properties/minReplicas", json!(2)),
        ("GatewayConfig", "/autoscaling/properties/cpuUtilization", json!(70)),
        ("GatewayConfig", "/service/properties/type", json!("LoadBalancer")),
        ("GatewayConfig", "/drain/properties/delay", json!("5s")),
        ("GatewayConfig", "/drain/properties/timeout", json!("30s")),
    ] {
        let root = schema_of(kind);
        let spec = &root["properties"]["spec"]["properties"];
        assert_eq!(spec.pointer(pointer).unwrap()["default"], wanted, "{kind}{pointer}");
    }
}

/// A field that the pinned CRD does not have would never hold anything.
#[test]
fn what_is_read_of_the_gateway_api_exists() {
    for (plural, ours) in [
        ("gatewayclasses", GatewayClass::crd()),
        ("gateways", Gateway::crd()),
        ("httproutes", HttpRoute::crd()),
        ("grpcroutes", GrpcRoute::crd()),
        ("tlsroutes", TlsRoute::crd()),
        ("tcproutes", TcpRoute::crd()),
        ("udproutes", UdpRoute::crd()),
        ("backendtlspolicies", BackendTlsPolicy::crd()),
        ("listenersets", ListenerSet::crd()),
        ("referencegrants", ReferenceGrant::crd()),
    ] {
        let text = CRDS.iter().find(|(name, _)| *name == plural).unwrap().1;
        let theirs: Value = serde_saphyr::from_str(text).unwrap();
        let versions = theirs["spec"]["versions"].as_array().unwrap();
        let theirs = versions.iter().find(|version| version["name"] == "v1").unwrap();
        let ours = serde_json::to_value(&ours.spec.versions[0]).unwrap();
        let at = |crd: &Value| crd["schema"]["openAPIV3Schema"]["properties"]["spec"].clone();
        contained(&at(&ours), &at(theirs), plural);
    }
}

fn schema_of(kind: &str) -> Value {
    let crd = own_crds().into_iter().find(|crd| crd.spec.names.kind == kind).unwrap();
    serde_json::to_value(&crd.spec.versions[0].schema).unwrap()["openAPIV3Schema"].clone()
}

/// Some field below has no words for `kubectl explain`; its path is printed.
fn lacks_description(schema: &Value, path: &str) -> bool {
    let properties = schema["properties"].as_object().into_iter().flatten();
    let below: Vec<(String, &Value)> = properties
        .map(|(name, schema)| (format!("{path}.{name}"), schema))
        .chain(schema["items"].is_object().then(|| (format!("{path}[]"), &schema["items"])))
        .collect();
    let mut missing = false;
    for (path, schema) in below {
        if schema["description"].is_null() && !path.ends_with("[]") {
            eprintln!("{path} has no description");
            missing = true;
        }
        missing |= lacks_description(schema, &path);
    }
    missing
}

fn contained(ours: &Value, theirs: &Value, path: &str) {
    if let Some(properties) = ours["properties"].as_object() {
        for (name, schema) in properties {
            let there = &theirs["properties"][name];
            // The namespace of parametersRef is a GatewayClass's; a Gateway's has none.
            if there.is_null() && path == "gateways.infrastructure.parametersRef" && name == "namespace" {
                continue;
            }
            // HTTPRoute's filters stand for GRPCRoute's as well, which are fewer.
            if there.is_null() && path.starts_with("grpcroutes.") && path.ends_with(".filters[]") {
                continue;
            }
            // A GatewayRoute's paths have one way more to be changed.
            if there.is_null() && path.ends_with(".path") && name == "replaceRegexMatch" {
                continue;
            }
            // And two times of its own.
            if there.is_null() && path.ends_with(".timeouts") && ["connect", "idle"].contains(&&**name) {
                continue;
            }
            assert!(!there.is_null(), "{path}.{name} is not in the CRD");
            contained(schema, there, &format!("{path}.{name}"));
        }
    }
    if !ours["items"].is_null() {
        contained(&ours["items"], &theirs["items"], &format!("{path}[]"));
    }
}
