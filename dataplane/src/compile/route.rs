//! Compiles a `Route`.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroU64},
    sync::Arc,
    time::Duration,
};

use gatehouse_proto::config::v1::{self, route::Action as Wire};
use http::{HeaderName, Method, StatusCode};

use super::{aggregate, cache, routes::Routes};
use crate::{
    auth,
    filter::{CommonChanges, Cors, Fault, HeaderChanges, Redirect, Rewrite, header},
    http::target::canonical_path,
    interned::Interned,
    limit,
    observe::metrics::{Metrics, RouteMetrics},
    rollout::Rollout,
    route::{
        Age, Conditions, Entry, GrpcCondition, Hostname, Match, PathMatch, ValueCondition, WholeExpression,
        normal_prefix,
    },
    snapshot::{Action, Backend, Forward, Plan, Policies, Repeats, Respond, Retry, Rule, Share, Timeouts},
    upstream::{Key, Patience, Service},
};

/// A route, and the names of what it refers to.
#[derive(Debug)]
pub(super) struct Part {
    /// What the tables hold. What it refers to is in it after [`Part::resolve`].
    pub(super) entry: Arc<Entry<Rule>>,
    pub(super) attachments: Arc<[Attachment]>,
    /// Of authentication, limits and then services of the plan's backends and mirrors, or parts, in their order.
    names: Box<[Arc<str>]>,
    auth: u16,
    limits: u16,
    /// It is in the tables.
    pub(super) listed: bool,
}

/// A listener and the hosts there.
#[derive(Debug, PartialEq)]
pub(super) struct Attachment {
    pub(super) listener: Arc<str>,
    pub(super) hostnames: Box<[Hostname]>,
}

/// What many routes have alike.
#[derive(Debug, Default)]
pub(super) struct Common {
    changes: CommonChanges,
    /// Names of listeners.
    listeners: Interned<str>,
}

/// What routes can refer to, by name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) auth: &'a BTreeMap<String, Arc<auth::Policy>>,
    pub(super) limits: &'a BTreeMap<String, Arc<limit::Policy>>,
    pub(super) services: &'a BTreeMap<String, Arc<Service>>,
}

impl Part {
    /// Fails if any part of the route can't be used. What `others` have as well is shared with them.
    pub(super) fn compile(
        name: &str,
        route: &v1::Route,
        metrics: &Metrics,
        others: &Routes,
        common: &mut Common,
    ) -> Result<Self, String> {
        let matches = if route.matches.is_empty() {
            [Match { path: PathMatch::Prefix("".into()), conditions: Conditions::default() }].into()
        } else {
            route.matches.iter().map(compile_match).collect::<Result<_, _>>()?
        };
        let sibling = others.sibling(&route.object, route.rule);
        let object = sibling.map(|part| part.entry.object()).filter(|object| ***object == *route.object);
        let object = object.map_or_else(|| route.object.as_str().into(), Arc::clone);
        let attachments =
            route.attachments.iter().map(|wire| attachment(wire, others, &mut common.listeners));
        let attachments: Arc<[_]> = attachments.collect();
        let changes = &mut common.changes;
        let same = sibling.map(|part| &part.attachments).filter(|same| **same == attachments);
        let attachments = same.map_or(attachments, Arc::clone);
        let timeouts = route.timeouts.unwrap_or_default();
        let own = metrics.route(Arc::clone(&object), route.rule, &route.rule_name);
        let plan = Plan {
            request_headers: self::changes(route.request_headers.as_ref(), changes)?,
            response_headers: self::changes(route.response_headers.as_ref(), changes)?,
            timeouts: Timeouts::milliseconds(timeouts.request_ms, timeouts.backend_request_ms),
            patience: Patience::compile(&timeouts),
            cors: cors(route.cors.as_ref())?,
            fault: fault(route.fault.as_ref())?,
            cache: cache::compile(route)?,
            max_body: NonZeroU64::new(route.max_request_body_bytes),
            action: action(route.action.as_ref(), &own, metrics, changes)?,
            metrics: own,
        };
        let rule = Rule { plan, policies: None, services: Box::default() };
        let (backends, mirrors, failover, parts) = match &route.action {
            Some(Wire::Forward(forward)) => {
                (&*forward.backends, &*forward.mirrors, &*forward.failover, &[][..])
            }
            Some(Wire::Aggregate(aggregate)) => (&[][..], &[][..], &[][..], &*aggregate.parts),
            _ => (&[][..], &[][..], &[][..], &[][..]),
        };
        let services = backends.iter().map(|backend| &backend.service);
        let services = services.chain(mirrors.iter().map(|mirror| &mirror.service));
        let services = services.chain(failover);
        let services = services.chain(parts.iter().map(|part| &part.service));
        let names = route.auth.iter().chain(&route.rate_limits).chain(services);
        let count = |names: &[String]| u16::try_from(names.len()).map_err(|_| "it names too many policies");
        Ok(Part {
            entry: Arc::new(Entry::new(
                name,
                Age { created: route.created, object, rule: route.rule },
                matches,
                rule,
            )),
            attachments,
            names: names.map(|name| others.shared(name)).collect(),
            auth: count(&route.auth)?,
            limits: count(&route.rate_limits)?,
            listed: false,
        })
    }

    /// All that it refers to, but for listeners.
    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// With what it names, as far as that is in force. It must not be in the tables.
    pub(super) fn resolve(&mut self, known: Known<'_>) {
        let rule = &mut Arc::make_mut(&mut self.entry).target;
        let (auth, others) = self.names.split_at(self.auth.into());
        let (limits, services) = others.split_at(self.limits.into());
        let policies = || Policies {
            auth: auth.iter().map(|name| known.auth.get(&**name).cloned()).collect(),
            limits: limits.iter().map(|name| known.limits.get(&**name).cloned()).collect(),
        };
        let is_open = auth.is_empty() && limits.is_empty();
        rule.policies = (!is_open).then(|| Box::new(policies()));
        rule.services = services.iter().map(|name| known.services.get(&**name).cloned()).collect();
    }
}

fn attachment(wire: &v1::Attachment, others: &Routes, listeners: &mut Interned<str>) -> Attachment {
    let parse = |text: &String| {
        let hostname = Hostname::parse(text);
        let hostname = if wire.one_label { hostname.one_label() } else { hostname };
        others.shared_hostname(&wire.listener, hostname)
    };
    Attachment {
        listener: listeners.get(wire.listener.as_str().into()),
        hostnames: match &*wire.hostnames {
            [] => [Hostname::Any].into(),
            hostnames => hostnames.iter().map(parse).collect(),
        },
    }
}

fn compile_match(wire: &v1::Match) -> Result<Match, String> {
    let path = match &wire.path {
        None => PathMatch::Prefix("".into()),
        Some(path) => match path.kind() {
            v1::PathKind::Exact => PathMatch::Exact(canonical(&path.value)?),
            v1::PathKind::Prefix => PathMatch::Prefix(normal_prefix(&canonical(&path.value)?).into()),
            v1::PathKind::RegularExpression => PathMatch::Expression(expression(&path.value)?.into()),
            v1::PathKind::Unspecified => {
                return Err("this dataplane does not know the kind of path match".into());
            }
        },
    };
    let method = (!wire.method.is_empty())
        .then(|| Method::from_bytes(wire.method.as_bytes()))
        .transpose()
        .map_err(|_| format!("{:?} is no HTTP method", wire.method))?;
    let headers = wire
        .headers
        .iter()
        .map(|header| {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .map_err(|_| format!("{:?} is no header name", header.name))?;
            Ok((name, condition(header)?))
        })
        .collect::<Result<_, String>>()?;
    let query_params = wire
        .query_params
        .iter()
        .map(|param| Ok((param.name.as_str().into(), condition(param)?)))
        .collect::<Result<_, String>>()?;
    let grpc = wire.grpc.as_ref().map(|grpc| {
        let method = grpc.method.as_ref().map(condition).transpose()?;
        Ok::<_, String>(GrpcCondition { method })
    });
    Ok(Match { path, conditions: Conditions::new(method, headers, query_params, grpc.transpose()?) })
}

/// In the form that requests are brought to before they are compared.
fn canonical(path: &str) -> Result<Arc<str>, String> {
    let canonical = canonical_path(path).map_err(|_| {
        format!("{path:?} is no path that a request can have: begin with `/` and escape what needs it")
    })?;
    Ok(Arc::from(&*canonical))
}

fn condition(wire: &v1::ValueMatch) -> Result<ValueCondition, String> {
    match wire.kind() {
        v1::ValueKind::Exact => Ok(ValueCondition::Equals(wire.value.as_str().into())),
        v1::ValueKind::RegularExpression => Ok(ValueCondition::Matches(expression(&wire.value)?)),
        v1::ValueKind::Unspecified => Err("this dataplane does not know the kind of value match".into()),
    }
}

fn expression(pattern: &str) -> Result<WholeExpression, String> {
    WholeExpression::new(pattern).map_err(|invalid| invalid.to_string())
}

pub(super) fn changes(
    wire: Option<&v1::HeaderChanges>,
    common: &mut CommonChanges,
) -> Result<HeaderChanges, String> {
    HeaderChanges::compile(wire, common).map_err(|invalid| invalid.to_string())
}

fn cors(wire: Option<&v1::Cors>) -> Result<Option<Box<Cors>>, String> {
    wire.map(|wire| Cors::compile(wire).map(Box::new)).transpose().map_err(|invalid| invalid.to_string())
}

fn fault(wire: Option<&v1::Fault>) -> Result<Option<Box<Fault>>, String> {
    wire.map(|wire| Fault::compile(wire).map(Box::new)).transpose().map_err(|invalid| invalid.to_string())
}

fn action(
    wire: Option<&Wire>,
    own: &RouteMetrics,
    metrics: &Metrics,
    common: &mut CommonChanges,
) -> Result<Action, String> {
    match wire {
        Some(Wire::Forward(wire)) => forward(wire, metrics, common).map(Action::Forward),
        Some(Wire::Redirect(redirect)) => {
            let redirect = Redirect::compile(redirect).map_err(|invalid| invalid.to_string())?;
            Ok(Action::Redirect(Box::new(redirect)))
        }
        Some(Wire::Respond(wire)) => Ok(Action::Respond(Box::new(respond(wire)?))),
        Some(Wire::Broken(_)) => Ok(Action::Broken),
        Some(Wire::Closed(_)) => Ok(Action::Closed),
        Some(Wire::Aggregate(wire)) => {
            let aggregate = aggregate::compile(wire, |part| metrics.part(own, part), common)?;
            Ok(Action::Aggregate(Box::new(aggregate)))
        }
        None => Err("this dataplane does not know the action".into()),
    }
}

pub(super) fn respond(wire: &v1::Respond) -> Result<Respond, String> {
    let status = u16::try_from(wire.status)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
        .filter(|status| !status.is_informational())
        .ok_or_else(|| format!("the response's status {} is not between 200 and 999", wire.status))?;
    let headers = wire.headers.iter().map(header).collect::<Result<_, _>>();
    Ok(Respond {
        status,
        headers: headers.map_err(|invalid| invalid.to_string())?,
        body: wire.body.clone().into(),
    })
}

fn forward(wire: &v1::Forward, metrics: &Metrics, common: &mut CommonChanges) -> Result<Forward, String> {
    let mut total_weight = 0;
    let backends = wire
        .backends
        .iter()
        .map(|backend| {
            total_weight += u64::from(backend.weight);
            Ok(Backend {
                weight_until: total_weight,
                request_headers: changes(backend.request_headers.as_ref(), common)?,
                response_headers: changes(backend.response_headers.as_ref(), common)?,
            })
        })
        .collect::<Result<_, String>>()?;
    let rewrite = Rewrite::compile(wire.rewrite.as_ref()).map_err(|invalid| invalid.to_string())?;
    let rollout = wire
        .rollout
        .as_ref()
        .map(|rollout| Rollout::compile(rollout, wire.backends.len(), metrics))
        .transpose()?;
    Ok(Forward { backends, total_weight, rewrite, repeats: repeats(wire)?, rollout: rollout.map(Box::new) })
}

/// `None`: each request goes out once, to its backend.
fn repeats(wire: &v1::Forward) -> Result<Option<Box<Repeats>>, String> {
    let affinity = wire.affinity.as_ref().map(Key::compile).transpose()?;
    if wire.mirrors.is_empty() && wire.retry.is_none() && wire.failover.is_empty() && affinity.is_none() {
        return Ok(None);
    }
    let share = |mirror: &v1::Mirror| {
        let whole = NonZeroU32::new(mirror.denominator).ok_or("a mirror's denominator is 0")?;
        Ok::<_, String>(Share { part: mirror.numerator, whole })
    };
    let mirrors = wire.mirrors.iter().map(share).collect::<Result<_, _>>()?;
    let retry = wire.retry.as_ref().map(retry).transpose()?;
    Ok(Some(Box::new(Repeats { mirrors, retry, failovers: wire.failover.len(), affinity })))
}

pub(super) fn retry(wire: &v1::Retry) -> Result<Retry, String> {
    let code = |code: &u32| {
        let status = u16::try_from(*code).ok().and_then(|code| StatusCode::from_u16(code).ok());
        status.ok_or_else(|| format!("retry.codes: {code} is no status"))
    };
    Ok(Retry {
        codes: wire.codes.iter().map(code).collect::<Result<_, _>>()?,
        attempts: wire.attempts,
        backoff: Duration::from_millis(wire.backoff_ms),
    })
}
