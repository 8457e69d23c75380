//! Services of several endpoints: which of them gets a request, when it is sent again, and how long one is waited for.
//!
//! nginx has no cookies for sessions: what `balancer/sticky.lua` of ingress-nginx does about them stands in a table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::SocketAddr,
    time::Duration,
};

use gatehouse_tests::{
    backend::{Backend, status},
    client::{Answer, get, raw},
    nginx::Nginx,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::sleep,
};

use super::{cases::ingress, convert, report, serve};

/// What ingress-nginx writes for every location.
const LOCATION: &str = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host; \
                        proxy_buffering off; proxy_redirect off; proxy_connect_timeout 5s;";
const TIMES: &str = "proxy_send_timeout 60s; proxy_read_timeout 60s;";
const RETRIES: &str = "proxy_next_upstream error timeout; proxy_next_upstream_tries 3;";
/// Between two pieces of what is sent slowly: shorter than what is waited for, and together longer.
const STEP: Duration = Duration::from_millis(400);
const PIECES: usize = 6;

/// A server of nginx with one location, whose upstream has these endpoints.
fn server(name: &str, endpoints: &[SocketAddr], way: &str, location: &str) -> String {
    let mut servers = String::new();
    for address in endpoints {
        let _ = write!(servers, "server {address} max_fails=0; ");
    }
    format!(
        "upstream {name} {{ {way} {servers} }}\nserver {{ listen LISTEN; server_name {name}.example.com; location / {{ {LOCATION} \
         {location} proxy_pass http://{name}; }} }}\n"
    )
}

fn host(name: &str) -> String {
    format!("{name}.example.com")
}

/// Reads a head, and closes.
async fn broken() -> Backend {
    Backend::accepting(|mut stream, _| async move {
        let mut piece = [0; 4096];
        let _ = stream.read(&mut piece).await;
    })
    .await
}

/// Answers late, slowly or not to the end, as the path says.
async fn slow() -> Backend {
    Backend::accepting(|mut stream, _| async move {
        let mut piece = [0; 4096];
        let read = stream.read(&mut piece).await.unwrap_or(0);
        let path = String::from_utf8_lossy(&piece[..read]).split(' ').nth(1).unwrap_or("").to_owned();
        if path == "/late" {
            sleep(10 * STEP).await;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PIECES}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes()).await;
        for _ in 0..PIECES {
            let _ = stream.write_all(b"x").await;
            sleep(if path == "/stalls" { 10 * STEP } else { STEP }).await;
        }
    })
    .await
}

#[tokio::test]
async fn backends_are_waited_for_as_long_as_nginx_does() {
    let slow = slow().await;
    let location = format!("proxy_read_timeout 1s; proxy_send_timeout 1s; {RETRIES}");
    let nginx = Nginx::start(&server("slow", &[slow.address], "", &location)).await;
    let lines = ["proxy-read-timeout: '1'", "proxy-send-timeout: '1'"];
    let folder = convert(&ingress("slow", &host("slow"), &lines, &["/ Prefix slow"]), &[]);
    let gateway = serve(folder.path(), &[("slow", slow.address)]).await;
    let ask = async |address: SocketAddr, request: &str| {
        let request = format!("{request} HTTP/1.1\r\nHost: slow.example.com\r\nConnection: close\r\n\r\n");
        let answer = raw(address, request.as_bytes(), Duration::from_secs(30)).await;
        let body = answer.text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
        let status = answer.statuses().first().copied();
        // Pages of the gateways' own differ.
        (status, body.trim_matches('x').is_empty().then_some(body), answer.closed)
    };
    for (request, status, body) in [
        ("GET /late", 504, None),
        ("POST /late", 504, None),
        ("GET /drips", 200, Some("xxxxxx")),
        ("GET /stalls", 200, Some("x")),
    ] {
        let (there, here) = tokio::join!(ask(nginx.address(), request), ask(gateway.http(), request));
        assert_eq!(there, here, "{request}");
        assert_eq!(here, (Some(status), body.map(str::to_owned), true), "{request}");
    }
}

#[tokio::test]
async fn what_is_sent_again_is_what_nginx_sends_again() {
    let (good, broken, busy) =
        (Backend::echo("good").await, broken().await, Backend::answering(|_| status(503)).await);
    let of_503 = format!("{TIMES} proxy_next_upstream error timeout http_503; proxy_next_upstream_tries 3;");
    let cases = [
        ("usual", &broken, &[][..], format!("{TIMES} {RETRIES}")),
        ("never", &broken, &["proxy-next-upstream: 'off'"], format!("{TIMES} proxy_next_upstream off;")),
        (
            "once",
            &broken,
            &["proxy-next-upstream-tries: '1'"],
            format!("{TIMES} proxy_next_upstream error timeout; proxy_next_upstream_tries 1;"),
        ),
        ("busy", &busy, &[], format!("{TIMES} {RETRIES}")),
        ("status", &busy, &["proxy-next-upstream: error timeout http_503"], of_503),
    ];
    let (mut servers, mut ingresses, mut endpoints) = (String::new(), String::new(), Vec::new());
    for (name, bad, lines, location) in &cases {
        servers += &server(name, &[bad.address, good.address], "", location);
        ingresses += &ingress(name, &host(name), lines, &[&format!("/ Prefix {name}")]);
        endpoints.extend([(*name, bad.address), (*name, good.address)]);
    }
    let nginx = Nginx::start(&servers).await;
    let folder = convert(&ingresses, &[]);
    let report = report(folder.path());
    let gateway = serve(folder.path(), &endpoints).await;
    for (name, ..) in cases {
        for method in ["GET", "POST"] {
            let statuses = async |address: SocketAddr| {
                let mut all = BTreeSet::new();
                for _ in 0..24 {
                    let body = if method == "POST" { "hello" } else { "" };
                    let ask = get(address, "/").method(method).host(&host(name)).body(body);
                    all.insert(ask.send().await.status);
                }
                all
            };
            let (there, here) = (statuses(nginx.address()).await, statuses(gateway.http()).await);
            let told = report["entries"].as_array().unwrap().iter().any(|entry| {
                entry["object"] == format!("Ingress default/{name}")
                    && entry["changes"].as_str().unwrap().contains("is tried again whatever the method")
            });
            if name == "status" && method == "POST" {
                assert!(told && there.contains(&503) && here == BTreeSet::from([200]), "{there:?} {here:?}");
            } else {
                assert_eq!(there, here, "{name} {method}");
            }
        }
    }
}

async fn three() -> [Backend; 3] {
    [Backend::echo("a").await, Backend::echo("b").await, Backend::echo("c").await]
}

fn name_of(answer: &Answer) -> String {
    answer.json()["name"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn requests_of_one_key_stay_together_as_in_nginx() {
    let backends = three().await;
    let addresses: Vec<SocketAddr> = backends.iter().map(|backend| backend.address).collect();
    let cases = [
        ("by-header", "$http_x_user", "hash $http_x_user consistent;"),
        ("by-cookie", "$cookie_who", "hash $cookie_who consistent;"),
        ("by-address", "$remote_addr", "hash $remote_addr consistent;"),
    ];
    let (mut servers, mut ingresses, mut endpoints) = (String::new(), String::new(), Vec::new());
    for (name, key, way) in cases {
        servers += &server(name, &addresses, way, &format!("{TIMES} {RETRIES}"));
        let line = format!("upstream-hash-by: '{key}'");
        ingresses += &ingress(name, &host(name), &[&line], &[&format!("/ Prefix {name}")]);
        endpoints.extend(addresses.iter().map(|address| (name, *address)));
    }
    let nginx = Nginx::start(&servers).await;
    let gateway = serve(convert(&ingresses, &[]).path(), &endpoints).await;
    for (name, ..) in cases {
        for address in [nginx.address(), gateway.http()] {
            let mut of_keys = BTreeMap::<u32, BTreeSet<String>>::new();
            for turn in 0..60 {
                let key = turn % 20;
                let ask = get(address, "/").host(&host(name));
                let ask =
                    ask.header("x-user", &format!("user-{key}")).header("cookie", &format!("a=b; who={key}"));
                of_keys.entry(key).or_default().insert(name_of(&ask.send().await));
            }
            assert!(of_keys.values().all(|names| names.len() == 1), "{name} at {address}: {of_keys:?}");
            let all: BTreeSet<&String> = of_keys.values().flatten().collect();
            assert_eq!(all.len() == 1, name == "by-address", "{name} at {address}: {of_keys:?}");
        }
    }
}

/// `balancer/sticky.lua`: who brings no cookie gets one and stays where it leads.
#[tokio::test]
async fn sessions_stay_as_the_table_says() {
    let backends = three().await;
    let cases = [
        ("usual", &[][..], "INGRESSCOOKIE", None),
        (
            "named",
            &["session-cookie-name: route", "session-cookie-max-age: '3600'", "affinity-mode: persistent"],
            "route",
            Some("max-age=3600"),
        ),
    ];
    let (mut ingresses, mut endpoints) = (String::new(), Vec::new());
    for (name, lines, ..) in &cases {
        let lines = [&["affinity: cookie"], *lines].concat();
        ingresses += &ingress(name, &host(name), &lines, &[&format!("/ Prefix {name}")]);
        endpoints.extend(backends.iter().map(|backend| (*name, backend.address)));
    }
    let gateway = serve(convert(&ingresses, &[]).path(), &endpoints).await;
    for (name, _, cookie, age) in cases {
        let mut taken = BTreeSet::new();
        for _ in 0..12 {
            let first = get(gateway.http(), "/").host(&host(name)).send().await;
            let set = first.header("set-cookie").expect("a cookie").to_owned();
            let attributes = set.to_ascii_lowercase();
            assert!(set.starts_with(&format!("{cookie}=")) && attributes.contains("path=/"), "{set}");
            assert!(attributes.contains("httponly"), "{set}");
            assert_eq!(attributes.contains("max-age"), age.is_some(), "{set}");
            assert!(age.is_none_or(|age| attributes.contains(age)), "{set}");
            let (pair, _) = set.split_once(';').unwrap();
            for _ in 0..4 {
                let again = get(gateway.http(), "/").host(&host(name)).header("cookie", pair).send().await;
                assert_eq!((name_of(&again), again.header("set-cookie")), (name_of(&first), None), "{name}");
            }
            taken.insert(name_of(&first));
        }
        assert!(taken.len() > 1, "{name}: all clients are at {taken:?}");
    }
}
