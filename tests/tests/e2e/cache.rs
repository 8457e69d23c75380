//! Answers that a rule keeps: which are given again, to whom, and what becomes of those who want the same at once.

mod ends;
mod identity;
mod together;

use std::sync::atomic::{AtomicUsize, Ordering};

use gatehouse_tests::{
    backend::{Backend, Seen, full},
    client::{Answer, Ask, get},
    eventually,
    gateway::Gateway,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::route;

/// Answers as the query says: `?cache-control=max-age=60&status=404&etag="a"`, every other name a field; and with the number
/// of its answer. A condition that holds is answered with 304.
async fn backend() -> Backend {
    let count = AtomicUsize::new(0);
    Backend::answering(move |seen| {
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut response = Response::new(full(format!("answer {number}")));
        for (name, value) in fields(seen) {
            match &*name {
                "status" => *response.status_mut() = value.parse::<StatusCode>().unwrap(),
                "body" => *response.body_mut() = full("x".repeat(value.parse().unwrap())),
                name => {
                    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                    response.headers_mut().append(name, HeaderValue::from_str(&value).unwrap());
                }
            }
        }
        if let Some(status) = seen.headers.get("x-status") {
            *response.status_mut() = status.to_str().unwrap().parse().unwrap();
        }
        let tag = response.headers().get("etag");
        if tag.is_some() && tag == seen.headers.get("if-none-match") {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            *response.body_mut() = full("");
        }
        response
    })
    .await
}

fn fields(seen: &Seen) -> Vec<(String, String)> {
    let query = seen.path.split_once('?').map_or("", |(_, query)| query);
    let decode = |text: &str| text.replace('+', " ").replace("%22", "\"");
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), decode(value))).collect()
}

async fn start(fields: &str) -> (Gateway, Backend) {
    let backend = backend().await;
    let rules = format!("- name: kept\n  cache: {{{fields}}}\n  backendRefs: [{{name: echo, port: 80}}]");
    let gateway = Gateway::with(&route(&rules), &[("echo", backend.address)]).await;
    (gateway, backend)
}

fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

fn status(answer: &Answer) -> &str {
    answer.header("cache-status").unwrap_or("none")
}

/// Until what was recorded of it is kept: the client may have it all a moment before.
async fn asked_until_hit(ask: impl Fn() -> Ask) -> Answer {
    eventually("it is a hit", async || {
        let answer = ask().send().await;
        status(&answer).starts_with("gatehouse; hit").then_some(answer)
    })
    .await
}

#[tokio::test]
async fn an_answer_that_is_fresh_is_given_again() {
    let (gateway, backend) = start("").await;
    let ask = || get(gateway.http(), "/a?cache-control=max-age=60&etag=%22v%22&x-own=1");
    let first = ask().send().await;
    assert_eq!((first.status, status(&first)), (200, "gatehouse; fwd=uri-miss; stored"));
    assert_eq!((first.header("age"), &*text(&first)), (None, "answer 1"));

    for answer in [ask().header("x-request-id", "hit").send().await, ask().send_h2c().await] {
        assert_eq!((answer.status, &*text(&answer)), (200, "answer 1"));
        assert_eq!([answer.header("x-own"), answer.header("content-length")], [Some("1"), Some("8")]);
        let age: u64 = answer.header("age").unwrap().parse().unwrap();
        let ttl = status(&answer).strip_prefix("gatehouse; hit; ttl=").unwrap().parse::<u64>().unwrap();
        assert!(age < 30 && ttl + age == 60, "{age}, {ttl}");
    }
    let line = gateway.logged("hit").await;
    assert_eq!(json!([line["cache"], line["status"], line["bytes_sent"]]), json!(["hit", 200, 8]));
    for absent in ["service", "endpoint", "upstream_ms", "reason"] {
        assert!(line[absent].is_null(), "{absent}: {line}");
    }

    let head = ask().method("HEAD").send().await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("8"), 0));
    for has in [("if-none-match", "W/\"v\""), ("if-none-match", "\"u\", \"v\"")] {
        let known = ask().header(has.0, has.1).send().await;
        assert_eq!(
            (known.status, known.body.len(), known.header("etag")),
            (304, 0, Some("\"v\"")),
            "{has:?}"
        );
    }
    assert_eq!(ask().header("if-none-match", "\"u\"").send().await.status, 200);
    // Another query and another host have other answers.
    assert_eq!(text(&get(gateway.http(), "/a?cache-control=max-age=60").send().await), "answer 2");
    assert_eq!(text(&ask().host("other.example").send().await), "answer 3");
    assert_eq!(text(&ask().host("test.example:8080").send().await), "answer 4");
    assert_eq!(text(&ask().header("x-forwarded-prefix", "/evil").send().await), "answer 5");
    // What the gateway makes one path of has one answer.
    let same = get(gateway.http(), "/b/../%61?cache-control=max-age=60&etag=%22v%22&x-own=1").send().await;
    assert_eq!(text(&same), "answer 1");
    assert_eq!(backend.seen().len(), 5);

    let metrics = get(gateway.admin(), "/metrics").send().await;
    let metrics = text(&metrics);
    let count = |result: &str| {
        let line = format!(
            "gatehouse_cache_requests_total{{route=\"GatewayRoute/default/r\",rule=\"kept\",result=\"{result}\"}} "
        );
        metrics.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!([count("hit"), count("miss"), count("bypass"), count("stale")], [7, 5, 0, 0]);
    let bytes = metrics.lines().find_map(|line| line.strip_prefix("gatehouse_cache_bytes ")).unwrap();
    assert!(bytes.parse::<u64>().unwrap() > 1000, "{bytes}");
}

#[tokio::test]
async fn what_must_not_be_kept_is_not() {
    let (gateway, backend) = start("").await;
    let mut asked = 0;
    for query in [
        "x=1",
        "cache-control=no-store",
        "cache-control=max-age=60,+No-Store",
        "cache-control=private,max-age=60",
        "cache-control=max-age=60&set-cookie=a=b",
        "cache-control=max-age=60&vary=*",
        "cache-control=max-age=0",
        "cache-control=max-age=60&status=206",
        "status=500",
        "status=404",
        "last-modified=Wed,+01+Jan+2020+00:00:00+GMT&status=503",
    ] {
        for _ in 0..2 {
            let answer = get(gateway.http(), &format!("/?{query}")).send().await;
            assert_eq!(status(&answer), "gatehouse; fwd=uri-miss", "{query}");
            asked += 1;
            assert_eq!(text(&answer), format!("answer {asked}"), "{query}");
        }
    }
    // An error may say that it is to be kept.
    let ask = || get(gateway.http(), "/?cache-control=max-age=60&status=503");
    ask().send().await;
    assert_eq!(asked_until_hit(ask).await.status, 503);

    // Requests that want no answer that was kept, or only a part, pass by; and so does what has a body.
    let ask = || get(gateway.http(), "/kept?cache-control=max-age=60");
    ask().send().await;
    let kept = text(&asked_until_hit(ask).await);
    for passing in [
        ask().header("cache-control", "no-store"),
        ask().header("range", "bytes=0-1"),
        ask().header("if-match", "\"a\""),
        ask().body("body"),
    ] {
        let answer = passing.send().await;
        assert_eq!(status(&answer), "gatehouse; fwd=bypass");
        assert_ne!(text(&answer), kept);
    }
    assert_eq!(text(&ask().send().await), kept);
    let anew = ask().header("cache-control", "no-cache").send().await;
    assert_eq!(status(&anew), "gatehouse; fwd=request; stored");
    assert_ne!(text(&anew), kept);
    assert_eq!(text(&asked_until_hit(ask).await), text(&anew));
    assert_eq!(status(&ask().header("pragma", "no-cache").send().await), "gatehouse; fwd=request; stored");

    let seen = backend.seen().len();
    let only = get(gateway.http(), "/never").header("cache-control", "only-if-cached").send().await;
    assert_eq!(only.status, 504);
    assert_eq!(only.json()["reason"], "not_cached");
    assert_eq!(asked_until_hit(|| ask().header("cache-control", "only-if-cached")).await.status, 200);
    assert_eq!(backend.seen().len(), seen);
}

#[tokio::test]
async fn an_answer_is_for_those_who_asked_alike() {
    let (gateway, backend) = start("").await;
    let ask = |language: &str| {
        get(gateway.http(), "/?cache-control=max-age=60&vary=Accept-Language")
            .header("accept-language", language)
    };
    assert_eq!(text(&ask("de").send().await), "answer 1");
    let other = ask("en").send().await;
    assert_eq!((&*text(&other), status(&other)), ("answer 2", "gatehouse; fwd=vary-miss; stored"));
    assert_eq!(text(&asked_until_hit(|| ask("de")).await), "answer 1");
    assert_eq!(text(&asked_until_hit(|| ask("en")).await), "answer 2");
    assert_eq!(backend.seen().len(), 2);
}

#[tokio::test]
async fn what_was_kept_is_confirmed() {
    let (gateway, backend) = start("").await;
    let ask = || get(gateway.http(), "/?cache-control=no-cache&etag=%22v%22&x-time=1");
    assert_eq!(text(&ask().send().await), "answer 1");
    let again = eventually("it is kept", async || {
        let answer = ask().send().await;
        (status(&answer) == "gatehouse; fwd=stale; fwd-status=304; stored").then_some(answer)
    })
    .await;
    assert_eq!((again.status, again.header("x-time")), (200, Some("1")));
    assert_eq!(text(&again), "answer 1");
    let known = ask().header("if-none-match", "\"v\"").header("x-request-id", "known").send().await;
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(gateway.logged("known").await["cache"], "revalidated");
    // The client's own condition is not the backend's.
    let other = ask().header("if-none-match", "\"u\"").send().await;
    assert_eq!((other.status, &*text(&other)), (200, "answer 1"));
    assert!(backend.seen().iter().skip(1).any(|seen| seen.headers["if-none-match"] == "\"v\""));
}

#[tokio::test]
async fn a_write_ends_what_is_kept_of_its_target() {
    let (gateway, _backend) = start("").await;
    let ask = |path: &str| get(gateway.http(), &format!("{path}?cache-control=max-age=60"));
    for path in ["/a", "/b"] {
        ask(path).send().await;
        asked_until_hit(|| ask(path)).await;
    }
    for (method, status_code) in
        [("POST", "200"), ("PUT", "204"), ("PATCH", "303"), ("DELETE", "200"), ("POST", "409")]
    {
        let kept = text(&asked_until_hit(|| ask("/a")).await);
        let write = ask("/a").method(method).header("x-status", status_code).send().await;
        assert_eq!(
            (write.status.to_string().as_str(), status(&write)),
            (status_code, "gatehouse; fwd=method")
        );
        assert_eq!(text(&ask("/a").send().await) == kept, status_code == "409", "{method} {status_code}");
    }
    assert_eq!(text(&ask("/b").send().await), "answer 2", "another target");
}

#[tokio::test]
async fn an_edit_of_the_rule_is_seen_at_once() {
    let backend = backend().await;
    let rules = |fields: &str| {
        route(&format!("- name: kept\n  cache: {{}}\n{fields}  backendRefs: [{{name: echo, port: 80}}]"))
    };
    let gateway = Gateway::with(&rules(""), &[("echo", backend.address)]).await;
    let ask = || get(gateway.http(), "/?cache-control=max-age=60&x-a=1");
    ask().send().await;
    assert_eq!(asked_until_hit(ask).await.header("x-b"), None);
    gateway
        .write("routes.yaml", &rules("  responseHeaders: {set: [{name: X-B, value: '2'}], remove: [X-A]}\n"));
    let changed = eventually("the edit is in force", async || {
        let answer = ask().send().await;
        answer.header("x-b").is_some().then_some(answer)
    })
    .await;
    assert_eq!((changed.header("x-b"), changed.header("x-a")), (Some("2"), None));
    assert_eq!((&*text(&changed), backend.seen().len()), ("answer 1", 1));
    // Another request would have gone to the backend.
    gateway.write("routes.yaml", &rules("  requestHeaders: {set: [{name: X-C, value: '3'}]}\n"));
    let anew = eventually("the edit is in force", async || {
        let answer = ask().send().await;
        answer.header("x-b").is_none().then_some(answer)
    })
    .await;
    assert_eq!(text(&anew), "answer 2");
}

#[tokio::test]
async fn a_kept_answer_is_compressed_for_those_who_take_that() {
    let backend = backend().await;
    let policy = "---\napiVersion: gatehouse.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: echo}\nspec: {targetRefs: [{name: \
                  echo}], compression: {}}\n";
    let rules = route("- cache: {}\n  backendRefs: [{name: echo, port: 80}]");
    let gateway = Gateway::with(&format!("{rules}{policy}"), &[("echo", backend.address)]).await;
    let ask = || get(gateway.http(), "/?cache-control=max-age=60&content-type=text/plain&body=20000");
    let gzip = || ask().header("accept-encoding", "gzip");
    let first = gzip().send().await;
    assert_eq!(first.header("content-encoding"), Some("gzip"));
    let hit = asked_until_hit(gzip).await;
    assert_eq!((hit.header("content-encoding"), hit.header("vary")), (Some("gzip"), Some("Accept-Encoding")));
    assert_eq!(hit.body, first.body);
    let plain = asked_until_hit(ask).await;
    assert_eq!((plain.header("content-encoding"), plain.body.len()), (None, 20_000));
    assert_eq!(backend.seen().len(), 1);
}
