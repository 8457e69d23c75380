//! One count for the dataplanes of two Gateways, through the death and the return of Redis, as clients see it.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::{
    kubectl::{apply, condition, get, installed, kubectl, within},
    orders::REDIS,
    shop::{HOST, address, backend, namespace},
    traffic::{Answered, Report, Traffic},
};

const NAMESPACE: &str = "limits";
/// Of both limits, a second, and at once.
const REQUESTS: u64 = 20;
/// To each Gateway and each limit, a second.
const OFFERED: u32 = 30;

const ROUTE: &str = "
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayRoute
metadata: {name: shop}
spec:
  parentRefs: [{name: edge}, {name: partners}]
  hostnames: [shop.example.com]
  rules:
  - name: strict
    matches: [{path: {value: /strict}}]
    rateLimits: [{name: strict}]
    backendRefs: [{name: web, port: 3000}]
  - name: lenient
    matches: [{path: {value: /lenient}}]
    rateLimits: [{name: lenient}]
    backendRefs: [{name: web, port: 3000}]
";

fn policy(name: &str, on_failure: &str) -> String {
    format!(
        "
apiVersion: gatehouse.dev/v1alpha1
kind: RateLimitPolicy
metadata: {{name: {name}}}
spec:
  limits: [{{name: second, requests: {REQUESTS}, per: 1s}}]
  onStoreFailure: {on_failure}
"
    )
}

fn gateway(name: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  gatewayClassName: gatehouse
  infrastructure: {{parametersRef: {{group: gatehouse.dev, kind: GatewayConfig, name: limited}}}}
  listeners: [{{name: http, protocol: HTTP, port: 80}}]
"
    )
}

fn config() -> String {
    format!(
        "
apiVersion: gatehouse.dev/v1alpha1
kind: GatewayConfig
metadata: {{name: limited}}
spec:
  deployment: {{replicas: 3}}
  accessLog: {{enabled: false}}
  redis: {{url: \"redis://redis.{NAMESPACE}.svc:6379\", timeout: 50ms}}
"
    )
}

/// Requests to both Gateways, by one limit.
struct Load([Traffic; 2]);

impl Load {
    fn start(addresses: [std::net::SocketAddr; 2], path: &str) -> Load {
        Load(addresses.map(|address| Traffic::to(address, HOST, path, OFFERED)))
    }

    /// Answers to what was sent from then on.
    fn since(&self, began: Instant) -> Vec<Answered> {
        let all = self.0.iter().flat_map(|traffic| traffic.so_far().answers);
        all.filter(|answer| answer.sent >= began).collect()
    }

    fn stop(self) -> [Report; 2] {
        self.0.map(Traffic::stop)
    }
}

fn count(answers: &[Answered], status: u16) -> u64 {
    answers.iter().filter(|answer| answer.status == status).count() as u64
}

/// By how many the fullest stretch of time is above the limit. A request was admitted somewhere between its sending and its
/// answer, so of those that were sent after one moment and answered before another all were admitted between the two.
fn over(answers: &[Answered]) -> f64 {
    let mut admitted: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    admitted.sort_by_key(|answer| answer.at);
    let mut worst = f64::MIN;
    for first in &admitted {
        let mut within = 0_u64;
        for last in &admitted {
            if last.sent >= first.sent {
                within += 1;
                let allowed = (last.at - first.sent).as_secs_f64() * REQUESTS as f64 + REQUESTS as f64;
                worst = worst.max(within as f64 - allowed);
            }
        }
    }
    worst
}

fn redis(replicas: u32) {
    kubectl(&["-n", NAMESPACE, "scale", "deployment/redis", &format!("--replicas={replicas}")]);
    if replicas == 0 {
        let kill = ["delete", "pod", "-l", "app=redis", "--force", "--grace-period=0"];
        kubectl(&[&["-n", NAMESPACE], &kill[..]].concat());
    } else {
        kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/redis", "--timeout=60s"]);
    }
}

#[test]
fn one_count_for_two_gateways_survives_the_death_of_redis() {
    installed();
    namespace(NAMESPACE);
    let manifests = [
        REDIS.to_owned(),
        backend("web", 1),
        config(),
        gateway("edge"),
        gateway("partners"),
        policy("strict", "Deny"),
        policy("lenient", "FallbackLocal"),
        ROUTE.to_owned(),
    ];
    apply(NAMESPACE, &manifests.join("\n---\n"));
    let addresses = ["edge", "partners"].map(|name| address(NAMESPACE, name, 80));
    for deployment in ["redis", "web", "edge-gatehouse", "partners-gatehouse"] {
        let status = ["rollout", "status", &format!("deployment/{deployment}"), "--timeout=90s"];
        kubectl(&[&["-n", NAMESPACE], &status[..]].concat());
    }
    within(30, "the route is programmed on both", || {
        let route = get(NAMESPACE, &["gatewayroute", "shop"])?;
        let is_programmed = |at: usize| {
            let conditions = format!("/status/parents/{at}/conditions");
            Some(condition(&route, &conditions, "gatehouse.dev/Programmed")?["status"] == "True")
        };
        (is_programmed(0)? && is_programmed(1)?).then_some(())
    });
    let (strict, lenient) = (Load::start(addresses, "/strict"), Load::start(addresses, "/lenient"));
    within(30, "every dataplane has reached Redis", || {
        let began = Instant::now();
        sleep(Duration::from_secs(3));
        (count(&strict.since(began), 503) == 0).then_some(())
    });

    // Healthy: six dataplanes share each count, and use it.
    let began = Instant::now();
    sleep(Duration::from_secs(10));
    for (name, load) in [("strict", &strict), ("lenient", &lenient)] {
        let answers = load.since(began);
        let (admitted, refused) = (count(&answers, 200), count(&answers, 429));
        eprintln!("{name}: {admitted} of {} admitted in 10 s, {refused} refused", answers.len());
        assert!(admitted >= 10 * REQUESTS * 3 / 4, "{name}: {admitted} of {}", 10 * REQUESTS);
    }

    redis(0);
    // What is leased is spent, and every breaker knows.
    sleep(Duration::from_secs(3));
    let began = Instant::now();
    sleep(Duration::from_secs(10));
    let answers = strict.since(began);
    let (admitted, closed) = (count(&answers, 200), count(&answers, 503));
    eprintln!("without Redis, strict: {admitted} admitted, {closed} answered 503");
    assert_eq!(admitted, 0, "nothing passes that was not granted");
    assert!(closed > 0, "{answers:?}");
    let answers = lenient.since(began);
    let (admitted, closed) = (count(&answers, 200), count(&answers, 503));
    let time = began.elapsed().as_secs_f64();
    // Each Gateway counts for itself, and each of its dataplanes has a third.
    let most = 2.0 * REQUESTS as f64 * (time + 1.0);
    eprintln!("without Redis, lenient: {admitted} admitted of at most {most:.0}");
    assert_eq!(closed, 0, "lenient clients see no error");
    assert!(admitted as f64 <= most && admitted >= 10 * REQUESTS / 2, "{admitted} of at most {most}");

    redis(1);
    let returned = Instant::now();
    within(30, "the strict limit admits again, and nobody is answered 503", || {
        let began = Instant::now();
        sleep(Duration::from_secs(2));
        let answers = strict.since(began);
        (count(&answers, 200) > 0 && count(&answers, 503) == 0).then_some(())
    });
    eprintln!("strict again {:?} after Redis was ready", returned.elapsed());
    let began = Instant::now();
    sleep(Duration::from_secs(10));
    for (name, load) in [("strict", &strict), ("lenient", &lenient)] {
        let answers = load.since(began);
        let admitted = count(&answers, 200);
        eprintln!("{name}: {admitted} admitted in 10 s");
        assert!(over(&answers) <= 0.0, "{name}: {} over the limit", over(&answers));
        assert!(admitted >= 10 * REQUESTS * 3 / 4, "{name}: {admitted} of {}", 10 * REQUESTS);
    }

    let [one, other] = strict.stop();
    let all = [one.answers, other.answers].concat();
    let worst = over(&all);
    eprintln!("strict: {} answers in all, {worst:.1} over the limit in the fullest stretch", all.len());
    assert!(worst <= 0.0, "{worst} requests over the limit while Redis died and came back");
    for report in lenient.stop() {
        let slowest = report.answers.iter().map(|answer| answer.at - answer.sent).max().unwrap();
        eprintln!("lenient: slowest answer {slowest:?}");
        assert!(report.answers.iter().all(|answer| [200, 429].contains(&answer.status)), "an error was seen");
    }
    kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]);
}
