//! All paths of a host, whichever Ingress they are of: which of them is whose, how they are matched, and what holds for the
//! host as a whole.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use serde_json::{Value, json};

use super::{
    Conversion, MOST_LISTENERS,
    canary::Canary,
    input::{Key, Path, PathKind},
    listener,
    paths::{self, Form},
    routes::Route,
    treatment::ToHttps,
};
use crate::convert::{probes::Probe, tree::Node};

/// One path, of whom it is, and who takes a share of it.
#[derive(Debug)]
pub(super) struct Location<'i, 'a> {
    pub(super) ingress: usize,
    pub(super) path: &'i Path<'a>,
    pub(super) canary: Option<Canary>,
}

/// What holds for every path of a host.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) names: Vec<String>,
    /// Somebody brings a certificate for it.
    pub(super) is_certified: bool,
    /// What keeps it closed.
    pub(super) missing: BTreeSet<String>,
    pub(super) app_root: Option<String>,
    /// `Strict-Transport-Security`.
    pub(super) strict: Option<String>,
}

type Place<'i> = (&'i str, &'i str, PathKind);

impl<'a> Conversion<'a, '_> {
    pub(super) fn hosts(&mut self) {
        let input = self.input;
        let mut canaries: BTreeMap<Place<'_>, Canary> = BTreeMap::new();
        for (index, ingress) in input.ingresses.iter().enumerate() {
            for path in ingress.paths.iter().filter(|_| self.treatments[index].is_canary) {
                let canary = Canary { ingress: index, target: path.target.clone() };
                let place = (&*path.host, &*path.text, path.kind);
                if let Entry::Vacant(free) = canaries.entry(place) {
                    free.insert(canary);
                } else {
                    self.report.warn(&path.node, "is left out: another canary has the same host and path");
                }
            }
        }
        let mut hosts: BTreeMap<&str, Vec<Location<'_, 'a>>> = BTreeMap::new();
        let mut taken: BTreeMap<Place<'_>, usize> = BTreeMap::new();
        for is_default in [false, true] {
            for (index, ingress) in input.ingresses.iter().enumerate() {
                if self.treatments[index].is_canary {
                    continue;
                }
                for path in ingress.paths.iter().filter(|path| path.is_default == is_default) {
                    let host = hosts.entry(&path.host).or_default();
                    if is_default
                        && host.iter().any(|one| one.path.text == "/" && one.path.kind != PathKind::Exact)
                    {
                        continue;
                    }
                    let place = (&*path.host, &*path.text, path.kind);
                    if let Some(first) = taken.get(&place) {
                        let Some(first) = input.ingresses.get(*first).filter(|_| *first != index) else {
                            continue;
                        };
                        self.report.warn(&path.node, format!("is left out, as there: Ingress {}/{} has the same host and path, and comes first", first.namespace, first.name));
                        continue;
                    }
                    taken.insert(place, index);
                    host.push(Location { ingress: index, path, canary: canaries.remove(&place) });
                }
            }
        }
        for (_, canary) in canaries {
            let node = &input.ingresses[canary.ingress].node;
            self.report
                .warn(node, "takes a share of nothing, as there: no other Ingress has its host and path");
        }
        let names: BTreeSet<String> = hosts.keys().map(|host| (*host).to_owned()).collect();
        for (host, locations) in hosts {
            self.host(host, &locations, &names);
        }
    }

    fn host(&mut self, name: &str, locations: &[Location<'_, 'a>], all: &BTreeSet<String>) {
        let host = self.whole(name, locations, all);
        if locations.is_empty() {
            return;
        }
        let forms = self.forms(locations);
        let mut order: Vec<usize> = Vec::new();
        for location in locations {
            if !order.contains(&location.ingress) {
                order.push(location.ingress);
            }
        }
        for (position, ingress) in order.into_iter().enumerate() {
            let mut route = Route { ingress, rules: Vec::new(), places: Vec::new() };
            if let Some(root) = host.app_root.as_ref().filter(|_| position == 0) {
                let rule = app_root(root);
                route.places.push(rule.clone());
                route.rules.push(rule);
            }
            for (location, form) in locations.iter().zip(&forms).filter(|(one, _)| one.ingress == ingress) {
                self.location(location, form, &host, &mut route);
            }
            self.write(&host, &route);
        }
        self.leave_nothing(name, &host, locations, all);
        self.redirect_www(name, locations, all);
    }

    fn whole(&mut self, name: &str, locations: &[Location<'_, 'a>], all: &BTreeSet<String>) -> Host {
        let (mut host, mut aliases) = (Host::default(), Vec::new());
        host.names.extend((!name.is_empty()).then(|| name.to_owned()));
        let ingresses: BTreeSet<usize> = locations.iter().map(|location| location.ingress).collect();
        for index in ingresses {
            let ingress = &self.input.ingresses[index];
            for tls in &ingress.tls {
                if !tls.hosts.is_empty() && !tls.hosts.iter().any(|pattern| covers(pattern, name)) {
                    continue;
                }
                host.is_certified = true;
                let secret = match &tls.secret {
                    Some(secret) => ingress.key(&secret.value),
                    None => {
                        self.report.warn(&tls.node, "names no Secret, and so asks for the certificate of the controller: put that into the Secret tls-default");
                        self.default_certificate()
                    }
                };
                if !self.certify(name, secret) {
                    self.report.refuse(&tls.node, no_listener(name));
                }
            }
            let treatment = &self.treatments[index];
            host.missing.extend(treatment.missing_on_hosts.iter().cloned());
            host.app_root = host.app_root.or_else(|| treatment.app_root.clone());
            for alias in &treatment.aliases {
                if all.contains(&alias.value) {
                    self.report.warn(
                        &alias.node,
                        format!("{} is left out, as there: it has paths of its own", alias.value),
                    );
                } else if !host.names.is_empty() && !host.names.contains(&alias.value) {
                    host.names.push(alias.value.clone());
                    aliases.push(alias.clone());
                }
            }
        }
        // Other names of the host have its certificate.
        if let Some(secret) = self.certificates.get(name).cloned() {
            for alias in aliases {
                if !self.certify(&alias.value, secret.clone()) {
                    self.report.refuse(&alias.node, no_listener(&alias.value));
                }
            }
        }
        host.strict = host.is_certified.then(|| self.strict()).flatten();
        host
    }

    /// `false`: the Gateway has no room for one more listener.
    fn certify(&mut self, host: &str, secret: Key) -> bool {
        let has_room = self.certificates.len() + 1 < MOST_LISTENERS || self.certificates.contains_key(host);
        if has_room {
            self.certificates.entry(host.to_owned()).or_insert(secret);
        }
        has_room
    }

    fn default_certificate(&self) -> Key {
        (self.options.namespace.clone(), "tls-default".into())
    }

    /// The listeners of HTTPS for the names of a host, those among them that there is no room for. Whoever is sent there
    /// without a certificate finds that of the controller.
    pub(super) fn encrypted(&mut self, ingress: usize, host: &Host) -> Vec<String> {
        let any = [String::new()];
        let names = if host.names.is_empty() { &any[..] } else { &host.names };
        for name in names {
            // Of a certificate that is left out its own field tells.
            if !self.certify(name, self.default_certificate()) && !host.is_certified {
                let ingress = &self.input.ingresses[ingress];
                let asks = ingress.annotations(self.report, &self.options.without).find("force-ssl-redirect");
                let name_of_it = || ingress.node.get("metadata").and_then(|metadata| metadata.get("name"));
                if let Some(node) = asks.or_else(name_of_it) {
                    self.report.refuse(&node, no_listener(name));
                }
            }
        }
        names.iter().map(|name| listener(name)).collect()
    }

    /// Strict-Transport-Security, as the controller says it.
    fn strict(&self) -> Option<String> {
        let global = |name: &str| self.input.global(name, self.report).map(|at| at.value);
        if global("hsts").as_deref() == Some("false") {
            return None;
        }
        let age = global("hsts-max-age").unwrap_or_else(|| "31536000".into());
        let subdomains = if global("hsts-include-subdomains").as_deref() == Some("false") {
            ""
        } else {
            "; includeSubDomains"
        };
        let preload = if global("hsts-preload").as_deref() == Some("true") { "; preload" } else { "" };
        Some(format!("max-age={age}{subdomains}{preload}"))
    }

    /// How each path is matched.
    fn forms(&self, locations: &[Location<'_, 'a>]) -> Vec<Form> {
        let target = |location: &Location<'_, 'a>| {
            let target = self.treatments[location.ingress].rewrite_target.as_ref();
            target.map(|at| at.value.clone()).filter(|target| *target != location.path.text)
        };
        let by_expression = locations
            .iter()
            .any(|location| self.treatments[location.ingress].use_regex || target(location).is_some());
        if !by_expression {
            return locations.iter().map(|location| self.plain(location.path)).collect();
        }
        // Who is redirected is not rewritten.
        let inner = |location: &Location<'_, 'a>| target(location).filter(|target| !target.contains("://"));
        if !self.options.exact_paths {
            let simple: Option<Vec<Form>> = locations
                .iter()
                .map(|location| paths::simple(&location.path.text, inner(location).as_deref()))
                .collect();
            if let Some(forms) = simple {
                for (location, form) in
                    locations.iter().zip(&forms).filter(|(_, form)| form.path["value"] != "/")
                {
                    let text = form.path["value"].as_str().unwrap_or_default();
                    self.report.warn(&place(location.path), format!("is a prefix of whole segments, and case counts: nginx takes it by an expression, in any case, and unless it ends in (/|$)(.*) also {text}x. `--exact-paths` keeps that"));
                }
                return forms;
            }
        }
        let form = |location: &Location<'_, 'a>| {
            let text = &location.path.text;
            paths::expression(text, inner(location).as_deref()).unwrap_or_else(|why| {
                self.report
                    .refuse(&place(location.path), format!("{why}: all that it may be for answers 503"));
                paths::around(text)
            })
        };
        locations.iter().map(form).collect()
    }

    fn plain(&self, path: &Path<'a>) -> Form {
        let form = paths::plain(path);
        if path.kind == PathKind::Implementation && path.text != "/" {
            self.report.warn(
                &place(path),
                format!("takes whole segments alone: nginx takes {}x as well", path.text),
            );
        }
        form
    }

    /// With probes for it.
    fn location(&mut self, location: &Location<'_, 'a>, form: &Form, host: &Host, route: &mut Route) {
        let node = place(location.path);
        let id = format!("path-{}", self.probes.len() + 1);
        self.report.probe(&node, &id);
        self.probes.push(Probe {
            id,
            file: node.file().to_owned(),
            line: node.line(),
            field: node.path().to_owned(),
            method: "GET".into(),
            host: host.names.first().map(|name| name.replacen("*.", "x.", 1)),
            path: form.sample.clone(),
            ..Probe::default()
        });
        let rules = if form.is_closed {
            vec![json!({"matches": [{"path": form.path}], "respond": {"status": 503}})]
        } else {
            self.rules(location, form, host)
        };
        route.places.push(json!({"matches": [{"path": form.path}]}));
        route.rules.extend(rules);
    }

    /// What a host does not take is nobody's, though a wider one would take it here.
    fn leave_nothing(
        &mut self,
        name: &str,
        host: &Host,
        locations: &[Location<'_, 'a>],
        all: &BTreeSet<String>,
    ) {
        let takes_all = |one: &Location<'_, 'a>| one.path.text == "/" && one.path.kind != PathKind::Exact;
        let has_wider = !name.is_empty()
            && all.iter().any(|other| other != name && (other.is_empty() || covers(other, name)));
        if locations.iter().any(takes_all) || !has_wider {
            return;
        }
        let namespace = &self.input.ingresses[locations[0].ingress].namespace;
        let spec = json!({
            "parentRefs": self.parents(namespace, &[]), "hostnames": host.names,
            "rules": [{"respond": {"status": 404}}],
        });
        self.add_route(namespace, &format!("{name}-rest"), &spec);
    }

    fn redirect_www(&mut self, name: &str, locations: &[Location<'_, 'a>], all: &BTreeSet<String>) {
        let asks = |one: &Location<'_, 'a>| self.treatments[one.ingress].from_to_www.clone();
        let Some(node) = locations.iter().find_map(asks).filter(|_| !name.is_empty()) else { return };
        let other = name.strip_prefix("www.").map_or_else(|| format!("www.{name}"), str::to_owned);
        if name.starts_with("*.") || all.contains(&other) {
            self.report
                .warn(&node, "does nothing, as there: the other host has paths of its own, or there is none");
            return;
        }
        let namespace = &self.input.ingresses[locations[0].ingress].namespace;
        let spec = json!({
            "parentRefs": self.parents(namespace, &[]), "hostnames": [other],
            "rules": [{"redirect": {"hostname": name, "statusCode": 308}}],
        });
        self.add_route(namespace, &format!("{name}-from-to-www"), &spec);
    }

    /// Whether requests over plain HTTP are sent to HTTPS.
    pub(super) fn goes_to_https(&self, ingress: usize, host: &Host) -> bool {
        let treatment = &self.treatments[ingress];
        // What is answered by a redirect is so over both.
        treatment.answer.is_none()
            && match treatment.to_https {
                ToHttps::Never => false,
                ToHttps::Certified => host.is_certified,
                ToHttps::Always => true,
            }
    }
}

fn no_listener(host: &str) -> String {
    let host = if host.is_empty() { "every host" } else { host };
    format!(
        "leaves {host} without HTTPS: a Gateway has at most {MOST_LISTENERS} listeners. Write a ListenerSet with one for it, and name that in the parentRefs of its routes"
    )
}

/// The field that says which path it is.
fn place<'a>(path: &Path<'a>) -> Node<'a> {
    path.node.get("path").unwrap_or_else(|| path.node.clone())
}

/// Whoever asks for nothing is sent to it. It may not be guarded: nginx looks at nothing before.
fn app_root(root: &str) -> Value {
    json!({
        "matches": [{"path": {"type": "Exact", "value": "/"}}],
        "auth": {"public": true},
        "rateLimits": [],
        "respond": {"status": 302, "headers": [{"name": "Location", "value": root}]},
    })
}

/// A wildcard is one label.
fn covers(pattern: &str, host: &str) -> bool {
    pattern == host
        || pattern
            .strip_prefix("*.")
            .is_some_and(|suffix| host.split_once('.').is_some_and(|(_, rest)| rest == suffix))
}
