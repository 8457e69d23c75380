//! Copies of requests for other backends: what they carry, how many there are, and that nobody waits for them.

use std::time::{Duration, Instant};

use gatehouse_tests::{
    backend::{Backend, Seen},
    client::get,
    eventually,
    gateway::Gateway,
};

const ROUTES: &str = r"---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: mirrors}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {value: /one}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: first, port: 80}}}]
    backendRefs: [{name: main, port: 80}]
  - matches: [{path: {value: /two}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: X-Set, value: gateway}], remove: [X-Remove]}
    - {type: URLRewrite, urlRewrite: {hostname: inside, path: {type: ReplacePrefixMatch, replacePrefixMatch: /in}}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: first, port: 80}}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: second, port: 80}, percent: 100}}
    backendRefs:
    - name: main
      port: 80
      filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Main, value: only}]}}]
  - matches: [{path: {value: /half}}]
    filters:
    - {type: RequestMirror, requestMirror: {backendRef: {name: first, port: 80}, fraction: {numerator: 25, denominator: 50}}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: second, port: 80}, percent: 0}}
    backendRefs: [{name: main, port: 80}]
";

struct Rig {
    main: Backend,
    first: Backend,
    second: Backend,
    gateway: Gateway,
}

impl Rig {
    async fn start(first: Backend) -> Rig {
        let (main, second) = (Backend::echo("main").await, Backend::echo("second").await);
        let backends = [("main", main.address), ("first", first.address), ("second", second.address)];
        let gateway = Gateway::with(ROUTES, &backends).await;
        Rig { main, first, second, gateway }
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = get(self.gateway.admin(), "/metrics").send().await.body;
        let text = String::from_utf8_lossy(&text).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.expect(name).parse().unwrap()
    }

    /// Waits until so many copies have come to an end.
    async fn copies(&self, wanted: u64) {
        eventually("the copies end", async || {
            let ended = self.metric("gatehouse_mirrored_requests_total").await
                + self.metric("gatehouse_mirrored_requests_lost_total").await;
            (ended == wanted).then_some(())
        })
        .await;
    }
}

fn seen(backend: &Backend) -> Seen {
    let seen = backend.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    seen[0].clone()
}

#[tokio::test]
async fn copies_are_what_the_rule_made_of_the_request() {
    let rig = Rig::start(Backend::echo("first").await).await;
    let ask = get(rig.gateway.http(), "/two/x?q=1").method("POST").header("x-remove", "1").body("the body");
    let answer = ask.send().await;
    assert_eq!((answer.status, &answer.json()["name"]), (200, &"main".into()));
    rig.copies(2).await;
    let main = seen(&rig.main);
    assert_eq!(main.headers["x-main"], "only");
    for copy in [seen(&rig.first), seen(&rig.second)] {
        assert_eq!((&*copy.method, &*copy.path, &*copy.body), ("POST", "/in/x?q=1", &b"the body"[..]));
        assert_eq!(
            (&copy.headers["host"], &copy.headers["x-set"]),
            (&main.headers["host"], &main.headers["x-set"])
        );
        assert_eq!(copy.headers["x-request-id"], main.headers["x-request-id"]);
        assert!(!copy.headers.contains_key("x-remove") && !copy.headers.contains_key("x-main"), "{copy:?}");
    }
}

#[tokio::test]
async fn a_share_of_the_requests_is_copied() {
    let rig = Rig::start(Backend::echo("first").await).await;
    for _ in 0..400 {
        assert_eq!(get(rig.gateway.http(), "/half").send().await.status, 200);
    }
    // Six standard deviations.
    let wanted = 140..=260;
    eventually("some of them are copied", async || wanted.contains(&rig.first.seen().len()).then_some(()))
        .await;
    rig.second.assert_untouched("nothing is to be copied to it");
    assert_eq!(rig.main.seen().len(), 400);
}

#[tokio::test]
async fn nobody_waits_for_a_copy() {
    let silent = Backend::serving(|_, _| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        unreachable!("the gateway gives up first")
    })
    .await;
    let rig = Rig::start(silent).await;
    let began = Instant::now();
    // One more than may be under way at once: each worker has room for 256.
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..=workers * 256 {
        assert_eq!(get(rig.gateway.http(), "/one").body("little").method("POST").send().await.status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    eventually("what is too much is left out", async || {
        (rig.metric("gatehouse_mirrored_requests_lost_total").await > 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_long_body_is_not_copied_and_reaches_its_backend() {
    let rig = Rig::start(Backend::echo("first").await).await;
    let long = "x".repeat(100 << 10);
    let answer = get(rig.gateway.http(), "/one").method("PUT").body(long.clone()).send().await;
    assert_eq!((answer.status, answer.json()["body"].as_str()), (200, Some(&*long)));
    rig.copies(1).await;
    rig.first.assert_untouched("the body is too long");
    assert_eq!(rig.metric("gatehouse_mirrored_requests_lost_total").await, 1);
}
