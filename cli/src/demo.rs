//! `gatehouse demo`: examples/orders with backends that answer, keys that were made just now, and commands to try.

mod backend;
mod keys;

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use gatehouse_controller::resources::ObjectKey;
use serde_json::json;

use crate::{
    args::{Common, EndpointArg, Output},
    run::{self, RunError, Serving, Session, report},
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
        // Whoever started the demo may not want to read this.
        let _ = print(serving, common, &keys, &certificate_file);
    };
    run::block_on(Session { folder: folder.path(), endpoints: &endpoints, common, serving: &mut tell })
}

fn secret(name: &str, entry: &str, value: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {entry: value}})
}

/// Something to try.
struct Try {
    title: &'static str,
    /// For a shell.
    command: String,
    /// What the last line of the command's output says.
    status: u16,
}

fn tries(serving: &Serving<'_>, keys: &Keys, certificate: &Path) -> Vec<Try> {
    let urls = serving.urls();
    let url = |listener: &str| urls.get(listener).map_or("", String::as_str);
    let (http, https, admin) = (url("http"), url("https"), serving.admin);
    let (token, key, certificate) = (keys.token(), keys.api_key(), certificate.display());
    let curl = "curl -sS -w '\\n%{http_code}\\n'";
    let quota = format!(
        "for i in $(seq 101); do curl -sS -o /dev/null -w '%{{http_code}}\\n' -H 'X-API-Key: {key}' {http}/api/orders; done | tail -n 1"
    );
    [
        ("No credential", format!("{curl} {http}/api/orders"), 401),
        ("A token", format!("{curl} -H 'Authorization: Bearer {token}' {http}/api/orders"), 200),
        (
            "An API key; /api/orders/7 reaches the service as /7",
            format!("{curl} -H 'X-API-Key: {key}' {http}/api/orders/7"),
            200,
        ),
        ("A public page, over HTTPS", format!("{curl} --cacert {certificate} {https}/catalog/shoes"), 200),
        ("Nothing there", format!("{curl} {http}/nowhere"), 404),
        ("Over the quota of 100 a minute", quota, 429),
        ("Metrics", format!("{curl} http://{admin}/metrics"), 200),
    ]
    .into_iter()
    .map(|(title, command, status)| Try { title, command, status })
    .collect()
}

fn print(serving: &Serving<'_>, common: &Common, keys: &Keys, certificate: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let listeners: Vec<String> = serving.urls().into_values().collect();
    let counted = match &common.redis {
        Some(_) => "Rate limits are counted in Redis.",
        None => "Rate limits are counted in this process; --redis redis://HOST:PORT counts them there.",
    };
    writeln!(out, "Serving examples/orders on {}. {counted}", listeners.join(" and "))?;
    writeln!(out, "The number behind # is the status that each command ends with. Ctrl-C stops.\n")?;
    for one in tries(serving, keys, certificate) {
        writeln!(out, "# {}\n{}  # {}\n", one.title, one.command, one.status)?;
    }
    if common.output == Output::Json {
        report::serving(serving, true);
    }
    Ok(())
}
