//! API keys, several methods on one route, and what backends are told of who asks.

use gatehouse_tests::{
    backend::{Backend, header},
    client::get,
    gateway::{EDGE, Gateway, service},
    tokens::{ISSUER, Signer, claims, jwks, secret},
};
use serde_json::json;

use crate::route;

const POLICY: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: clients}
spec:
  anyOf:
  - jwt: {issuer: 'https://issuer.test', algorithms: [ES256], secretRef: {name: keys}}
  - apiKey:
      sources:
      - header: {name: X-API-Key}
      - query: {name: apikey}
      - cookie: {name: session}
  identity:
    claims:
    - {claim: email, header: X-User-Email}
    - {claim: roles, header: X-User-Roles}
    - {claim: address.country, header: X-User-Country}
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: alice}
spec:
  customId: '42'
  tier: gold
  groups: [staff, ops]
  credentials:
  - name: token
    jwt: {issuer: 'https://issuer.test', subject: 'alice*'}
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: bob}
spec:
  username: Bob
  credentials:
  - {name: good, apiKey: {secretRef: {name: bob}}}
  - {name: old, apiKey: {secretRef: {name: bob, key: old}, expires: '2020-01-01T00:00:00Z'}}
  - {name: early, apiKey: {secretRef: {name: bob, key: early}, notBefore: '2100-01-01T00:00:00Z'}}
---
apiVersion: v1
kind: Secret
metadata: {name: bob}
stringData: {key: bobs-key, old: old-key, early: early-key}
";

async fn start(backend: &Backend, signer: &Signer, more: &str) -> Gateway {
    let rules = "- auth: {policyRef: {name: clients}}\n  backendRefs: [{name: echo, port: 80}]";
    Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", format!("{}{POLICY}{more}", route(rules)))
        .file("service.yaml", service("echo"))
        .file("keys.json", secret("keys", "jwks.json", &jwks(&[signer])))
        .endpoint("echo", backend.address)
        .start()
        .await
}

#[tokio::test]
async fn keys_and_tokens_on_one_route() {
    let signer = Signer::p256("one");
    let backend = Backend::echo("echo").await;
    let gateway = start(&backend, &signer, "").await;
    let http = gateway.http();

    for (name, ask) in [
        ("nothing", get(http, "/")),
        ("unknown key", get(http, "/").header("x-api-key", "guess")),
        ("empty key", get(http, "/").header("x-api-key", "")),
        ("expired", get(http, "/").header("x-api-key", "old-key")),
        ("not yet", get(http, "/").header("x-api-key", "early-key")),
        ("two keys", get(http, "/?apikey=bobs-key").header("x-api-key", "bobs-key")),
        ("key twice", get(http, "/?apikey=bobs-key&apikey=bobs-key")),
        (
            "bad token, good key",
            get(http, "/").header("authorization", "Bearer x.y.z").header("x-api-key", "bobs-key"),
        ),
    ] {
        let answer = ask.send().await;
        assert_eq!(answer.status, 401, "{name}");
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(challenges.len(), 2, "{name}: one challenge a method: {challenges:?}");
        backend.assert_untouched(name);
    }

    for (name, ask) in [
        ("header", get(http, "/x?a=1").header("x-api-key", "bobs-key")),
        ("query", get(http, "/x?apikey=bobs-key&a=1")),
        ("cookie", get(http, "/x?a=1").header("cookie", "theme=dark; session=bobs-key")),
        (
            "with a password of another scheme",
            get(http, "/x?a=1").header("x-api-key", "bobs-key").header("authorization", "Basic eA=="),
        ),
    ] {
        let echo = ask.send().await.json();
        assert_eq!(header(&echo, "x-consumer-username"), Some("Bob"), "{name}");
        assert_eq!(header(&echo, "x-consumer-id"), Some("default/bob"), "{name}");
        assert_eq!(echo["path"], "/x?a=1", "{name}");
        assert!(!echo.to_string().contains("bobs-key"), "{name}: the key goes no further: {echo}");
    }

    let mut all = claims();
    all["sub"] = "alice@laptop".into();
    all["email"] = "alice@example.com".into();
    all["roles"] = json!(["reader", "writer"]);
    all["address"] = json!({"country": "NZ"});
    let ask = get(http, "/").header("authorization", &format!("Bearer {}", signer.token(&all)));
    let ask = ask
        .header("x-consumer-username", "root")
        .header("x-user-email", "root@example.com")
        .header("x-user-country", "XX")
        .header("x_user_email", "root@example.com");
    let echo = ask.send().await.json();
    for (name, wanted) in [
        ("x-consumer-username", "alice"),
        ("x-consumer-custom-id", "42"),
        ("x-consumer-tier", "gold"),
        ("x-consumer-groups", "staff,ops"),
        ("x-user-email", "alice@example.com"),
        ("x-user-roles", "reader,writer"),
        ("x-user-country", "NZ"),
    ] {
        assert_eq!(header(&echo, name), Some(wanted), "{name}");
    }
    assert!(!echo.to_string().contains("root"), "{echo}");

    // A token of nobody that we know is valid all the same, and brings no consumer.
    all["sub"] = "stranger".into();
    all["email"] = "x\r\nX-Consumer-Username: root".into();
    let ask = get(http, "/").header("authorization", &format!("Bearer {}", signer.token(&all)));
    let echo = ask.header("x-consumer-username", "root").header("x-user-email", "spoof").send().await.json();
    assert_eq!(header(&echo, "x-consumer-username"), None);
    assert_eq!(
        header(&echo, "x-user-email"),
        None,
        "what no header can hold is left out, and the client's copy too"
    );
    assert_eq!(header(&echo, "x-consumer-credential"), Some(&*format!("jwt:{ISSUER}#stranger")));
}

#[tokio::test]
async fn of_two_consumers_with_one_key_the_first_keeps_it() {
    let signer = Signer::p256("one");
    let backend = Backend::echo("echo").await;
    let carol = "---\napiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nmetadata: {name: carol}\nspec: {credentials: [{name: k, \
                 apiKey: {secretRef: {name: bob}}}]}\n";
    let gateway = start(&backend, &signer, carol).await;
    let echo = get(gateway.http(), "/").header("x-api-key", "bobs-key").send().await.json();
    assert_eq!(header(&echo, "x-consumer-username"), Some("Bob"));
    gateway.said("Consumer default/bob: Accepted=False DuplicateCredential").await;
    gateway.said("Consumer default/carol: Accepted=False DuplicateCredential").await;
}

#[tokio::test]
async fn what_guards_a_route_fails_closed() {
    let backend = Backend::echo("echo").await;
    let policy = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: gatehouse.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    };
    let rules = "
- matches: [{path: {value: /absent}}]
  auth: {policyRef: {name: absent}}
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /no-secret}}]
  auth: {policyRef: {name: no-secret}}
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /short}}]
  auth: {policyRef: {name: short}}
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /no-limit}}]
  rateLimits: [{name: absent}]
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /open}}]
  backendRefs: [{name: echo, port: 80}]";
    let manifests = [
        route(rules),
        policy("no-secret", "{anyOf: [{jwt: {issuer: i, secretRef: {name: nowhere}}}]}"),
        policy("short", "{anyOf: [{jwt: {issuer: i, secretRef: {name: short, key: k, format: HMAC}}}]}"),
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: short}\nstringData: {k: secret}\n".to_owned(),
    ]
    .concat();
    let gateway = Gateway::with(&manifests, &[("echo", backend.address)]).await;
    for path in ["/absent", "/no-secret", "/short", "/no-limit"] {
        let answer = get(gateway.http(), path).send().await;
        assert_eq!(
            (answer.status, answer.json()["reason"].as_str()),
            (503, Some("policy_unavailable")),
            "{path}"
        );
        backend.assert_untouched(path);
    }
    assert_eq!(get(gateway.http(), "/open").send().await.status, 200, "the others go on");
    gateway.said("AuthPolicy default/absent does not exist").await;
    gateway.said("Secret default/nowhere has no entry jwks.json").await;
    gateway.said("a shared secret needs at least 32 bytes, it has 6").await;
}

#[tokio::test]
async fn policies_attach_from_general_to_specific() {
    let backend = Backend::echo("echo").await;
    let policy = |name: &str, header: &str, more: &str| {
        format!(
            "---\napiVersion: gatehouse.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {{name: {name}}}\nspec:\n  anyOf: [{{apiKey: \
             {{sources: [{{header: {{name: {header}}}}}]}}}}]\n{more}"
        )
    };
    let target = |kind: &str, group: &str, name: &str| {
        format!("  targetRefs: [{{group: {group}, kind: {kind}, name: {name}}}]\n")
    };
    let http_route = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: plain}\nspec:\n  \
                      parentRefs: [{name: edge}]\n  hostnames: [plain.example]\n  rules: [{backendRefs: [{name: echo, port: \
                      80}]}]\n";
    let rules = "
- matches: [{path: {value: /own}}]
  auth: {policyRef: {name: own}}
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /public}}]
  auth: {public: true}
  backendRefs: [{name: echo, port: 80}]
- backendRefs: [{name: echo, port: 80}]";
    let consumer = "---\napiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nmetadata: {name: c}\nspec: {credentials: [{name: k, \
                    apiKey: {secretRef: {name: k}}}]}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: k}\nstringData: {key: \
                    v}\n";
    let gateway_group = "gateway.networking.k8s.io";
    for (enforcement, cases) in [
        (
            "Default",
            [
                ("plain.example", "/", "x-route"),
                ("h", "/own", "x-own"),
                ("h", "/x", "x-edge"),
                ("h", "/public", ""),
            ],
        ),
        (
            "Required",
            [
                ("plain.example", "/", "x-edge x-route"),
                ("h", "/own", "x-edge x-own"),
                ("h", "/x", "x-edge"),
                ("h", "/public", "x-edge"),
            ],
        ),
    ] {
        let on_edge = format!("{}  enforcement: {enforcement}\n", target("Gateway", gateway_group, "edge"));
        let manifests = [
            route(rules),
            http_route.into(),
            policy("edge", "X-Edge", &on_edge),
            policy("route", "X-Route", &target("HTTPRoute", gateway_group, "plain")),
            policy("own", "X-Own", ""),
            policy("lost", "X-Lost", &target("HTTPRoute", gateway_group, "nowhere")),
            consumer.into(),
        ]
        .concat();
        let gateway = Gateway::with(&manifests, &[("echo", backend.address)]).await;
        gateway.said("TargetNotFound").await;
        for (host, path, needed) in cases {
            let needed: Vec<&str> = needed.split_whitespace().collect();
            for given in
                [&[][..], &["x-edge"], &["x-route"], &["x-own"], &["x-edge", "x-route"], &["x-edge", "x-own"]]
            {
                let ask = given
                    .iter()
                    .fold(get(gateway.http(), path).host(host), |ask, name| ask.header(name, "v"));
                let wanted = if needed.iter().all(|name| given.contains(name)) { 200 } else { 401 };
                assert_eq!(
                    ask.send().await.status,
                    wanted,
                    "{enforcement} {host}{path} with {given:?} needs {needed:?}"
                );
            }
        }
    }
}
