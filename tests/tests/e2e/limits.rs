//! Rate limits: what is counted together, what clients are told, and what happens without the store.

use gatehouse_tests::{
    backend::{Backend, Seen, status},
    client::{Answer, Ask, get},
    gateway::{EDGE, Gateway, service},
};

use crate::route;

fn policy(name: &str, limits: &str, more: &str) -> String {
    format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {{name: {name}}}\nspec:\n  limits: \
         {limits}\n{more}"
    )
}

async fn statuses(asks: impl IntoIterator<Item = Ask>) -> Vec<u16> {
    let mut statuses = Vec::new();
    for ask in asks {
        statuses.push(ask.send().await.status);
    }
    statuses
}

#[tokio::test]
async fn each_kind_of_key_counts_its_own() {
    let backend = Backend::echo("echo").await;
    let rules = "
- matches: [{path: {value: /consumer}}]
  auth: {policyRef: {name: keys}}
  rateLimits: [{name: consumer}]
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /credential}}]
  auth: {policyRef: {name: keys}}
  rateLimits: [{name: credential}]
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /header}}]
  rateLimits: [{name: header}]
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /address}}]
  rateLimits: [{name: address}]
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /all}}]
  rateLimits: [{name: all}]
  backendRefs: [{name: echo, port: 80}]";
    let consumers = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: keys}
spec: {anyOf: [{apiKey: {}}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: alice}
spec:
  tier: gold
  credentials: [{name: one, apiKey: {secretRef: {name: s, key: a1}}}, {name: two, apiKey: {secretRef: {name: s, key: a2}}}]
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: bob}
spec: {credentials: [{name: one, apiKey: {secretRef: {name: s, key: b}}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
stringData: {a1: a1, a2: a2, b: b}
";
    let window = |key: &str, tiers: &str| {
        format!(
            "[{{name: l, key: [{key}], requests: 3, per: 1h, algorithm: SlidingWindow, tiers: [{tiers}]}}]"
        )
    };
    let manifests = [
        route(rules),
        consumers.into(),
        policy("consumer", &window("{consumer: {}}", "{tier: gold, requests: 5}"), ""),
        policy("credential", &window("{credential: {}}", ""), ""),
        policy("header", &window("{header: {name: X-Tenant}}", ""), ""),
        policy("address", &window("{clientIP: {}}", ""), ""),
        policy("all", &window("", ""), ""),
    ]
    .concat();
    let gateway = Gateway::with(&manifests, &[("echo", backend.address)]).await;
    let http = gateway.http();
    let keyed = |path: &str, key: &str| get(http, path).header("x-api-key", key);

    let alice = (0..6).map(|index| keyed("/consumer", if index % 2 == 0 { "a1" } else { "a2" }));
    assert_eq!(
        statuses(alice).await,
        [200, 200, 200, 200, 200, 429],
        "both keys of one consumer, of tier gold"
    );
    assert_eq!(statuses((0..4).map(|_| keyed("/consumer", "b"))).await, [200, 200, 200, 429]);
    assert_eq!(statuses((0..4).map(|_| keyed("/credential", "a1"))).await, [200, 200, 200, 429]);
    assert_eq!(statuses([keyed("/credential", "a2")]).await, [200], "the other key has its own count");
    let tenant = |name: &str| get(http, "/header").header("x-tenant", name);
    assert_eq!(statuses((0..4).map(|_| tenant("x"))).await, [200, 200, 200, 429]);
    assert_eq!(statuses([tenant("y"), get(http, "/header")]).await, [200, 200]);
    assert_eq!(statuses((0..4).map(|_| get(http, "/address"))).await, [200, 200, 200, 429]);
    assert_eq!(statuses((0..4).map(|_| get(http, "/all"))).await, [200, 200, 200, 429]);
    assert_eq!(
        statuses((0..4).map(|_| get(http, "/consumer"))).await,
        [401; 4],
        "who is nobody uses up nothing"
    );
    assert_eq!(statuses([keyed("/consumer", "b")]).await, [429]);
}

#[tokio::test]
async fn clients_are_told_what_is_left() {
    let backend = Backend::echo("echo").await;
    let rules = "- rateLimits: [{name: l}]\n  backendRefs: [{name: echo, port: 80}]";
    let bucket = "[{name: bucket, requests: 2, per: 1m, burst: 2}]";
    let gateway =
        Gateway::with(&[route(rules), policy("l", bucket, "")].concat(), &[("echo", backend.address)]).await;
    let told = |answer: &Answer, name: &str| answer.header(name).map(str::to_owned);
    let first = get(gateway.http(), "/").send().await;
    assert_eq!(told(&first, "ratelimit-policy").as_deref(), Some("\"bucket\";q=2;w=60"));
    assert!(told(&first, "ratelimit").is_some_and(|text| text.starts_with("\"bucket\";r=1;t=")), "{first:?}");
    assert_eq!(told(&first, "retry-after"), None);
    get(gateway.http(), "/").send().await;
    let refused = get(gateway.http(), "/").send().await;
    assert_eq!((refused.status, refused.json()["reason"].as_str()), (429, Some("rate_limited")));
    assert!(
        told(&refused, "ratelimit").is_some_and(|text| text.starts_with("\"bucket\";r=0;t=")),
        "{refused:?}"
    );
    let wait: u64 = told(&refused, "retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "one of two a minute comes back within 30 s, not {wait}");
}

#[tokio::test]
async fn without_the_store_the_policy_says_what_happens() {
    let backend = Backend::echo("echo").await;
    // Accepts and never answers.
    let silent = Backend::accepting(|stream, _| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rules = "
- matches: [{path: {value: /local}}]
  rateLimits: [{name: local}]
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /allow}}]
  rateLimits: [{name: allow}]
  backendRefs: [{name: echo, port: 80}]
- matches: [{path: {value: /deny}}]
  rateLimits: [{name: deny}]
  backendRefs: [{name: echo, port: 80}]";
    let limit = "[{name: l, requests: 2, per: 1h, algorithm: SlidingWindow}]";
    let manifests = [
        route(rules),
        policy("local", limit, "  onStoreFailure: FallbackLocal\n"),
        policy("allow", limit, "  onStoreFailure: Allow\n"),
        policy("deny", limit, "  onStoreFailure: Deny\n"),
    ]
    .concat();
    for address in [silent.address, closed] {
        let gateway = Gateway::builder()
            .file("edge.yaml", EDGE)
            .file("routes.yaml", &*manifests)
            .file("service.yaml", service("echo"))
            .endpoint("echo", backend.address)
            .arg("--redis")
            .arg(&format!("redis://{address}"))
            .start()
            .await;
        for (path, wanted) in [("/local", [200, 200, 429]), ("/allow", [200; 3]), ("/deny", [503; 3])] {
            assert_eq!(statuses((0..3).map(|_| get(gateway.http(), path))).await, wanted, "{path}");
        }
        let metrics = get(gateway.admin(), "/metrics").send().await;
        let text = String::from_utf8_lossy(&metrics.body).into_owned();
        assert!(text.contains("gatehouse_rate_limit_store_failures_total 9"), "{text}");
    }
}

#[tokio::test]
async fn a_change_of_routes_resets_no_count() {
    let backend = Backend::echo("echo").await;
    let rules = "- rateLimits: [{name: l}]\n  backendRefs: [{name: echo, port: 80}]";
    let limit = policy("l", "[{name: l, requests: 3, per: 1h, algorithm: SlidingWindow}]", "");
    let manifests = [route(rules), limit].concat();
    let gateway = Gateway::with(&manifests, &[("echo", backend.address)]).await;
    assert_eq!(statuses((0..3).map(|_| get(gateway.http(), "/"))).await, [200, 200, 200]);
    gateway.write(
        "routes.yaml",
        &manifests.replace("- rateLimits", "- matches: [{path: {value: /}}]\n    rateLimits"),
    );
    gateway.write(
        "more.yaml",
        &route("- matches: [{path: {value: /new}}]\n  respond: {status: 204}")
            .replace("{name: r}", "{name: new}"),
    );
    gatehouse_tests::eventually("the new route serves", async || {
        (get(gateway.http(), "/new").send().await.status == 204).then_some(())
    })
    .await;
    assert_eq!(statuses([get(gateway.http(), "/")]).await, [429]);
}

#[tokio::test]
async fn a_limit_looks_at_the_request_and_answers_as_it_is_told() {
    let backend = Backend::echo("echo").await;
    let rules = "- rateLimits: [{name: l}]\n  backendRefs: [{name: echo, port: 80}]";
    let limits = "[{name: l, requests: 7, cost: 3, per: 1h, key: [{query: {name: tenant}}, {method: {}}], when: [{pathPrefix: \
                  /reports}, {clientIP: {ranges: [192.0.2.0/24]}, not: true}]}]";
    let response = "  response: {status: 503, headers: [{name: X-Why, value: busy}], body: later}\n";
    let gateway =
        Gateway::with(&[route(rules), policy("l", limits, response)].concat(), &[("echo", backend.address)])
            .await;
    let ask = |path: &str| get(gateway.http(), path);
    let asked = [
        "/reports/1?tenant=a",
        "/%72eports?x&tenant=a",
        "/reports?tenant=a",
        "/reports?tenant=b",
        "/reportsx",
    ];
    assert_eq!(statuses(asked.map(ask)).await, [200, 200, 503, 200, 200]);
    assert_eq!(statuses([ask("/reports?tenant=a").method("POST")]).await, [200]);
    let refused = ask("/reports?tenant=a").send().await;
    assert_eq!((refused.header("x-why"), &*refused.body), (Some("busy"), &b"later"[..]), "{refused:?}");
    assert!(refused.header("ratelimit").is_some_and(|text| text.starts_with("\"l\";r=0;t=")), "{refused:?}");
}

#[tokio::test]
async fn a_response_says_what_its_request_cost() {
    let backend = Backend::answering(|seen| {
        let mut answer = status(200);
        answer.headers_mut().insert("x-tokens", seen.path[1..].parse().unwrap());
        answer
    })
    .await;
    // What it costs is the client's business only where the rule says so.
    let rules = "- rateLimits: [{name: l}]\n  responseHeaders: {remove: [X-Tokens]}\n  backendRefs: [{name: api, port: 80}]";
    let limits = "[{name: l, requests: 10, per: 1h, responseCost: {header: X-Tokens, max: 5}}]";
    let manifests = [route(rules), policy("l", limits, "  store: Local\n")].concat();
    let gateway = Gateway::with(&manifests, &[("api", backend.address)]).await;
    let first = get(gateway.http(), "/4").send().await;
    assert_eq!((first.status, first.header("x-tokens")), (200, None));
    // Four, five and one are ten.
    let asked = ["/900", "/1", "/1"].map(|path| get(gateway.http(), path));
    assert_eq!(statuses(asked).await, [200, 200, 429]);
}

#[tokio::test]
async fn so_many_requests_may_be_under_way_at_once() {
    let (open, opened) = tokio::sync::watch::channel(false);
    let arrived = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&arrived);
    let backend = Backend::serving(move |parts, _| {
        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let mut opened = opened.clone();
        async move {
            opened.wait_for(|open| *open).await.unwrap();
            let seen = Seen {
                method: parts.method.to_string(),
                path: parts.uri.to_string(),
                headers: parts.headers,
                body: bytes::Bytes::new(),
            };
            (seen, status(200))
        }
    })
    .await;
    let rules = "- rateLimits: [{name: l}]\n  backendRefs: [{name: echo, port: 80}]";
    let policy = "---\napiVersion: gatehouse.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {name: l}\nspec: {concurrency: [{name: \
                  c, key: [{header: {name: X-Tenant}}], requests: 2}]}\n";
    let gateway = Gateway::with(&[route(rules), policy.into()].concat(), &[("echo", backend.address)]).await;
    let ask = |tenant: &str| get(gateway.http(), "/").header("x-tenant", tenant);
    let waiting: Vec<_> = (0..2).map(|_| tokio::spawn(ask("a").send())).collect();
    let other = tokio::spawn(ask("b").send());
    gatehouse_tests::eventually("three are under way", async || {
        (arrived.load(std::sync::atomic::Ordering::SeqCst) == 3).then_some(())
    })
    .await;
    let refused = ask("a").send().await;
    assert_eq!((refused.status, refused.json()["reason"].as_str()), (429, Some("rate_limited")));
    open.send(true).unwrap();
    for waiting in waiting.into_iter().chain([other]) {
        assert_eq!(waiting.await.unwrap().status, 200);
    }
    assert_eq!(statuses((0..4).map(|_| ask("a"))).await, [200; 4]);
}
