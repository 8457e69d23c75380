//! The rules of an Ingress, one for each path, and which of them an older Ingress has already.

use std::collections::{BTreeMap, BTreeSet};

use gatehouse_crds::{BackendRef, PathMatch, PathMatchType, RouteMatch, UrlRewrite};
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressRule};

use super::annotations::Annotations;
use crate::{
    resources::ObjectKey,
    translate::{
        check,
        conditions::{Problem, reason},
    },
};

#[derive(Debug)]
pub(super) struct Rule {
    /// Where it stands.
    pub(super) field: String,
    /// Empty: any. `None`: nobody knows where the rule would be, and `backend` says why.
    pub(super) host: Option<String>,
    /// Empty: every path.
    pub(super) matches: Vec<RouteMatch>,
    pub(super) backend: Result<Backend, Problem>,
    pub(super) rewrite: Option<UrlRewrite>,
    /// It sends requests to HTTPS, and stands for another rule where those come by plain HTTP.
    pub(super) to_https: bool,
    /// For what no other rule takes.
    pub(super) is_default: bool,
    /// By their indices in the Gateway; filled in when those are known.
    pub(super) listeners: BTreeSet<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Backend {
    pub(super) reference: BackendRef,
    /// Instead of its port.
    pub(super) port_name: Option<String>,
}

/// Who has a host and path, and who has the default backend.
#[derive(Debug, Default)]
pub(super) struct Claims<'a> {
    paths: BTreeMap<(String, bool, String), &'a ObjectKey>,
    default: Option<&'a ObjectKey>,
}

pub(super) fn rules(ingress: &Ingress, annotations: &Annotations) -> Vec<Rule> {
    let Some(spec) = &ingress.spec else { return Vec::new() };
    let default = spec.default_backend.as_ref();
    let mut rules = Vec::new();
    for (index, rule) in spec.rules.iter().flatten().enumerate() {
        let paths = rule.http.as_ref().map_or(&[][..], |http| &http.paths);
        for (position, path) in paths.iter().enumerate() {
            let field = format!("rules[{index}].http.paths[{position}]");
            rules.push(Rule::new(field, checked_host(rule), Some(path), backend(&path.backend), annotations));
        }
        // A host without paths is one for the default backend (IngressRule.http).
        if let Some(default) = default.filter(|_| paths.is_empty()) {
            let field = format!("rules[{index}]");
            rules.push(Rule::new(field, checked_host(rule), None, backend(default), annotations));
        }
    }
    if let Some(default) = default {
        let (field, host) = ("defaultBackend".into(), Ok(String::new()));
        let rule = Rule::new(field, host, None, backend(default), annotations);
        rules.push(Rule { is_default: true, ..rule });
    }
    rules
}

/// In lower case; empty: any.
pub(super) fn host(rule: &IngressRule) -> String {
    rule.host.as_deref().unwrap_or("").to_ascii_lowercase()
}

fn checked_host(rule: &IngressRule) -> Result<String, Problem> {
    let host = host(rule);
    if !host.is_empty() {
        check::hostname(&host).map_err(|error| format!("host: {error}"))?;
    }
    Ok(host)
}

impl Rule {
    fn new(
        field: String,
        host: Result<String, Problem>,
        path: Option<&HTTPIngressPath>,
        backend: Result<Backend, Problem>,
        annotations: &Annotations,
    ) -> Self {
        let place = host.and_then(|host| {
            let mut one = path.map(written).transpose()?;
            let rewrite = annotations.rewrite(one.as_mut())?;
            if let Some(one) = &one {
                check::path(&one.path.value).map_err(|error| format!("path: {error}"))?;
            }
            Ok((host, one, rewrite))
        });
        let (host, matches, rewrite, backend) = match place {
            Ok((host, one, rewrite)) => (Some(host), one.into_iter().collect(), rewrite, backend),
            Err(problem) => (None, Vec::new(), None, Err(problem)),
        };
        let (to_https, is_default) = (false, false);
        Rule { field, host, matches, backend, rewrite, to_https, is_default, listeners: BTreeSet::new() }
    }

    /// The same place, for those who must go to HTTPS.
    pub(super) fn to_https(&self) -> Self {
        Rule {
            field: self.field.clone(),
            host: self.host.clone(),
            matches: self.matches.clone(),
            backend: self.backend.clone(),
            rewrite: None,
            to_https: true,
            is_default: self.is_default,
            listeners: BTreeSet::new(),
        }
    }
}

/// Not checked yet: it may be an expression.
fn written(path: &HTTPIngressPath) -> Result<RouteMatch, Problem> {
    let kind = match path.path_type.as_str() {
        "Exact" => PathMatchType::Exact,
        "Prefix" | "ImplementationSpecific" => PathMatchType::PathPrefix,
        other => {
            return Err(format!("pathType {other:?}: use Exact, Prefix or ImplementationSpecific").into());
        }
    };
    let value = path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    Ok(RouteMatch { path: PathMatch { kind, value: value.to_owned() }, ..RouteMatch::default() })
}

fn backend(backend: &IngressBackend) -> Result<Backend, Problem> {
    let service = match (&backend.service, &backend.resource) {
        (Some(service), None) => service,
        (_, Some(resource)) => {
            let message = format!(
                "backend.resource: {} {} is not served: name a Service in backend.service",
                resource.kind, resource.name
            );
            return Err(Problem::new(reason::INVALID_KIND, message));
        }
        (None, None) => return Err(String::from("backend: name a Service in backend.service").into()),
    };
    let port = service.port.as_ref();
    Ok(Backend {
        reference: BackendRef {
            group: None,
            kind: None,
            namespace: None,
            name: service.name.clone(),
            port: port.and_then(|port| port.number),
            weight: 1,
        },
        port_name: port.and_then(|port| port.name.clone()),
    })
}

impl<'a> Claims<'a> {
    /// What others have already. To be called with the oldest Ingress first.
    pub(super) fn claim(&mut self, key: &'a ObjectKey, rules: &[Rule]) -> Vec<Problem> {
        let mut conflicts = Vec::new();
        for rule in rules {
            let Some(host) = &rule.host else { continue };
            let first = if rule.is_default {
                *self.default.get_or_insert(key)
            } else {
                let path = rule.matches.first().map_or(("/", false), |one| {
                    (one.path.value.as_str(), one.path.kind == PathMatchType::Exact)
                });
                // As they are compared: a prefix is whole segments.
                let text = if path.1 { path.0 } else { path.0.strip_suffix('/').unwrap_or(path.0) };
                *self.paths.entry((host.clone(), path.1, text.to_owned())).or_insert(key)
            };
            if first != key {
                let what = if rule.is_default { "a defaultBackend" } else { "the same host and path" };
                let message = format!("{}: Ingress {first} has {what} too, and comes first", rule.field);
                conflicts.push(Problem::new(reason::CONFLICTED, message));
            }
        }
        conflicts
    }
}
