//! What the documents show works: the manifests of a page are served together, and each of its commands prints what the
//! page says.
//!
//! A page's ```yaml blocks are its manifests; a Gateway `edge` is added if it brings none, nor an Ingress, and the services that the pages
//! speak of lead to backends that echo, or answer every call. Of its ```sh blocks, each line runs and must end by printing what stands behind ` # `.
//! `$HTTP`, `$HTTPS`, `$ADMIN`, `$SHOP` and `$PARTNERS` are addresses, `$FOLDER` holds the manifests, and `gatehouse` is on the path.

use std::{ffi::OsString, fs, path::Path};

use gatehouse_tests::{
    backend::{Backend, status},
    gateway::{EDGE, Gateway, binary, service},
};
use http::HeaderValue;
use tokio::process::Command;

const PAGES: &[&str] = &[
    "docs/routing.md",
    "docs/grpc.md",
    "docs/resilience.md",
    "docs/authentication.md",
    "docs/rate-limits.md",
    "docs/tls.md",
    "docs/streams.md",
    "docs/observability.md",
    "docs/gateways.md",
    "docs/listener-sets.md",
    "docs/ingress.md",
    "docs/run.md",
    "docs/check.md",
];

/// The fenced blocks of a language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let open = format!("```{language}\n");
    page.split(&open).skip(1).map(|rest| rest.split("\n```").next().unwrap_or("").to_owned() + "\n").collect()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// With our binary before all others.
fn path() -> OsString {
    let before = binary().parent().expect("a folder").to_owned();
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(before).chain(std::env::split_paths(&others))).expect("a path")
}

#[tokio::test]
async fn pages_do_what_they_show() {
    for page in PAGES {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let (manifests, commands) = (blocks(&text, "yaml"), blocks(&text, "sh"));
        assert!(!manifests.is_empty() && !commands.is_empty(), "{page} shows nothing that runs");
        let mut builder = Gateway::builder();
        let brings_gateway =
            |manifest: &String| manifest.contains("kind: Gateway\n") || manifest.contains("kind: Ingress\n");
        if !manifests.iter().any(brings_gateway) {
            builder = builder.file("edge.yaml", EDGE);
        }
        for (index, manifest) in manifests.iter().enumerate() {
            builder = builder.file(&format!("page-{index}.yaml"), manifest);
        }
        let mut backends = Vec::new();
        for name in ["orders", "users", "catalog"] {
            let backend = Backend::echo(name).await;
            builder =
                builder.file(&format!("service-{name}.yaml"), service(name)).endpoint(name, backend.address);
            backends.push(backend);
        }
        let greeter = Backend::h2c(|_, _| async {
            let mut answer = status(200);
            answer.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
            answer.headers_mut().insert("grpc-status", HeaderValue::from_static("0"));
            answer
        })
        .await;
        builder =
            builder.file("service-greeter.yaml", service("greeter")).endpoint("greeter", greeter.address);
        let gateway = builder.start().await;
        let complaints: Vec<String> =
            gateway.errors().into_iter().filter(|line| line.contains("page-")).collect();
        assert!(complaints.is_empty(), "{page}: {complaints:#?}");
        for line in commands.iter().flat_map(|block| block.lines()).filter(|line| !line.trim().is_empty()) {
            let (command, wanted) =
                line.rsplit_once(" # ").unwrap_or_else(|| panic!("{page}: no result: {line}"));
            let mut shell = Command::new("bash");
            shell
                .args(["-c", command])
                .env("PATH", path())
                .env("FOLDER", gateway.folder())
                .env("HTTP", gateway.http().to_string())
                .env("ADMIN", gateway.admin().to_string());
            for (variable, listener) in
                [("SHOP", "shop"), ("PARTNERS", "partners"), ("HTTPS", "https-localhost")]
            {
                if let Some(address) = gateway.find(listener) {
                    shell.env(variable, address.to_string());
                }
            }
            let output = shell.output().await.unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(
                said.trim(),
                wanted.trim(),
                "{page}: {line}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn every_page_is_run_or_says_nothing_to_run() {
    for entry in fs::read_dir(root().join("docs")).unwrap().map(Result::unwrap) {
        let name = format!("docs/{}", entry.file_name().to_string_lossy());
        if entry.path().is_file() && !PAGES.contains(&name.as_str()) {
            let text = fs::read_to_string(entry.path()).unwrap();
            assert!(
                blocks(&text, "sh").is_empty() && blocks(&text, "yaml").is_empty(),
                "{name} is not in PAGES"
            );
        }
    }
}
