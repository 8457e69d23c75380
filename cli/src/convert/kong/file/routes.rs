//! Services and routes of a `kong.yml`.

use super::{File, PLAIN};
use crate::convert::{
    kong::model::{PathKind, Route, Service, Times},
    tree::{At, Node, Reader},
};

/// Kong's own, where a service gives no port.
fn usual_port(protocol: &str) -> i64 {
    match protocol {
        "https" | "grpcs" | "wss" | "tls" => 443,
        _ => 80,
    }
}

impl<'a, 'r> File<'a, '_, 'r> {
    pub(super) fn service(&mut self, node: &Node<'a>) {
        let reader = self.defaulted(node.clone(), "service");
        reader.exact(&PLAIN);
        reader.exact(&["id"]);
        let id = node.value()["id"].as_str().map(str::to_owned);
        let name = reader.text("name").map(|name| name.value);
        let name = name
            .or_else(|| id.clone())
            .unwrap_or_else(|| format!("service-{}", self.kong.services.len() + 1));
        self.report.object(node, format!("service {name}"));
        let mut service = self.address(&reader, name, id);
        for name in ["tls_verify", "tls_verify_depth", "tls_sans"] {
            reader.warn(name, "is not converted: where a backend is spoken TLS to, its certificate is always verified, by the system's authorities");
        }
        reader.refuse(
            "ca_certificates",
            "is not converted: name them in `validation.caCertificateRefs` of the BackendTLSPolicy",
        );
        reader.refuse(
            "client_certificate",
            "is not converted: name it in the Gateway's `tls.backend.clientCertificateRef`",
        );
        if let Some(enabled) = reader.flag("enabled").filter(|enabled| !enabled.value) {
            self.report.warn(&enabled.node, "is false: the service and its routes are left out");
            service.is_enabled = false;
        }
        let index = self.kong.services.len();
        self.kong.services.push(service);
        for route in reader.list("routes") {
            self.route(&route, Some(index));
        }
        for plugin in node.list("plugins") {
            self.plugin(plugin, None, Some(node.clone()), None);
        }
    }

    /// `url` is short for the other four.
    fn address(&self, reader: &Reader<'a, 'r>, name: String, id: Option<String>) -> Service<'a> {
        let mut service = Service {
            node: reader.node.clone(),
            name,
            id,
            protocol: reader.text("protocol").map_or_else(|| "http".to_owned(), |at| at.value),
            host: reader.text("host"),
            port: 0,
            path: reader.text("path"),
            retries: reader.number("retries"),
            times: Times {
                connect: reader.number("connect_timeout"),
                read: reader.number("read_timeout"),
                write: reader.number("write_timeout"),
            },
            is_enabled: true,
        };
        let port = reader.number("port").map(|port| port.value);
        if let Some(url) = reader.text("url") {
            match url::split(&url.value) {
                Some(parts) => {
                    service.protocol = parts.scheme;
                    service.host = Some(At { value: parts.host, node: url.node.clone() });
                    service.port = parts.port.unwrap_or(0);
                    service.path = parts.path.map(|path| At { value: path, node: url.node.clone() });
                }
                None => self.report.refuse(&url.node, "is no URL that can be taken apart"),
            }
        }
        if service.port == 0 {
            service.port = port.unwrap_or_else(|| usual_port(&service.protocol));
        }
        service
    }

    /// `service`: the one that it stands in.
    pub(super) fn route(&mut self, node: &Node<'a>, service: Option<usize>) {
        let reader = self.defaulted(node.clone(), "route");
        reader.exact(&PLAIN);
        reader.exact(&["id"]);
        let id = node.value()["id"].as_str().map(str::to_owned);
        let name = reader.text("name").map(|name| name.value).or_else(|| id.clone());
        let name = name.unwrap_or_else(|| {
            let of =
                service.and_then(|index| self.kong.services.get(index)).map_or("", |service| &*service.name);
            format!("{of}-{}", self.kong.routes.len() + 1).trim_start_matches('-').to_owned()
        });
        self.report.object(node, format!("route {name}"));
        let mut unservable = None;
        let mut lacking = |name: &str, why: &str| {
            if let Some(node) =
                reader.find(name).filter(|node| node.leaves().iter().any(|leaf| !is_empty(leaf)))
            {
                self.report.refuse(&node, why);
                unservable = Some(format!("{name} of Kong's route"));
            }
        };
        lacking("snis", "can't be asked for apart from the host: give the route `hosts`");
        lacking("sources", "is not converted: match by address in an AuthPolicy");
        lacking("destinations", "is not converted: give the Gateway another listener");
        lacking("expression", "is not converted: write it as hosts, paths, methods and headers");
        lacking("priority", "belongs to `expression`");
        let service = service.or_else(|| self.named_service(&reader));
        if let Some(handling) = reader.text("path_handling").filter(|at| at.value != "v0") {
            self.report
                .warn(&handling.node, "is v1, which Kong's default router takes for v0: so it is done here");
        }
        for name in ["request_buffering", "response_buffering"] {
            if reader.flag(name).is_some_and(|flag| flag.value) {
                reader.warn(name, "is not done: bodies are streamed");
            }
        }
        let protocols: Vec<String> = reader.texts("protocols").into_iter().map(|at| at.value).collect();
        let route = Route {
            name,
            id,
            service,
            protocols: if protocols.is_empty() { vec!["http".into(), "https".into()] } else { protocols },
            methods: reader.texts("methods"),
            hosts: reader.texts("hosts"),
            paths: self.paths(&reader),
            path_kind: PathKind::Kong,
            headers: self.headers(&reader),
            strip_path: reader.flag("strip_path").is_none_or(|flag| flag.value),
            preserve_host: reader.flag("preserve_host").is_some_and(|flag| flag.value),
            https_redirect_status: reader.number("https_redirect_status_code").map_or(426, |at| at.value),
            regex_priority: reader.number("regex_priority").map_or(0, |at| at.value),
            tags: node.list("tags").iter().map(|tag| tag.text().to_owned()).collect(),
            node: node.clone(),
            unservable,
        };
        self.kong.routes.push(route);
        for plugin in node.list("plugins") {
            self.plugin(plugin, Some(node.clone()), None, None);
        }
    }

    fn named_service(&self, reader: &Reader<'a, 'r>) -> Option<usize> {
        let node = reader.find("service")?;
        self.report.exact(&node);
        let wanted = super::reference(&node);
        let found = self
            .kong
            .services
            .iter()
            .position(|service| service.name == wanted || service.id.as_deref() == Some(wanted));
        if found.is_none() {
            self.report.refuse(&node, "names no service of the file");
        }
        found
    }

    fn paths(&self, reader: &Reader<'a, 'r>) -> Vec<At<'a, String>> {
        let mut paths = reader.texts("paths");
        for path in &mut paths {
            let is_plain = |text: &str| {
                text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~/%-".contains(&byte))
            };
            if self.is_old && !path.value.starts_with('~') && !is_plain(&path.value) {
                // What Kong 3 does when it loads such a file.
                path.value = format!("~{}", path.value);
            } else if path.value.starts_with('/') && path.value.contains(['(', '[', '*', '\\', '^', '$', '|'])
            {
                self.report.warn(
                    &path.node,
                    "looks like a regular expression, but without `~` Kong 3 matches it letter by letter: so it is done here",
                );
            }
        }
        paths
    }

    fn headers(&self, reader: &Reader<'a, 'r>) -> Vec<(At<'a, String>, Vec<At<'a, String>>)> {
        let Some(below) = reader.below("headers") else { return Vec::new() };
        let header =
            |(name, node): (&str, Node<'a>)| (At { value: name.to_owned(), node }, below.texts(name));
        below.node.fields().into_iter().map(header).collect()
    }
}

fn is_empty(leaf: &Node<'_>) -> bool {
    leaf.value().as_array().is_some_and(Vec::is_empty)
        || leaf.value().as_object().is_some_and(serde_json::Map::is_empty)
}

mod url {
    //! As Kong takes a URL apart.

    #[derive(Debug, PartialEq)]
    pub(super) struct Parts {
        pub(super) scheme: String,
        pub(super) host: String,
        pub(super) port: Option<i64>,
        pub(super) path: Option<String>,
    }

    pub(super) fn split(url: &str) -> Option<Parts> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = match rest.find('/') {
            Some(at) => (&rest[..at], Some(rest[at..].to_owned())),
            None => (rest, None),
        };
        let has_port = authority.rfind(':').filter(|at| !authority[*at..].contains(']'));
        let (host, port) = match has_port {
            Some(at) => (&authority[..at], Some(authority[at + 1..].parse().ok()?)),
            None => (authority, None),
        };
        (!host.is_empty()).then(|| Parts {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_owned(),
            port,
            path: path.map(|path| path.split(['?', '#']).next().unwrap_or_default().to_owned()),
        })
    }

    #[cfg(test)]
    mod tests {
        use super::{Parts, split};

        #[test]
        fn urls() {
            let parts = |scheme: &str, host: &str, port, path: Option<&str>| {
                Some(Parts { scheme: scheme.into(), host: host.into(), port, path: path.map(str::to_owned) })
            };
            for (url, wanted) in [
                ("http://orders-svc:3000", parts("http", "orders-svc", Some(3000), None)),
                ("https://api.example.com/v1?x=1", parts("https", "api.example.com", None, Some("/v1"))),
                ("HTTP://[::1]:80/", parts("http", "[::1]", Some(80), Some("/"))),
                ("http://[::1]/a", parts("http", "[::1]", None, Some("/a"))),
                ("orders", None),
                ("http://", None),
                ("http://a:b", None),
            ] {
                assert_eq!(split(url), wanted, "{url}");
            }
        }
    }
}
