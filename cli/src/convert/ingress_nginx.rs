//! ingress-nginx's configuration to manifests.
//!
//! `input` reads Ingresses and what they name. What the annotations of one do to its requests is a [`Treatment`]: who may
//! send them (`guard`), how many (`limits`), what changes about them (`treatment`, `snippets`). Paths are looked at host
//! by host (`hosts`, `paths`), since a regular expression of one Ingress changes how the paths of all are matched; then
//! each Ingress gets a GatewayRoute for each of its hosts (`routes`), in its own namespace. What kept somebody out and can't
//! be converted leaves its routes closed.

mod annotations;
mod backends;
mod canary;
mod cluster;
mod cors;
mod external;
mod guard;
mod hosts;
mod input;
mod limits;
mod passwords;
mod paths;
mod redirects;
mod routes;
mod snippets;
#[cfg(test)]
mod tests;
mod treatment;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    Converted, Options,
    manifests::{File, Manifests, gateway},
    names::Names,
    probes::Probe,
    report::{Origin, Report},
    tree::Source,
};
use input::Input;
use treatment::Treatment;

pub(super) use cluster::objects_of;

pub(super) const ORIGIN: Origin = Origin {
    title: "ingress-nginx",
    gateway: "ingress-nginx",
    always: &[
        "Where the input holds no ConfigMap of the controller, its defaults are assumed, and stay: redirects to HTTPS for hosts with a certificate, `Strict-Transport-Security` on them, bodies of at most 1 MiB, 5 s for a connection, 60 s while nothing moves, 3 tries.",
        "Redirects to HTTPS keep a slash at the end of the path, which ingress-nginx cut off, and know no exception for `/.well-known/acme-challenge`: what cert-manager serves there has a route of its own, which is more specific.",
        "Answers of the gateway's own are problem details (`application/problem+json`) with a `reason`, not pages of nginx.",
        "Paths are compared encoded, with `//` kept; nginx decoded them and merged slashes. Paths that leave the root, `%00`, `\\` and broken escapes get 400.",
        "Backends get X-Forwarded-For, -Proto, -Host and -Port, X-Real-IP and X-Request-ID, but no X-Forwarded-Scheme, X-Scheme and X-Original-Forwarded-For.",
        "Limits by address and `maxRequestBodyBytes` come before authentication. Who is let in neither by address nor by credential gets 401 where a credential could help; nginx looked at the address first.",
        "Requests go to the less busy of two endpoints, where nginx took turns, unless a TrafficPolicy says otherwise.",
        "Bodies are streamed both ways, whatever is said of buffers.",
        "A host without a certificate is not served over HTTPS, where nginx did so with one of its own making. A wildcard stands for one label or more, where nginx had it stand for exactly one.",
    ],
};

/// So many has a Gateway at most, that of plain HTTP among them.
const MOST_LISTENERS: usize = 64;

/// What stands over all Ingresses while they are converted.
struct Conversion<'a, 'r> {
    input: &'r Input<'a>,
    report: &'r Report,
    options: &'r Options,
    names: Names,
    manifests: Manifests,
    /// By position of the Ingress.
    treatments: Vec<Treatment<'a>>,
    /// Which Ingress has a TrafficPolicy made for a Service, and what it says.
    traffic: BTreeMap<(String, String), Value>,
    /// Secrets of users that are converted, with the names of their Consumers' namespace.
    users: BTreeSet<(String, String)>,
    /// Namespace and name of the certificate of each host; the empty one is any.
    certificates: BTreeMap<String, (String, String)>,
    probes: Vec<Probe>,
}

/// # Errors
/// A sentence: nothing is an Ingress.
pub(super) fn convert(sources: &[Source], report: &Report, options: &Options) -> Result<Converted, String> {
    let input = Input::read(sources, report, &options.namespace)?;
    let mut conversion = Conversion {
        input: &input,
        report,
        options,
        names: Names::default(),
        manifests: Manifests::default(),
        treatments: Vec::new(),
        traffic: BTreeMap::new(),
        users: BTreeSet::new(),
        certificates: BTreeMap::new(),
        probes: Vec::new(),
    };
    for index in 0..input.ingresses.len() {
        let treatment = conversion.treatment(index);
        conversion.treatments.push(treatment);
    }
    conversion.hosts();
    conversion.gateway();
    Ok(Converted { manifests: conversion.manifests, probes: conversion.probes })
}

impl Conversion<'_, '_> {
    /// With the ports that the controller listens on.
    fn gateway(&mut self) {
        let namespace = &self.options.namespace;
        let open = json!({"namespaces": {"from": "All"}});
        let mut listeners =
            vec![json!({"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": open})];
        // One for each host: a Secret that is missing stops its own listener alone.
        for (host, (of, name)) in &self.certificates {
            let mut reference = json!({"name": name});
            if of != namespace {
                reference["namespace"] = json!(of);
                self.manifests.allow_gateway(of, name, namespace);
            }
            let mut listener = json!({
                "name": listener(host), "protocol": "HTTPS", "port": 443, "allowedRoutes": open,
                "tls": {"mode": "Terminate", "certificateRefs": [reference]},
            });
            if !host.is_empty() {
                listener["hostname"] = json!(host);
            }
            listeners.push(listener);
        }
        self.manifests.add(File::Gateway, gateway(namespace, &self.options.gateway, &listeners));
    }
}

/// Of HTTPS for a host. Names that begin alike would meet: a host may have a label `wildcard`.
fn listener(host: &str) -> String {
    match host.strip_prefix("*.") {
        None if host.is_empty() => "https".into(),
        None => format!("https-{host}"),
        Some(suffix) => format!("wildcard-https-{suffix}"),
    }
}
