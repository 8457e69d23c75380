//! `auth-url` to a Service that is asked.

use gatehouse_controller::translate::nginx::{seconds, words};
use serde_json::{Value, json};

use super::{
    Conversion,
    annotations::Annotations,
    input::{PathKind, Target},
};
use crate::convert::tree::{At, Node};

/// What stands in the way: the annotation, and what continues its name.
type Refusal<'a> = (&'static str, Node<'a>, String);

impl<'a> Conversion<'a, '_> {
    /// As `external` of a policy.
    pub(super) fn external(
        &self,
        index: usize,
        url: &At<'a, String>,
        annotations: &Annotations<'a, '_>,
    ) -> Result<Value, Refusal<'a>> {
        let refused = |why: String| ("auth-url", url.node.clone(), why);
        let own = self.input.ingresses[index].paths.first().map_or("", |path| &*path.host);
        // Which host the request is for is known to the path alone; all of an Ingress usually have one.
        let text = url.value.replace("$host", own).replace("$http_host", own);
        if text.contains('$') {
            return Err(refused("holds a variable other than $host".into()));
        }
        let uri: http::Uri = text.parse().map_err(|_| refused("is no URL".into()))?;
        if uri.query().is_some() {
            return Err(refused("has a query, which is asked without here".into()));
        }
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let target = self.asked(index, &host, port, uri.path()).map_err(refused)?;
        let mut method = json!({
            "backendRef": {"name": target.service, "port": target.port},
            "path": uri.path(),
        });
        if let Some(verb) = annotations.filled("auth-method") {
            if !["GET", "HEAD"].contains(&&*verb.value) {
                return Err(("auth-method", verb.node, "is neither GET nor HEAD".into()));
            }
            method["method"] = json!(verb.value);
        }
        self.report.warn(&url.node, "is told Authorization and Cookie (`forwardHeaders`), and what is asked for in X-Forwarded-Method, -Proto, -Host and -Uri, not in X-Original-*; without an answer requests get 503, not 500");
        if let Some(at) = annotations.filled("auth-response-headers") {
            method["copyHeaders"] = words(&at.value).map(Value::from).collect();
        }
        if let Some(at) = annotations.filled("auth-signin") {
            self.report.refuse(&at.node, "is not converted: who is not signed in gets the answer of the asked service. Have that redirect by itself, as oauth2-proxy does at `/` with --upstream=static://202");
        }
        if annotations.filled("auth-cache-key").is_some() {
            annotations.warn("auth-cache-key", "is what the service is told of a request");
            let duration = annotations.filled("auth-cache-duration");
            let parts = duration.iter().flat_map(|at| at.value.split([' ', ',']));
            let lasts = parts.filter(|part| part.parse::<u16>().is_err()).find_map(seconds);
            method["cacheTTL"] = json!(format!("{}s", lasts.unwrap_or(300).clamp(1, 300)));
            annotations.warn("auth-cache-duration", "is for answers that admit, and at most 5 m");
        }
        Ok(method)
    }

    /// The Service of the Ingress's namespace that a URL leads to. The error continues the annotation's name.
    fn asked(&self, index: usize, host: &str, port: u16, path: &str) -> Result<Target, String> {
        let namespace = &self.input.ingresses[index].namespace;
        let labels: Vec<&str> = host.split('.').collect();
        let other = |service: &str, of: &str| {
            Err(format!(
                "asks the Service {of}/{service}, and a policy asks one of its own namespace, {namespace}"
            ))
        };
        match labels.as_slice() {
            [service, of, "svc", ..] if of == namespace => {
                return Ok(Target { service: (*service).to_owned(), port: port.into() });
            }
            [service, of, "svc", ..] => return other(service, of),
            _ => {}
        }
        // A host that is served here: by whom?
        let mut found: Option<(usize, &str, &Target)> = None;
        for ingress in &self.input.ingresses {
            for one in ingress.paths.iter().filter(|one| one.host == host) {
                let takes = match one.kind {
                    PathKind::Exact => one.text == path,
                    PathKind::Prefix | PathKind::Implementation => path.starts_with(&one.text),
                };
                let Some(target) = one.target.as_ref().filter(|_| takes) else { continue };
                if found.is_none_or(|(length, ..)| one.text.len() > length) {
                    found = Some((one.text.len(), &ingress.namespace, target));
                }
            }
        }
        match found {
            Some((_, of, target)) if of == namespace => Ok(target.clone()),
            Some((_, of, target)) => other(&target.service, of),
            None => {
                Err(format!("asks {host}, which is no Service: make one of the namespace {namespace} for it"))
            }
        }
    }
}
