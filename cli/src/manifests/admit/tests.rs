//! What the schemas and rules of our kinds refuse: a hostile list, each with the words that tell the mend.

use super::admit;
use crate::manifests::read::documents;

/// Problems of an object with this `spec`.
fn refusals(kind: &str, spec: &str) -> Vec<String> {
    let text = format!(
        "apiVersion: gatehouse.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{{spec}}}\n"
    );
    let document = documents(&text).remove(0).expect("valid YAML");
    let (admitted, problems) = admit(&document, "x.yaml");
    assert_eq!(admitted.is_some(), problems.is_empty(), "{spec}: {problems:?}");
    problems.iter().map(ToString::to_string).collect()
}

fn check(kind: &str, cases: &[(&str, Option<&str>)]) {
    for (spec, wanted) in cases {
        let said = refusals(kind, spec);
        match wanted {
            None => assert!(said.is_empty(), "{kind} {spec}: {said:?}"),
            Some(words) => assert!(said.iter().any(|text| text.contains(words)), "{kind} {spec}: {said:?}"),
        }
    }
}

#[test]
fn gateway_routes() {
    let with = |rules: &str| format!("parentRefs: [{{name: g}}], rules: [{rules}]");
    for (rules, wanted) in [
        ("{respond: {status: 200}}", None),
        ("{matches: [{}], respond: {status: 204}}", None),
        ("{respond: {status: 199}}", Some("status")),
        ("{}", Some("exactly one of backendRefs, redirect, respond and aggregate")),
        ("{backendRefs: [], respond: {status: 200}}", Some("backendRefs")),
        // `null` is as good as absent.
        ("{backendRefs: null, redirect: null, respond: {status: 200}}", None),
        ("{matches: [{method: null}], auth: {policyRef: null, public: true}, respond: {status: 200}}", None),
        ("{backendRefs: null}", Some("exactly one of")),
        (
            "{name: a, respond: {status: 200}}, {name: b, respond: {status: 200}}, {respond: {status: 200}}",
            None,
        ),
        ("{name: a, respond: {status: 200}}, {name: a, respond: {status: 200}}", Some("its own name")),
        ("{name: A_b, respond: {status: 200}}", Some("rules[0].name")),
        ("{auth: {public: false}, respond: {status: 200}}", Some("public can only be true")),
        ("{auth: {}, respond: {status: 200}}", Some("exactly one of policyRef and public")),
        ("{auth: {public: true, policyRef: {name: p}}, respond: {status: 200}}", Some("exactly one of")),
        ("{rateLimits: [{name: a}, {name: a}], respond: {status: 200}}", Some("rateLimits")),
        ("{rewrite: {hostname: a}, redirect: {}}", Some("rewrite needs backendRefs")),
        ("{rewrite: {hostname: '*.a'}, backendRefs: [{name: s, port: 80}]}", Some("rewrite.hostname")),
        ("{backendRefs: [{name: s}]}", Some("a Service needs a port")),
        ("{backendRefs: [{name: s, port: 65536}]}", Some("port")),
        ("{backendRefs: [{name: s, port: 80, weight: -1}]}", Some("weight")),
        ("{backendRefs: [{name: s, port: 80, kind: Deployment}]}", Some("kind")),
        ("{redirect: {statusCode: 308}}", None),
        ("{redirect: {statusCode: 304}}", Some("statusCode")),
        ("{redirect: {scheme: ftp}}", Some("scheme")),
        ("{redirect: {path: {type: ReplaceFullPath}}}", Some("give replaceFullPath")),
        (
            "{redirect: {path: {type: ReplaceFullPath, replaceFullPath: /, replacePrefixMatch: /}}}",
            Some("replacePrefixMatch with type ReplacePrefixMatch, and only then"),
        ),
        (
            "{redirect: {path: {type: ReplaceFullPath, replaceFullPath: \"/a\\r\\nb\"}}}",
            Some("replaceFullPath"),
        ),
        (
            "{matches: [{path: {value: /a}}, {path: {type: Exact, value: /b}}], redirect: {path: {type: \
             ReplacePrefixMatch, replacePrefixMatch: /c}}}",
            Some("matches of type PathPrefix alone"),
        ),
        (
            "{matches: [{path: {type: RegularExpression, value: /b}}], rewrite: {path: {type: ReplacePrefixMatch, \
             replacePrefixMatch: /c}}, backendRefs: [{name: s, port: 80}]}",
            Some("matches of type PathPrefix alone"),
        ),
        (
            "{rewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /c}}, backendRefs: [{name: s, port: 80}]}",
            None,
        ),
        ("{matches: [{path: {value: a}}], respond: {status: 200}}", Some("begin with `/`")),
        ("{matches: [{path: {type: RegularExpression, value: '.*\\.png'}}], respond: {status: 200}}", None),
        ("{matches: [{path: {value: /a/../b}}], respond: {status: 200}}", Some("no segment `.` or `..`")),
        ("{matches: [{path: {value: /a/..b/.c//d}}], respond: {status: 200}}", None),
        ("{matches: [{path: {value: /caf%c3%a9}}], respond: {status: 200}}", Some("`%2F`, not `%2f`")),
        ("{matches: [{path: {value: /caf%C3%A9}}], respond: {status: 200}}", None),
        ("{matches: [{path: {value: '/a b'}}], respond: {status: 200}}", Some("percent-encoded")),
        ("{matches: [{path: {value: '/a?b=c'}}], respond: {status: 200}}", Some("percent-encoded")),
        ("{matches: [{method: get}], respond: {status: 200}}", Some("method")),
        ("{timeouts: {request: 1s, backendRequest: 500ms}, respond: {status: 200}}", None),
        ("{timeouts: {request: 1s, backendRequest: 2s}, respond: {status: 200}}", Some("can't be longer")),
        ("{timeouts: {request: 0s, backendRequest: 2s}, respond: {status: 200}}", None),
        ("{timeouts: {request: 1.5s}, respond: {status: 200}}", Some("timeouts.request")),
        ("{requestHeaders: {set: [{name: 'a b', value: x}]}, respond: {status: 200}}", Some("name")),
        (
            "{requestHeaders: {set: [{name: a, value: \"x\\r\\ny: z\"}]}, respond: {status: 200}}",
            Some("value"),
        ),
        ("{requestHeaders: {remove: ['']}, respond: {status: 200}}", Some("remove")),
    ] {
        check("GatewayRoute", &[(&with(rules), wanted)]);
    }
    let rest = "rules: [{respond: {status: 200}}]";
    for (head, wanted) in [
        ("parentRefs: []", Some("parentRefs")),
        ("parentRefs: [{name: g, sectionName: Http}]", Some("sectionName")),
        ("parentRefs: [{name: g}], hostnames: [a.example.com, '*.b.example.com']", None),
        ("parentRefs: [{name: g}], hostnames: ['*']", Some("hostnames[0]")),
        ("parentRefs: [{name: g}], hostnames: ['a.example.com:80']", Some("hostnames[0]")),
        ("parentRefs: [{name: g}], hostnames: [a, a]", Some("hostnames")),
    ] {
        check("GatewayRoute", &[(&format!("{head}, {rest}"), wanted)]);
    }
}

#[test]
fn rate_limit_policies() {
    check(
        "RateLimitPolicy",
        &[
            ("limits: [{name: a, requests: 1, per: 100ms}]", None),
            ("limits: [{name: a, requests: 1, per: 24h}]", None),
            ("limits: []", Some("limits")),
            ("limits: [{name: a, requests: 0, per: 1s}]", Some("requests")),
            ("limits: [{name: a, requests: 1, per: 99ms}]", Some("use 100ms to 744h")),
            ("limits: [{name: a, requests: 1, per: 744h1ms}]", Some("use 100ms to 744h")),
            ("limits: [{name: a, requests: 1, per: 1d}]", Some("per")),
            ("limits: [{name: a, requests: 1, per: 1s}, {name: a, requests: 2, per: 1s}]", Some("limits")),
            ("limits: [{name: a, requests: 1, per: 1s, burst: 2}]", None),
            (
                "limits: [{name: a, requests: 1, per: 1s, burst: 2, algorithm: SlidingWindow}]",
                Some("burst belongs"),
            ),
            (
                "limits: [{name: a, requests: 1, per: 1s, algorithm: SlidingWindow, tiers: [{tier: t, requests: 1, burst: 2}]}]",
                Some("burst belongs"),
            ),
            (
                "limits: [{name: a, requests: 1, per: 1s, tiers: [{tier: t, requests: 1, per: 745h}]}]",
                Some("744h"),
            ),
            ("limits: [{name: a, requests: 1, per: 1s, key: [{}]}]", Some("exactly one of consumer")),
            (
                "limits: [{name: a, requests: 1, per: 1s, key: [{consumer: {}, credential: {}}]}]",
                Some("exactly one"),
            ),
            (
                "limits: [{name: a, requests: 1, per: 1s, key: [{clientIP: {ipv4Prefix: 33}}]}]",
                Some("ipv4Prefix"),
            ),
            (
                "targetRefs: [{group: gatehouse.dev, kind: Gateway, name: g}], limits: [{name: a, requests: 1, per: 1s}]",
                Some("GatewayRoute is of gatehouse.dev"),
            ),
            (
                "targetRefs: [{group: '', kind: Service, name: g}], limits: [{name: a, requests: 1, per: 1s}]",
                Some("targetRefs[0].kind"),
            ),
        ],
    );
}

#[test]
fn auth_policies() {
    check(
        "AuthPolicy",
        &[
            ("anyOf: [{apiKey: {}}]", None),
            ("anyOf: []", Some("anyOf")),
            ("anyOf: [{}]", Some("exactly one of jwt, apiKey, basic")),
            ("anyOf: [{apiKey: {sources: [{}]}}]", Some("exactly one of header, query and cookie")),
            ("anyOf: [{apiKey: {sources: [{cookie: {name: 'a b'}}]}}]", Some("cookie.name")),
            ("anyOf: [{jwt: {issuer: i}}]", Some("exactly one of jwks, secretRef and inline")),
            ("anyOf: [{jwt: {issuer: i, jwks: {url: 'file:///etc/passwd'}}}]", Some("url")),
            (
                "anyOf: [{jwt: {issuer: i, jwks: {url: 'https://i', refreshInterval: 1s}}}]",
                Some("use 10s to 24h"),
            ),
            ("anyOf: [{jwt: {issuer: i, secretRef: {name: s}, leewaySeconds: 301}}]", Some("leewaySeconds")),
            ("anyOf: [{jwt: {issuer: i, secretRef: {name: s}, algorithms: [none]}}]", Some("algorithms")),
            (
                "anyOf: [{jwt: {issuer: i, secretRef: {name: s}, algorithms: [RS256, RS256]}}]",
                Some("algorithms"),
            ),
            // A public key must never be taken for a shared secret.
            (
                "anyOf: [{jwt: {issuer: i, jwks: {url: 'https://i'}, algorithms: [RS256, HS256]}}]",
                Some("need a shared secret"),
            ),
            (
                "anyOf: [{jwt: {issuer: i, secretRef: {name: s, format: PEM}, algorithms: [HS256]}}]",
                Some("need a shared secret"),
            ),
            (
                "anyOf: [{jwt: {issuer: i, secretRef: {name: s, format: HMAC}, algorithms: [RS256]}}]",
                Some("HS256, HS384 and HS512 only"),
            ),
            ("anyOf: [{jwt: {issuer: i, secretRef: {name: s, format: HMAC}, algorithms: [HS512]}}]", None),
            ("anyOf: [{jwt: {issuer: i, inline: {}}}]", Some("exactly one of jwks and pem")),
            ("anyOf: [{apiKey: {}}], identity: {claims: [{claim: email, header: X-User-Email}]}", None),
            (
                "anyOf: [{apiKey: {}}], identity: {claims: [{claim: a, header: Authorization}]}",
                Some("header"),
            ),
            (
                "anyOf: [{apiKey: {}}], identity: {claims: [{claim: a, header: x-CONSUMER-username}]}",
                Some("the gateway itself sets"),
            ),
            (
                "anyOf: [{apiKey: {}}], identity: {claims: [{claim: a, header: X-Forwarded-For}]}",
                Some("the gateway itself sets"),
            ),
        ],
    );
}

#[test]
fn consumers() {
    check(
        "Consumer",
        &[
            ("", None),
            ("username: \"a\\r\\nX-Consumer-Tier: gold\"", Some("username")),
            ("groups: ['staff,admin']", Some("groups[0]")),
            ("groups: [a, a]", Some("groups")),
            ("credentials: [{name: a}]", Some("exactly one of apiKey, jwt, basic")),
            (
                "credentials: [{name: a, jwt: {issuer: i, subject: s}}, {name: a, jwt: {issuer: i, subject: t}}]",
                Some("credentials"),
            ),
            ("credentials: [{name: a, jwt: {issuer: i, subject: 'svc-*'}}]", None),
            ("credentials: [{name: a, jwt: {issuer: i, subject: 'a*b'}}]", Some("subject")),
            ("credentials: [{name: a, apiKey: {secretRef: {name: s}, expires: tomorrow}}]", Some("expires")),
            (
                "credentials: [{name: a, apiKey: {secretRef: {name: s}, notBefore: '2030-01-01T00:00:00Z', expires: \
             '2030-01-01T00:30:00+01:00'}}]",
                Some("expires must be after notBefore"),
            ),
            (
                "credentials: [{name: a, apiKey: {secretRef: {name: s}, notBefore: '2030-01-01T00:30:00+01:00', expires: \
             '2030-01-01T00:00:00Z'}}]",
                None,
            ),
        ],
    );
}

#[test]
fn gateway_configs() {
    check(
        "GatewayConfig",
        &[
            ("", None),
            ("redis: {url: 'redis://r:6379'}", None),
            ("deployment: {replicas: 3, resources: {requests: {cpu: 1, memory: 1.5Gi}}}", None),
            ("deployment: {resources: {limits: {memory: lots}}}", Some("does not match")),
            ("deployment: {replicas: 3}, autoscaling: {maxReplicas: 3}", Some("at most one of")),
            ("autoscaling: {maxReplicas: 3}", None),
            ("autoscaling: {maxReplicas: 1}", Some("minReplicas can't be more")),
            (
                "deployment: {resources: {requests: {memory: 1Gi}}}, autoscaling: {maxReplicas: 3}",
                Some("autoscaling needs deployment.resources.requests.cpu"),
            ),
            ("disruptionBudget: {minAvailable: 50%}", None),
            ("disruptionBudget: {}", Some("exactly one of minAvailable and maxUnavailable")),
            ("disruptionBudget: {minAvailable: 1, maxUnavailable: 1}", Some("exactly one of")),
            ("disruptionBudget: {maxUnavailable: 101%}", Some("does not match")),
            ("service: {type: NodePort, externalTrafficPolicy: Local}", None),
            ("service: {type: ClusterIP, externalTrafficPolicy: Local}", Some("belongs to the types")),
            ("service: {type: NodePort, loadBalancerClass: a/b}", Some("belongs to the type LoadBalancer")),
            (
                "service: {type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8]}",
                Some("belongs to the type LoadBalancer"),
            ),
            ("drain: {delay: 0s, timeout: 1h}", None),
            ("drain: {delay: 301s}", Some("use 0s to 5m")),
            ("drain: {timeout: 999ms}", Some("use 1s to 1h")),
            ("redis: {}", Some("exactly one of url, urlSecretRef, sentinel and cluster")),
            ("redis: {cluster: {addresses: ['r-0:6379', 'r-1:6379']}}", None),
            ("redis: {cluster: {addresses: []}}", Some("addresses")),
            ("redis: {cluster: {addresses: [r-0]}}", Some("addresses[0]")),
            ("redis: {url: 'redis://r', cluster: {addresses: ['r-0:6379']}}", Some("exactly one of")),
            ("redis: {url: 'rediss://r'}", None),
            ("redis: {url: 'http://r'}", Some("url")),
            ("redis: {url: 'redis://r', timeout: 51ms}", Some("use 1ms to 50ms")),
            ("redis: {url: 'redis://r', timeout: 0s}", Some("use 1ms to 50ms")),
            ("tracing: {endpoint: 'http://c:4317', samplingPercent: 0.1}", None),
            ("tracing: {endpoint: 'http://c:4317', samplingPercent: 100.1}", Some("samplingPercent")),
            ("accessLog: {samplingPercent: 0.1}", None),
            ("accessLog: {samplingPercent: -1}", Some("samplingPercent")),
            ("trustedProxies: [10.0.0.0/8, '::1', 'fd00::/8']", None),
            ("trustedProxies: [10.0.0.0/33]", Some("trustedProxies[0]")),
            ("trustedProxies: [proxy.example.com]", Some("trustedProxies[0]")),
            ("limits: {maxConnections: 0}", Some("maxConnections")),
            ("limits: {idleTimeout: 0s}", Some("use 1s to 1h")),
            ("limits: {headerTimeout: 10m}", Some("use 100ms to 5m")),
        ],
    );
}
