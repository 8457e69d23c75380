//! A Kong route to GatewayRoutes.

use serde_json::{Map, Value, json};

use super::{
    Conversion,
    backend::Backend,
    matches::{Asked, Path},
    model::Route,
    order::Routed,
    plugins::Guard,
};
use crate::convert::manifests::{File, UNCONVERTED, own};

/// So many has a GatewayRoute at most.
const MOST_HOSTS: usize = 16;
const MOST_MATCHES: usize = 64;
const MOST_RULES: usize = 64;

/// Where a route is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Both,
    Plain,
    /// Requests without TLS are told to use it.
    Encrypted,
}

impl<'a> Conversion<'a, '_> {
    pub(super) fn route(&mut self, index: usize) {
        let kong = self.kong;
        let route = &kong.routes[index];
        if let Some(service) = route.service.and_then(|index| kong.services.get(index))
            && !service.is_enabled
        {
            self.report.warn(&route.node, "is left out, as its service is");
            return;
        }
        let has = |names: &[&str]| route.protocols.iter().any(|protocol| names.contains(&&**protocol));
        let over = match (has(&["http", "grpc", "ws"]), has(&["https", "grpcs", "wss"])) {
            (true, true) => Over::Both,
            (true, false) => Over::Plain,
            (false, true) => Over::Encrypted,
            (false, false) => {
                self.report.refuse(&route.node, "is not converted: use a TCPRoute, TLSRoute or UDPRoute");
                return;
            }
        };
        // Whatever it has, its plugins are looked at: what they say must be told.
        let mut guard = self.guard(index);
        let asked = self.asked(route);
        let (Some(asked), None) = (asked, &route.unservable) else {
            self.report.refuse(
                &route.node,
                "is left out: what is left of its conditions would take requests that it must not",
            );
            return;
        };
        let backend = route.service.and_then(|service| self.backend(service));
        if backend.is_none() && guard.filters.respond.is_none() && guard.filters.redirect.is_none() {
            guard.filters.respond = Some(json!({"status": 503}));
            if route.service.is_some() {
                self.report.refuse(&route.node, "answers 503: its service leads nowhere that is known here");
            }
        }
        let rules = self.rules(route, &asked, backend.as_ref(), &guard);
        if rules.is_empty() {
            self.report.refuse(&route.node, "is left out: nothing of it is left");
            return;
        }
        self.write_route(route, &asked, &rules, &guard, over);
        let headers = route.headers.iter().map(|(name, values)| {
            (name.value.clone(), values.iter().map(|value| value.value.clone()).collect())
        });
        self.routed.push(Routed {
            route: index,
            asked,
            regex_priority: route.regex_priority,
            headers: headers.collect(),
        });
    }

    /// Rules with what differs between paths; what they share is put in as well.
    fn rules(
        &self,
        route: &Route<'a>,
        asked: &Asked,
        backend: Option<&Backend>,
        guard: &Guard,
    ) -> Vec<Value> {
        let mut rules = Vec::new();
        for (rewrite, paths) in self.by_rewrite(route, asked, backend) {
            let mut matches = Vec::new();
            for path in paths {
                matches.extend(with_methods(path.as_ref(), asked));
            }
            let chunks = matches.chunks(MOST_MATCHES).map(<[Value]>::to_vec);
            let chunks: Vec<Vec<Value>> =
                if matches.is_empty() { vec![Vec::new()] } else { chunks.collect() };
            for matches in chunks {
                let mut rule = Map::new();
                if !matches.is_empty() {
                    rule.insert("matches".into(), json!(matches));
                }
                fill(&mut rule, route, backend, guard, rewrite.clone());
                rules.push(Value::Object(rule));
            }
        }
        rules
    }

    /// Paths that are rewritten alike, each with how. A path of `None` is every path.
    fn by_rewrite(
        &self,
        route: &Route<'a>,
        asked: &Asked,
        backend: Option<&Backend>,
    ) -> Vec<(Option<Value>, Vec<Option<Path>>)> {
        let base = backend.map_or("", |backend| &*backend.base);
        let whole_base = if base.is_empty() { "/" } else { base };
        let prefix = |to: &str| json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": to});
        if asked.paths.is_empty() {
            let rewrite = (!base.is_empty()).then(|| prefix(base));
            // The rewrite needs a prefix to replace.
            let path = rewrite.is_some().then(|| Path::Prefix("/".into()));
            return vec![(rewrite, vec![path])];
        }
        let mut groups: Vec<(Option<Value>, Vec<Option<Path>>)> = Vec::new();
        let converted = route
            .paths
            .iter()
            .filter_map(|at| Some((at, super::matches::read_path(route.path_kind, &at.value).ok()?)));
        for (at, path) in converted {
            let rewrite = match &path {
                Path::Prefix(_) if route.strip_path => Some(prefix(whole_base)),
                Path::Prefix(_) if base.is_empty() => None,
                Path::Prefix(path) => Some(prefix(&format!("{base}{}", path.trim_end_matches('/')))),
                Path::Exact(_) | Path::Expression { .. } if !route.strip_path && base.is_empty() => None,
                Path::Exact(path) if !route.strip_path => {
                    Some(json!({"type": "ReplaceFullPath", "replaceFullPath": format!("{base}{path}")}))
                }
                Path::Exact(_) => Some(json!({"type": "ReplaceFullPath", "replaceFullPath": whole_base})),
                Path::Expression { is_whole: true, .. } if route.strip_path => {
                    Some(json!({"type": "ReplaceFullPath", "replaceFullPath": whole_base}))
                }
                Path::Expression { .. } if backend.is_none() => None,
                Path::Expression { .. } => {
                    let why = if route.strip_path {
                        "what it matched can't be cut off (strip_path)"
                    } else {
                        "the service's path can't be put before it"
                    };
                    self.report
                        .refuse(&at.node, format!("is not converted: {why}; write it as a plain prefix"));
                    continue;
                }
            };
            match groups.iter_mut().find(|(known, _)| *known == rewrite) {
                Some((_, paths)) => paths.push(Some(path)),
                None => groups.push((rewrite, vec![Some(path)])),
            }
        }
        groups
    }

    fn write_route(&mut self, route: &Route<'a>, asked: &Asked, rules: &[Value], guard: &Guard, over: Over) {
        let name = self.names.unique("GatewayRoute", &route.name);
        if over == Over::Encrypted {
            self.needs_tls = true;
        }
        let hosts: Vec<Vec<String>> = asked.hosts.chunks(MOST_HOSTS).map(<[String]>::to_vec).collect();
        let hosts = if hosts.is_empty() { vec![Vec::new()] } else { hosts };
        for hosts in &hosts {
            for rules in rules.chunks(MOST_RULES) {
                let mut spec = json!({"parentRefs": [self.parent(over)]});
                if !hosts.is_empty() {
                    spec["hostnames"] = json!(hosts);
                }
                let mut defaults = Map::new();
                if let Some(auth) = &guard.auth {
                    defaults.insert("auth".into(), json!({"policyRef": {"name": auth}}));
                }
                if !guard.limits.is_empty() {
                    let limits: Vec<Value> = guard.limits.iter().map(|name| json!({"name": name})).collect();
                    defaults.insert("rateLimits".into(), json!(limits));
                }
                if !defaults.is_empty() {
                    spec["defaults"] = Value::Object(defaults);
                }
                spec["rules"] = json!(rules);
                self.add_route(&name, route, &spec, guard);
            }
            if over == Over::Encrypted {
                self.add_redirect(route, hosts, rules);
            }
        }
    }

    fn parent(&self, over: Over) -> Value {
        match over {
            Over::Both => json!({"name": self.options.gateway}),
            Over::Plain => json!({"name": self.options.gateway, "sectionName": "http"}),
            Over::Encrypted => json!({"name": self.options.gateway, "sectionName": "https"}),
        }
    }

    fn add_route(&mut self, name: &str, route: &Route<'a>, spec: &Value, guard: &Guard) {
        let taken =
            self.manifests.get_mut(File::Routes, "GatewayRoute", &self.options.namespace, name).is_some();
        let name = if taken { self.names.unique("GatewayRoute", name) } else { name.to_owned() };
        let mut object = own("GatewayRoute", &self.options.namespace, &name, spec);
        let mut annotations = Map::new();
        if !route.tags.is_empty() {
            annotations.insert("gatehouse.dev/tags".into(), json!(route.tags.join(",")));
        }
        if !guard.missing.is_empty() {
            let missing: Vec<&str> = guard.missing.iter().map(String::as_str).collect();
            annotations.insert(UNCONVERTED.into(), json!(missing.join(", ")));
        }
        if !annotations.is_empty() {
            object["metadata"]["annotations"] = Value::Object(annotations);
        }
        self.manifests.add(File::Routes, object);
    }

    /// What is said over plain HTTP where only HTTPS is served.
    fn add_redirect(&mut self, route: &Route<'a>, hosts: &[String], rules: &[Value]) {
        let name = self.names.unique("GatewayRoute", &format!("{}-to-https", route.name));
        let status = route.https_redirect_status;
        let matches: Vec<Value> =
            rules.iter().flat_map(|rule| rule["matches"].as_array().cloned().unwrap_or_default()).collect();
        let rules: Vec<Value> = matches
            .chunks(MOST_MATCHES)
            .map(<[Value]>::to_vec)
            .chain(matches.is_empty().then(Vec::new))
            .map(|matches| {
                let mut rule = if [301, 302, 307, 308].contains(&status) {
                    json!({"redirect": {"scheme": "https", "statusCode": status}})
                } else {
                    json!({"respond": {"status": 426, "headers": [{"name": "Upgrade", "value": "TLS/1.2, HTTP/1.1"}], "body": "{\"message\":\"Please use HTTPS protocol\"}"}})
                };
                if !matches.is_empty() {
                    rule["matches"] = json!(matches);
                }
                rule
            })
            .collect();
        let mut spec = json!({"parentRefs": [self.parent(Over::Plain)], "rules": rules});
        if !hosts.is_empty() {
            spec["hostnames"] = json!(hosts);
        }
        self.manifests.add(File::Routes, own("GatewayRoute", &self.options.namespace, &name, &spec));
    }
}

fn with_methods(path: Option<&Path>, asked: &Asked) -> Vec<Value> {
    let one = |method: Option<&String>| {
        let mut found = Map::new();
        if let Some(path) = path {
            found.insert("path".into(), path.value());
        }
        if let Some(method) = method {
            found.insert("method".into(), json!(method));
        }
        if !asked.headers.is_empty() {
            found.insert("headers".into(), json!(asked.headers));
        }
        Value::Object(found)
    };
    let is_any = path.is_none() && asked.methods.is_empty() && asked.headers.is_empty();
    if is_any {
        Vec::new()
    } else if asked.methods.is_empty() {
        vec![one(None)]
    } else {
        asked.methods.iter().map(|method| one(Some(method))).collect()
    }
}

/// What a rule does with the requests that it takes.
fn fill(
    rule: &mut Map<String, Value>,
    route: &Route<'_>,
    backend: Option<&Backend>,
    guard: &Guard,
    path: Option<Value>,
) {
    let filters = &guard.filters;
    for (name, value) in [
        ("requestHeaders", &filters.request_headers),
        ("responseHeaders", &filters.response_headers),
        ("cors", &filters.cors),
    ] {
        if let Some(value) = value {
            rule.insert(name.into(), value.clone());
        }
    }
    if let Some(bytes) = filters.max_body {
        rule.insert("maxRequestBodyBytes".into(), json!(bytes));
    }
    // Kong redirects before it ends a request.
    if let Some(redirect) = &filters.redirect {
        rule.insert("redirect".into(), redirect.clone());
        return;
    }
    if let Some(respond) = &filters.respond {
        rule.insert("respond".into(), respond.clone());
        return;
    }
    let Some(backend) = backend else { return };
    let mut rewrite = Map::new();
    if let Some(host) = backend.host.as_ref().filter(|_| !route.preserve_host) {
        rewrite.insert("hostname".into(), json!(host));
    }
    if let Some(path) = path {
        rewrite.insert("path".into(), path);
    }
    if !rewrite.is_empty() {
        rule.insert("rewrite".into(), Value::Object(rewrite));
    }
    rule.insert("timeouts".into(), backend.timeouts.clone());
    if let Some(retry) = &backend.retry {
        rule.insert("retry".into(), retry.clone());
    }
    rule.insert("backendRefs".into(), json!(backend.references));
}
