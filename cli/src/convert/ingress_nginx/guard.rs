//! Who may send requests: addresses, passwords and somebody who is asked, to an AuthPolicy for each Ingress.

use gatehouse_controller::translate::nginx::ranges;
use serde_json::json;

use super::{Conversion, annotations::Annotations, treatment::Treatment};
use crate::convert::manifests::{File, own};

impl<'a> Conversion<'a, '_> {
    pub(super) fn guard(
        &mut self,
        index: usize,
        annotations: &Annotations<'a, '_>,
        treatment: &mut Treatment<'a>,
    ) {
        let ingress = &self.input.ingresses[index];
        let names = ["allowlist-source-range", "whitelist-source-range"];
        let allowed = names.iter().find_map(|name| annotations.filled(name));
        let allowed = allowed.or_else(|| self.input.global("whitelist-source-range", self.report));
        let denied = annotations.filled("denylist-source-range");
        let (mut rule, mut spec) = (json!({}), json!({}));
        for (at, is_allowed) in [(&allowed, true), (&denied, false)] {
            let Some(at) = at else { continue };
            let name = if is_allowed { "whitelist-source-range" } else { "denylist-source-range" };
            match ranges(&at.value) {
                Ok(ranges) if is_allowed => rule["clientIPs"] = json!(ranges),
                Ok(ranges) => spec["denyClientIPs"] = json!(ranges),
                Err(word) => {
                    let why = format!("names {word}, which is no range of addresses");
                    self.close(&at.node, name, &why, &mut treatment.missing);
                }
            }
        }
        let asks = annotations.filled("auth-url");
        let kind = annotations.filled("auth-type");
        if let (Some(asks), Some(kind)) = (&asks, &kind) {
            let why = "has to succeed besides another method, and methods of a policy are alternatives";
            self.close(&asks.node, "auth-url", why, &mut treatment.missing);
            self.close(&kind.node, "auth-type", why, &mut treatment.missing);
        }
        let has_method = asks.is_some() || kind.is_some();
        if let Some(at) = annotations.filled("satisfy").filter(|at| at.value == "any")
            && has_method
            && allowed.is_some()
        {
            let why = "is any: an address or a credential would do, and a policy asks for both";
            self.close(&at.node, "satisfy", why, &mut treatment.missing);
        }
        if let Some(kind) = &kind {
            match &*kind.value {
                "basic" => {
                    rule["groups"] = json!([self.passwords(index, annotations)]);
                    spec["anyOf"] = json!([{"basic": {}}]);
                }
                _ => self.close(&kind.node, "auth-type", "is not basic", &mut treatment.missing),
            }
        }
        if let Some(asks) = &asks {
            match self.external(index, asks, annotations) {
                Ok(method) => {
                    let reference = &method["backendRef"];
                    if let (Some(name), Some(port)) = (reference["name"].as_str(), reference["port"].as_i64())
                    {
                        self.manifests.service(File::Local, &ingress.namespace, name, port, false);
                    }
                    spec["anyOf"] = json!([{"external": method}]);
                }
                Err((name, node, why)) => self.close(&node, name, &why, &mut treatment.missing),
            }
        }
        if !treatment.missing.is_empty() {
            return;
        }
        if rule.as_object().is_some_and(|rule| !rule.is_empty()) {
            spec["authorize"] = json!([rule]);
        }
        if spec.as_object().is_none_or(serde_json::Map::is_empty) {
            return;
        }
        if !has_method {
            spec["anonymous"] = json!("Allow");
        }
        let name = self.names.unique("AuthPolicy", &format!("{}-auth", ingress.name));
        self.manifests.add(File::Policies, own("AuthPolicy", &ingress.namespace, &name, &spec));
        treatment.auth = Some(name);
    }
}
