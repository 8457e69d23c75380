//! GatewayRoutes: one for each Ingress and host, and one that sends plain HTTP to HTTPS.

use serde_json::{Map, Value, json};

use super::{
    Conversion,
    hosts::{Host, Location},
    paths::Form,
};
use crate::convert::manifests::{File, UNCONVERTED, own};

/// So many has a GatewayRoute at most.
const MOST_RULES: usize = 64;
const MOST_HOSTS: usize = 16;
const MOST_PARENTS: usize = 32;

const REDIRECT: i64 = 308;

/// What an Ingress has of a host.
#[derive(Debug)]
pub(super) struct Route {
    /// Its position.
    pub(super) ingress: usize,
    pub(super) rules: Vec<Value>,
    /// Rules of the same places, for those that are sent to HTTPS; or answered at once.
    pub(super) places: Vec<Value>,
}

impl<'a> Conversion<'a, '_> {
    /// One for each way that requests for a path may go.
    pub(super) fn rules(&mut self, location: &Location<'_, 'a>, form: &Form, host: &Host) -> Vec<Value> {
        let treatment = &self.treatments[location.ingress];
        let mut rule = Map::new();
        rule.insert("matches".into(), json!([{"path": form.path}]));
        if let Some(cors) = &treatment.cors {
            rule.insert("cors".into(), cors.clone());
        }
        let elsewhere = treatment.rewrite_target.as_ref().filter(|target| target.value.contains("://"));
        let answer = match (&treatment.answer, elsewhere) {
            (Some(answer), _) => Some(answer.clone()),
            (None, Some(target)) => Some(match self.rewrite_elsewhere(target) {
                Some(redirect) => ("redirect", redirect),
                None => {
                    self.report.refuse(
                        &target.node,
                        "leads to a URL that is none without the request's: its paths answer 503",
                    );
                    ("respond", json!({"status": 503}))
                }
            }),
            (None, None) => None,
        };
        if let Some((field, value)) = answer {
            // nginx looks at nobody before.
            rule.insert("auth".into(), json!({"public": true}));
            rule.insert("rateLimits".into(), json!([]));
            rule.insert(field.into(), value);
            return vec![Value::Object(rule)];
        }
        let mut requests = treatment.request_headers.clone();
        if let Some(prefix) = treatment.forwarded_prefix.as_ref().filter(|_| form.rewrite.is_some()) {
            requests.set("X-Forwarded-Prefix", prefix);
        }
        let mut responses = treatment.response_headers.clone();
        if let Some(strict) = &host.strict {
            responses.set("Strict-Transport-Security", strict);
        }
        for (field, changes) in [("requestHeaders", requests), ("responseHeaders", responses)] {
            if let Some(changes) = changes.value() {
                rule.insert(field.into(), changes);
            }
        }
        let Some(target) = &location.path.target else {
            rule.insert("respond".into(), json!({"status": 503}));
            return vec![Value::Object(rule)];
        };
        let mut rewrite = Map::new();
        if let Some(name) = &treatment.hostname {
            rewrite.insert("hostname".into(), json!(name));
        }
        if let Some(path) = &form.rewrite {
            rewrite.insert("path".into(), path.clone());
        }
        if !rewrite.is_empty() {
            rule.insert("rewrite".into(), Value::Object(rewrite));
        }
        self.split(location, target, &rule)
    }

    /// Between the Ingress and its canary, if it has one.
    fn split(
        &mut self,
        location: &Location<'_, 'a>,
        target: &super::input::Target,
        rule: &Map<String, Value>,
    ) -> Vec<Value> {
        let ingress = location.ingress;
        let to = |references: Value| {
            let mut rule = rule.clone();
            rule.insert("backendRefs".into(), references);
            Value::Object(rule)
        };
        let canary = location.canary.as_ref().and_then(|canary| Some((canary, canary.target.as_ref()?)));
        let Some((canary, other)) = canary else {
            let reference = self.backend(ingress, ingress, target, None);
            return vec![to(json!([reference]))];
        };
        let choices = self.choices(canary);
        let mut rules = Vec::new();
        for (condition, to_canary) in choices.forced {
            let reference = if to_canary {
                self.backend(canary.ingress, ingress, other, None)
            } else {
                self.backend(ingress, ingress, target, None)
            };
            let mut forced = to(json!([reference]));
            forced["matches"][0]["headers"] = json!([condition]);
            rules.push(forced);
        }
        let (weight, of_canary) = choices.weights;
        rules.push(if of_canary == 0 {
            to(json!([self.backend(ingress, ingress, target, None)]))
        } else {
            let references = json!([
                self.backend(ingress, ingress, target, Some(weight)),
                self.backend(canary.ingress, ingress, other, Some(of_canary)),
            ]);
            to(references)
        });
        rules
    }

    pub(super) fn write(&mut self, host: &Host, route: &Route) {
        let ingress = &self.input.ingresses[route.ingress];
        let to_https = self.goes_to_https(route.ingress, host);
        let sections = if to_https { self.encrypted(route.ingress, host) } else { Vec::new() };
        let treatment = &self.treatments[route.ingress];
        let mut defaults = json!({
            "maxRequestBodyBytes": treatment.max_body,
            "timeouts": treatment.times.value(),
        });
        if let Some(retry) = &treatment.retry {
            defaults["retry"] = retry.clone();
        }
        if let Some(auth) = &treatment.auth {
            defaults["auth"] = json!({"policyRef": {"name": auth}});
        }
        if let Some(limits) = &treatment.limits {
            defaults["rateLimits"] = json!([{"name": limits}]);
        }
        let missing: Vec<String> = treatment.missing.union(&host.missing).cloned().collect();
        let redirect = self.to_https(route);
        let chunks: Vec<&[String]> =
            if host.names.is_empty() { vec![&[]] } else { host.names.chunks(MOST_HOSTS).collect() };
        for names in chunks {
            let mut spec = json!({"parentRefs": self.parents(&ingress.namespace, &sections)});
            if !names.is_empty() {
                spec["hostnames"] = json!(names);
            }
            let mut plain = spec.clone();
            spec["defaults"] = defaults.clone();
            for rules in route.rules.chunks(MOST_RULES) {
                spec["rules"] = json!(rules);
                let name = self.add_route(&ingress.namespace, &ingress.name, &spec);
                if !missing.is_empty()
                    && let Some(object) =
                        self.manifests.get_mut(File::Routes, "GatewayRoute", &ingress.namespace, &name)
                {
                    object["metadata"]["annotations"] = json!({UNCONVERTED: missing.join(", ")});
                }
            }
            if to_https {
                plain["parentRefs"] = self.parents(&ingress.namespace, &["http".to_owned()]);
                for rules in redirect.chunks(MOST_RULES) {
                    plain["rules"] = json!(rules);
                    self.add_route(&ingress.namespace, &format!("{}-to-https", ingress.name), &plain);
                }
            }
        }
    }

    fn to_https(&self, route: &Route) -> Vec<Value> {
        let status = self.input.global("http-redirect-code", self.report);
        let status = status.and_then(|at| at.value.parse().ok()).unwrap_or(REDIRECT);
        let cors = &self.treatments[route.ingress].cors;
        let place = |place: &Value| {
            let mut rule = place.clone();
            if rule.get("respond").is_none() {
                rule["redirect"] = json!({"scheme": "https", "statusCode": status});
                if let Some(cors) = cors {
                    rule["cors"] = cors.clone();
                }
            }
            rule
        };
        route.places.iter().map(place).collect()
    }

    /// `sections`: of the Gateway, by their names; none: all of them.
    pub(super) fn parents(&self, namespace: &str, sections: &[String]) -> Value {
        let mut parent = json!({"name": self.options.gateway});
        if namespace != self.options.namespace {
            parent["namespace"] = json!(self.options.namespace);
        }
        if sections.is_empty() {
            return json!([parent]);
        }
        let section = |section: &String| {
            let mut parent = parent.clone();
            parent["sectionName"] = json!(section);
            parent
        };
        sections.iter().take(MOST_PARENTS).map(section).collect()
    }

    /// Gives its name.
    pub(super) fn add_route(&mut self, namespace: &str, wanted: &str, spec: &Value) -> String {
        let name = self.names.unique("GatewayRoute", wanted);
        self.manifests.add(File::Routes, own("GatewayRoute", namespace, &name, spec));
        name
    }
}
