//! A new version beside the stable one: its share, who is sure to get it, and how it goes on.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use gatehouse_tests::{
    backend::{Backend, Seen, status},
    client::{Ask, get},
    eventually,
    gateway::Gateway,
};

struct Rig {
    _backends: [Backend; 2],
    gateway: Gateway,
}

/// One route with one rule `all`; `annotation` commands it.
fn route(annotation: &str, rollout: &str) -> String {
    format!(
        "---\napiVersion: gatehouse.dev/v1alpha1\nkind: GatewayRoute\nmetadata:\n  name: r\n  annotations: {{gatehouse.dev/rollout: \
         '{annotation}'}}\nspec:\n  parentRefs: [{{name: edge}}]\n  rules:\n  - name: all\n    backendRefs: [{{name: v1, port: 80}}]\n    \
         rollout: {{canary: {{backendRef: {{name: v2, port: 80}}, {rollout}}}}}\n"
    )
}

impl Rig {
    async fn start(manifests: &str) -> Rig {
        let backends = [Backend::echo("v1").await, Backend::echo("v2").await];
        let endpoints = [("v1", backends[0].address), ("v2", backends[1].address)];
        let gateway = Gateway::with(manifests, &endpoints).await;
        Rig { _backends: backends, gateway }
    }

    fn ask(&self) -> Ask {
        get(self.gateway.http(), "/")
    }

    /// Of so many requests, how many the new version gets.
    async fn share(&self, requests: usize) -> usize {
        let mut count = 0;
        for _ in 0..requests {
            count += usize::from(version(self.ask()).await == "v2");
        }
        count
    }

    /// What was said of a step is served a little later.
    async fn new_version_answers(&self, mut ask: impl FnMut() -> Ask) {
        eventually("the new version is asked", async || (version(ask()).await == "v2").then_some(())).await;
    }

    async fn everything_goes_to(&self, wanted: &str) {
        eventually(&format!("only {wanted} is asked"), async || {
            for _ in 0..10 {
                if version(self.ask()).await != wanted {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }
}

/// Who answers without a body is a new version that a test made itself.
async fn version(ask: Ask) -> String {
    let answer = ask.send().await;
    if answer.body.is_empty() {
        return "v2".to_owned();
    }
    assert_eq!(answer.status, 200);
    answer.json()["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn weights_are_kept_and_what_a_request_says_comes_first() {
    let force = "steps: [{weight: 25, hold: 1h}], force: {header: {name: X-Canary, value: always}, cookie: {name: canary, value: '1'}}";
    let rig = Rig::start(&route("", force)).await;
    rig.gateway.said("Progressing Step: step 1 of 1: default/v2:80 gets 25 %").await;
    rig.new_version_answers(|| rig.ask()).await;
    // Four standard deviations.
    let share = rig.share(600).await;
    assert!((108..=192).contains(&share), "{share} of 600, and not 150");
    for _ in 0..20 {
        assert_eq!(version(rig.ask().header("x-canary", "always")).await, "v2");
        assert_eq!(version(rig.ask().header("cookie", "a=b; canary=1")).await, "v2");
    }
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        seen.insert(version(rig.ask().header("x-canary", "never")).await);
    }
    assert_eq!(seen.len(), 2, "another value says nothing");
}

#[tokio::test]
async fn steps_lead_to_everything_unless_somebody_says_otherwise() {
    let steps = "steps: [{weight: 1, hold: 50ms}, {weight: 50, hold: 50ms}], force: {header: {name: X-Canary, value: always}}";
    let rig = Rig::start(&route("pause", steps)).await;
    rig.gateway.said("Paused Paused: default/v2:80 has not begun").await;
    rig.everything_goes_to("v1").await;
    rig.gateway.write("routes.yaml", &route("resume", steps));
    rig.gateway.said("step 1 of 2: default/v2:80 gets 1 %").await;
    rig.gateway.said("step 2 of 2: default/v2:80 gets 50 %").await;
    rig.gateway.said("Promoted Promoted").await;
    rig.everything_goes_to("v2").await;
    rig.gateway.write("routes.yaml", &route("abort", steps));
    rig.gateway.said("RolledBack Aborted").await;
    rig.everything_goes_to("v1").await;
    assert_eq!(version(rig.ask().header("x-canary", "always")).await, "v1", "nobody gets it any more");
    // Another revision is another version.
    let next = format!("revision: next, {}", steps.replace("50ms", "1h"));
    rig.gateway.write("routes.yaml", &route("abort", &next));
    rig.gateway.said("gets 1 % for at least 1h").await;
    rig.new_version_answers(|| rig.ask().header("x-canary", "always")).await;
}

#[tokio::test]
async fn the_promoted_version_takes_the_place_of_the_stable_one_without_a_gap() {
    let steps = "steps: [{weight: 1, hold: 0s}]";
    let rig = Rig::start(&route("", steps)).await;
    rig.gateway.said("Promoted Promoted").await;
    rig.everything_goes_to("v2").await;
    let swapped = route("", steps).replace("backendRefs: [{name: v1", "backendRefs: [{name: v2");
    rig.gateway.write("routes.yaml", &swapped);
    rig.gateway.said("read again").await;
    assert_eq!(rig.share(20).await, 20);
    let next = swapped.replace("backendRef: {name: v2", "backendRef: {name: v1").replace("0s", "1h");
    rig.gateway.write("routes.yaml", &next);
    rig.gateway.said("default/v1:80 gets 1 %").await;
    let share = rig.share(60).await;
    assert!(share > 40, "{share} of 60: what was promoted is the stable one now");
}

#[tokio::test]
async fn consumers_keep_their_version() {
    const CONSUMERS: usize = 16;
    let mut manifests = route("", "steps: [{weight: 50, hold: 1h}], sticky: Consumer");
    manifests = manifests.replace(
        "    backendRefs: [{name: v1",
        "    auth: {policyRef: {name: clients}}\n    backendRefs: [{name: v1",
    );
    manifests += "---\napiVersion: gatehouse.dev/v1alpha1\nkind: AuthPolicy\nmetadata: {name: clients}\nspec: {anyOf: [{apiKey: {}}]}\n";
    for number in 0..CONSUMERS {
        manifests += &format!(
            "---\napiVersion: gatehouse.dev/v1alpha1\nkind: Consumer\nmetadata: {{name: c{number}}}\nspec: {{credentials: [{{name: key, apiKey: \
             {{secretRef: {{name: c{number}}}}}}}]}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {{name: c{number}}}\nstringData: {{key: \
             key-{number}}}\n"
        );
    }
    let rig = Rig::start(&manifests).await;
    rig.gateway.said("step 1 of 1: default/v2:80 gets 50 %").await;
    let mut consumers = (0..CONSUMERS).cycle();
    let any = || rig.ask().header("x-api-key", &format!("key-{}", consumers.next().unwrap_or_default()));
    rig.new_version_answers(any).await;
    let mut all = BTreeSet::new();
    for number in 0..CONSUMERS {
        let mut seen = BTreeSet::new();
        for _ in 0..8 {
            seen.insert(version(rig.ask().header("x-api-key", &format!("key-{number}"))).await);
        }
        assert_eq!(seen.len(), 1, "consumer {number}: {seen:?}");
        all.extend(seen);
    }
    assert_eq!(all.len(), 2, "some have the new version, some have not");
}

/// With a new version that answers as it likes.
async fn analysed(new: Backend, steps: &str) -> Rig {
    let backends = [Backend::echo("v1").await, new];
    let endpoints = [("v1", backends[0].address), ("v2", backends[1].address)];
    let more = "analysis: {interval: 1s, minRequests: 50, latency: {maxRatio: 200}}";
    let gateway = Gateway::with(&route("", &format!("steps: [{steps}], {more}")), &endpoints).await;
    Rig { _backends: backends, gateway }
}

/// Asks until the gateway has said it.
async fn ask_until(rig: &Rig, said: &str) -> String {
    let asking = async {
        loop {
            rig.ask().send().await;
        }
    };
    tokio::select! {
        line = rig.gateway.said(said) => line,
        () = asking => unreachable!("it asks for ever"),
    }
}

#[tokio::test]
async fn a_version_that_fails_is_rolled_back() {
    let count = AtomicUsize::new(0);
    let failing = Backend::answering(move |_| match count.fetch_add(1, Ordering::Relaxed) % 10 {
        0 => status(500),
        _ => status(200),
    });
    let rig = analysed(failing.await, "{weight: 30, hold: 1h}").await;
    let line = ask_until(&rig, "RolledBack ErrorRatio").await;
    assert!(line.contains("canary: ") && line.contains("; stable: 0 of "), "{line}");
    rig.everything_goes_to("v1").await;
}

#[tokio::test]
async fn a_version_that_is_slow_is_rolled_back() {
    let slow = Backend::serving(|parts, _| async move {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let seen = Seen {
            method: parts.method.to_string(),
            path: String::new(),
            headers: parts.headers,
            body: Bytes::new(),
        };
        (seen, status(200))
    });
    let rig = analysed(slow.await, "{weight: 50, hold: 1h}").await;
    let line = ask_until(&rig, "RolledBack Latency").await;
    assert!(line.contains("canary: 90 % of the requests took up to"), "{line}");
    rig.everything_goes_to("v1").await;
}

#[tokio::test]
async fn a_healthy_version_is_promoted_when_enough_has_been_seen() {
    let rig = analysed(Backend::echo("v2").await, "{weight: 40, hold: 1s}").await;
    rig.gateway
        .said("Waiting TooLittleTraffic: canary: 0, stable: 0 requests, and 50 of each are needed")
        .await;
    ask_until(&rig, "Promoted Promoted").await;
    rig.everything_goes_to("v2").await;
}

#[tokio::test]
async fn green_is_seen_on_purpose_and_then_by_everybody() {
    let canary = "canary: {backendRef: {name: v2, port: 80}, }";
    let green =
        "blueGreen: {backendRef: {name: v2, port: 80}, preview: {header: {name: X-Preview, value: green}}}";
    let manifest = |annotation: &str| route(annotation, "").replace(canary, green);
    let rig = Rig::start(&manifest("")).await;
    rig.gateway.said("Waiting AwaitsPromotion").await;
    rig.new_version_answers(|| rig.ask().header("x-preview", "green")).await;
    assert_eq!(rig.share(20).await, 0);
    rig.gateway.write("routes.yaml", &manifest("promote"));
    rig.gateway.said("Promoted PromotedByUser").await;
    rig.everything_goes_to("v2").await;
    rig.gateway.write("routes.yaml", &manifest("abort"));
    rig.everything_goes_to("v1").await;
}
