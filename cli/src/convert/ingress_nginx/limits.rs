//! `limit-*` to a RateLimitPolicy for each Ingress: its paths and hosts share a count, as they shared a zone.

use gatehouse_controller::translate::nginx::words;
use serde_json::{Value, json};

use super::{Conversion, annotations::Annotations, treatment::Treatment};
use crate::convert::manifests::{File, own};

const BURST_MULTIPLIER: i64 = 5;

impl<'a> Conversion<'a, '_> {
    pub(super) fn limits(
        &mut self,
        index: usize,
        annotations: &Annotations<'a, '_>,
        treatment: &mut Treatment<'a>,
    ) {
        let multiplier = annotations.number("limit-burst-multiplier").map(|at| at.value);
        let multiplier = multiplier.filter(|value| *value > 0).unwrap_or(BURST_MULTIPLIER);
        let exempt = annotations.filled("limit-allowlist").or_else(|| annotations.filled("limit-whitelist"));
        let ranges: Vec<&str> = exempt.iter().flat_map(|at| words(&at.value)).collect();
        let mut common = json!({"key": [{"clientIP": {"ipv6Prefix": 128}}]});
        if !ranges.is_empty() {
            common["when"] = json!([{"clientIP": {"ranges": ranges}, "not": true}]);
        }
        let with = |fields: Value| {
            let mut limit = common.clone();
            if let (Some(limit), Value::Object(fields)) = (limit.as_object_mut(), fields) {
                limit.extend(fields);
            }
            limit
        };
        let mut spec = json!({"store": "Local"});
        let mut limits = Vec::new();
        for (name, per) in [("limit-rps", "1s"), ("limit-rpm", "1m")] {
            let Some(at) = annotations.number(name).filter(|at| at.value > 0) else { continue };
            self.report.warn(&at.node, "is for all pods of the Gateway together, which divide it among them; each pod of ingress-nginx let so many pass");
            // nginx lets a burst pass besides the request that it measures by.
            limits.push(with(json!({
                "name": name, "requests": at.value, "per": per, "burst": at.value * multiplier + 1,
            })));
        }
        if !limits.is_empty() {
            spec["limits"] = json!(limits);
        }
        if let Some(at) = annotations.number("limit-connections").filter(|at| at.value > 0) {
            self.report.warn(&at.node, "counts requests under way, whatever the connections");
            spec["concurrency"] = json!([with(json!({"name": "limit-connections", "requests": at.value}))]);
        }
        if limits.is_empty() && spec.get("concurrency").is_none() {
            return;
        }
        let status = self.input.global("limit-req-status-code", self.report);
        let status = status.and_then(|at| at.value.parse::<i64>().ok()).unwrap_or(503);
        spec["response"] = json!({"status": status});
        let ingress = &self.input.ingresses[index];
        let name = self.names.unique("RateLimitPolicy", &format!("{}-limits", ingress.name));
        self.manifests.add(File::Policies, own("RateLimitPolicy", &ingress.namespace, &name, &spec));
        treatment.limits = Some(name);
    }
}
