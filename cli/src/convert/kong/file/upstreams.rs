//! How an upstream shares requests among its targets, as a TrafficPolicy says it.

use serde_json::{Value, json};

use super::File;
use crate::convert::tree::{Node, Reader};

/// Thresholds, which are off at 0.
const THRESHOLDS: [&str; 4] = ["successes", "tcp_failures", "timeouts", "http_failures"];

impl<'a> File<'a, '_, '_> {
    /// Without `targetRefs`. `None`: nothing but what is so by itself.
    pub(super) fn traffic(&self, upstream: &Reader<'a, '_>) -> Option<Value> {
        let mut spec = json!({});
        if let Some(balancing) = self.balancing(upstream) {
            spec["loadBalancing"] = balancing;
        }
        if let Some(checks) = upstream.below("healthchecks")
            && let Some(checks) = self.health_checks(&checks)
        {
            spec["healthCheck"] = checks;
        }
        spec.as_object().is_some_and(|spec| !spec.is_empty()).then_some(spec)
    }

    fn balancing(&self, upstream: &Reader<'a, '_>) -> Option<Value> {
        let algorithm = upstream.text("algorithm");
        let on = upstream.text("hash_on").filter(|on| on.value != "none");
        let text = |name: &str| upstream.text(name).map(|at| at.value);
        if upstream.text("hash_fallback").is_some_and(|at| at.value != "none") {
            upstream.warn(
                "hash_fallback",
                "is not converted: what lacks the key goes to the less busy of two endpoints",
            );
        }
        upstream.exact(&["hash_fallback_header", "hash_fallback_query_arg", "hash_fallback_uri_capture"]);
        let (header, cookie) = (text("hash_on_header"), text("hash_on_cookie"));
        upstream.exact(&["hash_on_query_arg", "hash_on_uri_capture"]);
        upstream.warn("hash_on_cookie_path", "is /");
        if let Some(on) = on {
            let key = match (&*on.value, header, cookie) {
                ("ip", ..) => json!({"clientIP": {"ipv6Prefix": 128}}),
                ("consumer", ..) => json!({"consumer": {}}),
                ("header", Some(name), _) => json!({"header": {"name": name}}),
                // Kong makes the cookie where there is none.
                ("cookie", _, Some(name)) => json!({"cookie": {"name": name, "ttl": "0s"}}),
                _ => {
                    self.report.refuse(&on.node, format!("is {}, by which no endpoint is chosen here: requests of one client go to several", on.value));
                    return None;
                }
            };
            return Some(json!({"type": "ConsistentHash", "consistentHash": key}));
        }
        match &*algorithm.as_ref()?.value {
            "round-robin" => Some(json!({"type": "RoundRobin"})),
            "least-connections" => Some(json!({"type": "LeastRequest"})),
            _ => {
                upstream.warn(
                    "algorithm",
                    "becomes least requests: of two endpoints that are drawn the less busy one is taken",
                );
                None
            }
        }
    }

    fn health_checks(&self, checks: &Reader<'a, '_>) -> Option<Value> {
        let is_on = |leaf: &Node<'_>| {
            let name = leaf.path().rsplit('.').next().unwrap_or_default();
            THRESHOLDS.contains(&name) && leaf.value().as_i64().is_some_and(|count| count > 0)
        };
        self.report.exact(&checks.node);
        let mut made = json!({});
        for (part, find) in [("active", active as fn(&Reader<'_, '_>) -> Option<Value>), ("passive", passive)]
        {
            let Some(below) = checks.below(part) else { continue };
            if !below.node.leaves().iter().any(is_on) {
                continue;
            }
            match find(&below) {
                Some(check) => {
                    let what = if part == "active" {
                        "takes any other status than that of a healthy one for a failure"
                    } else {
                        "counts failures one after the other, and keeps an endpoint out for 30 s, longer each time"
                    };
                    self.report.warn(&below.node, what);
                    made[part] = check;
                }
                None => self.report.refuse(
                    &below.node,
                    "is not converted: a check needs an interval, and a threshold of failures",
                ),
            }
        }
        checks.warn("threshold", "is not converted: while no endpoint is fit, requests go to any");
        made.as_object().is_some_and(|made| !made.is_empty()).then_some(made)
    }
}

fn active(check: &Reader<'_, '_>) -> Option<Value> {
    let (healthy, unhealthy) = (check.below("healthy"), check.below("unhealthy"));
    let count = |part: &Option<Reader<'_, '_>>, names: &[&str]| {
        let counts = names.iter().filter_map(|name| part.as_ref()?.number(name));
        counts.map(|at| at.value).filter(|count| *count > 0).min()
    };
    // One round asks all, so the shorter interval counts.
    let intervals = [count(&healthy, &["interval"]), count(&unhealthy, &["interval"])];
    let interval = intervals.into_iter().flatten().min()?.min(3600);
    let timeout = check.number("timeout").map_or(1, |at| at.value).clamp(1, interval);
    let mut made = json!({"interval": format!("{interval}s"), "timeout": format!("{timeout}s")});
    made["healthyThreshold"] = json!(count(&healthy, &["successes"]).unwrap_or(1).min(100));
    made["unhealthyThreshold"] =
        json!(count(&unhealthy, &["http_failures", "tcp_failures", "timeouts"])?.min(100));
    if check.text("type").is_some_and(|kind| kind.value == "tcp") {
        made["tcp"] = json!({});
    } else {
        let path = check.text("http_path").map_or_else(|| "/".to_owned(), |at| at.value);
        let statuses = healthy.as_ref().map_or_else(Vec::new, |healthy| healthy.list("http_statuses"));
        let statuses: Vec<&Value> = statuses.iter().map(Node::value).take(16).collect();
        made["http"] = json!({"path": path});
        made["http"]["expectedStatuses"] =
            if statuses.is_empty() { json!([200, 302]) } else { json!(statuses) };
    }
    Some(made)
}

fn passive(check: &Reader<'_, '_>) -> Option<Value> {
    let unhealthy = check.below("unhealthy")?;
    let count = |name: &str| unhealthy.number(name).map(|at| at.value).filter(|count| *count > 0);
    let (answers, connections) =
        (count("http_failures"), [count("tcp_failures"), count("timeouts")].into_iter().flatten().min());
    let mut made = json!({"consecutive5xxErrors": answers.unwrap_or(0).min(100)});
    if let Some(connections) = connections {
        made["consecutiveGatewayErrors"] = json!(connections.min(100));
    }
    (answers.is_some() || connections.is_some()).then_some(made)
}
