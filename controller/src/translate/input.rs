//! The routes of the Gateway API and GatewayRoute, brought to one shape. Ingress is brought to it by `ingress`.

use std::collections::BTreeSet;

use gatehouse_crds::{
    Aggregate, BackendRef, Cache, Cors, Fault, FilterType, GATEWAY_GROUP, GROUP, GatewayRoute,
    GatewayRouteRule, GrpcRoute, GrpcRouteMatch, GrpcRouteRule, HeaderChanges, HttpBackendRef, HttpFilter,
    HttpRoute, HttpRouteRule, Mirror, ParentRef, Redirect, Respond, Retry, RouteMatch, ServiceRef,
    SessionAffinity, SessionPersistence, StreamRouteRule, TcpRoute, Timeouts, TlsRoute, UdpRoute, UrlRewrite,
};
use kube::ResourceExt;

use super::{
    cache,
    conditions::{Problem, reason},
    rollout::RolloutInput,
    status::ObjectId,
};
use crate::resources::{ObjectKey, Resources};

/// Set on a GatewayRoute by whoever converted another gateway's configuration and could not take over all that guarded
/// it. The value says what is missing; taking the annotation away opens the route.
const UNCONVERTED: &str = "gatehouse.dev/unconverted";

#[derive(Debug)]
pub(super) struct RouteInput<'a> {
    pub(super) group: &'static str,
    pub(super) kind: &'static str,
    pub(super) key: &'a ObjectKey,
    /// Unix seconds; 0 for objects that no API server has stored.
    pub(super) created: i64,
    pub(super) parent_refs: &'a [ParentRef],
    pub(super) hostnames: &'a [String],
    pub(super) takes: Takes,
    /// Where its references to backends stand; for messages.
    pub(super) backend_field: &'static str,
    pub(super) rules: Vec<RuleInput<'a>>,
    /// Listeners that it is known to attach to, by their indices.
    pub(super) listeners: Option<&'a BTreeSet<usize>>,
    /// What is known to be wrong beside its rules.
    pub(super) unresolved: Vec<Problem>,
    /// What another object has taken.
    pub(super) conflicts: Vec<Problem>,
    /// What guarded it at another gateway and is missing here: its rules are closed.
    pub(super) unconverted: Option<&'a str>,
}

/// What a route takes from clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Requests,
    /// Those of gRPC alone; its backends are spoken HTTP/2 to.
    Calls,
    /// Connections, of which nothing is read but a server name: there are no requests that a policy could apply to.
    Streams,
    /// The same goes for these.
    Datagrams,
}

#[derive(Debug)]
pub(super) struct RuleInput<'a> {
    pub(super) name: Option<&'a str>,
    /// Where it stands in the object, if not at its index; for messages.
    pub(super) field: Option<&'a str>,
    /// The host and the listeners of this rule alone; `None`: those of the route.
    pub(super) own: Option<OwnHost<'a>>,
    /// Loses against every other rule that matches as well.
    pub(super) is_last: bool,
    pub(super) matches: Matches<'a>,
    pub(super) request_headers: Option<&'a HeaderChanges>,
    pub(super) response_headers: Option<&'a HeaderChanges>,
    pub(super) cors: Option<&'a Cors>,
    pub(super) action: ActionInput<'a>,
    pub(super) timeouts: Option<&'a Timeouts>,
    pub(super) retry: Option<&'a Retry>,
    /// Of a request's body; `None` and 0: any number.
    pub(super) max_body_bytes: Option<i64>,
    pub(super) fault: Option<&'a Fault>,
    pub(super) cache: Option<&'a Cache>,
    pub(super) auth: RuleAuth<'a>,
    /// Names of RateLimitPolicies; `None`: whatever is attached.
    pub(super) rate_limits: Option<Vec<&'a str>>,
    /// What is wrong with how it is put together.
    pub(super) problem: Option<Problem>,
}

/// Any of them; none: whatever the route can take.
#[derive(Debug, Clone, Copy)]
pub(super) enum Matches<'a> {
    Http(&'a [RouteMatch]),
    Grpc(&'a [GrpcRouteMatch]),
}

/// A rule that is served under one host.
#[derive(Debug, Clone, Copy)]
pub(super) struct OwnHost<'a> {
    /// A wildcard stands for exactly one label; empty: any.
    pub(super) host: &'a str,
    /// By their indices. Empty: the rule is served nowhere.
    pub(super) listeners: &'a BTreeSet<usize>,
}

#[derive(Debug)]
pub(super) enum ActionInput<'a> {
    Forward {
        backends: Vec<BackendInput<'a>>,
        rewrite: Option<&'a UrlRewrite>,
        mirrors: Vec<MirrorInput<'a>>,
        /// Who stands in for the backends, in this order.
        failover: &'a [ServiceRef],
        affinity: Option<&'a SessionAffinity>,
        rollout: Option<RolloutInput<'a>>,
    },
    Redirect(&'a Redirect),
    Respond(&'a Respond),
    Aggregate(&'a Aggregate),
    /// The rule does not say.
    Nothing,
}

#[derive(Debug)]
pub(super) struct BackendInput<'a> {
    pub(super) reference: &'a BackendRef,
    /// Instead of a port in `reference`.
    pub(super) port_name: Option<&'a str>,
    pub(super) request_headers: Option<&'a HeaderChanges>,
    pub(super) response_headers: Option<&'a HeaderChanges>,
}

/// Where copies of requests go.
#[derive(Debug)]
pub(super) struct MirrorInput<'a> {
    /// Where it stands in the rule; for messages.
    pub(super) field: String,
    pub(super) mirror: &'a Mirror,
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
    let tls = resources.tls_routes.iter().map(|(key, route)| from_tls(key, route));
    let tcp = resources.tcp_routes.iter().map(|(key, route)| from_tcp(key, route));
    let udp = resources.udp_routes.iter().map(|(key, route)| from_udp(key, route));
    let gateway = resources.gateway_routes.iter().map(|(key, route)| from_gateway(key, route));
    http_routes(resources).chain(grpc_routes(resources)).chain(tls).chain(tcp).chain(udp).chain(gateway)
}

pub(super) fn http_routes(resources: &Resources) -> impl Iterator<Item = RouteInput<'_>> {
    resources.http_routes.iter().map(|(key, route)| from_http(key, route))
}

pub(super) fn grpc_routes(resources: &Resources) -> impl Iterator<Item = RouteInput<'_>> {
    resources.grpc_routes.iter().map(|(key, route)| from_grpc(key, route))
}

/// One route of a kind that needs no other object to be read. `None`: there is none.
pub(super) fn route<'a>(resources: &'a Resources, id: &ObjectId) -> Option<RouteInput<'a>> {
    match id.kind {
        "HTTPRoute" => resources.http_routes.get_key_value(&id.key).map(|(key, route)| from_http(key, route)),
        "GRPCRoute" => resources.grpc_routes.get_key_value(&id.key).map(|(key, route)| from_grpc(key, route)),
        "TLSRoute" => resources.tls_routes.get_key_value(&id.key).map(|(key, route)| from_tls(key, route)),
        "TCPRoute" => resources.tcp_routes.get_key_value(&id.key).map(|(key, route)| from_tcp(key, route)),
        "UDPRoute" => resources.udp_routes.get_key_value(&id.key).map(|(key, route)| from_udp(key, route)),
        "GatewayRoute" => {
            resources.gateway_routes.get_key_value(&id.key).map(|(key, route)| from_gateway(key, route))
        }
        _ => None,
    }
}

impl Takes {
    /// There are no requests in it.
    pub(super) fn is_raw(self) -> bool {
        matches!(self, Takes::Streams | Takes::Datagrams)
    }
}

impl RouteInput<'_> {
    pub(super) fn id(&self) -> ObjectId {
        ObjectId { kind: self.kind, key: self.key.clone() }
    }

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
        takes: Takes::Requests,
        backend_field: "backendRefs",
        rules: route.spec.rules.iter().map(http_rule).collect(),
        listeners: None,
        unresolved: Vec::new(),
        conflicts: Vec::new(),
        unconverted: None,
    }
}

fn from_grpc<'a>(key: &'a ObjectKey, route: &'a GrpcRoute) -> RouteInput<'a> {
    RouteInput {
        group: GATEWAY_GROUP,
        kind: "GRPCRoute",
        key,
        created: created(route),
        parent_refs: &route.spec.parent_refs,
        hostnames: &route.spec.hostnames,
        takes: Takes::Calls,
        backend_field: "backendRefs",
        rules: route.spec.rules.iter().map(grpc_rule).collect(),
        listeners: None,
        unresolved: Vec::new(),
        conflicts: Vec::new(),
        unconverted: None,
    }
}

fn http_rule(rule: &HttpRouteRule) -> RuleInput<'_> {
    let matches = Matches::Http(&rule.matches);
    let common = filtered(rule.name.as_deref(), matches, &rule.filters, &rule.backend_refs);
    RuleInput { timeouts: rule.timeouts.as_ref(), retry: rule.retry.as_ref(), ..common }
        .persisting(rule.session_persistence)
}

fn grpc_rule(rule: &GrpcRouteRule) -> RuleInput<'_> {
    let matches = Matches::Grpc(&rule.matches);
    filtered(rule.name.as_deref(), matches, &rule.filters, &rule.backend_refs)
        .persisting(rule.session_persistence)
}

impl RuleInput<'_> {
    /// Refused if sessions are to persist: a client's requests would go to other backends than it relies on.
    fn persisting(mut self, persistence: Option<SessionPersistence>) -> Self {
        let refused = || persistence.map(|_| "sessionPersistence is not served: remove it".to_owned().into());
        self.problem = self.problem.or_else(refused);
        self
    }
}

/// What the rules of the Gateway API's kinds have in common.
fn filtered<'a>(
    name: Option<&'a str>,
    matches: Matches<'a>,
    filters: &'a [HttpFilter],
    backend_refs: &'a [HttpBackendRef],
) -> RuleInput<'a> {
    let filters = Filters::of(filters);
    let mirrors = !filters.mirrors.is_empty();
    let action = match filters.redirect {
        Some(redirect) => ActionInput::Redirect(redirect),
        None if backend_refs.is_empty() => ActionInput::Nothing,
        None => ActionInput::Forward {
            backends: backend_refs.iter().map(http_backend).collect(),
            rewrite: filters.rewrite,
            mirrors: filters.mirrors,
            failover: &[],
            affinity: None,
            rollout: None,
        },
    };
    let forwards =
        if filters.rewrite.is_some() { Some("URLRewrite") } else { mirrors.then_some("RequestMirror") };
    let incompatible = forwards.filter(|_| filters.redirect.is_some()).map(|other| {
        let message = format!("filters: RequestRedirect and {other} can't stand together");
        Problem::new(reason::INCOMPATIBLE_FILTERS, message)
    });
    let mut backends = backend_refs.iter();
    let problem = filters
        .problem
        .or(incompatible)
        .or_else(|| backends.find_map(|backend| Filters::of(&backend.filters).problem_at_backend()));
    RuleInput {
        name,
        field: None,
        own: None,
        is_last: false,
        matches,
        request_headers: filters.request_headers,
        response_headers: filters.response_headers,
        cors: filters.cors,
        action,
        timeouts: None,
        retry: None,
        max_body_bytes: None,
        fault: None,
        cache: None,
        auth: RuleAuth::Attached,
        rate_limits: None,
        problem,
    }
}

fn http_backend(backend: &HttpBackendRef) -> BackendInput<'_> {
    let filters = Filters::of(&backend.filters);
    BackendInput {
        reference: &backend.reference,
        port_name: None,
        request_headers: filters.request_headers,
        response_headers: filters.response_headers,
    }
}

/// The filters of a list, each at most once but for mirrors (HTTPRouteRule.filters).
#[derive(Default)]
struct Filters<'a> {
    request_headers: Option<&'a HeaderChanges>,
    response_headers: Option<&'a HeaderChanges>,
    redirect: Option<&'a Redirect>,
    rewrite: Option<&'a UrlRewrite>,
    cors: Option<&'a Cors>,
    mirrors: Vec<MirrorInput<'a>>,
    /// The first of them. A filter that is not understood must not be left out: it may be what protects the backend.
    problem: Option<Problem>,
}

impl<'a> Filters<'a> {
    fn of(list: &'a [HttpFilter]) -> Self {
        let mut filters = Filters::default();
        for (index, filter) in list.iter().enumerate() {
            let taken = match filter.kind {
                FilterType::RequestHeaderModifier => {
                    take(&mut filters.request_headers, filter.request_header_modifier.as_deref())
                }
                FilterType::ResponseHeaderModifier => {
                    take(&mut filters.response_headers, filter.response_header_modifier.as_deref())
                }
                FilterType::RequestRedirect => {
                    take(&mut filters.redirect, filter.request_redirect.as_deref())
                }
                FilterType::UrlRewrite => take(&mut filters.rewrite, filter.url_rewrite.as_deref()),
                FilterType::Cors => take(&mut filters.cors, filter.cors.as_deref()),
                FilterType::RequestMirror => filter.request_mirror.as_deref().ok_or(LACKING).map(|mirror| {
                    filters
                        .mirrors
                        .push(MirrorInput { field: format!("filters[{index}].requestMirror"), mirror });
                }),
                FilterType::Other => Err("is of a type that this version does not serve"),
            };
            if let Err(what) = taken {
                filters.problem.get_or_insert_with(|| format!("filters[{index}] {what}").into());
            }
        }
        filters
    }

    fn problem_at_backend(self) -> Option<Problem> {
        let misplaced = self.redirect.is_some()
            || self.rewrite.is_some()
            || self.cors.is_some()
            || !self.mirrors.is_empty();
        let misplaced = misplaced.then(|| {
            "backendRefs.filters: RequestRedirect, URLRewrite, CORS and RequestMirror belong to the rule"
                .to_owned()
        });
        self.problem
            .map(|problem| format!("backendRefs.{}", problem.message))
            .or(misplaced)
            .map(Problem::from)
    }
}

const LACKING: &str = "lacks the field that its type asks for";

/// The error continues "`filters[0]` ...".
fn take<'a, T>(place: &mut Option<&'a T>, filter: Option<&'a T>) -> Result<(), &'static str> {
    let filter = filter.ok_or(LACKING)?;
    place.replace(filter).map_or(Ok(()), |_| Err("repeats an earlier one: put both into one"))
}

fn from_tls<'a>(key: &'a ObjectKey, route: &'a TlsRoute) -> RouteInput<'a> {
    let spec = &route.spec;
    from_streams(
        ("TLSRoute", Takes::Streams),
        key,
        created(route),
        &spec.parent_refs,
        &spec.hostnames,
        &spec.rules,
    )
}

fn from_tcp<'a>(key: &'a ObjectKey, route: &'a TcpRoute) -> RouteInput<'a> {
    let spec = &route.spec;
    from_streams(("TCPRoute", Takes::Streams), key, created(route), &spec.parent_refs, &[], &spec.rules)
}

fn from_udp<'a>(key: &'a ObjectKey, route: &'a UdpRoute) -> RouteInput<'a> {
    let spec = &route.spec;
    from_streams(("UDPRoute", Takes::Datagrams), key, created(route), &spec.parent_refs, &[], &spec.rules)
}

fn from_streams<'a>(
    (kind, takes): (&'static str, Takes),
    key: &'a ObjectKey,
    created: i64,
    parent_refs: &'a [ParentRef],
    hostnames: &'a [String],
    rules: &'a [StreamRouteRule],
) -> RouteInput<'a> {
    RouteInput {
        group: GATEWAY_GROUP,
        kind,
        key,
        created,
        parent_refs,
        hostnames,
        takes,
        backend_field: "backendRefs",
        rules: rules.iter().map(stream_rule).collect(),
        listeners: None,
        unresolved: Vec::new(),
        conflicts: Vec::new(),
        unconverted: None,
    }
}

fn stream_rule(rule: &StreamRouteRule) -> RuleInput<'_> {
    RuleInput {
        name: rule.name.as_deref(),
        field: None,
        own: None,
        is_last: false,
        matches: Matches::Http(&[]),
        request_headers: None,
        response_headers: None,
        cors: None,
        action: ActionInput::Forward {
            backends: rule.backend_refs.iter().map(plain_backend).collect(),
            rewrite: None,
            mirrors: Vec::new(),
            failover: &[],
            affinity: None,
            rollout: None,
        },
        timeouts: None,
        retry: None,
        max_body_bytes: None,
        fault: None,
        cache: None,
        auth: RuleAuth::Attached,
        rate_limits: None,
        problem: None,
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
        takes: Takes::Requests,
        backend_field: "backendRefs",
        rules: rules.collect(),
        listeners: None,
        unresolved: Vec::new(),
        conflicts: Vec::new(),
        unconverted: route.annotations().get(UNCONVERTED).map(String::as_str),
    }
}

fn gateway_rule<'a>(rule: &'a GatewayRouteRule, route: &'a GatewayRoute) -> RuleInput<'a> {
    let defaults = route.spec.defaults.as_ref();
    let backends = rule.backend_refs.as_deref().filter(|backends| !backends.is_empty());
    let (action, problem) = match (&rule.redirect, &rule.respond, &rule.aggregate, backends) {
        (Some(redirect), None, None, None) => (ActionInput::Redirect(redirect), None),
        (None, Some(respond), None, None) => (ActionInput::Respond(respond), None),
        (None, None, Some(aggregate), None) => (ActionInput::Aggregate(aggregate), None),
        (None, None, None, Some(backends)) => {
            let backends = backends.iter().map(plain_backend).collect();
            let mirrors = rule.mirror.iter().enumerate();
            let mirrors =
                mirrors.map(|(index, mirror)| MirrorInput { field: format!("mirror[{index}]"), mirror });
            let mirrors = mirrors.collect();
            let statuses = route.status.as_ref().map_or(&[][..], |status| &status.rollouts);
            let rollout = rule.rollout.as_ref().map(|rollout| RolloutInput { rollout, statuses });
            let (rewrite, failover) = (rule.rewrite.as_ref(), &*rule.failover);
            let affinity = rule.session_affinity.as_ref();
            (ActionInput::Forward { backends, rewrite, mirrors, failover, affinity, rollout }, None)
        }
        _ => {
            let message = "give exactly one of backendRefs, redirect, respond and aggregate".to_owned();
            (ActionInput::Nothing, Some(message.into()))
        }
    };
    let problem = problem.or_else(|| cache::conflict(rule).map(|what| what.to_owned().into()));
    let auth = rule.auth.as_ref().or(defaults.and_then(|defaults| defaults.auth.as_ref()));
    let timeouts = rule.timeouts.as_ref().or(defaults.and_then(|defaults| defaults.timeouts.as_ref()));
    let own_limits = rule.rate_limits.as_ref();
    let default_limits = defaults.map(|defaults| &defaults.rate_limits).filter(|limits| !limits.is_empty());
    RuleInput {
        name: rule.name.as_deref(),
        field: None,
        own: None,
        is_last: false,
        matches: Matches::Http(&rule.matches),
        request_headers: rule.request_headers.as_ref(),
        response_headers: rule.response_headers.as_ref(),
        cors: rule.cors.as_ref(),
        action,
        // An aggregate has its own.
        timeouts: timeouts.filter(|_| rule.aggregate.is_none()),
        retry: rule.retry.as_ref().or(defaults.and_then(|defaults| defaults.retry.as_ref())),
        max_body_bytes: rule
            .max_request_body_bytes
            .or(defaults.and_then(|defaults| defaults.max_request_body_bytes)),
        fault: rule.fault.as_ref(),
        cache: rule.cache.as_ref(),
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
        problem,
    }
}

pub(super) fn plain_backend(reference: &BackendRef) -> BackendInput<'_> {
    BackendInput { reference, port_name: None, request_headers: None, response_headers: None }
}
