//! What the documents show works: the manifests of a page are served together, and each of its commands prints what the
//! page says.
//!
//! A page's ```yaml blocks are its manifests; a Gateway `edge` is added if it brings none, nor an Ingress, and the services that the pages
//! speak of lead to backends that echo, or answer every call. Of its ```sh blocks, each line runs and must end by printing what stands behind ` # `.
//! A ```kong block is a file `kong.yml` in the folder that the commands run in, an ```ingress block `ingress.yaml`; such a page needs no
//! manifests.
//! `$HTTP`, `$HTTPS`, `$ADMIN`, `$SHOP` and `$PARTNERS` are addresses, `$FOLDER` holds the manifests, and `gatehouse` is on the path.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests, too

use std::{ffi::OsString, fs, net::SocketAddr, path::Path, process::Stdio};

use gatehouse_tests::{
    backend::{Backend, full, status},
    certs::Authority,
    client::get,
    eventually,
    gateway::{Builder, EDGE, Gateway, binary, service},
    tokens::secret,
};
use http::{HeaderValue, Response};
use rcgen::{KeyPair, PKCS_ED25519};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

const PAGES: &[&str] = &[
    "docs/routing.md",
    "docs/grpc.md",
    "docs/resilience.md",
    "docs/traffic-policy.md",
    "docs/external-names.md",
    "docs/aggregation.md",
    "docs/caching.md",
    "docs/rollouts.md",
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
    "docs/migrate-kong.md",
    "docs/migrate-ingress-nginx.md",
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
        let origins = [
            ("kong.yml", blocks(&text, "kong").concat()),
            ("ingress.yaml", blocks(&text, "ingress").concat()),
        ];
        let is_empty = manifests.is_empty() && origins.iter().all(|(_, text)| text.is_empty());
        assert!(!is_empty && !commands.is_empty(), "{page} shows nothing that runs");
        let work = tempfile::tempdir().unwrap();
        for (file, text) in origins {
            fs::write(work.path().join(file), text).unwrap();
        }
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
        for name in ["orders", "orders-v2", "users", "catalog"] {
            let backend = Backend::echo(name).await;
            builder =
                builder.file(&format!("service-{name}.yaml"), service(name)).endpoint(name, backend.address);
            backends.push(backend);
        }
        let news = Backend::answering(|_| {
            let mut answer = Response::new(full("news"));
            answer.headers_mut().insert("cache-control", HeaderValue::from_static("max-age=60"));
            answer.headers_mut().insert("etag", HeaderValue::from_static("\"v1\""));
            answer
        })
        .await;
        builder = builder.file("service-news.yaml", service("news")).endpoint("news", news.address);
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
        run(page, &commands, &gateway, work.path(), &[]).await;
    }
}

/// Each command must print what the page says.
async fn run(
    page: &str,
    commands: &[String],
    gateway: &Gateway,
    work: &Path,
    addresses: &[(&str, SocketAddr)],
) {
    for line in commands.iter().flat_map(|block| block.lines()).filter(|line| !line.trim().is_empty()) {
        let (command, wanted) =
            line.rsplit_once(" # ").unwrap_or_else(|| panic!("{page}: no result: {line}"));
        let mut shell = Command::new("bash");
        shell
            .args(["-c", command])
            .current_dir(work)
            .env("PATH", path())
            .env("FOLDER", gateway.folder())
            .env("HTTP", gateway.http().to_string())
            .env("ADMIN", gateway.admin().to_string())
            .envs(addresses.iter().map(|(name, address)| (name, address.to_string())));
        for (variable, listener) in [("SHOP", "shop"), ("PARTNERS", "partners"), ("HTTPS", "https-localhost")]
        {
            if let Some(address) = gateway.find(listener) {
                shell.env(variable, address.to_string());
            }
        }
        let output = shell.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said.trim(), wanted.trim(), "{page}: {line}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The example that it is about, with the program that it shows.
#[tokio::test]
async fn the_guide_to_bffs_does_what_it_shows() {
    let page = "docs/guides/bff.md";
    let text = fs::read_to_string(root().join(page)).unwrap();
    let answering = |body: &'static str| Backend::answering(move |_| http::Response::new(full(body)));
    let backends = [
        ("users", answering(r#"{"name":"Ann"}"#).await),
        ("orders", answering(r#"[{"id":7},{"id":8}]"#).await),
        (
            "hints",
            Backend::accepting(|stream, _| async move {
                // It takes the request and says nothing.
                let _ = tokio::time::sleep(std::time::Duration::from_secs(60)).await;
                drop(stream);
            })
            .await,
        ),
    ];
    let mut builder = with_folder(Gateway::builder(), "examples/bff")
        .file("key.json", secret("ann-key", "key", "anns-key"));
    for (name, backend) in &backends {
        builder = builder.endpoint(name, backend.address);
    }
    let gateway = builder.start().await;
    let mut programs = Vec::new();
    for kind in ["mobile", "web"] {
        let mut program = Command::new("python3")
            .arg(root().join("examples/bff/bff.py"))
            .args([kind, &format!("http://{}", gateway.http())])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python3 is installed: make tools");
        let mut line = String::new();
        let output = program.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).await.unwrap();
        let port = line.trim();
        gateway.write(&format!("slice-{kind}.yaml"), &format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {kind}, labels: \
             {{kubernetes.io/service-name: {kind}}}}}\naddressType: IPv4\nports: [{{port: {port}}}]\nendpoints: \
             [{{addresses: [127.0.0.1]}}]\n"
        ));
        programs.push(program);
        let host = if kind == "web" { "www.shop.example.com" } else { "m.shop.example.com" };
        eventually("the BFF is served", async || {
            let ask = get(gateway.http(), "/").host(host).header("x-api-key", "anns-key");
            (ask.send().await.status == 200).then_some(())
        })
        .await;
    }
    run(page, &blocks(&text, "sh"), &gateway, root(), &[]).await;
    drop(programs);
}

/// The manifests of an example's folder.
fn with_folder(builder: Builder, folder: &str) -> Builder {
    let files = fs::read_dir(root().join(folder)).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).fold(
        builder,
        |builder, path| {
            let name = path.file_name().unwrap().to_string_lossy();
            builder.file(&name, fs::read_to_string(&path).unwrap())
        },
    )
}

#[tokio::test]
async fn the_guide_to_the_edge_does_what_it_shows() {
    let page = "docs/guides/edge.md";
    let text = fs::read_to_string(root().join(page)).unwrap();
    let authority = Authority::default();
    let pair = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let orders = Backend::echo("orders").await;
    let origin = with_folder(Gateway::builder(), "examples/edge/origin")
        .file("certificate.json", authority.issue(&["origin.example.com"]).secret("origin-certificate"))
        .file("key.json", secret("pop-public", "public.pem", &pair.public_key_pem()))
        .endpoint("orders", orders.address)
        .start()
        .await;
    let pop = with_folder(Gateway::builder(), "examples/edge/pop")
        .file("certificate.json", authority.issue(&["www.example.com"]).secret("pop-certificate"))
        .file("authority.json", authority.config_map("origin-authority"))
        .file("key.json", secret("pop-signing", "private.pem", &pair.serialize_pem()))
        .file("ann.json", secret("ann-key", "key", "anns-key"))
        .file("partners.json", secret("partner-tokens", "secret", "a-secret-of-thirty-two-bytes-or-more"))
        .endpoint("origin", origin.listener("https"))
        .start()
        .await;
    let addresses = [("POP", pop.listener("https")), ("ORIGIN", origin.listener("https"))];
    run(page, &blocks(&text, "sh"), &pop, root(), &addresses).await;
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
