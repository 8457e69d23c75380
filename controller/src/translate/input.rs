//! HTTPRoute and GatewayRoute, brought to one shape.

use gatehouse_crds::{
    BackendRef, FilterType, GATEWAY_GROUP, GROUP, GatewayRoute, GatewayRouteRule, HeaderChanges,
    HttpBackendRef, HttpFilter, HttpRoute, HttpRouteRule, ParentRef, Redirect, Respond, RouteMatch, Timeouts,
    UrlRewrite,
};
use kube::ResourceExt;

use crate::resources::{ObjectKey, Resources};

#[derive(Debug)]
pub(super) struct RouteInput<'a> {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    pub(super) key: &'a ObjectKey,
    /// Unix seconds; 0 for objects that no API server has stored.
    pub(super) created: i64,
    pub(super) parent_refs: &'a [ParentRef],
    pub(super) hostnames: &'a [String],
    pub(super) rules: Vec<RuleInput<'a>>,
}

#[derive(Debug)]
pub(super) struct RuleInput<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) matches: &'a [RouteMatch],
    pub(super) request_headers: Option<&'a HeaderChanges>,
    pub(super) response_headers: Option<&'a HeaderChanges>,
    pub(super) action: ActionInput<'a>,
    pub(super) timeouts: Option<&'a Timeouts>,
    pub(super) auth: RuleAuth<'a>,
    /// Names of RateLimitPolicies; `None`: whatever is attached.
    pub(super) rate_limits: Option<Vec<&'a str>>,
    /// Filters that are not served.
    pub(super) unserved: Vec<String>,
}

#[derive(Debug)]
pub(super) enum ActionInput<'a> {
    Forward { backends: Vec<BackendInput<'a>>, rewrite: Option<&'a UrlRewrite> },
    Redirect(&'a Redirect),
    Respond(&'a Respond),
}

#[derive(Debug)]
pub(super) struct BackendInput<'a> {
    pub(super) reference: &'a BackendRef,
    pub(super) request_headers: Option<&'a HeaderChanges>,
    pub(super) response_headers: Option<&'a HeaderChanges>,
}

/// What a rule itself says of authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RuleAuth<'a> {
    /// Nothing: what is attached counts.
    Attached,
    /// This AuthPolicy.
    Policy(&'a str),
    /// Everybody may.
    Public,
}

/// Every route, in one order.
pub(super) fn routes(resources: &Resources) -> impl Iterator<Item = RouteInput<'_>> {
    let http = resources.http_routes.iter().map(|(key, route)| from_http(key, route));
    http.chain(resources.gateway_routes.iter().map(|(key, route)| from_gateway(key, route)))
}

impl RouteInput<'_> {
    /// `Kind/namespace/name`.
    pub(super) fn object(&self) -> String {
        format!("{}/{}", self.kind, self.key)
    }
}

pub(super) fn created(object: &impl ResourceExt) -> i64 {
    object.creation_timestamp().map_or(0, |time| time.0.as_second())
}

fn from_http<'a>(key: &'a ObjectKey, route: &'a HttpRoute) -> RouteInput<'a> {
    RouteInput {
        group: GATEWAY_GROUP,
        kind: "HTTPRoute",
        key,
        created: created(route),
        parent_refs: &route.spec.parent_refs,
        hostnames: &route.spec.hostnames,
        rules: route.spec.rules.iter().map(http_rule).collect(),
    }
}

fn http_rule(rule: &HttpRouteRule) -> RuleInput<'_> {
    let filters = Filters::of(&rule.filters);
    let action = match filters.redirect {
        Some(redirect) => ActionInput::Redirect(redirect),
        None => ActionInput::Forward {
            backends: rule.backend_refs.iter().map(http_backend).collect(),
            rewrite: filters.rewrite,
        },
    };
    let mut unserved = filters.unserved;
    if filters.redirect.is_some() && filters.rewrite.is_some() {
        unserved.push("RequestRedirect together with URLRewrite".into());
    }
    let of_backends =
        rule.backend_refs.iter().flat_map(|backend| Filters::of(&backend.filters).unserved_at_backend());
    unserved.extend(of_backends);
    RuleInput {
        name: rule.name.as_deref(),
        matches: &rule.matches,
        request_headers: filters.request_headers,
        response_headers: filters.response_headers,
        action,
        timeouts: rule.timeouts.as_ref(),
        auth: RuleAuth::Attached,
        rate_limits: None,
        unserved,
    }
}

fn http_backend(backend: &HttpBackendRef) -> BackendInput<'_> {
    let filters = Filters::of(&backend.filters);
    BackendInput {
        reference: &backend.reference,
        request_headers: filters.request_headers,
        response_headers: filters.response_headers,
    }
}

/// The filters of a list, each at most once (HTTPRouteRule.filters).
#[derive(Default)]
struct Filters<'a> {
    request_headers: Option<&'a HeaderChanges>,
    response_headers: Option<&'a HeaderChanges>,
    redirect: Option<&'a Redirect>,
    rewrite: Option<&'a UrlRewrite>,
    unserved: Vec<String>,
}

impl<'a> Filters<'a> {
    fn of(list: &'a [HttpFilter]) -> Self {
        let mut filters = Filters::default();
        for filter in list {
            match filter.kind {
                FilterType::RequestHeaderModifier => {
                    filters.request_headers = filter.request_header_modifier.as_ref();
                }
                FilterType::ResponseHeaderModifier => {
                    filters.response_headers = filter.response_header_modifier.as_ref();
                }
                FilterType::RequestRedirect => filters.redirect = filter.request_redirect.as_ref(),
                FilterType::UrlRewrite => filters.rewrite = filter.url_rewrite.as_ref(),
                FilterType::Other => {
                    filters.unserved.push("a filter that this version does not serve".into());
                }
            }
        }
        filters
    }

    fn unserved_at_backend(mut self) -> Vec<String> {
        if self.redirect.is_some() || self.rewrite.is_some() {
            self.unserved.push("RequestRedirect or URLRewrite in backendRefs".into());
        }
        self.unserved
    }
}

fn from_gateway<'a>(key: &'a ObjectKey, route: &'a GatewayRoute) -> RouteInput<'a> {
    let rules = route.spec.rules.iter().map(|rule| gateway_rule(rule, route));
    RouteInput {
        group: GROUP,
        kind: "GatewayRoute",
        key,
        created: created(route),
        parent_refs: &route.spec.parent_refs,
        hostnames: &route.spec.hostnames,
        rules: rules.collect(),
    }
}

fn gateway_rule<'a>(rule: &'a GatewayRouteRule, route: &'a GatewayRoute) -> RuleInput<'a> {
    let defaults = route.spec.defaults.as_ref();
    let action = match (&rule.redirect, &rule.respond) {
        (Some(redirect), _) => ActionInput::Redirect(redirect),
        (None, Some(respond)) => ActionInput::Respond(respond),
        (None, None) => ActionInput::Forward {
            backends: rule.backend_refs.iter().flatten().map(plain_backend).collect(),
            rewrite: rule.rewrite.as_ref(),
        },
    };
    let auth = rule.auth.as_ref().or(defaults.and_then(|defaults| defaults.auth.as_ref()));
    let own_limits = rule.rate_limits.as_ref();
    let default_limits = defaults.map(|defaults| &defaults.rate_limits).filter(|limits| !limits.is_empty());
    RuleInput {
        name: rule.name.as_deref(),
        matches: &rule.matches,
        request_headers: rule.request_headers.as_ref(),
        response_headers: rule.response_headers.as_ref(),
        action,
        timeouts: rule.timeouts.as_ref().or(defaults.and_then(|defaults| defaults.timeouts.as_ref())),
        auth: match auth {
            None => RuleAuth::Attached,
            Some(auth) => match &auth.policy_ref {
                Some(policy) => RuleAuth::Policy(&policy.name),
                None if auth.public == Some(true) => RuleAuth::Public,
                None => RuleAuth::Attached,
            },
        },
        rate_limits: own_limits
            .or(default_limits)
            .map(|limits| limits.iter().map(|limit| &*limit.name).collect()),
        unserved: Vec::new(),
    }
}

fn plain_backend(reference: &BackendRef) -> BackendInput<'_> {
    BackendInput { reference, request_headers: None, response_headers: None }
}
