//! An explanation in words: the same as in manifests, logs and statuses.

use std::io::{self, Write};

use gatehouse_dataplane::inspect::Verdict;
use gatehouse_proto::config::v1::{self, PathKind, ValueKind, ValueMatch, route::Action};

use super::Answer;
use crate::manifests::Identity;

pub(super) fn write(out: &mut impl Write, answer: &Answer) -> io::Result<()> {
    writeln!(out, "Gateway {}, listener {}", answer.gateway, answer.listener)?;
    writeln!(out, "host {}, path {}", answer.host, answer.path)?;
    if answer.candidates.is_empty() {
        writeln!(out, "no rule has this host and path: 404 no_route")?;
    } else {
        writeln!(out, "tried in this order:")?;
    }
    for (place, one) in (1..).zip(&answer.candidates) {
        writeln!(out, "  {place}. {} ({}): {}", one.place, one.asks, one.verdict)?;
    }
    match &answer.taken {
        None if answer.candidates.is_empty() => Ok(()),
        None => writeln!(out, "none takes it: 404 no_route"),
        Some(taken) => {
            writeln!(out, "{} takes it", taken.rule)?;
            let mut lines = taken.policies.iter().chain(&taken.does);
            lines.try_for_each(|line| writeln!(out, "  {line}"))
        }
    }
}

/// As a user would call it.
pub(crate) fn rule(route: &v1::Route) -> String {
    match route.rule_name.as_str() {
        "" => format!("rule {}", route.rule),
        name => format!("rule {name}"),
    }
}

pub(super) fn asked(wanted: Option<&v1::Match>) -> String {
    let Some(wanted) = wanted else { return "any request".to_owned() };
    let path = wanted.path.as_ref().map(|path| match path.kind() {
        PathKind::Exact => format!("path {}", path.value),
        PathKind::Prefix => format!("path prefix {}", path.value),
        PathKind::RegularExpression => format!("path expression {}", path.value),
        PathKind::Unspecified => "a path of an unknown kind".to_owned(),
    });
    let method = (!wanted.method.is_empty()).then(|| format!("method {}", wanted.method));
    let headers = wanted.headers.iter().map(|header| value("header", header));
    let params = wanted.query_params.iter().map(|param| value("query parameter", param));
    let all: Vec<String> = path.into_iter().chain(method).chain(headers).chain(params).collect();
    if all.is_empty() { "any request".to_owned() } else { all.join(", ") }
}

fn value(what: &str, wanted: &ValueMatch) -> String {
    let sign = if wanted.kind() == ValueKind::RegularExpression { "~" } else { "=" };
    format!("{what} {} {sign} {}", wanted.name, wanted.value)
}

pub(super) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Taken { .. } => "takes the request".to_owned(),
        Verdict::Method(method) => format!("is for method {method}"),
        Verdict::Header(name) => format!("header {name} is missing or has another value"),
        Verdict::QueryParam(name) => format!("query parameter {name} is missing or has another value"),
        Verdict::Grpc => "is for gRPC calls, or for those of another method".to_owned(),
        Verdict::Later => "comes after the one that takes it".to_owned(),
    }
}

/// In the order that they decide.
pub(super) fn policies(route: &v1::Route) -> Vec<String> {
    let names = route.auth.iter().chain(&route.rate_limits);
    names.map(|name| format!("{} applies", Identity::text_of_resource(name))).collect()
}

pub(super) fn action(route: &v1::Route, backend_path: Option<&str>) -> Vec<String> {
    match &route.action {
        Some(Action::Forward(forward)) => {
            let total: u32 = forward.backends.iter().map(|backend| backend.weight).sum();
            let to = forward.backends.iter().map(|backend| {
                let place = match backend.service.strip_prefix("service/") {
                    Some(place) => format!("goes to Service {place}"),
                    None => format!("gets 500: {}", backend.broken),
                };
                if forward.backends.len() == 1 {
                    place
                } else {
                    format!("{place} ({} of {total})", backend.weight)
                }
            });
            to.chain(backend_path.map(|path| format!("the backend sees {path}"))).collect()
        }
        Some(Action::Redirect(redirect)) => vec![format!("answers with a redirect, {}", redirect.status)],
        Some(Action::Respond(respond)) => vec![format!("answers by itself, {}", respond.status)],
        Some(Action::Broken(broken)) => vec![format!("answers 500: {}", broken.reason)],
        None => Vec::new(),
    }
}
