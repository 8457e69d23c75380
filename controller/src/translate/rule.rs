//! One rule of a route, as the dataplane serves it, but for where and under which policies.

use gatehouse_crds::{
    HeaderChanges, PathMatchType, PathModifier, PathModifierType, Redirect, RouteMatch, Timeouts, ValueMatch,
    ValueMatchType, parse_duration,
};
use gatehouse_proto::config::v1::{self, path_rewrite::Kind as RewriteKind, route::Action};
use regex::RegexBuilder;

use super::{
    backend::{self, BackendKey},
    conditions::{Problem, reason},
    input::{ActionInput, BackendInput, RouteInput, RuleInput},
};
use crate::resources::Resources;

/// As the dataplane bounds it.
const EXPRESSION_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct RuleOutput {
    /// Without name, attachments, policies.
    pub(super) route: v1::Route,
    pub(super) services: Vec<(BackendKey, v1::Service)>,
    /// The rule can't be served as it is written: where it is understood, it answers 500.
    pub(super) invalid: Option<Problem>,
    /// None of its matches is understood, so nobody knows where it would be.
    pub(super) placeless: bool,
    /// References that are broken; their share answers 500.
    pub(super) unresolved: Vec<Problem>,
}

pub(super) fn translate(
    rule: &RuleInput<'_>,
    index: usize,
    route: &RouteInput<'_>,
    resources: &Resources,
) -> RuleOutput {
    let mut output = RuleOutput {
        route: v1::Route {
            object: route.object(),
            rule: u32::try_from(index).unwrap_or(u32::MAX),
            rule_name: rule.name.unwrap_or("").to_owned(),
            created: route.created,
            ..v1::Route::default()
        },
        services: Vec::new(),
        invalid: None,
        placeless: false,
        unresolved: Vec::new(),
    };
    if let Err(message) = fill(&mut output, rule, route, resources) {
        let message = format!("{}: {message}", place(rule, index));
        output.route.action = Some(Action::Broken(v1::Broken { reason: message.clone() }));
        output.services.clear();
        output.invalid = Some(Problem::new(reason::UNSUPPORTED_VALUE, message));
    }
    output
}

/// How messages call a rule.
pub(super) fn place(rule: &RuleInput<'_>, index: usize) -> String {
    rule.name.map_or_else(|| format!("rules[{index}]"), |name| format!("rule {name}"))
}

/// The error names the field and the mend.
fn fill(
    output: &mut RuleOutput,
    rule: &RuleInput<'_>,
    route: &RouteInput<'_>,
    resources: &Resources,
) -> Result<(), String> {
    // The matches stand even when the rest is broken, so that 500 is told where the rule is, and only there.
    let mut broken = None;
    for one in rule.matches {
        match match_(one) {
            Ok(one) => output.route.matches.push(one),
            Err(error) => broken = broken.or(Some(error)),
        }
    }
    output.placeless = !rule.matches.is_empty() && output.route.matches.is_empty();
    if let Some(error) = broken {
        return Err(error);
    }
    if let Some(filter) = rule.unserved.first() {
        return Err(format!("filters: {filter}"));
    }
    output.route.request_headers = rule.request_headers.map(changes).transpose()?;
    output.route.response_headers = rule.response_headers.map(changes).transpose()?;
    output.route.timeouts = rule.timeouts.map(timeouts).transpose()?;
    let only_prefixes = rule.matches.iter().all(|one| one.path.kind == PathMatchType::PathPrefix);
    let modifier = |path: &Option<PathModifier>| {
        path.as_ref().map(|path| path_modifier(path, only_prefixes)).transpose()
    };
    output.route.action = Some(match &rule.action {
        ActionInput::Redirect(redirect) => {
            Action::Redirect(self::redirect(redirect, modifier(&redirect.path)?)?)
        }
        ActionInput::Respond(respond) => Action::Respond(v1::Respond {
            status: u32::try_from(respond.status).unwrap_or(0),
            headers: respond.headers.iter().map(header).collect::<Result<_, _>>()?,
            body: respond.body.clone(),
        }),
        ActionInput::Forward { backends, rewrite } => {
            let rewrite = match rewrite {
                None => None,
                Some(rewrite) => Some(v1::Rewrite {
                    hostname: rewrite.hostname.clone().unwrap_or_default(),
                    path: modifier(&rewrite.path)?,
                }),
            };
            if backends.is_empty() {
                return Err("backendRefs is empty, so there is nothing to answer with".into());
            }
            let backends = backends
                .iter()
                .map(|backend| self::backend(backend, route, resources, output))
                .collect::<Result<_, _>>()?;
            Action::Forward(v1::Forward { backends, rewrite })
        }
    });
    Ok(())
}

fn backend(
    backend: &BackendInput<'_>,
    route: &RouteInput<'_>,
    resources: &Resources,
    output: &mut RuleOutput,
) -> Result<v1::Backend, String> {
    let mut wire = v1::Backend {
        weight: u32::try_from(backend.reference.weight).unwrap_or(0),
        request_headers: backend.request_headers.map(changes).transpose()?,
        response_headers: backend.response_headers.map(changes).transpose()?,
        ..v1::Backend::default()
    };
    match backend::resolve(backend, route, resources) {
        Ok((key, service)) => {
            wire.service = super::names::service(&key.service, key.port);
            output.services.push((key, service));
        }
        Err(problem) => {
            wire.broken.clone_from(&problem.message);
            output.unresolved.push(problem);
        }
    }
    Ok(wire)
}

fn match_(one: &RouteMatch) -> Result<v1::Match, String> {
    let path = &one.path;
    let kind = match path.kind {
        PathMatchType::Exact => v1::PathKind::Exact,
        PathMatchType::PathPrefix => v1::PathKind::Prefix,
        PathMatchType::RegularExpression => v1::PathKind::RegularExpression,
    };
    if path.kind == PathMatchType::RegularExpression {
        check_expression(&path.value).map_err(|error| format!("matches.path.value: {error}"))?;
    } else if !path.value.starts_with('/') {
        return Err(format!("matches.path.value: {:?} does not begin with `/`", path.value));
    }
    Ok(v1::Match {
        path: Some(v1::PathMatch { kind: kind.into(), value: path.value.clone() }),
        method: one.method.map(|method| format!("{method:?}").to_ascii_uppercase()).unwrap_or_default(),
        headers: one
            .headers
            .iter()
            .map(|header| value_match(header, "headers", true))
            .collect::<Result<_, _>>()?,
        query_params: one
            .query_params
            .iter()
            .map(|param| value_match(param, "queryParams", false))
            .collect::<Result<_, _>>()?,
    })
}

fn value_match(one: &ValueMatch, field: &str, is_header: bool) -> Result<v1::ValueMatch, String> {
    if is_header {
        header_name(&one.name).map_err(|error| format!("matches.{field}.name: {error}"))?;
    }
    let kind = match one.kind {
        ValueMatchType::Exact => v1::ValueKind::Exact,
        ValueMatchType::RegularExpression => {
            check_expression(&one.value).map_err(|error| format!("matches.{field}.value: {error}"))?;
            v1::ValueKind::RegularExpression
        }
    };
    Ok(v1::ValueMatch { name: one.name.clone(), kind: kind.into(), value: one.value.clone() })
}

fn check_expression(pattern: &str) -> Result<(), String> {
    let shown: String = pattern.chars().take(80).collect();
    match RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(EXPRESSION_BYTES).build() {
        Ok(_) => Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => Err(format!("regular expression {shown:?} is too large")),
        // The library draws the place over several lines; its last line says what is wrong.
        Err(error) => {
            let text = error.to_string();
            let what = text.lines().next_back().unwrap_or("").trim().trim_start_matches("error: ").to_owned();
            Err(format!("regular expression {shown:?}: {what}"))
        }
    }
}

fn changes(changes: &HeaderChanges) -> Result<v1::HeaderChanges, String> {
    for name in &changes.remove {
        header_name(name)?;
    }
    Ok(v1::HeaderChanges {
        set: changes.set.iter().map(header).collect::<Result<_, _>>()?,
        add: changes.add.iter().map(header).collect::<Result<_, _>>()?,
        remove: changes.remove.clone(),
    })
}

fn header(header: &gatehouse_crds::Header) -> Result<v1::Header, String> {
    header_name(&header.name)?;
    if header.value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return Err(format!("the value of header {} holds a control character", header.name));
    }
    Ok(v1::Header { name: header.name.clone(), value: header.value.clone() })
}

/// RFC 9110, 5.6.2; and the fields that frame a message are not for users to change.
fn header_name(name: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return Err(format!("{name:?} is no header name: use letters, digits and `-`"));
    }
    let framing = ["connection", "content-length", "transfer-encoding", "upgrade"];
    if framing.iter().any(|framing| name.eq_ignore_ascii_case(framing)) {
        return Err(format!("header {name} frames the message and can't be changed"));
    }
    Ok(())
}

fn redirect(redirect: &Redirect, path: Option<v1::PathRewrite>) -> Result<v1::Redirect, String> {
    let status = redirect.status_code.unwrap_or(302);
    if ![301, 302, 303, 307, 308].contains(&status) {
        return Err(format!("redirect status code {status}: use 301, 302, 303, 307 or 308"));
    }
    Ok(v1::Redirect {
        scheme: redirect.scheme.clone().unwrap_or_default(),
        hostname: redirect.hostname.clone().unwrap_or_default(),
        path,
        port: redirect.port.and_then(|port| u32::try_from(port).ok()).unwrap_or(0),
        status: u32::try_from(status).unwrap_or(302),
    })
}

fn path_modifier(path: &PathModifier, only_prefixes: bool) -> Result<v1::PathRewrite, String> {
    let missing = |field: &str| format!("path.{field} is missing");
    let kind = match path.kind {
        PathModifierType::ReplaceFullPath => {
            RewriteKind::Full(path.replace_full_path.clone().ok_or_else(|| missing("replaceFullPath"))?)
        }
        PathModifierType::ReplacePrefixMatch if !only_prefixes => {
            return Err("path.replacePrefixMatch needs matches of type PathPrefix alone".into());
        }
        PathModifierType::ReplacePrefixMatch => RewriteKind::Prefix(
            path.replace_prefix_match.clone().ok_or_else(|| missing("replacePrefixMatch"))?,
        ),
    };
    Ok(v1::PathRewrite { kind: Some(kind) })
}

fn timeouts(timeouts: &Timeouts) -> Result<v1::Timeouts, String> {
    let milliseconds =
        |field: &str, text: &Option<String>| match text.as_deref().map(parse_duration).transpose() {
            Ok(duration) => {
                Ok(duration.map_or(0, |duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
            }
            Err(error) => Err(format!("timeouts.{field}: {error}")),
        };
    Ok(v1::Timeouts {
        request_ms: milliseconds("request", &timeouts.request)?,
        backend_request_ms: milliseconds("backendRequest", &timeouts.backend_request)?,
    })
}
