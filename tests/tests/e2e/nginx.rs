//! What `gatehouse convert ingress-nginx` writes, and a real nginx with the blocks that ingress-nginx writes for the same
//! annotations (`rootfs/etc/nginx/template/nginx.tmpl`), get the same requests. They must answer alike, and backends see the
//! same, but where the report says so.
//!
//! What ingress-nginx does in Lua (canaries, redirects to HTTPS, HSTS) stands in tables.

mod cases;
mod shares;

use std::{collections::BTreeMap, fs, net::SocketAddr, path::Path, process::Command};

use gatehouse_tests::{
    backend::{Backend, full, header},
    client::{Answer, get},
    gateway::{Gateway, binary},
    nginx::Nginx,
};
use http::{HeaderValue, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use cases::{Case, cases};

/// What is compared of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    location: Option<String>,
    /// Header fields that annotations set.
    fields: BTreeMap<&'static str, String>,
    /// What the backend saw, if one did.
    backend: Option<Value>,
}

const FIELDS: [&str; 3] =
    ["x-frame-options", "access-control-allow-origin", "access-control-allow-credentials"];

/// Fields of requests that annotations set, take away, or leave alone.
const REQUEST_FIELDS: [&str; 6] =
    ["host", "x-forwarded-prefix", "x-up", "x-auth-user", "authorization", "x-client"];

fn seen(answer: &Answer, host: &str) -> Seen {
    let location = answer.header("location").map(|location| match location.strip_prefix('/') {
        Some(path) => format!("http://{host}/{path}"),
        None => location.to_owned(),
    });
    let of_backend = answer.header("content-type") == Some("application/json");
    Seen {
        status: answer.status,
        location,
        fields: FIELDS
            .into_iter()
            .filter_map(|name| Some((name, answer.header(name)?.to_owned())))
            .collect(),
        backend: of_backend.then(|| {
            let echo = answer.json();
            let fields: BTreeMap<_, _> =
                REQUEST_FIELDS.iter().map(|name| (*name, header(&echo, name))).collect();
            json!({"name": echo["name"], "method": echo["method"], "path": echo["path"], "body": echo["body"], "fields": fields})
        }),
    }
}

/// Manifests and report, in `out`.
fn convert(ingresses: &str, args: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ingresses.yaml"), ingresses).unwrap();
    let output = Command::new(binary())
        .current_dir(folder.path())
        .args(["convert", "ingress-nginx", "ingresses.yaml", "-o", "out", "--allow-refused"])
        .args(args)
        .output()
        .unwrap();
    assert!(folder.path().join("out/manifests").is_dir(), "{output:?}");
    folder
}

fn report(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("out/report.json")).unwrap()).unwrap()
}

async fn serve(folder: &Path, endpoints: &[(&str, SocketAddr)]) -> Gateway {
    let mut builder = Gateway::builder();
    for place in ["out/manifests", "out/manifests/local"] {
        for entry in fs::read_dir(folder.join(place)).unwrap().map(Result::unwrap) {
            if entry.path().is_file() {
                let name = format!("{}-{}", place.len(), entry.file_name().to_string_lossy());
                builder = builder.file(&name, fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    for (name, address) in endpoints {
        builder = builder.endpoint(name, *address);
    }
    builder.start().await
}

/// Admits who says so.
async fn judge() -> Backend {
    Backend::answering(|seen| {
        let admits = seen.headers.get("authorization").is_some_and(|value| value == "Bearer good");
        let mut response = Response::new(full(""));
        *response.status_mut() = if admits { http::StatusCode::OK } else { http::StatusCode::UNAUTHORIZED };
        response.headers_mut().insert("x-auth-user", HeaderValue::from_static("ann"));
        response
    })
    .await
}

#[tokio::test]
async fn annotations_do_what_nginx_does() {
    let (shop, other, judge) = (Backend::echo("shop").await, Backend::echo("other").await, judge().await);
    let passwords = tempfile::NamedTempFile::new().unwrap();
    fs::write(passwords.path(), "bob:{PLAIN}bobs-long-password\n").unwrap();
    let cases = cases();
    let servers: String =
        cases.iter().map(|case| case.server(&shop, &other, &judge, passwords.path())).collect();
    let nginx = Nginx::start(&format!("{}\n{servers}", cases::HTTP)).await;
    let ingresses: String = cases.iter().map(Case::ingress).collect();
    let folder = convert(&format!("{ingresses}{}", cases::OBJECTS), &[]);
    let report = report(folder.path());
    let gateway =
        serve(folder.path(), &[("shop", shop.address), ("other", other.address), ("judge", judge.address)])
            .await;
    let mut wrong = Vec::new();
    for case in &cases {
        let of_case: Vec<&str> = report["entries"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|entry| entry["object"] == format!("Ingress default/{}", case.name))
            .filter_map(|entry| entry["changes"].as_str())
            .collect();
        for ask in case.asks {
            let (text, told) = ask.split_once(" # ").map_or((*ask, None), |(text, told)| (text, Some(told)));
            let (host, request) = case.request(text);
            let there = seen(&request(nginx.address()).send().await, &host);
            let here = seen(&request(gateway.http()).send().await, &host);
            let is_told = told.is_some_and(|told| of_case.iter().any(|changes| changes.contains(told)));
            if there == here && told.is_some() {
                wrong.push(format!("{}: {text}: both the same, {here:?}", case.name));
            } else if there != here && !is_told {
                wrong.push(format!(
                    "{}: {text}\n  nginx {there:?}\n  here  {here:?}\n  said  {of_case:?}",
                    case.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `balancer.lua`: the header, then the cookie, then chance.
#[tokio::test]
async fn canaries_take_what_the_table_says() {
    let (shop, next) = (Backend::echo("shop").await, Backend::echo("next").await);
    let pair = |host: &str, lines: &[&str]| {
        let stable = cases::ingress(&format!("stable-{host}"), host, &[], &["/ Prefix shop"]);
        stable
            + &cases::ingress(
                &format!("canary-{host}"),
                host,
                &[&["canary: 'true'"], lines].concat(),
                &["/ Prefix next"],
            )
    };
    let folder = convert(
        &[
            pair("header.example", &["canary-by-header: X-C", "canary-by-cookie: c"]),
            pair(
                "value.example",
                &["canary-by-header: X-C", "canary-by-header-value: eu", "canary-by-cookie: c"],
            ),
            pair("pattern.example", &["canary-by-header: X-C", "canary-by-header-pattern: '^e[uv]'"]),
            pair("idle.example", &["canary-weight: '0'"]),
            pair("all.example", &["canary-weight: '100'"]),
            pair("half.example", &["canary-weight: '100'", "canary-weight-total: '200'"]),
        ]
        .concat(),
        &[],
    );
    let gateway = serve(folder.path(), &[("shop", shop.address), ("next", next.address)]).await;
    for (host, fields, wanted) in [
        ("header.example", &[][..], "shop"),
        ("header.example", &[("x-c", "always")], "next"),
        ("header.example", &[("x-c", "yes")], "shop"),
        ("header.example", &[("x-c", "never"), ("cookie", "c=always")], "shop"),
        ("header.example", &[("x-c", "yes"), ("cookie", "a=b; c=always")], "next"),
        ("header.example", &[("cookie", "c=always; d=e")], "next"),
        ("header.example", &[("cookie", "xc=always")], "shop"),
        ("header.example", &[("cookie", "c=never")], "shop"),
        ("value.example", &[("x-c", "eu")], "next"),
        ("value.example", &[("x-c", "always")], "shop"),
        ("value.example", &[("x-c", "us"), ("cookie", "c=always")], "next"),
        ("pattern.example", &[("x-c", "eu-1")], "next"),
        ("pattern.example", &[("x-c", "neu")], "shop"),
        ("idle.example", &[], "shop"),
        ("all.example", &[], "next"),
    ] {
        let mut ask = get(gateway.http(), "/").host(host);
        for (name, value) in fields {
            ask = ask.header(name, value);
        }
        assert_eq!(ask.send().await.json()["name"], wanted, "{host} {fields:?}");
    }
    let mut taken = 0;
    for _ in 0..200 {
        let answer = get(gateway.http(), "/").host("half.example").send().await.json();
        taken += u32::from(answer["name"] == "next");
    }
    // 6 standard deviations to both sides.
    assert!((58..=142).contains(&taken), "{taken} of 200");
}

/// `lua_ingress.lua`: 308 to HTTPS where there is a certificate, and HSTS there.
#[tokio::test]
async fn hosts_with_certificates_are_served_over_https() {
    let shop = Backend::echo("shop").await;
    let tls = |name: &str, lines: &[&str]| {
        let host = format!("{name}.example");
        cases::ingress(name, &host, lines, &["/ Prefix shop"])
            + &format!("  tls: [{{hosts: [{host}], secretName: {name}}}]\n")
    };
    let folder = convert(
        &[
            tls("a", &[]),
            tls("b", &["ssl-redirect: 'false'"]),
            cases::ingress("c", "c.example", &["force-ssl-redirect: 'true'"], &["/ Prefix shop"]),
        ]
        .concat(),
        &[],
    );
    let gateway = serve(folder.path(), &[("shop", shop.address)]).await;
    for (host, path, wanted) in [
        ("a.example", "/x?y=z", Some("https://a.example/x?y=z")),
        ("b.example", "/x", None),
        ("c.example", "/x", Some("https://c.example/x")),
    ] {
        let answer = get(gateway.http(), path).host(host).send().await;
        assert_eq!(answer.status, if wanted.is_some() { 308 } else { 200 }, "{host}");
        assert_eq!(answer.header("location"), wanted, "{host}");
    }
    let https = gateway.find("https-a.example").unwrap();
    let mut curl = Command::new("curl");
    curl.args(["-sk", "-m", "10", "-D", "-", "-o", "/dev/null", "--resolve"])
        .arg(format!("a.example:{}:127.0.0.1", https.port()))
        .arg(format!("https://a.example:{}/", https.port()));
    // The backend answers on this thread.
    let shell = tokio::task::spawn_blocking(move || curl.output().unwrap()).await.unwrap();
    let head = String::from_utf8_lossy(&shell.stdout).to_lowercase();
    assert!(head.contains("strict-transport-security: max-age=31536000; includesubdomains"), "{head}");
}
