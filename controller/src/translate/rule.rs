//! One rule of a route, as the dataplane serves it, but for where and under which policies.

use std::collections::BTreeSet;

use gatehouse_crds::{
    HeaderChanges, PathMatchType, PathModifier, PathModifierType, Redirect, RouteMatch, Timeouts, ValueMatch,
    ValueMatchType, parse_duration,
};
use gatehouse_proto::config::v1::{self, path_rewrite::Kind as RewriteKind, route::Action};

use super::{
    backend::{self, BackendKey},
    check,
    conditions::Problem,
    grpc,
    input::{ActionInput, BackendInput, Matches, RouteInput, RuleInput},
    policy::Policies,
};
use crate::resources::{ObjectKey, Resources};

/// Seconds; some 35,000 years.
const AFTER_ALL: i64 = 1 << 40;

#[derive(Debug)]
pub(super) struct RuleOutput {
    /// Without name, attachments, policies.
    pub(super) route: v1::Route,
    pub(super) services: Vec<(BackendKey, v1::Service)>,
    /// BackendTLSPolicies that are for its backends.
    pub(super) tls_policies: BTreeSet<ObjectKey>,
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
    policies: &Policies,
    resources: &Resources,
) -> RuleOutput {
    let mut output = RuleOutput {
        route: v1::Route {
            object: route.object(),
            rule: u32::try_from(index).unwrap_or(u32::MAX),
            rule_name: rule.name.unwrap_or("").to_owned(),
            // Beyond every real time, and still in the order of age.
            created: route.created.saturating_add(if rule.is_last { AFTER_ALL } else { 0 }),
            ..v1::Route::default()
        },
        services: Vec::new(),
        tls_policies: BTreeSet::new(),
        invalid: None,
        placeless: false,
        unresolved: Vec::new(),
    };
    if let Err(mut problem) = fill(&mut output, rule, route, policies, resources) {
        problem.message = format!("{}: {}", place(rule, index), problem.message);
        output.route.action = Some(Action::Broken(v1::Broken { reason: problem.message.clone() }));
        output.services.clear();
        output.invalid = Some(problem);
    }
    output
}

/// How messages call a rule.
pub(super) fn place(rule: &RuleInput<'_>, index: usize) -> String {
    match (rule.field, rule.name) {
        (Some(field), _) => field.to_owned(),
        (None, Some(name)) => format!("rule {name}"),
        (None, None) => format!("rules[{index}]"),
    }
}

/// The error names the field and the mend.
fn fill(
    output: &mut RuleOutput,
    rule: &RuleInput<'_>,
    route: &RouteInput<'_>,
    policies: &Policies,
    resources: &Resources,
) -> Result<(), Problem> {
    // The matches stand even when the rest is broken, so that 500 is told where the rule is, and only there.
    let mut broken = None;
    let matches: Vec<_> = match rule.matches {
        Matches::Http(matches) => matches.iter().map(match_).collect(),
        Matches::Grpc(matches) => grpc::matches(matches),
    };
    output.placeless = !matches.is_empty() && matches.iter().all(Result::is_err);
    for one in matches {
        match one {
            Ok(one) => output.route.matches.push(one),
            Err(error) => broken = broken.or(Some(error)),
        }
    }
    if let Some(error) = broken {
        return Err(error.into());
    }
    if let Some(problem) = &rule.problem {
        return Err(problem.clone());
    }
    output.route.request_headers = rule.request_headers.map(changes).transpose()?;
    output.route.response_headers = rule.response_headers.map(changes).transpose()?;
    output.route.timeouts = rule.timeouts.map(timeouts).transpose()?;
    let only_prefixes = match rule.matches {
        Matches::Http(matches) => matches.iter().all(|one| one.path.kind == PathMatchType::PathPrefix),
        Matches::Grpc(_) => false,
    };
    let modifier = |path: &Option<PathModifier>| {
        path.as_ref().map(|path| path_modifier(path, only_prefixes)).transpose()
    };
    output.route.action = Some(match &rule.action {
        ActionInput::Redirect(redirect) => {
            Action::Redirect(self::redirect(redirect, modifier(&redirect.path)?)?)
        }
        ActionInput::Respond(respond) => Action::Respond(v1::Respond {
            status: u32::try_from(respond.status)
                .ok()
                .filter(|status| (200..=599).contains(status))
                .ok_or_else(|| format!("respond.status is {}: use 200 to 599", respond.status))?,
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
            let backends = backends
                .iter()
                .map(|backend| self::backend(backend, route, policies, resources, output))
                .collect::<Result<_, _>>()?;
            Action::Forward(v1::Forward { backends, rewrite })
        }
        // Valid, and 500 by definition (HTTPRouteRule.backendRefs).
        ActionInput::Nothing => Action::Broken(v1::Broken { reason: "backendRefs is empty".into() }),
    });
    Ok(())
}

fn backend(
    backend: &BackendInput<'_>,
    route: &RouteInput<'_>,
    policies: &Policies,
    resources: &Resources,
    output: &mut RuleOutput,
) -> Result<v1::Backend, String> {
    let mut wire = v1::Backend {
        weight: u32::try_from(backend.reference.weight).unwrap_or(0),
        request_headers: backend.request_headers.map(changes).transpose()?,
        response_headers: backend.response_headers.map(changes).transpose()?,
        ..v1::Backend::default()
    };
    match backend::resolve(backend, route, policies, resources, &mut output.tls_policies) {
        Ok((key, service)) => {
            wire.service = super::names::service(&key);
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
        check::expression(&path.value).map_err(|error| format!("matches.path.value: {error}"))?;
    } else if !path.value.starts_with('/') {
        return Err(format!("matches.path.value: {:?} does not begin with `/`", path.value));
    }
    Ok(v1::Match {
        path: Some(v1::PathMatch { kind: kind.into(), value: path.value.clone() }),
        method: one.method.map(|method| format!("{method:?}").to_ascii_uppercase()).unwrap_or_default(),
        headers: headers(&one.headers)?,
        query_params: one
            .query_params
            .iter()
            .map(|param| value_match(param, "queryParams", false))
            .collect::<Result<_, _>>()?,
        grpc: None,
    })
}

pub(super) fn headers(headers: &[ValueMatch]) -> Result<Vec<v1::ValueMatch>, String> {
    headers.iter().map(|header| value_match(header, "headers", true)).collect()
}

fn value_match(one: &ValueMatch, field: &str, is_header: bool) -> Result<v1::ValueMatch, String> {
    if is_header {
        check::token(&one.name).map_err(|error| format!("matches.{field}.name: {error}"))?;
    }
    let kind = match one.kind {
        ValueMatchType::Exact => v1::ValueKind::Exact,
        ValueMatchType::RegularExpression => {
            check::expression(&one.value).map_err(|error| format!("matches.{field}.value: {error}"))?;
            v1::ValueKind::RegularExpression
        }
    };
    Ok(v1::ValueMatch { name: one.name.clone(), kind: kind.into(), value: one.value.clone() })
}

fn changes(changes: &HeaderChanges) -> Result<v1::HeaderChanges, String> {
    for name in &changes.remove {
        check::header_name(name)?;
    }
    Ok(v1::HeaderChanges {
        set: changes.set.iter().map(header).collect::<Result<_, _>>()?,
        add: changes.add.iter().map(header).collect::<Result<_, _>>()?,
        remove: changes.remove.clone(),
    })
}

fn header(header: &gatehouse_crds::Header) -> Result<v1::Header, String> {
    check::header_name(&header.name)?;
    if header.value.bytes().any(|byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
        return Err(format!("the value of header {} holds a control character", header.name));
    }
    Ok(v1::Header { name: header.name.clone(), value: header.value.clone() })
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
        port: match redirect.port {
            None => 0,
            Some(port) => {
                u16::try_from(port).map_err(|_| format!("redirect port {port}: use 1 to 65535"))?.into()
            }
        },
        status: u32::try_from(status).unwrap_or(302),
    })
}

fn path_modifier(path: &PathModifier, only_prefixes: bool) -> Result<v1::PathRewrite, String> {
    let text = |field: &str, text: &Option<String>| {
        let text = text.clone().ok_or_else(|| format!("path.{field} is missing"))?;
        // Nothing at all stands for `/`.
        if !text.is_empty() {
            check::path(&text).map_err(|error| format!("path.{field}: {error}"))?;
        }
        Ok::<_, String>(text)
    };
    let kind = match path.kind {
        PathModifierType::ReplaceFullPath => {
            RewriteKind::Full(text("replaceFullPath", &path.replace_full_path)?)
        }
        PathModifierType::ReplacePrefixMatch if !only_prefixes => {
            return Err("path.replacePrefixMatch needs matches of type PathPrefix alone".into());
        }
        PathModifierType::ReplacePrefixMatch => {
            RewriteKind::Prefix(text("replacePrefixMatch", &path.replace_prefix_match)?)
        }
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
