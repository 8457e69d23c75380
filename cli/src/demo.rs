//! `gatehouse demo`: examples/orders with backends that answer, keys that were made just now, and commands to try.

mod backend;
mod keys;

use std::{fs, net::SocketAddr, path::Path};

use gatehouse_controller::resources::ObjectKey;
use serde_json::json;

use crate::{
    args::{Common, EndpointArg, Output},
    run::{self, RunError, Serving, Session},
};
use keys::Keys;

/// The example, as it is in the repository.
const FILES: [(&str, &str); 5] = [
    ("gateway.yaml", include_str!("../../examples/orders/gateway.yaml")),
    ("routes.yaml", include_str!("../../examples/orders/routes.yaml")),
    ("policies.yaml", include_str!("../../examples/orders/policies.yaml")),
    ("consumers.yaml", include_str!("../../examples/orders/consumers.yaml")),
    ("services.yaml", include_str!("../../examples/orders/services.yaml")),
];

pub(crate) fn demo(common: &Common) -> Result<(), RunError> {
    let failed = |what: &str, error: &dyn std::fmt::Display| RunError::Demo(format!("{what}: {error}"));
    let keys = Keys::make().map_err(|error| failed("keys", &error))?;
    let folder = tempfile::Builder::new()
        .prefix("gatehouse-demo-")
        .tempdir()
        .map_err(|error| failed("temporary folder", &error))?;
    for (name, text) in FILES {
        fs::write(folder.path().join(name), text).map_err(|error| failed(name, &error))?;
    }
    let secrets = json!({"apiVersion": "v1", "kind": "List", "items": [
        secret("issuer-keys", "jwks.json", &keys.jwks()),
        secret("bob-key", "key", keys.api_key()),
    ]});
    fs::write(folder.path().join("secrets.json"), secrets.to_string())
        .map_err(|error| failed("secrets", &error))?;

    let mut endpoints = Vec::new();
    for service in ["orders", "users", "catalog"] {
        let address = backend::start(service).map_err(|error| failed(service, &error))?;
        endpoints.push(EndpointArg {
            namespace: "default".into(),
            service: service.into(),
            port: None,
            address,
        });
    }
    let certificate_file = folder.path().join("certificate.pem");
    let mut tell = |serving: &Serving<'_>| {
        let certificate = serving.world.certificate(&ObjectKey::new("default", "edge-certificate"));
        if let Err(error) = fs::write(&certificate_file, certificate.unwrap_or("")) {
            eprintln!("{}: {error}", certificate_file.display());
        }
        print(serving, common, &keys, &certificate_file);
    };
    run::block_on(Session { folder: folder.path(), endpoints: &endpoints, common, serving: &mut tell })
}

fn secret(name: &str, entry: &str, value: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {entry: value}})
}

fn print(serving: &Serving<'_>, common: &Common, keys: &Keys, certificate: &Path) {
    let address = |name: &str| {
        serving.listeners.get(name).copied().unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)))
    };
    let (http, https) = (address("http"), address("https"));
    let curl = "curl -sS -w '\\n%{http_code}\\n'";
    let token = keys.token();
    let key = keys.api_key();
    let counted = match &common.redis {
        Some(_) => "rate limits are counted in Redis",
        None => "rate limits are counted here; --redis redis://HOST:PORT shares the counts",
    };
    println!("Serving examples/orders: http://{http} and https://localhost:{} ({counted})", https.port());
    println!("Press Ctrl-C to stop. Try these; the number behind # is the status that you should see.\n");
    for (title, command, status) in [
        ("No credential", format!("{curl} http://{http}/api/orders"), 401),
        ("A token", format!("{curl} -H 'Authorization: Bearer {token}' http://{http}/api/orders"), 200),
        (
            "An API key; /api/orders/7 reaches the service as /7",
            format!("{curl} -H 'X-API-Key: {key}' http://{http}/api/orders/7"),
            200,
        ),
        (
            "A public page, over HTTPS",
            format!(
                "{curl} --cacert {} https://localhost:{}/catalog/shoes",
                certificate.display(),
                https.port()
            ),
            200,
        ),
        ("Nothing there", format!("{curl} http://{http}/nowhere"), 404),
        (
            "Over the quota of 100 a minute",
            format!(
                "for i in $(seq 101); do curl -sS -o /dev/null -w '%{{http_code}}\\n' -H 'X-API-Key: {key}' http://{http}/api/orders; done | tail -n 1"
            ),
            429,
        ),
        ("Metrics", format!("{curl} http://{}/metrics", serving.admin), 200),
    ] {
        println!("# {title}\n{command}  # {status}\n");
    }
    if common.output == Output::Json {
        let line = json!({"event": "serving", "listeners": serving.listeners, "admin": serving.admin});
        println!("{line}");
    }
}
