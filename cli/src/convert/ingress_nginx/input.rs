//! What the input holds: Ingresses, and the objects that they name.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_controller::translate::nginx::PREFIX;

use crate::convert::{
    forms::is_host,
    report::Report,
    tree::{At, Node, Source},
};

use super::annotations::Annotations;

/// A namespace and a name.
pub(super) type Key = (String, String);

#[derive(Debug, Default)]
pub(super) struct Input<'a> {
    /// The oldest first, as far as the input tells, then by namespace and name.
    pub(super) ingresses: Vec<Ingress<'a>>,
    pub(super) services: BTreeMap<Key, Node<'a>>,
    pub(super) secrets: BTreeMap<Key, Node<'a>>,
    pub(super) config_maps: BTreeMap<Key, Node<'a>>,
    /// `data` of the controller's ConfigMap.
    pub(super) globals: Option<Node<'a>>,
}

#[derive(Debug)]
pub(super) struct Ingress<'a> {
    pub(super) node: Node<'a>,
    pub(super) namespace: String,
    pub(super) name: String,
    created: String,
    pub(super) tls: Vec<Tls<'a>>,
    pub(super) paths: Vec<Path<'a>>,
}

#[derive(Debug)]
pub(super) struct Tls<'a> {
    pub(super) node: Node<'a>,
    /// In lower case. Empty: all of the rules.
    pub(super) hosts: Vec<String>,
    pub(super) secret: Option<At<'a, String>>,
}

/// One path of one host.
#[derive(Debug)]
pub(super) struct Path<'a> {
    pub(super) node: Node<'a>,
    /// In lower case; empty: any.
    pub(super) host: String,
    pub(super) text: String,
    pub(super) kind: PathKind,
    /// `None`: it leads to something that is no Service, or nobody knows to which port.
    pub(super) target: Option<Target>,
    /// For what the other paths of the host leave.
    pub(super) is_default: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PathKind {
    Exact,
    Prefix,
    /// What begins with the text.
    Implementation,
}

/// A Service of the Ingress's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) service: String,
    pub(super) port: i64,
}

impl<'a> Input<'a> {
    /// # Errors
    /// A sentence: nothing is an Ingress.
    pub(super) fn read(sources: &'a [Source], report: &Report, namespace: &str) -> Result<Self, String> {
        let mut input = Input::default();
        let nodes: Vec<Node<'a>> = sources.iter().map(Node::root).collect();
        for node in &nodes {
            let key = key(node, namespace);
            let kind = node.value()["kind"].as_str().unwrap_or("object");
            report.object(node, format!("{kind} {}/{}", key.0, key.1));
            if kind == "Ingress" {
                continue;
            }
            // What is no Ingress stays as it is, but for the ConfigMap of the controller.
            match kind {
                "Service" => drop(input.services.insert(key, node.clone())),
                "Secret" => drop(input.secrets.insert(key, node.clone())),
                "ConfigMap" if is_controllers(&key.1) => {
                    for name in ["apiVersion", "kind", "metadata"] {
                        node.get(name).iter().for_each(|field| report.exact(field));
                    }
                    input.globals = node.get("data");
                    continue;
                }
                "ConfigMap" => drop(input.config_maps.insert(key, node.clone())),
                _ => {}
            }
            report.exact(node);
        }
        for node in nodes.iter().filter(|node| node.value()["kind"] == "Ingress") {
            let ingress = input.ingress(node, report, namespace);
            input.ingresses.push(ingress);
        }
        if input.ingresses.is_empty() {
            return Err("there is no Ingress in the files that are given".into());
        }
        input.ingresses.sort_by(|one, other| one.age().cmp(&other.age()));
        Ok(input)
    }

    fn ingress(&self, node: &Node<'a>, report: &Report, namespace: &str) -> Ingress<'a> {
        for name in ["apiVersion", "kind", "status"] {
            node.get(name).iter().for_each(|field| report.exact(field));
        }
        let metadata = node.get("metadata");
        for (name, field) in metadata.iter().flat_map(Node::fields) {
            match name {
                "annotations" => tell_others(&field, report),
                _ => report.exact(&field),
            }
        }
        let created = metadata.and_then(|metadata| metadata.get("creationTimestamp"));
        let (namespace, name) = key(node, namespace);
        let mut ingress = Ingress {
            node: node.clone(),
            namespace,
            name,
            created: created.map_or_else(String::new, |at| at.text().to_owned()),
            tls: Vec::new(),
            paths: Vec::new(),
        };
        let Some(spec) = node.get("spec") else { return ingress };
        for name in ["ingressClassName", "tls", "rules"] {
            spec.get(name).iter().for_each(|field| report.exact(field));
        }
        for tls in spec.list("tls") {
            let secret = tls.get("secretName").filter(|secret| !secret.text().is_empty());
            ingress.tls.push(Tls {
                hosts: tls.list("hosts").iter().map(|host| host.text().to_ascii_lowercase()).collect(),
                secret: secret.map(|node| At { value: node.text().to_owned(), node }),
                node: tls,
            });
        }
        let default = spec.get("defaultBackend").or_else(|| spec.get("backend"));
        let default = default.map(|node| {
            report.exact(&node);
            (self.target(&ingress.namespace, &node, report), node)
        });
        let rules = spec.list("rules");
        for rule in &rules {
            let host = rule.get("host").map_or_else(String::new, |host| host.text().to_ascii_lowercase());
            if !host.is_empty() && !is_host(host.strip_prefix("*.").unwrap_or(&host)) {
                report.refuse(rule, "is left out: its host is no host name. Fill it in first");
                continue;
            }
            let paths = rule.get("http").map_or_else(Vec::new, |http| http.list("paths"));
            for node in paths {
                let text = node.get("path").map_or("/", |path| path.text());
                let backend = node.get("backend");
                ingress.paths.push(Path {
                    host: host.clone(),
                    text: if text.is_empty() { "/".to_owned() } else { text.to_owned() },
                    kind: match node.value()["pathType"].as_str() {
                        Some("Exact") => PathKind::Exact,
                        Some("Prefix") => PathKind::Prefix,
                        _ => PathKind::Implementation,
                    },
                    target: backend.and_then(|backend| self.target(&ingress.namespace, &backend, report)),
                    is_default: false,
                    node,
                });
            }
            if let Some((target, node)) = &default {
                ingress.paths.push(Path::default(node, host, target.clone()));
            }
        }
        if let Some((target, node)) = &default
            && rules.is_empty()
        {
            ingress.paths.push(Path::default(node, String::new(), target.clone()));
        }
        ingress
    }

    /// In the shape of today, or of v1beta1.
    fn target(&self, namespace: &str, node: &Node<'a>, report: &Report) -> Option<Target> {
        let (name, port) = match node.get("service") {
            Some(service) => {
                let port = service.get("port")?;
                (service.get("name")?, port.get("number").or_else(|| port.get("name"))?)
            }
            None if node.get("serviceName").is_some() => (node.get("serviceName")?, node.get("servicePort")?),
            None => {
                report.refuse(node, "is not converted: a backend is a Service. Its path answers 503");
                return None;
            }
        };
        let key = (namespace.to_owned(), name.text().to_owned());
        let service = self.services.get(&key);
        if service.is_some_and(|service| service.value()["spec"]["type"] == "ExternalName") {
            report.refuse(node, "is outside the cluster and not converted: write a GatewayRoute that leads there and set externalNames.enabled in the GatewayConfig. Its path answers 503");
            return None;
        }
        let number = port.value().as_i64().or_else(|| port.text().parse().ok());
        let number = number.or_else(|| {
            let ports = service?.get("spec")?.list("ports");
            let found = ports.iter().find(|one| one.value()["name"] == port.text())?;
            found.value()["port"].as_i64()
        });
        match number.filter(|number| (1..=65535).contains(number)) {
            Some(port) => Some(Target { service: key.1, port }),
            None => {
                report.refuse(&port, format!("is not converted: no file holds the Service {} with a port of that name. Its path answers 503", key.1));
                None
            }
        }
    }

    /// A setting of the controller.
    pub(super) fn global(&self, name: &str, report: &Report) -> Option<At<'a, String>> {
        let node = self.globals.as_ref()?.get(name)?;
        report.exact(&node);
        let value = node.value().as_str().map_or_else(|| node.value().to_string(), str::to_owned);
        Some(At { value, node })
    }
}

impl<'a> Ingress<'a> {
    fn age(&self) -> (&str, &str, &str) {
        (&self.created, &self.namespace, &self.name)
    }

    pub(super) fn key(&self, name: &str) -> Key {
        (self.namespace.clone(), name.to_owned())
    }

    /// But for those to do without.
    pub(super) fn annotations<'r>(
        &self,
        report: &'r Report,
        without: &'r BTreeSet<String>,
    ) -> Annotations<'a, 'r> {
        let metadata = self.node.get("metadata");
        Annotations::new(metadata.and_then(|metadata| metadata.get("annotations")), report, without)
    }
}

impl<'a> Path<'a> {
    fn default(node: &Node<'a>, host: String, target: Option<Target>) -> Self {
        let (node, text, kind) = (node.clone(), "/".to_owned(), PathKind::Prefix);
        Path { node, host, text, kind, target, is_default: true }
    }
}

fn key(node: &Node<'_>, namespace: &str) -> Key {
    let metadata = &node.value()["metadata"];
    let text = |field: &str| metadata[field].as_str().map(str::to_owned);
    (text("namespace").unwrap_or_else(|| namespace.to_owned()), text("name").unwrap_or_default())
}

/// Names that the chart and the manifests of ingress-nginx give the ConfigMap.
pub(super) fn is_controllers(name: &str) -> bool {
    name == "nginx-configuration"
        || name.ends_with("ingress-nginx-controller")
        || name.ends_with("nginx-ingress-controller")
}

/// Annotations of others, which may stand for somebody who looks at Ingresses.
fn tell_others(annotations: &Node<'_>, report: &Report) {
    for (name, node) in annotations.fields() {
        if name.starts_with(PREFIX) {
            continue;
        }
        if name.starts_with("cert-manager.io/") || name == "kubernetes.io/tls-acme" {
            report.warn(&node, "is for cert-manager, which keeps the certificate for as long as the Ingress is there: write a Certificate before you delete it, or put the annotation on the Gateway");
        } else if name.starts_with("external-dns.alpha.kubernetes.io/") {
            report.warn(&node, "is for external-dns, which does not read GatewayRoutes: put the names on the Service of the Gateway");
        } else if name.starts_with("nginx.org/") || name.starts_with("nginx.com/") {
            report.refuse(
                &node,
                "is for another controller, that of F5 NGINX: ingress-nginx does nothing with it",
            );
        } else {
            report.exact(&node);
        }
    }
}
