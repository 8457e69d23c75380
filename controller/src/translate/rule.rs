//! One rule of a route, as the dataplane serves it, but for where and under which policies.

use std::collections::BTreeSet;

use gatehouse_crds::{
    BackendRef, Cors, HeaderChanges, InvalidDuration, Mirror, PathMatchType, PathModifier, PathModifierType,
    Redirect, RegexReplacement, Retry, RouteMatch, ServiceRef, Timeouts, ValueMatch, ValueMatchType,
    parse_duration,
};
use gatehouse_proto::config::v1::{self, path_rewrite::Kind as RewriteKind, route::Action};

use super::{
    affinity, aggregate,
    backend::{self, BackendKey},
    cache, check,
    conditions::{Problem, reason},
    fault, grpc,
    input::{ActionInput, BackendInput, Matches, MirrorInput, RouteInput, RuleInput, plain_backend},
    policy::{OfBackend, Policies},
    rollout,
};
use crate::resources::Resources;

/// Seconds; some 35,000 years.
const AFTER_ALL: i64 = 1 << 40;
/// Milliseconds before the first retry where a rule does not say.
const RETRY_BACKOFF: u64 = 25;
/// More would be a way to flood a backend that is in trouble.
const MOST_RETRIES: u32 = 10;

#[derive(Debug)]
pub(super) struct RuleOutput {
    /// Without name, attachments, policies.
    pub(super) route: v1::Route,
    pub(super) services: Vec<(BackendKey, v1::Service)>,
    /// Policies that are for its backends.
    pub(super) of_backend: BTreeSet<OfBackend>,
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
        of_backend: BTreeSet::new(),
        invalid: None,
        placeless: false,
        unresolved: Vec::new(),
    };
    if let Err(mut problem) = fill(&mut output, rule, route, policies, resources) {
        problem.message = format!("{}: {}", place(rule, index), problem.message);
        output.route.action = Some(Action::Broken(v1::Broken { reason: problem.message.clone() }));
        output.services.clear();
        output.invalid = Some(problem);
    } else if let Some(missing) = route.unconverted {
        let message = if route.kind == "Ingress" {
            format!(
                "closed, every request gets 503: {missing} is not served. Write a GatewayRoute, as `gatehouse convert ingress-nginx` \
                 does, or take it away"
            )
        } else {
            format!(
                "closed, every request gets 503: {missing} was not converted. Guard the route by other means, then take away the \
                 annotation gatehouse.dev/unconverted"
            )
        };
        output.route.action = Some(Action::Closed(v1::Closed { reason: message.clone() }));
        output.services.clear();
        output.invalid = Some(Problem::new(reason::UNCONVERTED, message));
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
    output.route.cors = rule.cors.map(cors).transpose()?;
    output.route.timeouts = rule.timeouts.map(timeouts).transpose()?;
    output.route.max_request_body_bytes = u64::try_from(rule.max_body_bytes.unwrap_or(0))
        .map_err(|_| "maxRequestBodyBytes is negative: use 0 for any number".to_owned())?;
    output.route.fault = rule.fault.map(fault::translate).transpose()?;
    output.route.cache = rule.cache.map(cache::translate).transpose()?;
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
        ActionInput::Forward { backends, rewrite, mirrors, failover, affinity, rollout } => {
            let rewrite = match rewrite {
                None => None,
                Some(rewrite) => Some(v1::Rewrite {
                    hostname: rewrite.hostname.clone().unwrap_or_default(),
                    path: modifier(&rewrite.path)?,
                }),
            };
            let backends = backends
                .iter()
                .map(|one| backend(route.backend_field, one, route, policies, resources, output))
                .collect::<Result<_, _>>()?;
            let retry = rule.retry.map(retry).transpose()?;
            let affinity = affinity.map(affinity::of_session).transpose()?;
            let mut forward = v1::Forward { backends, rewrite, retry, affinity, ..v1::Forward::default() };
            if let Some(input) = rollout {
                rollout::add(&mut forward, input, route, policies, resources, output)?;
            }
            for one in mirrors {
                forward.mirrors.extend(mirror(one, route, policies, resources, output)?);
            }
            for (index, one) in failover.iter().enumerate() {
                let field = format!("failover[{index}]");
                forward.failover.extend(plain(&field, one, route, policies, resources, output));
            }
            Action::Forward(forward)
        }
        ActionInput::Aggregate(aggregate) => Action::Aggregate(aggregate::translate(
            aggregate, rule.retry, route, policies, resources, output,
        )?),
        // Valid, and 500 by definition (HTTPRouteRule.backendRefs).
        ActionInput::Nothing => Action::Broken(v1::Broken { reason: "backendRefs is empty".into() }),
    });
    Ok(())
}

/// `field`: where the reference stands, for messages.
pub(super) fn backend(
    field: &str,
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
    match backend::resolve(field, backend, route, policies, resources, &mut output.of_backend) {
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

/// `None`: it is left out, as the Gateway API asks, because its reference is broken.
fn mirror(
    input: &MirrorInput<'_>,
    route: &RouteInput<'_>,
    policies: &Policies,
    resources: &Resources,
    output: &mut RuleOutput,
) -> Result<Option<v1::Mirror>, String> {
    let Mirror { backend_ref: target, percent, fraction } = input.mirror;
    let (numerator, denominator) = match (percent, fraction) {
        (None, None) => (1, 1),
        (Some(percent), None) => (*percent, 100),
        (None, Some(fraction)) => (fraction.numerator, fraction.denominator),
        (Some(_), Some(_)) => return Err(format!("{}: give percent or fraction, not both", input.field)),
    };
    let (Ok(numerator), Ok(denominator)) = (u32::try_from(numerator), u32::try_from(denominator)) else {
        return Err(format!("{}: a share of requests is not negative", input.field));
    };
    if numerator > denominator || denominator == 0 {
        return Err(format!("{}: a share of {numerator} in {denominator} is none", input.field));
    }
    let field = format!("{}.backendRef", input.field);
    let service = plain(&field, target, route, policies, resources, output);
    Ok(service.map(|service| v1::Mirror { service, numerator, denominator }))
}

/// The name of a Service that requests go to besides the rule's backends. `None`: it is left out, because its reference is
/// broken, as `output` tells.
fn plain(
    field: &str,
    target: &ServiceRef,
    route: &RouteInput<'_>,
    policies: &Policies,
    resources: &Resources,
    output: &mut RuleOutput,
) -> Option<String> {
    let reference = self::target(target);
    let target = plain_backend(&reference);
    match backend::resolve(field, &target, route, policies, resources, &mut output.of_backend) {
        Ok((key, service)) => {
            let name = super::names::service(&key);
            output.services.push((key, service));
            Some(name)
        }
        Err(problem) => {
            output.unresolved.push(problem);
            None
        }
    }
}

/// What has no weight of its own.
pub(super) fn target(target: &ServiceRef) -> BackendRef {
    BackendRef {
        group: target.group.clone(),
        kind: target.kind.clone(),
        namespace: target.namespace.clone(),
        name: target.name.clone(),
        port: target.port,
        weight: 1,
    }
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

pub(super) fn changes(changes: &HeaderChanges) -> Result<v1::HeaderChanges, String> {
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

fn cors(cors: &Cors) -> Result<v1::Cors, String> {
    let check = |field: &str, list: &[String], check: fn(&str) -> Result<(), String>| {
        list.iter().try_for_each(|one| check(one).map_err(|error| format!("cors.{field}: {error}")))
    };
    check("allowOrigins", &cors.allow_origins, check::origin)?;
    check("allowMethods", &cors.allow_methods, check::token)?;
    check("allowHeaders", &cors.allow_headers, check::token)?;
    check("exposeHeaders", &cors.expose_headers, check::token)?;
    Ok(v1::Cors {
        allow_origins: cors.allow_origins.clone(),
        allow_credentials: cors.allow_credentials,
        allow_methods: cors.allow_methods.clone(),
        allow_headers: cors.allow_headers.clone(),
        expose_headers: cors.expose_headers.clone(),
        max_age_seconds: u32::try_from(cors.max_age)
            .map_err(|_| format!("cors.maxAge is {}: use at least 1", cors.max_age))?,
    })
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
        PathModifierType::ReplaceRegexMatch => {
            let replacement = path.replace_regex_match.as_ref();
            let RegexReplacement { pattern, substitution } =
                replacement.ok_or("path.replaceRegexMatch is missing")?;
            check::expression(pattern).map_err(|error| format!("path.replaceRegexMatch.pattern: {error}"))?;
            check::substitution(substitution, pattern)
                .map_err(|error| format!("path.replaceRegexMatch.substitution: {error}"))?;
            RewriteKind::Expression(v1::PathExpression {
                pattern: pattern.clone(),
                substitution: substitution.clone(),
            })
        }
    };
    Ok(v1::PathRewrite { kind: Some(kind) })
}

pub(super) fn retry(retry: &Retry) -> Result<v1::Retry, String> {
    let code = |code: &i32| {
        let known = u32::try_from(*code).ok().filter(|code| (400..=599).contains(code));
        known.ok_or_else(|| format!("retry.codes: {code} is no status of a failure: use 400 to 599"))
    };
    let attempts = retry.attempts.unwrap_or(1);
    let backoff = retry.backoff.as_deref().map_or(Ok(RETRY_BACKOFF), milliseconds);
    Ok(v1::Retry {
        codes: retry.codes.iter().map(code).collect::<Result<_, _>>()?,
        attempts: u32::try_from(attempts)
            .ok()
            .filter(|attempts| (1..=MOST_RETRIES).contains(attempts))
            .ok_or_else(|| format!("retry.attempts is {attempts}: use 1 to {MOST_RETRIES}"))?,
        backoff_ms: backoff.map_err(|error| format!("retry.backoff: {error}"))?,
    })
}

fn timeouts(timeouts: &Timeouts) -> Result<v1::Timeouts, String> {
    let limit = |field: &str, text: &Option<String>| {
        text.as_deref().map_or(Ok(0), milliseconds).map_err(|error| format!("timeouts.{field}: {error}"))
    };
    Ok(v1::Timeouts {
        request_ms: limit("request", &timeouts.request)?,
        backend_request_ms: limit("backendRequest", &timeouts.backend_request)?,
        connect_ms: limit("connect", &timeouts.connect)?,
        idle_ms: limit("idle", &timeouts.idle)?,
    })
}

pub(super) fn milliseconds(text: &str) -> Result<u64, InvalidDuration> {
    parse_duration(text).map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
