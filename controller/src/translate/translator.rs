//! A translation that is kept up to date: the edit of a route costs that route, however many there are.
//!
//! What it holds after every update is what [`super::translate`] gives for the same objects; a test holds it to that. Only
//! routes that stand for themselves, Services and addresses are updated by themselves; after any other change, and where an
//! update says that it can't tell what follows, it is made anew.

mod edit;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gatehouse_crds::{BackendRef, HttpBackendRef, HttpFilter, ServiceRef, StreamRouteRule};
use gatehouse_proto::config::v1::resource::Kind;

use super::{
    Contents, Namespaces, Settings, Translation, consumer, endpoints,
    gateway::{self, GatewayView},
    ingress::{self, Ingresses},
    input::{self, RouteInput},
    listener_set, named, names,
    policy::{OfBackend, Policies, PolicyKind, Sources},
    rivals::Rivals,
    route,
    status::{ObjectId, Statuses},
    used::Used,
};
use crate::{
    parallel::in_parallel,
    resources::{ObjectKey, Resources},
    rollout::Versions,
    serve::{Change, Content},
};
use edit::Edit;

/// Routes that are translated before the next are looked at: what comes of all of them is never held beside the result.
const AT_ONCE: usize = 4096;

#[derive(Debug)]
pub struct Translator {
    /// All but the configurations.
    translation: Translation,
    /// By Gateway.
    configs: BTreeMap<ObjectKey, Contents>,
    gateways: BTreeMap<ObjectKey, GatewayView>,
    policies: Policies,
    rivals: Rivals,
    used: Used,
    /// By route, the policies that are for its backends, each with the Gateway.
    of_backends: BTreeMap<ObjectId, BTreeSet<(OfBackend, ObjectKey)>>,
    /// Whose consumers are in the configurations.
    namespaces: Namespaces,
}

/// What an update changed.
#[derive(Debug, Default)]
pub struct Update {
    /// By Gateway, the resources that are not what they were.
    pub changes: BTreeMap<ObjectKey, Vec<Change>>,
    /// Objects whose status may not be what it was.
    pub statuses: BTreeSet<ObjectId>,
}

impl Translator {
    /// Translates everything.
    pub fn new(resources: &Resources, settings: &Settings) -> Self {
        let mut statuses = Statuses::default();
        let classes = gateway::classes(resources, &mut statuses);
        let ingresses = Ingresses::new(resources, settings);
        let sets = listener_set::by_gateway(resources);
        let mut gateways: BTreeMap<ObjectKey, GatewayView> = resources
            .gateways
            .iter()
            .filter_map(|(key, gateway)| {
                let sets = sets.get(key).map_or(&[][..], Vec::as_slice);
                Some((key.clone(), GatewayView::new(key, gateway, sets, &classes, resources)?))
            })
            .collect();
        let implied = ingresses.gateways.iter().map(|(key, (gateway, class))| {
            GatewayView::implied(key, gateway, ingress::parameters(class, resources), resources)
        });
        let taken: Vec<ObjectKey> =
            implied.filter_map(|view| gateways.insert(view.key.clone(), view)).map(|view| view.key).collect();
        let configs = gateways.iter().map(|(key, gateway)| (key.clone(), gateway.config())).collect();
        let routes = ingresses.routes(&gateways);
        let mut translator = Translator {
            translation: Translation { statuses, ..Translation::default() },
            configs,
            rivals: Rivals::new(resources, &gateways),
            gateways,
            policies: Policies::new(resources),
            used: Used::default(),
            of_backends: BTreeMap::new(),
            namespaces: Namespaces::new(),
        };
        translator.add_all(input::routes(resources).chain(routes), resources);
        translator.translation.implied_gateways = ingresses.gateways;
        translator.finish(resources, settings);
        for key in &taken {
            translator.translation.statuses.set("Gateway", key, gateway::taken());
        }
        translator
    }

    fn add_all<'a>(&mut self, mut routes: impl Iterator<Item = RouteInput<'a>>, resources: &Resources) {
        loop {
            let some: Vec<_> = routes.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                return;
            }
            let outputs = in_parallel(&some, |route| self.translate(route, resources));
            for (route, output) in some.iter().zip(outputs) {
                self.add(route.id(), output, &mut Edit::nothing());
            }
        }
    }

    fn translate(&self, route: &RouteInput<'_>, resources: &Resources) -> route::Output {
        route::translate(route, &self.gateways, &self.policies, &self.rivals, resources)
    }

    /// What does not stand with routes alone.
    fn finish(&mut self, resources: &Resources, settings: &Settings) {
        let configs = &mut self.configs;
        let Translation { gateways: _, statuses, provisioning, joined, implied_gateways, jwks } =
            &mut self.translation;
        gateway::configs(resources, statuses);
        let sources = Sources { resources, settings, implied: implied_gateways };
        for kind in PolicyKind::ALL {
            let existing = kind.existing(resources).into_iter().map(|key| (kind, key));
            let used = self.used.policies().filter(|(one, _)| *one == kind).cloned();
            for policy in existing.chain(used).collect::<BTreeSet<_>>() {
                let used = self.used.gateways(&policy);
                if let Some(status) = self.policies.emit(kind, &policy.1, &used, configs, sources) {
                    statuses.set(kind.kind(), &policy.1, status);
                }
            }
        }
        for policy in OfBackend::existing(resources) {
            let gateways = leading_to(&self.of_backends, &policy);
            if let Some(status) = self.policies.status_of_backend(&policy, gateways, resources) {
                statuses.0.insert(policy.id(), status);
            }
        }
        self.namespaces = self.used.namespaces();
        consumer::emit(resources, &self.namespaces, configs, statuses);
        endpoints::emit(resources, configs);
        for (key, gateway) in &self.gateways {
            if let Some((_, class)) = implied_gateways.get(key) {
                statuses.set("IngressClass", &ObjectKey::new("", class), gateway.class_status());
            } else {
                statuses.set("Gateway", key, gateway.status());
                for set in gateway.sets() {
                    statuses.set("ListenerSet", set, gateway.set_status(set));
                }
            }
            provisioning.insert(key.clone(), gateway.provisioning.clone());
            let listeners = gateway.joined();
            if !listeners.is_empty() {
                joined.insert(key.clone(), listeners);
            }
        }
        *jwks = Policies::jwks(resources);
    }

    /// All but the configurations.
    pub fn translation(&self) -> &Translation {
        &self.translation
    }

    /// The configurations, by Gateway and name.
    pub fn configs(&self) -> &BTreeMap<ObjectKey, Contents> {
        &self.configs
    }

    /// Puts a resource that does not come from objects into a Gateway's configuration.
    pub fn put(&mut self, gateway: &ObjectKey, name: &str, kind: Kind) {
        if let Some(config) = self.configs.get_mut(gateway) {
            config.insert(name.into(), kind.into());
        }
    }

    pub fn into_translation(self) -> Translation {
        let decoded = |config: Contents| {
            config.into_iter().map(|(name, content)| (name, Arc::new(content.kind()))).collect()
        };
        let gateways = self.configs.into_iter().map(|(gateway, config)| (gateway, decoded(config)));
        Translation { gateways: gateways.collect(), ..self.translation }
    }

    /// Routes of kinds that stand for themselves, that came, changed or went. `None`: make it anew; it must not be used any more.
    pub fn routes(
        &mut self,
        resources: &Resources,
        settings: &Settings,
        routes: &BTreeSet<ObjectId>,
    ) -> Option<Update> {
        let mut edit = Edit::default();
        self.edit_routes(resources, settings, routes, &mut edit)?;
        Some(edit.finish(&mut self.configs))
    }

    /// Services that came, changed or went. `None`: make it anew; it must not be used any more.
    pub fn services(
        &mut self,
        resources: &Resources,
        settings: &Settings,
        services: &BTreeSet<ObjectKey>,
    ) -> Option<Update> {
        if services.is_empty() {
            // Their routes are looked for among all.
            return Some(Update::default());
        }
        // Ingresses see Services from other sides, too: where their Gateway's pods stand, and by the names of ports.
        let is_near = |ingress: &ObjectKey| services.iter().any(|one| one.namespace == ingress.namespace);
        if services.iter().any(|one| one.namespace == settings.namespace)
            || resources.ingresses.keys().any(is_near)
            || Policies::asks_any(resources, services)
        {
            return None;
        }
        let mut edit = Edit::default();
        let routes = naming(resources, services);
        let targeting = services.iter().flat_map(|service| self.policies.traffic.of(service));
        edit.of_backends.extend(targeting.cloned().map(OfBackend::Traffic));
        self.edit_routes(resources, settings, &routes, &mut edit)?;
        self.edit_endpoints(resources, services, &mut edit);
        Some(edit.finish(&mut self.configs))
    }

    /// Services whose addresses changed.
    pub fn endpoints(&mut self, resources: &Resources, services: &BTreeSet<ObjectKey>) -> Update {
        let mut edit = Edit::default();
        self.edit_endpoints(resources, services, &mut edit);
        edit.finish(&mut self.configs)
    }

    fn edit_routes(
        &mut self,
        resources: &Resources,
        settings: &Settings,
        routes: &BTreeSet<ObjectId>,
        edit: &mut Edit,
    ) -> Option<()> {
        if self.rivals.unsettled_by(routes, &self.gateways, resources) {
            return None;
        }
        for id in routes {
            self.remove(id, edit);
            if let Some(input) = input::route(resources, id) {
                let output = self.translate(&input, resources);
                self.add(id.clone(), output, edit);
            }
            edit.statuses.insert(id.clone());
            for kind in PolicyKind::ALL {
                let targeting = self.policies.targeting(kind, id).map(|key| (kind, key.clone()));
                edit.policies.extend(targeting);
            }
        }
        let mut auth = edit.policies.iter().filter(|(kind, _)| *kind == PolicyKind::Auth).peekable();
        if auth.peek().is_some() && self.used.namespaces() != self.namespaces
            || auth.any(|(_, key)| Policies::is_external(key, resources))
        {
            return None;
        }
        self.edit_policies(resources, settings, edit);
        self.edit_of_backends(resources, edit);
        self.edit_backends(resources, edit);
        for (key, set) in std::mem::take(&mut edit.counted) {
            let is_implied = self.translation.implied_gateways.contains_key(&key);
            let Some(gateway) = self.gateways.get(&key).filter(|_| !is_implied) else { continue };
            let (id, status) = match set {
                None => (ObjectId { kind: "Gateway", key }, gateway.status()),
                Some(set) => {
                    let status = gateway.set_status(&set);
                    (ObjectId { kind: "ListenerSet", key: set }, status)
                }
            };
            self.translation.statuses.set(id.kind, &id.key, status);
            edit.statuses.insert(id);
        }
        Some(())
    }

    /// Takes out what a route object brought.
    fn remove(&mut self, id: &ObjectId, edit: &mut Edit) {
        let of_backends = self.of_backends.remove(id).unwrap_or_default();
        edit.of_backends.extend(of_backends.into_iter().map(|(policy, _)| policy));
        let Some(status) = self.translation.statuses.0.remove(id) else { return };
        let mut counted = BTreeSet::new();
        let mut parents = BTreeSet::new();
        for parent in &status.parents {
            let Some(key) = &parent.gateway else { continue };
            counted.extend(parent.attached.iter().map(|listener| (key.clone(), *listener)));
            parents.insert(key.clone());
        }
        self.count(counted, -1, edit);
        let prefix = names::rules(&format!("{}/{}", id.kind, id.key));
        for key in parents {
            let Some(config) = self.configs.get_mut(&key) else { continue };
            for name in named(config, &prefix) {
                edit.note(&key, &name, config);
                if let Some(content) = config.remove(&name)
                    && let Kind::Route(route) = content.kind()
                {
                    edit.turned(&key, self.used.remove(&key, &route));
                }
            }
        }
    }

    /// Puts in what a route object brings.
    fn add(&mut self, id: ObjectId, output: route::Output, edit: &mut Edit) {
        let configs = &mut self.configs;
        for (gateway, name, route) in output.routes {
            let Some(config) = configs.get_mut(&gateway) else { continue };
            let name = Arc::<str>::from(name);
            edit.note(&gateway, &name, config);
            edit.turned(&gateway, self.used.add(&gateway, &route));
            config.insert(name, Kind::Route(route).into());
        }
        for (gateway, backend, service) in output.services {
            let Some(config) = configs.get_mut(&gateway) else { continue };
            let name = names::service(&backend);
            let service = Content::from(Kind::Service(service));
            if config.get(name.as_str()) != Some(&service) {
                let name = Arc::<str>::from(name);
                edit.note(&gateway, &name, config);
                config.insert(name, service);
            }
        }
        if !output.of_backends.is_empty() {
            edit.of_backends.extend(output.of_backends.iter().map(|(policy, _)| policy.clone()));
            self.of_backends.insert(id.clone(), output.of_backends);
        }
        if output.status.parents.is_empty() {
            return;
        }
        let parents = output.status.parents.iter();
        let counted = parents
            .filter_map(|parent| Some((parent.gateway.as_ref()?, parent)))
            .flat_map(|(key, parent)| parent.attached.iter().map(move |listener| (key.clone(), *listener)))
            .collect();
        self.count(counted, 1, edit);
        self.translation.statuses.0.insert(id, output.status);
    }

    /// A route counts once on each listener.
    fn count(&mut self, listeners: BTreeSet<(ObjectKey, usize)>, change: i32, edit: &mut Edit) {
        for (key, index) in listeners {
            let listener = self.gateways.get_mut(&key).and_then(|gateway| gateway.listeners.get_mut(index));
            if let Some(listener) = listener {
                listener.attached_routes += change;
                edit.counted.insert((key, listener.set.clone()));
            }
        }
    }

    /// Policies that began or ceased to take effect somewhere, or whose targets changed.
    fn edit_policies(&mut self, resources: &Resources, settings: &Settings, edit: &mut Edit) {
        let configs = &mut self.configs;
        let Translation { statuses, implied_gateways, .. } = &mut self.translation;
        let sources = Sources { resources, settings, implied: implied_gateways };
        for policy in std::mem::take(&mut edit.policies) {
            let (kind, key) = &policy;
            let used = self.used.gateways(&policy);
            let name = Arc::<str>::from(kind.resource(key));
            for (gateway, config) in configs.iter_mut() {
                let is_used = used.contains(&gateway);
                if is_used || config.contains_key(&name) {
                    edit.note(gateway, &name, config);
                }
                if !is_used {
                    config.remove(&name);
                }
            }
            if let Some(status) = self.policies.emit(*kind, key, &used, configs, sources) {
                statuses.set(kind.kind(), key, status);
            }
            edit.statuses.insert(ObjectId { kind: kind.kind(), key: key.clone() });
        }
    }

    /// Policies of backends whose Gateways may not be what they were.
    fn edit_of_backends(&mut self, resources: &Resources, edit: &mut Edit) {
        for policy in std::mem::take(&mut edit.of_backends) {
            let gateways = leading_to(&self.of_backends, &policy);
            if let Some(status) = self.policies.status_of_backend(&policy, gateways, resources) {
                self.translation.statuses.0.insert(policy.id(), status);
            }
            edit.statuses.insert(policy.id());
        }
    }

    /// Backends that began or ceased to be named.
    fn edit_backends(&mut self, resources: &Resources, edit: &mut Edit) {
        for (gateway, backend) in std::mem::take(&mut edit.backends) {
            let Some(config) = self.configs.get_mut(&gateway) else { continue };
            let Some((name, endpoints)) = endpoints::endpoints(resources, &backend) else { continue };
            let name = Arc::<str>::from(name);
            edit.note(&gateway, &name, config);
            if self.used.has_backend(&gateway, &backend) {
                config.insert(name, Kind::Endpoints(endpoints).into());
            } else {
                edit.note(&gateway, &backend, config);
                config.remove(&backend);
                config.remove(&name);
            }
        }
    }

    fn edit_endpoints(&mut self, resources: &Resources, services: &BTreeSet<ObjectKey>, edit: &mut Edit) {
        for (gateway, config) in &mut self.configs {
            for service in services {
                for backend in endpoints::backends_of(config, service) {
                    let Some((name, endpoints)) = endpoints::endpoints(resources, &backend) else { continue };
                    let name = Arc::<str>::from(name);
                    edit.note(gateway, &name, config);
                    config.insert(name, Kind::Endpoints(endpoints).into());
                }
            }
        }
    }
}

/// The Gateways whose routes lead to what a policy is for.
fn leading_to<'a>(
    of_backends: &'a BTreeMap<ObjectId, BTreeSet<(OfBackend, ObjectKey)>>,
    policy: &OfBackend,
) -> BTreeSet<&'a ObjectKey> {
    let all = of_backends.values().flatten();
    all.filter(|(one, _)| one == policy).map(|(_, gateway)| gateway).collect()
}

/// Routes that name one of the Services, as a backend or for copies of requests.
fn naming(resources: &Resources, services: &BTreeSet<ObjectKey>) -> BTreeSet<ObjectId> {
    let names = |route: &ObjectKey, namespace: Option<&str>, name: &str| {
        let namespace = namespace.unwrap_or(&route.namespace);
        services.iter().any(|service| service.name == name && service.namespace == namespace)
    };
    let is_one =
        |route: &ObjectKey, backend: &BackendRef| names(route, backend.namespace.as_deref(), &backend.name);
    let is_target =
        |route: &ObjectKey, target: &ServiceRef| names(route, target.namespace.as_deref(), &target.name);
    let any_is_one = |key: &ObjectKey, backends: &[HttpBackendRef], filters: &[HttpFilter]| {
        let mut mirrors = filters.iter().filter_map(|filter| filter.request_mirror.as_deref());
        backends.iter().any(|backend| is_one(key, &backend.reference))
            || mirrors.any(|mirror| is_target(key, &mirror.backend_ref))
    };
    let http = resources.http_routes.iter().filter(|(key, route)| {
        route.spec.rules.iter().any(|rule| any_is_one(key, &rule.backend_refs, &rule.filters))
    });
    let grpc = resources.grpc_routes.iter().filter(|(key, route)| {
        route.spec.rules.iter().any(|rule| any_is_one(key, &rule.backend_refs, &rule.filters))
    });
    let gateway = resources.gateway_routes.iter().filter(|(key, route)| {
        route.spec.rules.iter().any(|rule| {
            rule.backend_refs.iter().flatten().any(|backend| is_one(key, backend))
                || rule.mirror.iter().any(|mirror| is_target(key, &mirror.backend_ref))
                || rule.failover.iter().any(|target| is_target(key, target))
                || rule
                    .aggregate
                    .iter()
                    .flat_map(|one| &one.parts)
                    .any(|part| is_target(key, &part.backend_ref))
                || rule
                    .rollout
                    .iter()
                    .filter_map(Versions::of)
                    .any(|versions| is_target(key, versions.target))
        })
    });
    let streams = |key: &ObjectKey, rules: &[StreamRouteRule]| {
        rules.iter().flat_map(|rule| &rule.backend_refs).any(|backend| is_one(key, backend))
    };
    let tls = resources.tls_routes.iter().filter(|(key, route)| streams(key, &route.spec.rules));
    let tcp = resources.tcp_routes.iter().filter(|(key, route)| streams(key, &route.spec.rules));
    let udp = resources.udp_routes.iter().filter(|(key, route)| streams(key, &route.spec.rules));
    let http = http.map(|(key, _)| ("HTTPRoute", key));
    let grpc = grpc.map(|(key, _)| ("GRPCRoute", key));
    let gateway = gateway.map(|(key, _)| ("GatewayRoute", key));
    let tls = tls.map(|(key, _)| ("TLSRoute", key));
    let tcp = tcp.map(|(key, _)| ("TCPRoute", key));
    let udp = udp.map(|(key, _)| ("UDPRoute", key));
    let all = http.chain(grpc).chain(gateway).chain(tls).chain(tcp).chain(udp);
    all.map(|(kind, key)| ObjectId { kind, key: key.clone() }).collect()
}

#[cfg(test)]
mod tests;
