//! Ingresses with Kong's annotations, and those of the Services that they lead to.

use super::{Objects, PREFIX, annotation, words};
use crate::convert::{
    kong::model::{PathKind, Route, Scope, Service, Times},
    tree::{At, Node, Reader},
};

impl<'a, 'r> Objects<'a, '_, 'r> {
    pub(super) fn ingress(&mut self, node: &Node<'a>) {
        let key = self.key(node);
        let Some(spec) = self.reader(node).below("spec") else { return };
        spec.exact(&["ingressClassName"]);
        for tls in spec.list("tls") {
            let tls = self.reader(&tls);
            tls.exact(&["hosts"]);
            self.kong.tls_secrets.extend(tls.text("secretName"));
        }
        let mut scopes = Vec::new();
        for rule in spec.list("rules") {
            let rule = self.reader(&rule);
            let host = rule.text("host");
            let paths = rule.below("http").and_then(|http| http.find("paths"));
            for path in paths.map(|node| node.items()).unwrap_or_default() {
                scopes.extend(self.path(node, &key, host.as_ref(), &path));
            }
        }
        if let Some(backend) = spec.find("defaultBackend") {
            scopes.extend(
                self.backend(&key.0, &backend)
                    .map(|service| self.add_route(node, &key, None, None, PathKind::Segments, service)),
            );
        }
        self.name_plugins(node, scopes);
    }

    fn path(
        &mut self,
        ingress: &Node<'a>,
        key: &super::Key,
        host: Option<&At<'a, String>>,
        node: &Node<'a>,
    ) -> Option<Scope> {
        let reader = self.reader(node);
        let path = reader.text("path");
        let is_expression = path.as_ref().is_some_and(|path| path.value.starts_with("/~"));
        let kind = match reader.text("pathType").as_ref().map(|at| &*at.value) {
            _ if is_expression => PathKind::Kong,
            Some("Exact") => PathKind::Exact,
            Some("Prefix") => PathKind::Segments,
            _ => PathKind::Kong,
        };
        let path = path
            .map(|path| if is_expression { At { value: path.value[1..].to_owned(), ..path } } else { path });
        let service = self.backend(&key.0, &reader.find("backend")?)?;
        Some(self.add_route(ingress, key, host, path, kind, service))
    }

    /// Position of the Kong service of a Service and port.
    fn backend(&mut self, namespace: &str, node: &Node<'a>) -> Option<usize> {
        let Some(reader) = self.reader(node).below("service") else {
            self.report.refuse(node, "is not converted: a backend is a Service");
            return None;
        };
        let name = reader.text("name")?;
        let port = reader.below("port")?;
        let key = (namespace.to_owned(), name.value.clone());
        let object = self.services.get(&key).cloned();
        let number = match (port.number("number"), port.text("name")) {
            (Some(number), _) => number.value,
            (None, Some(wanted)) => {
                let ports = object.as_ref().and_then(|object| object.get("spec")?.get("ports"));
                let ports = ports.map(|node| node.items()).unwrap_or_default();
                let found = ports.iter().find(|port| port.value()["name"] == wanted.value.as_str());
                let Some(number) = found.and_then(|port| port.value()["port"].as_i64()) else {
                    self.report
                        .refuse(&wanted.node, "is not converted: the Service with that port is in no file");
                    return None;
                };
                number
            }
            (None, None) => return None,
        };
        let made = (key, number.to_string());
        if let Some(known) = self.made.get(&made) {
            return Some(*known);
        }
        let index = self.kong.services.len();
        let service = self.service(namespace, &name, number, object.as_ref());
        self.kong.services.push(service);
        self.made.insert(made, index);
        if let Some(object) = object {
            self.name_plugins(&object, vec![Scope { service: Some(index), ..Scope::default() }]);
        }
        Some(index)
    }

    fn service(
        &self,
        namespace: &str,
        name: &At<'a, String>,
        port: i64,
        object: Option<&Node<'a>>,
    ) -> Service<'a> {
        let is_near = namespace == self.namespace;
        let host = if is_near { name.value.clone() } else { format!("{}.{namespace}.svc", name.value) };
        let annotations = object.and_then(|object| object.get("metadata")?.get("annotations"));
        let reader = Reader::new(annotations.clone().unwrap_or_else(|| name.node.clone()), self.report);
        let field = |field: &str| format!("{PREFIX}{field}");
        for (field, why) in [
            ("host-header", "is not converted: backends see the client's Host"),
            ("upstream-policy", "is not converted: requests go to the less busy of two endpoints"),
            ("override", "is not converted: Kong itself has given KongIngress up"),
            ("client-cert", "is not converted: name it in the Gateway's `tls.backend.clientCertificateRef`"),
            ("tls-verify", "is not converted: certificates of backends are always verified"),
            ("tls-verify-depth", "is not converted: certificates of backends are always verified"),
            ("ca-certificates-secrets", "is not converted: name a ConfigMap in a BackendTLSPolicy"),
            ("ca-certificates-configmaps", "is not converted: name it in a BackendTLSPolicy"),
        ] {
            reader.refuse(&format!("{PREFIX}{field}"), why);
        }
        Service {
            node: name.node.clone(),
            name: name.value.clone(),
            id: None,
            protocol: reader.text(&field("protocol")).map_or_else(|| "http".to_owned(), |at| at.value),
            host: Some(At { value: host, node: name.node.clone() }),
            port,
            path: reader.text(&field("path")),
            retries: reader.number(&field("retries")),
            times: Times {
                connect: reader.number(&field("connect-timeout")),
                read: reader.number(&field("read-timeout")),
                write: reader.number(&field("write-timeout")),
            },
            is_enabled: true,
        }
    }

    fn add_route(
        &mut self,
        ingress: &Node<'a>,
        key: &super::Key,
        host: Option<&At<'a, String>>,
        path: Option<At<'a, String>>,
        path_kind: PathKind,
        service: usize,
    ) -> Scope {
        let index = self.kong.routes.len();
        let annotations = ingress.get("metadata").and_then(|metadata| metadata.get("annotations"));
        // Without any there is nothing to find, as there is in a text.
        let nothing = || ingress.get("kind").unwrap_or_else(|| ingress.clone());
        let reader = Reader::new(annotations.clone().unwrap_or_else(nothing), self.report);
        let field = |field: &str| format!("{PREFIX}{field}");
        let list = |name: &str| -> Vec<At<'a, String>> {
            let Some(at) = reader.text(&field(name)) else { return Vec::new() };
            words(&at.value).map(|word| At { value: word.to_owned(), node: at.node.clone() }).collect()
        };
        let mut unservable = None;
        for (name, why) in [
            ("rewrite", "is not converted: write it as `rewrite` of the GatewayRoute"),
            ("snis", "can't be asked for apart from the host"),
            ("override", "is not converted: Kong itself has given KongIngress up"),
        ] {
            if let Some(node) = annotation(ingress, name) {
                self.report.refuse(&node, why);
                unservable = Some(format!("konghq.com/{name}"));
            }
        }
        for name in ["path-handling", "regex-prefix", "request-buffering", "response-buffering"] {
            reader.warn(
                &field(name),
                "is not converted: bodies are streamed, and paths handled as Kong does by default",
            );
        }
        let mut headers = Vec::new();
        for (name, node) in annotations.iter().flat_map(Node::fields) {
            let Some(header) = name.strip_prefix(PREFIX).and_then(|name| name.strip_prefix("headers."))
            else {
                continue;
            };
            self.report.exact(&node);
            let values =
                words(node.text()).map(|word| At { value: word.to_owned(), node: node.clone() }).collect();
            headers.push((At { value: header.to_owned(), node: node.clone() }, values));
        }
        let protocols: Vec<String> = list("protocols").into_iter().map(|at| at.value).collect();
        let route = Route {
            name: format!("{}-{}", key.1, index + 1),
            id: None,
            service: Some(service),
            protocols: if protocols.is_empty() { vec!["http".into(), "https".into()] } else { protocols },
            methods: list("methods"),
            hosts: host.cloned().into_iter().chain(list("host-aliases")).collect(),
            paths: path.into_iter().collect(),
            path_kind,
            headers,
            strip_path: reader.flag(&field("strip-path")).is_some_and(|at| at.value),
            preserve_host: reader.flag(&field("preserve-host")).is_none_or(|at| at.value),
            https_redirect_status: reader
                .number(&field("https-redirect-status-code"))
                .map_or(426, |at| at.value),
            regex_priority: reader.number(&field("regex-priority")).map_or(0, |at| at.value),
            tags: list("tags").into_iter().map(|at| at.value).collect(),
            node: ingress.clone(),
            unservable,
        };
        self.kong.routes.push(route);
        Scope { route: Some(index), ..Scope::default() }
    }
}
