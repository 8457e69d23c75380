//! Compiles a `Route`.

use std::{sync::Arc, time::Duration};

use gatehouse_proto::config::v1::{self, route::Action as Wire};
use http::{HeaderName, Method, StatusCode};

use super::State;
use crate::{
    filter::{HeaderChanges, Redirect, Rewrite, header},
    http::target::canonical_path,
    observe::metrics::Metrics,
    route::{
        Age, Conditions, Entry, Hostname, Match, PathMatch, ValueCondition, WholeExpression, normal_prefix,
    },
    snapshot::{Action, Backend, Forward, Plan, Respond, Rule},
};

/// A route, and the names of what it refers to.
#[derive(Debug)]
pub(super) struct Part {
    plan: Arc<Plan>,
    matches: Vec<Match>,
    age: Age,
    /// Listener and the hosts there.
    attachments: Vec<(String, Vec<Hostname>)>,
    auth: Vec<String>,
    limits: Vec<String>,
    /// Of the plan's backends, in their order.
    services: Vec<String>,
}

impl Part {
    /// Fails if any part of the route can't be used.
    pub(super) fn compile(route: &v1::Route, metrics: &Metrics) -> Result<Self, String> {
        let matches = if route.matches.is_empty() {
            vec![Match { path: PathMatch::Prefix("".into()), conditions: Conditions::default() }]
        } else {
            route.matches.iter().map(compile_match).collect::<Result<_, _>>()?
        };
        // `Kind/namespace/name`: a tie goes by namespace and name.
        let (kind, name) = route.object.split_once('/').unwrap_or(("", &route.object));
        let timeouts = route.timeouts.unwrap_or_default();
        let plan = Plan {
            object: route.object.as_str().into(),
            request_headers: changes(route.request_headers.as_ref())?,
            response_headers: changes(route.response_headers.as_ref())?,
            request_timeout: milliseconds(timeouts.request_ms),
            backend_timeout: milliseconds(timeouts.backend_request_ms),
            action: action(route.action.as_ref())?,
            metrics: metrics.route(&route.object, route.rule, &route.rule_name),
        };
        Ok(Part {
            plan: Arc::new(plan),
            matches,
            age: Age { created: route.created, name: format!("{name}/{kind}").into(), rule: route.rule },
            attachments: route.attachments.iter().map(attachment).collect(),
            auth: route.auth.clone(),
            limits: route.rate_limits.clone(),
            services: match &route.action {
                Some(Wire::Forward(forward)) => {
                    forward.backends.iter().map(|backend| backend.service.clone()).collect()
                }
                _ => Vec::new(),
            },
        })
    }

    /// With what it names, as far as that is in force.
    pub(super) fn rule(&self, state: &State) -> Arc<Rule> {
        Arc::new(Rule {
            plan: Arc::clone(&self.plan),
            auth: self.auth.iter().map(|name| state.auth.get(name).cloned()).collect(),
            limits: self.limits.iter().map(|name| state.limits.get(name).cloned()).collect(),
            services: self.services.iter().map(|name| state.services.get(name).cloned()).collect(),
        })
    }

    /// One entry a listener.
    pub(super) fn entries(&self, rule: &Arc<Rule>) -> impl Iterator<Item = (&str, Entry<Arc<Rule>>)> {
        self.attachments.iter().map(|(listener, hostnames)| {
            let entry = Entry {
                hostnames: hostnames.clone(),
                matches: self.matches.clone(),
                age: self.age.clone(),
                target: Arc::clone(rule),
            };
            (listener.as_str(), entry)
        })
    }
}

fn attachment(attachment: &v1::Attachment) -> (String, Vec<Hostname>) {
    let hostnames = if attachment.hostnames.is_empty() {
        vec![Hostname::Any]
    } else {
        let parsed = attachment.hostnames.iter().map(|hostname| Hostname::parse(hostname));
        if attachment.one_label { parsed.map(Hostname::one_label).collect() } else { parsed.collect() }
    };
    (attachment.listener.clone(), hostnames)
}

fn compile_match(wire: &v1::Match) -> Result<Match, String> {
    let path = match &wire.path {
        None => PathMatch::Prefix("".into()),
        Some(path) => match path.kind() {
            v1::PathKind::Exact => PathMatch::Exact(canonical(&path.value)?),
            v1::PathKind::Prefix => PathMatch::Prefix(normal_prefix(&canonical(&path.value)?).into()),
            v1::PathKind::RegularExpression => PathMatch::Expression(expression(&path.value)?),
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
    Ok(Match { path, conditions: Conditions { method, headers, query_params } })
}

/// In the form that requests are brought to before they are compared.
fn canonical(path: &str) -> Result<Box<str>, String> {
    let canonical = canonical_path(path).map_err(|_| {
        format!("{path:?} is no path that a request can have: begin with `/` and escape what needs it")
    })?;
    Ok(Box::from(&*canonical))
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

fn changes(wire: Option<&v1::HeaderChanges>) -> Result<HeaderChanges, String> {
    HeaderChanges::compile(wire).map_err(|invalid| invalid.to_string())
}

fn milliseconds(count: u64) -> Option<Duration> {
    (count > 0).then(|| Duration::from_millis(count))
}

fn action(wire: Option<&Wire>) -> Result<Action, String> {
    match wire {
        Some(Wire::Forward(wire)) => forward(wire).map(Action::Forward),
        Some(Wire::Redirect(redirect)) => {
            Redirect::compile(redirect).map(Action::Redirect).map_err(|invalid| invalid.to_string())
        }
        Some(Wire::Respond(respond)) => {
            let status = u16::try_from(respond.status)
                .ok()
                .and_then(|code| StatusCode::from_u16(code).ok())
                .filter(|status| !status.is_informational())
                .ok_or_else(|| format!("respond.status {} is not between 200 and 999", respond.status))?;
            let headers = respond.headers.iter().map(header).collect::<Result<_, _>>();
            Ok(Action::Respond(Respond {
                status,
                headers: headers.map_err(|invalid| invalid.to_string())?,
                body: respond.body.clone().into(),
            }))
        }
        Some(Wire::Broken(_)) => Ok(Action::Broken),
        None => Err("this dataplane does not know the action".into()),
    }
}

fn forward(wire: &v1::Forward) -> Result<Forward, String> {
    let mut total_weight = 0;
    let backends = wire
        .backends
        .iter()
        .map(|backend| {
            total_weight += u64::from(backend.weight);
            Ok(Backend {
                weight_until: total_weight,
                request_headers: changes(backend.request_headers.as_ref())?,
                response_headers: changes(backend.response_headers.as_ref())?,
            })
        })
        .collect::<Result<_, String>>()?;
    let rewrite = Rewrite::compile(wire.rewrite.as_ref()).map_err(|invalid| invalid.to_string())?;
    Ok(Forward { backends, total_weight, rewrite })
}
