//! The kinds that are watched, and what a change of each touches.

use gatehouse_crds::{
    AuthPolicy, BackendTlsPolicy, Consumer, Gateway, GatewayClass, GatewayConfig, GatewayRoute, GrpcRoute,
    HttpRoute, ListenerSet, RateLimitPolicy, ReferenceGrant, RolloutStatus, TcpRoute, TlsRoute,
    TrafficPolicy, UdpRoute,
};
use k8s_openapi::api::{
    core::v1::{Namespace, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use kube::{Api, Client, ResourceExt};

use super::{Source, Watched, key};
use crate::{
    resources::{ObjectKey, Resources, service_of},
    translate::ObjectId,
    watch::{Effect, guard::Guard},
};

macro_rules! namespaced {
    ($kind:ty, $name:literal, $field:ident, $crd:expr, $effect:path $(, $trim:path)?) => {
        impl Watched for $kind {
            const KIND: &'static str = $name;
            const CRD: Option<&'static str> = $crd;

            fn api(client: Client, source: &Source) -> Api<Guard<Self>> {
                source.namespaced(client)
            }
            $(fn trim(&mut self) {
                $trim(self);
            })?
            fn get<'a>(key: &ObjectKey, view: &'a Resources) -> Option<&'a Self> {
                view.$field.get(key)
            }
            fn put(self, view: &mut Resources) {
                view.$field.insert(key(&self), self);
            }
            fn take(key: &ObjectKey, view: &mut Resources) -> Option<Self> {
                view.$field.remove(key)
            }
            fn keys(view: &Resources) -> Vec<ObjectKey> {
                view.$field.keys().cloned().collect()
            }
            fn effect(before: Option<&Self>, after: Option<&Self>) -> Effect {
                $effect(before, after)
            }
        }
    };
}

macro_rules! cluster_wide {
    ($kind:ty, $name:literal, $field:ident, $crd:expr, $effect:path) => {
        impl Watched for $kind {
            const KIND: &'static str = $name;
            const CRD: Option<&'static str> = $crd;

            fn api(client: Client, _: &Source) -> Api<Guard<Self>> {
                Api::all(client)
            }
            fn get<'a>(key: &ObjectKey, view: &'a Resources) -> Option<&'a Self> {
                view.$field.get(&key.name)
            }
            fn put(self, view: &mut Resources) {
                view.$field.insert(self.name_any(), self);
            }
            fn take(key: &ObjectKey, view: &mut Resources) -> Option<Self> {
                view.$field.remove(&key.name)
            }
            fn keys(view: &Resources) -> Vec<ObjectKey> {
                view.$field.keys().map(|name| ObjectKey::new("", name)).collect()
            }
            fn effect(before: Option<&Self>, after: Option<&Self>) -> Effect {
                $effect(before, after)
            }
        }
    };
}

cluster_wide!(
    GatewayClass,
    "GatewayClass",
    gateway_classes,
    Some("gatewayclasses.gateway.networking.k8s.io"),
    of_spec
);
cluster_wide!(Namespace, "Namespace", namespaces, None, of_labels);
namespaced!(Gateway, "Gateway", gateways, Some("gateways.gateway.networking.k8s.io"), of_spec);
namespaced!(
    HttpRoute,
    "HTTPRoute",
    http_routes,
    Some("httproutes.gateway.networking.k8s.io"),
    of_route,
    trim_route
);
namespaced!(GrpcRoute, "GRPCRoute", grpc_routes, Some("grpcroutes.gateway.networking.k8s.io"), of_route);
namespaced!(TlsRoute, "TLSRoute", tls_routes, Some("tlsroutes.gateway.networking.k8s.io"), of_route);
namespaced!(TcpRoute, "TCPRoute", tcp_routes, Some("tcproutes.gateway.networking.k8s.io"), of_route);
namespaced!(UdpRoute, "UDPRoute", udp_routes, Some("udproutes.gateway.networking.k8s.io"), of_route);
namespaced!(
    BackendTlsPolicy,
    "BackendTLSPolicy",
    backend_tls_policies,
    Some("backendtlspolicies.gateway.networking.k8s.io"),
    of_spec
);
namespaced!(
    ListenerSet,
    "ListenerSet",
    listener_sets,
    Some("listenersets.gateway.networking.k8s.io"),
    of_spec
);
namespaced!(
    ReferenceGrant,
    "ReferenceGrant",
    reference_grants,
    Some("referencegrants.gateway.networking.k8s.io"),
    of_spec
);
namespaced!(
    GatewayRoute,
    "GatewayRoute",
    gateway_routes,
    Some("gatewayroutes.gatehouse.dev"),
    of_gateway_route
);
namespaced!(AuthPolicy, "AuthPolicy", auth_policies, Some("authpolicies.gatehouse.dev"), of_spec);
namespaced!(
    RateLimitPolicy,
    "RateLimitPolicy",
    rate_limit_policies,
    Some("ratelimitpolicies.gatehouse.dev"),
    of_spec
);
namespaced!(TrafficPolicy, "TrafficPolicy", traffic_policies, Some("trafficpolicies.gatehouse.dev"), of_spec);
namespaced!(Consumer, "Consumer", consumers, Some("consumers.gatehouse.dev"), of_spec);
namespaced!(GatewayConfig, "GatewayConfig", gateway_configs, Some("gatewayconfigs.gatehouse.dev"), of_spec);
namespaced!(Ingress, "Ingress", ingresses, None, of_spec);
cluster_wide!(IngressClass, "IngressClass", ingress_classes, None, of_spec);
namespaced!(Service, "Service", services, None, of_service);
namespaced!(EndpointSlice, "EndpointSlice", endpoint_slices, None, of_endpoints, trim_endpoints);

/// Kinds whose API server counts generations: a status alone does not change one.
fn of_spec<K: Watched>(before: Option<&K>, after: Option<&K>) -> Effect {
    match (before, after) {
        (Some(before), Some(after))
            if before.meta().generation.is_some()
                && before.meta().generation == after.meta().generation
                && before.uid() == after.uid()
                && before.labels() == after.labels()
                && before.annotations() == after.annotations() =>
        {
            Effect::Observed(id(after))
        }
        _ => Effect::Configuration,
    }
}

fn of_route<K: Watched>(before: Option<&K>, after: Option<&K>) -> Effect {
    match (of_spec(before, after), before.or(after)) {
        (Effect::Configuration, Some(route)) => Effect::Route(id(route)),
        (effect, _) => effect,
    }
}

/// Its weights stand in its status.
fn of_gateway_route(before: Option<&GatewayRoute>, after: Option<&GatewayRoute>) -> Effect {
    let rollouts = |route: Option<&GatewayRoute>| -> Vec<RolloutStatus> {
        route.and_then(|route| route.status.as_ref()).map_or(Vec::new(), |status| status.rollouts.clone())
    };
    match of_route(before, after) {
        Effect::Observed(id) if rollouts(before) != rollouts(after) => Effect::Route(id),
        effect => effect,
    }
}

fn id<K: Watched>(object: &K) -> ObjectId {
    ObjectId { kind: K::KIND, key: key(object) }
}

fn of_labels(before: Option<&Namespace>, after: Option<&Namespace>) -> Effect {
    match (before, after) {
        (Some(before), Some(after)) if before.labels() == after.labels() => Effect::Nothing,
        _ => Effect::Configuration,
    }
}

/// Its status holds the addresses of a Gateway.
fn of_service(before: Option<&Service>, after: Option<&Service>) -> Effect {
    match (before, after) {
        (Some(before), Some(after)) if before.spec == after.spec => {
            if before.status == after.status {
                Effect::Nothing
            } else {
                Effect::Observed(id(after))
            }
        }
        (before, after) => before.or(after).map_or(Effect::Nothing, |service| Effect::Service(key(service))),
    }
}

fn of_endpoints(before: Option<&EndpointSlice>, after: Option<&EndpointSlice>) -> Effect {
    match (before.and_then(service_of), after.and_then(service_of)) {
        (Some(before), Some(after)) if before != after => Effect::Configuration,
        (Some(service), _) | (None, Some(service)) => Effect::Endpoints(service),
        (None, None) => Effect::Nothing,
    }
}

/// Where a pod runs is not read, but for its zone.
fn trim_endpoints(slice: &mut EndpointSlice) {
    for endpoint in &mut slice.endpoints {
        endpoint.hostname = None;
        endpoint.deprecated_topology = None;
    }
}

/// Lists grow while they are read: what a route's have too much is more than what they hold, and routes are many.
fn trim_route(route: &mut HttpRoute) {
    let spec = &mut route.spec;
    spec.parent_refs.shrink_to_fit();
    spec.hostnames.shrink_to_fit();
    spec.rules.shrink_to_fit();
    for rule in &mut spec.rules {
        rule.matches.shrink_to_fit();
        rule.backend_refs.shrink_to_fit();
        rule.filters.shrink_to_fit();
        let changes = rule
            .filters
            .iter_mut()
            .flat_map(|filter| [&mut filter.request_header_modifier, &mut filter.response_header_modifier]);
        for changes in changes.flatten() {
            changes.set.shrink_to_fit();
            changes.add.shrink_to_fit();
            changes.remove.shrink_to_fit();
        }
    }
    if let Some(status) = &mut route.status {
        status.parents.shrink_to_fit();
        status.parents.iter_mut().for_each(|parent| parent.conditions.shrink_to_fit());
    }
}
