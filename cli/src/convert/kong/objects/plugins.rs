//! KongPlugins, and the objects that name them.

use super::{Key, Objects, annotation, words};
use crate::convert::{
    kong::model::{Plugin, Scope},
    tree::{At, Node},
};

/// A KongPlugin or KongClusterPlugin.
#[derive(Debug, Clone)]
pub(in crate::convert::kong) struct Declared<'a> {
    node: Node<'a>,
    name: At<'a, String>,
    /// Why its configuration is not known here.
    unreadable: Option<String>,
    is_global: bool,
}

/// An object that names plugins.
#[derive(Debug)]
pub(in crate::convert::kong) struct Bound<'a> {
    pub(super) namespace: String,
    pub(super) annotation: Node<'a>,
    pub(super) scopes: Vec<Scope>,
}

impl<'a> Objects<'a, '_, '_> {
    /// A KongClusterPlugin has no namespace.
    pub(super) fn declare(&mut self, key: Key, node: &Node<'a>) {
        let reader = self.reader(node);
        let is_cluster = node.value()["kind"] == "KongClusterPlugin";
        let Some(name) = reader.text("plugin") else {
            self.report.refuse(node, "names no plugin");
            return;
        };
        reader.exact(&["instance_name", "protocols", "run_on"]);
        if reader.flag("disabled").is_some_and(|at| at.value) {
            // It does nothing there either.
            self.report.exact(node);
            return;
        }
        reader.refuse("ordering", "is of Kong's Enterprise edition and is not converted");
        let mut unreadable = None;
        for field in ["configFrom", "configPatches"] {
            if let Some(from) = reader.find(field) {
                self.report.refuse(&from, "is not read: write what the Secret holds into `config`");
                unreadable = Some(format!("takes its configuration from a Secret ({field})"));
            }
        }
        let is_global = is_cluster && node.value()["metadata"]["labels"]["global"] == "true";
        let namespace = if is_cluster { String::new() } else { key.0 };
        let declared = Declared { node: node.clone(), name, unreadable, is_global };
        self.plugins.insert((namespace, key.1), declared);
    }

    pub(super) fn name_plugins(&mut self, node: &Node<'a>, scopes: Vec<Scope>) {
        if let Some(annotation) = annotation(node, "plugins") {
            let namespace = self.key(node).0;
            self.bound.push(Bound { namespace, annotation, scopes });
        }
    }

    /// Makes a plugin of each object that one is named on.
    pub(super) fn bind(&mut self) {
        for (_, declared) in self.plugins.iter().filter(|(_, declared)| declared.is_global) {
            self.kong.plugins.push(declared.plugin(Scope::default()));
        }
        let mut used = Vec::new();
        for bound in std::mem::take(&mut self.bound) {
            self.report.exact(&bound.annotation);
            for word in words(bound.annotation.text()) {
                let (namespace, name) = word.split_once(':').unwrap_or((&bound.namespace, word));
                let keys = [(namespace.to_owned(), name.to_owned()), (String::new(), name.to_owned())];
                let Some(declared) = keys.iter().find_map(|key| self.plugins.get(key)) else {
                    self.report.refuse(&bound.annotation, format!("names {word}, which is in no file"));
                    // Nobody knows what it would have kept out.
                    let missing = At { value: word.to_owned(), node: bound.annotation.clone() };
                    for scope in &bound.scopes {
                        self.kong.plugins.push(Plugin {
                            node: bound.annotation.clone(),
                            name: missing.clone(),
                            config: None,
                            defaults: Vec::new(),
                            scope: *scope,
                            unreadable: Some("is in no file".into()),
                        });
                    }
                    continue;
                };
                for scope in &bound.scopes {
                    used.push((declared.node.place(), *scope));
                    self.kong.plugins.push(declared.plugin(*scope));
                }
            }
        }
        self.refuse_combinations(&used);
    }

    /// Named on a consumer and on a route or service, a plugin runs only where both meet.
    fn refuse_combinations(&mut self, used: &[(String, Scope)]) {
        for plugin in &mut self.kong.plugins {
            let place = plugin.node.place();
            let (mut of_consumer, mut of_others) = (false, false);
            for (_, scope) in used.iter().filter(|(known, _)| *known == place) {
                of_consumer |= scope.consumer.is_some();
                of_others |= scope.consumer.is_none();
            }
            if of_consumer && of_others {
                plugin.unreadable = Some(
                    "is named on a consumer and on what it asks for: Kong runs it where both meet".into(),
                );
            }
        }
    }
}

impl<'a> Declared<'a> {
    fn plugin(&self, scope: Scope) -> Plugin<'a> {
        Plugin {
            node: self.node.clone(),
            name: self.name.clone(),
            config: self.node.get("config"),
            defaults: Vec::new(),
            scope,
            unreadable: self.unreadable.clone(),
        }
    }
}
