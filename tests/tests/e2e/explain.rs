//! `gatehouse explain` says of every request what a dataplane that serves the same folder does with it.

use std::{fs, process::Command};

use gatehouse_tests::{
    backend::Backend,
    client::{get, http2},
    eventually,
    gateway::{EDGE, Gateway, binary, service},
    tokens::{Signer, claims, jwks, now, secret},
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

const REQUESTS: usize = 1_000;
const ROUTES: usize = 40;
const HOSTS: [&str; 4] = ["a.example", "b.example", "x.b.example", "other.test"];
const SEGMENTS: [&str; 4] = ["v1", "v2", "items", "7"];

/// The same numbers in each run (SplitMix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn path(&mut self) -> String {
        (0..self.below(4)).fold(String::new(), |path, _| path + "/" + self.one_of(&SEGMENTS))
    }

    fn path_match(&mut self) -> Value {
        let path = self.path();
        match self.below(4) {
            0 => json!({"type": "Exact", "value": format!("{path}/{}", self.one_of(&SEGMENTS))}),
            1 => json!({"type": "RegularExpression", "value": format!("{path}/[a-z]+[0-9]?")}),
            _ => json!({"type": "PathPrefix", "value": format!("{path}/")}),
        }
    }

    fn rule_match(&mut self) -> Value {
        let mut one = json!({"path": self.path_match()});
        if self.below(4) == 0 {
            one["method"] = json!(self.one_of(&["GET", "POST"]));
        }
        if self.below(3) == 0 {
            one["headers"] = match self.below(2) {
                0 => json!([{"name": "X-Version", "value": self.one_of(&["1", "2"])}]),
                _ => json!([{"name": "X-Version", "type": "RegularExpression", "value": "[12]"}]),
            };
        }
        if self.below(4) == 0 {
            one["queryParams"] = json!([{"name": "page", "value": self.one_of(&["1", "2"])}]);
        }
        one
    }

    /// A route of several rules, each of which answers with its name.
    fn route(&mut self, name: &str) -> Value {
        let rules: Vec<Value> = (0..=self.below(3))
            .map(|index| {
                let matches: Vec<Value> = (0..=self.below(2)).map(|_| self.rule_match()).collect();
                let says = json!([{"name": "X-Rule", "value": format!("GatewayRoute default/{name} rule n{index}")}]);
                json!({"name": format!("n{index}"), "matches": matches, "respond": {"status": 200, "headers": says}})
            })
            .collect();
        let host = self.one_of(&["a.example", "b.example", "*.example", "*.b.example"]);
        let spec = json!({"parentRefs": [{"name": "edge"}], "hostnames": [host], "rules": rules});
        json!({"apiVersion": "gatehouse.dev/v1alpha1", "kind": "GatewayRoute", "metadata": {"name": name}, "spec": spec})
    }

    fn request(&mut self) -> Request {
        let path = format!("{}/{}", self.path(), self.one_of(&["", "v1", "items", "x9"]));
        Request {
            method: self.one_of(&["GET", "POST"]),
            host: self.one_of(&HOSTS),
            target: match self.below(3) {
                0 => format!("{path}?page={}", self.one_of(&["1", "2"])),
                _ => path,
            },
            version: self.one_of(&[None, Some("1"), Some("2"), Some("3")]),
        }
    }
}

struct Request {
    method: &'static str,
    host: &'static str,
    target: String,
    version: Option<&'static str>,
}

impl Request {
    fn written(&self) -> Value {
        let mut written =
            json!({"method": self.method, "url": format!("http://{}:8080{}", self.host, self.target)});
        if let Some(version) = self.version {
            written["headers"] = json!({"X-Version": version});
        }
        written
    }
}

fn explain(gateway: &Gateway, args: &[&str]) -> (Option<i32>, String) {
    let folder = gateway.folder().display().to_string();
    let output = Command::new(binary())
        .args(["explain", "--folder", &folder, "--output", "json"])
        .args(args)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn what_it_says_of_a_thousand_requests_is_what_is_done() {
    let mut draws = Draws(7);
    let routes: Vec<String> =
        (0..ROUTES).map(|index| draws.route(&format!("r{index}")).to_string()).collect();
    let gateway =
        Gateway::builder().file("edge.yaml", EDGE).file("routes.yaml", routes.join("\n---\n")).start().await;
    let requests: Vec<Request> = (0..REQUESTS).map(|_| draws.request()).collect();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, lines: Vec<String>| {
        let path = files.path().join(name);
        fs::write(&path, lines.join("\n")).unwrap();
        path.display().to_string()
    };
    let written = file("requests", requests.iter().map(|request| request.written().to_string()).collect());
    let (_, explained) = explain(&gateway, &["--requests", &written]);
    let explained: Vec<Value> = explained.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(explained.len(), REQUESTS);

    let address = gateway.http();
    let mut connection = http2(TcpStream::connect(address).await.unwrap()).await;
    let mut taken = 0;
    for (request, explained) in requests.iter().zip(&explained) {
        let mut ask = get(address, &request.target).method(request.method).host(request.host);
        if let Some(version) = request.version {
            ask = ask.header("x-version", version);
        }
        let answer = ask.through(&mut connection, "http").await;
        let said = explained[0]["taken"]["rule"].as_str();
        assert_eq!(answer.header("x-rule"), said, "{}: {}", request.written(), explained);
        assert_eq!(answer.status, if said.is_some() { 200 } else { 404 });
        taken += usize::from(said.is_some());
    }
    assert!((REQUESTS / 5..REQUESTS).contains(&taken), "{taken} of the requests were taken");

    // The log of the same requests goes where it says, as far as it can tell; of another table it does not.
    let log = eventually("every request is logged", async || {
        let log = gateway.access_log();
        (log.len() == REQUESTS).then_some(log)
    })
    .await;
    let log = file("log", log.iter().map(Value::to_string).collect());
    let replay = || {
        let (status, text) = explain(&gateway, &["--log", &log]);
        (status, serde_json::from_str::<Value>(&text).unwrap())
    };
    let (status, replayed) = replay();
    assert_eq!((status, &replayed["elsewhere"]), (Some(0), &json!([])), "{replayed}");
    // Of a request that no rule takes no listener is logged.
    assert_eq!(replayed["requests"], taken, "{replayed}");
    assert!(replayed["same"].as_u64() > Some(100), "{replayed}");
    fs::write(gateway.folder().join("routes.yaml"), &routes[0]).unwrap();
    let (status, replayed) = replay();
    assert_eq!(status, Some(3));
    assert!(replayed["elsewhere"][0]["here"].as_str().unwrap().ends_with("no rule"), "{replayed}");
}

const GUARDED: &str = "
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: clients}
spec:
  anyOf:
  - jwt: {issuer: 'https://issuer.test', audiences: [api], algorithms: [ES256], secretRef: {name: keys}}
  - apiKey: {}
  denyClientIPs: [127.0.0.9/32]
  authorize:
  - {groups: [staff]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: alice}
spec:
  tier: gold
  groups: [staff]
  credentials:
  - {name: token, jwt: {issuer: 'https://issuer.test', subject: alice}}
  - {name: key, apiKey: {secretRef: {name: api-keys, key: alice}}}
  - {name: old, apiKey: {secretRef: {name: api-keys, key: old}, expires: '2020-01-01T00:00:00Z'}}
---
apiVersion: gatehouse.dev/v1alpha1
kind: Consumer
metadata: {name: bob}
spec: {credentials: [{name: key, apiKey: {secretRef: {name: api-keys, key: bob}}}]}
---
apiVersion: v1
kind: Secret
metadata: {name: api-keys}
stringData: {alice: alices-key, bob: bobs-key, old: old-key}
---
apiVersion: gatehouse.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: many}
spec:
  limits:
  - {name: address, key: [{clientIP: {}}], requests: 100000, per: 1m}
  - {name: person, key: [{consumer: {}}], requests: 10, per: 1m, tiers: [{tier: gold, requests: 2000, per: 1m}]}
  - {name: never, key: [{consumer: {}}], requests: 10, per: 1m, when: [{methods: [DELETE]}]}
---
apiVersion: gatehouse.dev/v1alpha1
kind: AuthPolicy
metadata: {name: broken}
spec: {anyOf: [{jwt: {issuer: 'https://issuer.test', algorithms: [ES256], secretRef: {name: nowhere}}}]}
";

/// The policies decide here as they do there: the answer, its reason, who it is from and what it is counted in.
#[tokio::test]
async fn what_it_says_policies_decide_is_what_they_decide() {
    let signer = Signer::p256("p256");
    let backend = Backend::echo("echo").await;
    let rules = "- matches: [{path: {value: /broken}}]\n  auth: {policyRef: {name: broken}}\n  backendRefs: [{name: echo, port: \
                 80}]\n- auth: {policyRef: {name: clients}}\n  rateLimits: [{name: many}]\n  backendRefs: [{name: echo, port: 80}]";
    let gateway = Gateway::builder()
        .file("edge.yaml", EDGE)
        .file("routes.yaml", format!("{}{GUARDED}", super::route(rules)))
        .file("service.yaml", service("echo"))
        .file("keys.json", secret("keys", "jwks.json", &jwks(&[&signer])))
        .endpoint("echo", backend.address)
        .start()
        .await;
    let with = |name: &str, value: Value| {
        let mut all = claims();
        all[name] = value;
        signer.token(&all)
    };
    let good = with("sub", json!("alice"));
    let forged = Signer::p256("p256").token(&claims());
    let tokens = [
        good.clone(),
        with("exp", json!(now() - 600)),
        with("iss", json!("https://other.test")),
        forged,
        good + "x",
    ];
    let bearers = tokens.iter().map(|token| ("/", "authorization", format!("Bearer {token}")));
    let keys = ["alices-key", "bobs-key", "old-key", "no-key"].map(|key| ("/", "x-api-key", key.to_owned()));
    let others = [("/", "x-nothing", "1".to_owned()), ("/broken", "x-api-key", "alices-key".to_owned())];
    let mut admitted = 0;
    for (index, (path, name, value)) in bearers.chain(keys).chain(others).enumerate() {
        let url = format!("http://a.example:8080{path}");
        let explained = match value.strip_prefix("Bearer ") {
            Some(token) => explain(&gateway, &["GET", &url, "--token", token]).1,
            None => explain(&gateway, &["GET", &url, "-H", &format!("{name}: {value}")]).1,
        };
        let explained = &serde_json::from_str::<Value>(&explained).unwrap()[0];
        let id = format!("asked-{index}");
        let ask = get(gateway.http(), path).host("a.example").header(name, &value);
        let answer = ask.header("x-request-id", &id).send().await;
        let logged = gateway.logged(&id).await;

        let refused = &explained["refused"];
        let wanted = if refused.is_null() { json!(200) } else { refused["status"].clone() };
        assert_eq!(json!(answer.status), wanted, "{name}: {value}: {explained} {logged}");
        assert_eq!(refused["reason"], *logged.get("reason").unwrap_or(&Value::Null), "{explained} {logged}");
        let decisions = explained["decisions"].as_array().unwrap();
        let by = |decides: &str| {
            let all = decisions.iter().filter(|decision| decision["decides"] == decides);
            let told = all.flat_map(|decision| decision["with"].as_array().unwrap());
            told.map(|one| one.as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let challenges: Vec<&str> =
            answer.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
        assert_eq!(by("refuses"), challenges, "{explained}");
        if refused.is_null() {
            let consumer = logged["consumer"].as_str().unwrap();
            assert!(by("admits").contains(&format!("consumer {consumer}")), "{explained} {logged}");
            let counted: Vec<String> =
                by("counts").iter().map(|count| count.split(" of ").next().unwrap().to_owned()).collect();
            assert_eq!(answer.header("ratelimit-policy"), Some(&*counted.join(", ")), "{explained}");
            assert!(
                by("counts").contains(&format!("\"person\";q=2000;w=60 of consumer {consumer}")),
                "{explained}"
            );
            admitted += 1;
        }
    }
    assert_eq!(admitted, 2, "Alice, by her token and by her key");

    // An address is the client's word for it here, so it can be any.
    let from = |address: &str| {
        let args = ["GET", "http://a.example:8080/", "-H", "x-api-key: alices-key", "--client", address];
        let explained: Value = serde_json::from_str(&explain(&gateway, &args).1).unwrap();
        explained[0]["refused"]["reason"].as_str().map(str::to_owned)
    };
    assert_eq!((from("127.0.0.8"), from("127.0.0.9")), (None, Some("forbidden".to_owned())));
}
