//! An explanation in words: the same as in manifests, logs and statuses.

use std::io::{self, Write};

use gatehouse_dataplane::inspect::Verdict;
use gatehouse_proto::config::v1::{
    self, PartFailure, PathKind, TemplatePiece, ValueKind, ValueMatch, rollout_force, route::Action,
    template_piece,
};

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
            lines.try_for_each(|line| writeln!(out, "  {line}"))?;
            answer.decisions.iter().try_for_each(|decision| writeln!(out, "  {decision}"))?;
            answer.refused.iter().try_for_each(|refused| writeln!(out, "  {refused}"))
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
    let policies = names.map(|name| format!("{} applies", Identity::text_of_resource(name)));
    policies.chain(route.fault.iter().flat_map(faults)).chain(cache(route)).collect()
}

fn cache(route: &v1::Route) -> Option<String> {
    let cache = route.cache.as_ref()?;
    let whose = if cache.shared || route.auth.is_empty() { "for all" } else { "for each consumer its own" };
    Some(format!("keeps answers of up to {} bytes, {whose}", cache.max_body_bytes))
}

/// Done to some requests on purpose.
fn faults(fault: &v1::Fault) -> Vec<String> {
    let who = match &fault.header {
        Some(header) => format!(" that have header {} = {}", header.name, header.value),
        None => String::new(),
    };
    let share = |ppm: u32| format!("{} % of requests{who}", f64::from(ppm) / 10_000.0);
    let delay = fault
        .delay
        .iter()
        .map(|delay| format!("holds up {} for {} ms", share(delay.share_ppm), delay.duration_ms));
    let abort = fault
        .abort
        .iter()
        .map(|abort| format!("answers {} with {} on purpose", share(abort.share_ppm), abort.status));
    delay.chain(abort).collect()
}

/// Who gets the new version, besides by weight. It is the last of the backends.
fn rollout(rollout: &v1::Rollout) -> Vec<String> {
    let force = |force: &v1::RolloutForce| match &force.kind {
        Some(rollout_force::Kind::Header(header)) => {
            format!("header {} = {} gets the new version, the last", header.name, header.value)
        }
        Some(rollout_force::Kind::Cookie(cookie)) => {
            format!("cookie {} = {} gets the new version, the last", cookie.name, cookie.value)
        }
        None => "something that this version does not know gets the new version".to_owned(),
    };
    let sticky = (!rollout.sticky_seed.is_empty()).then(|| "a consumer keeps its version".to_owned());
    rollout.forces.iter().map(force).chain(sticky).collect()
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
            let rollout = forward.rollout.iter().flat_map(rollout);
            to.chain(rollout).chain(backend_path.map(|path| format!("the backend sees {path}"))).collect()
        }
        Some(Action::Aggregate(aggregate)) => parts(aggregate),
        Some(Action::Redirect(redirect)) => vec![format!("answers with a redirect, {}", redirect.status)],
        Some(Action::Respond(respond)) => vec![format!("answers by itself, {}", respond.status)],
        Some(Action::Broken(broken)) => vec![format!("answers 500: {}", broken.reason)],
        Some(Action::Closed(closed)) => vec![format!("answers 503: {}", closed.reason)],
        None => Vec::new(),
    }
}

/// What is asked of whom, in the order of the answer.
fn parts(aggregate: &v1::Aggregate) -> Vec<String> {
    let within = format!("answers with one JSON object, within {} ms", aggregate.timeout_ms);
    let parts = aggregate.parts.iter().map(|part| {
        let place = match part.service.strip_prefix("service/") {
            Some(place) => format!("asks Service {place} for {}", template(part)),
            None => format!("can't be asked: {}", part.broken),
        };
        let failure = match part.on_failure() {
            PartFailure::Null => "null if that fails",
            PartFailure::Omit => "left out if that fails",
            PartFailure::Fail | PartFailure::Unspecified => "an error if that fails",
        };
        format!("{}: {place}, {failure}", part.name)
    });
    std::iter::once(within).chain(parts).collect()
}

/// As it stands in the manifest.
fn template(part: &v1::AggregatePart) -> String {
    let joined = |pieces: &[TemplatePiece]| -> String { pieces.iter().map(piece).collect() };
    let fields: Vec<String> = part.query.iter().map(|field| joined(&field.pieces)).collect();
    let sign = if fields.is_empty() { "" } else { "?" };
    format!("{}{sign}{}", joined(&part.path), fields.join("&"))
}

fn piece(piece: &TemplatePiece) -> String {
    use template_piece::Kind;
    match &piece.kind {
        Some(Kind::Literal(literal)) => literal.clone(),
        Some(Kind::Segment(number)) => format!("{{segment.{number}}}"),
        Some(Kind::Query(name)) => format!("{{query.{name}}}"),
        Some(Kind::Claim(path)) => format!("{{claim.{path}}}"),
        Some(Kind::Consumer(field)) => format!("{{consumer.{field}}}"),
        None => String::new(),
    }
}
