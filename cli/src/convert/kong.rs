//! Kong's configuration to manifests.
//!
//! `file` reads what users wrote into the `model`; the rest turns that into objects, route by route: what matches it
//! (`matches`), which plugins run on it (`plugins` and what it calls), and where it leads (`backend`). What protected a route
//! and can't be converted leaves it closed.

mod auth;
mod backend;
mod cluster;
mod consumers;
mod file;
mod filters;
mod limits;
mod matches;
mod model;
mod objects;
mod order;
mod plugins;
mod route;
#[cfg(test)]
mod tests;

use serde_json::json;

use super::{
    Converted, Options,
    manifests::{File, Manifests},
    names::Names,
    probes::Probe,
    report::{Origin, Report},
    tree::Source,
};
use file::read;
use model::Kong;

pub(super) use cluster::objects_of;

pub(super) const ORIGIN: Origin = Origin {
    title: "Kong",
    gateway: "kong",
    always: &[
        "Answers of the gateway's own are problem details (`application/problem+json`) with a `reason`, not `{\"message\": ...}`.",
        "`X-Consumer-*` that clients send are removed on every route; Kong let forged ones through where no plugin authenticates. `X-Consumer-Id` is NAMESPACE/NAME, not Kong's id.",
        "Clients get no `Via`, `X-Kong-*` and `X-RateLimit-*`; limits are told in `RateLimit` and `RateLimit-Policy`, the request's id in `X-Request-Id`.",
        "Paths are compared encoded, with `//` kept; Kong decoded them and merged slashes. Paths that leave the root, `%00`, `\\` and broken escapes get 400.",
        "Bodies are streamed both ways; Kong read them whole first. Neither has a limit on their size by itself.",
        "Limits by address come before authentication, those by consumer after it; a preflight request is answered before both.",
    ],
};

/// What stands over all routes while they are converted.
struct Conversion<'a, 'r> {
    kong: &'r Kong<'a>,
    report: &'r Report,
    options: &'r Options,
    names: Names,
    manifests: Manifests,
    backends: backend::Backends,
    auth: auth::Policies,
    limits: limits::Policies,
    consumers: consumers::Consumers,
    /// A listener for TLS is needed.
    needs_tls: bool,
    /// Routes that are served.
    routed: Vec<order::Routed>,
    probes: Vec<Probe>,
}

/// # Errors
/// A sentence: a file is no configuration of Kong.
pub(crate) fn convert(sources: &[Source], report: &Report, options: &Options) -> Result<Converted, String> {
    let mut kong = Kong::default();
    let (objects, files): (Vec<&Source>, Vec<&Source>) =
        sources.iter().partition(|source| objects::is_object(source));
    for source in files {
        read(source, report, &mut kong)?;
    }
    objects::read(&objects, report, &options.namespace, &mut kong);
    let mut conversion = Conversion {
        kong: &kong,
        report,
        options,
        names: Names::default(),
        manifests: Manifests::default(),
        backends: backend::Backends::default(),
        auth: auth::Policies::default(),
        limits: limits::Policies::default(),
        consumers: consumers::Consumers::default(),
        needs_tls: !kong.certificates.is_empty() || !kong.tls_secrets.is_empty(),
        routed: Vec::new(),
        probes: Vec::new(),
    };
    conversion.all();
    Ok(Converted { manifests: conversion.manifests, probes: conversion.probes })
}

impl Conversion<'_, '_> {
    fn all(&mut self) {
        self.consumers();
        self.consumer_limits();
        for index in 0..self.kong.routes.len() {
            self.route(index);
        }
        self.compare_orders();
        self.probe_paths();
        self.tell_unused_plugins();
        self.gateway();
    }

    /// With the ports that Kong listens on by itself.
    fn gateway(&mut self) {
        let namespace = &self.options.namespace;
        let mut listeners = vec![json!({"name": "http", "protocol": "HTTP", "port": 8000})];
        if self.needs_tls {
            let mut certificates = Vec::new();
            for certificate in &self.kong.certificates {
                let host = certificate.snis.first().map_or("certificate", |sni| &sni.value);
                let name = self.names.unique("Secret", &format!("tls-{host}"));
                certificates.push(json!({"name": name}));
                let secret = json!({
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "type": "kubernetes.io/tls",
                    "metadata": {"name": name, "namespace": namespace},
                    "stringData": {"tls.crt": certificate.cert.value, "tls.key": certificate.key.value},
                });
                if super::tree::is_template(&certificate.key.value) {
                    self.report.refuse(
                        &certificate.key.node,
                        format!(
                            "is filled in from elsewhere: make the Secret {name} of type kubernetes.io/tls"
                        ),
                    );
                } else {
                    self.manifests.add(File::Secrets, secret);
                }
            }
            for secret in &self.kong.tls_secrets {
                let reference = json!({"name": secret.value});
                if !certificates.contains(&reference) {
                    certificates.push(reference);
                }
            }
            if certificates.is_empty() {
                certificates.push(json!({"name": "tls-default"}));
            }
            listeners.push(json!({
                "name": "https", "protocol": "HTTPS", "port": 8443,
                "tls": {"mode": "Terminate", "certificateRefs": certificates},
            }));
        }
        let mut gateway = super::manifests::gateway(namespace, &self.options.gateway, &listeners);
        if let Some(redis) = self.limits.redis() {
            let config = super::manifests::own(
                "GatewayConfig",
                namespace,
                &self.options.gateway,
                &json!({"redis": redis}),
            );
            self.manifests.add(File::Gateway, config);
            gateway["spec"]["infrastructure"] = json!({
                "parametersRef": {"group": "gatehouse.dev", "kind": "GatewayConfig", "name": self.options.gateway}
            });
        }
        self.manifests.add(File::Gateway, gateway);
    }
}
