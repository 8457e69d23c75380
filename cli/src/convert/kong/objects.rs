//! The form that Kong's ingress controller reads (Ingress with annotations, KongPlugin, KongConsumer, ...) to Kong's
//! entities, as that controller makes them.
//!
//! What it takes from Kubernetes as it is (Services, Deployments) stays as it is.

mod consumers;
mod ingress;
mod plugins;

use std::collections::BTreeMap;

use super::model::Kong;
use crate::convert::{
    report::Report,
    tree::{Node, Reader, Source},
};

/// What every annotation of Kong begins with.
pub(super) const PREFIX: &str = "konghq.com/";

/// Kinds of Kong's that are not converted, and what to do.
const REFUSED: [(&str, &str); 11] = [
    ("KongIngress", "is not converted: Kong itself has given it up; use annotations"),
    ("TCPIngress", "is not converted: use a TCPRoute or TLSRoute"),
    ("UDPIngress", "is not converted: use a UDPRoute"),
    ("KongConsumerGroup", "is not converted: give consumers a tier"),
    ("KongUpstreamPolicy", "is not converted: requests go to the less busy of two endpoints"),
    ("KongVault", "is not converted: make the Secrets that it stands for"),
    ("KongCustomEntity", "is not converted"),
    ("KongServiceFacade", "is not converted: name the Service itself"),
    ("KongLicense", "is not needed"),
    ("IngressClassParameters", "is not converted"),
    (
        "HTTPRoute",
        "is served as it is under a Gateway of class gatehouse; its plugins are not: attach policies to it",
    ),
];

/// An object's namespace and name.
type Key = (String, String);

pub(super) struct Objects<'a, 'k, 'r> {
    report: &'r Report,
    kong: &'k mut Kong<'a>,
    namespace: &'r str,
    services: BTreeMap<Key, Node<'a>>,
    secrets: BTreeMap<Key, Node<'a>>,
    plugins: BTreeMap<Key, plugins::Declared<'a>>,
    /// Positions of Kong services by Service and port.
    made: BTreeMap<(Key, String), usize>,
    /// Which plugins stand where.
    bound: Vec<plugins::Bound<'a>>,
}

/// Whether a document is one of these, and not a `kong.yml`.
pub(crate) fn is_object(source: &Source) -> bool {
    let value = &source.document.value;
    value["apiVersion"].is_string() && value["kind"].is_string()
}

/// `namespace`: of objects that name none.
pub(crate) fn read<'a>(sources: &[&'a Source], report: &Report, namespace: &str, kong: &mut Kong<'a>) {
    let mut objects = Objects {
        report,
        kong,
        namespace,
        services: BTreeMap::new(),
        secrets: BTreeMap::new(),
        plugins: BTreeMap::new(),
        made: BTreeMap::new(),
        bound: Vec::new(),
    };
    let nodes: Vec<Node<'a>> = sources.iter().map(|source| Node::root(source)).collect();
    for node in &nodes {
        objects.head(node);
    }
    for kind in ["KongConsumer", "Ingress"] {
        for node in nodes.iter().filter(|node| node.value()["kind"] == kind) {
            match kind {
                "Ingress" => objects.ingress(node),
                _ => objects.consumer(node),
            }
        }
    }
    objects.bind();
}

impl<'a, 'r> Objects<'a, '_, 'r> {
    fn reader(&self, node: &Node<'a>) -> Reader<'a, 'r> {
        Reader::new(node.clone(), self.report)
    }

    fn key(&self, node: &Node<'a>) -> Key {
        let metadata = &node.value()["metadata"];
        let text = |field: &str| metadata[field].as_str().map(str::to_owned);
        (text("namespace").unwrap_or_else(|| self.namespace.to_owned()), text("name").unwrap_or_default())
    }

    /// What all objects have, and what is done with those that others refer to.
    fn head(&mut self, node: &Node<'a>) {
        let kind = node.value()["kind"].as_str().unwrap_or_default();
        let key = self.key(node);
        self.report.object(node, format!("{kind} {}/{}", key.0, key.1));
        let reader = self.reader(node);
        reader.exact(&["apiVersion", "kind", "status"]);
        if let Some(metadata) = reader.below("metadata") {
            for (name, field) in metadata.node.fields() {
                match name {
                    "annotations" => self.annotations(&field),
                    _ => self.report.exact(&field),
                }
            }
        }
        if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == kind) {
            self.report.refuse(node, *why);
            return;
        }
        match kind {
            "Service" => {
                self.plain(node);
                self.services.insert(key, node.clone());
            }
            "Secret" => {
                self.plain(node);
                self.secrets.insert(key, node.clone());
            }
            "KongPlugin" | "KongClusterPlugin" => self.declare(key, node),
            "KongConsumer" | "Ingress" => {}
            // It means nothing to Kong either.
            _ => self.plain(node),
        }
    }

    /// Kubernetes' own: it stays as it is, but for what Kong's annotations ask of it.
    fn plain(&self, node: &Node<'a>) {
        for (_, field) in node.fields().into_iter().filter(|(name, _)| *name != "metadata") {
            self.report.exact(&field);
        }
    }

    /// Those of others are none of ours. Kong's own are marked by who reads them.
    fn annotations(&self, node: &Node<'a>) {
        for (name, field) in node.fields() {
            if !name.starts_with(PREFIX) {
                self.report.exact(&field);
            }
        }
    }
}

/// An annotation of Kong's, without its prefix; unmarked.
pub(super) fn annotation<'a>(node: &Node<'a>, name: &str) -> Option<Node<'a>> {
    node.get("metadata")?.get("annotations")?.get(&format!("{PREFIX}{name}"))
}

/// A list in a text.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}
