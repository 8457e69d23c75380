//! Names of wire resources, and what they tell. Each begins with its kind.

use gatehouse_proto::config::v1::{self, resource::Kind};

use super::{backend::BackendKey, status::ObjectId};
use crate::resources::ObjectKey;

/// The kinds whose objects are routes.
const ROUTES: [&str; 7] =
    ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", "GatewayRoute", "Ingress"];

/// No namespace has this name.
const LISTENER_SET: &str = "ListenerSet";

pub(super) const SETTINGS: &str = "settings";
pub(crate) const SIBLINGS: &str = "siblings";

/// `set`: the ListenerSet that it is of; `None`: the Gateway's own.
pub(crate) fn listener(gateway: &ObjectKey, set: Option<&ObjectKey>, section: &str) -> String {
    match set {
        None => format!("listener/{gateway}/{section}"),
        Some(set) => format!("listener/{LISTENER_SET}/{set}/{section}"),
    }
}

pub(super) fn certificate(secret: &ObjectKey) -> String {
    format!("certificate/{secret}")
}

/// `variant` tells routes apart that one rule makes for listeners with different policies.
pub(super) fn route(object: &str, rule: usize, variant: Option<&str>) -> String {
    match variant {
        None => format!("route/{object}/{rule}"),
        Some(variant) => format!("route/{object}/{rule}/{variant}"),
    }
}

/// What the names of all its rules begin with. `object`: `Kind/namespace/name`.
pub(super) fn rules(object: &str) -> String {
    format!("route/{object}/")
}

pub(super) fn service(backend: &BackendKey) -> String {
    format!("service/{backend}")
}

/// What the names of all its ports begin with.
pub(super) fn service_ports(service: &ObjectKey) -> String {
    format!("service/{service}/")
}

pub(super) fn endpoints(backend: &BackendKey) -> String {
    format!("endpoints/{backend}")
}

pub(crate) fn auth(policy: &ObjectKey) -> String {
    format!("auth/{policy}")
}

pub(crate) fn rate_limit(policy: &ObjectKey) -> String {
    format!("ratelimit/{policy}")
}

pub(crate) fn consumer(consumer: &ObjectKey) -> String {
    format!("consumer/{consumer}")
}

/// Whose resource it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// The Gateway as a whole.
    Gateway,
    /// By its name; one of a ListenerSet by that as well.
    Listener { set: Option<ObjectKey>, section: String },
    /// An object that the Gateway's configuration is made from.
    Object(ObjectId),
}

impl Owner {
    pub(crate) fn object(kind: &'static str, key: &ObjectKey) -> Self {
        Owner::Object(ObjectId { kind, key: key.clone() })
    }
}

/// The inverse of the names above. `None`: no name of ours.
pub(crate) fn owner(resource: &str) -> Option<Owner> {
    if resource == SETTINGS {
        return Some(Owner::Gateway);
    }
    let (object, rest) = parse(resource)?;
    if !resource.starts_with("listener/") {
        return Some(Owner::Object(object));
    }
    let section = rest?.split('/').next()?.to_owned();
    Some(Owner::Listener { set: (object.kind == LISTENER_SET).then_some(object.key), section })
}

/// The object that a resource is made from; of a listener, what it stands in. `None`: its name does not tell.
pub fn object_of(resource: &str) -> Option<ObjectId> {
    parse(resource).map(|(object, _)| object)
}

/// The object, and what follows it in the name.
fn parse(resource: &str) -> Option<(ObjectId, Option<&str>)> {
    let (sort, rest) = resource.split_once('/')?;
    let (kind, rest) = match sort {
        "listener" => match rest.split_once('/')? {
            (LISTENER_SET, rest) => (LISTENER_SET, rest),
            _ => ("Gateway", rest),
        },
        "route" => {
            let (kind, rest) = rest.split_once('/')?;
            (ROUTES.into_iter().find(|known| *known == kind)?, rest)
        }
        "certificate" => ("Secret", rest),
        "service" | "endpoints" => ("Service", rest),
        "auth" => ("AuthPolicy", rest),
        "ratelimit" => ("RateLimitPolicy", rest),
        "consumer" => ("Consumer", rest),
        _ => return None,
    };
    let mut parts = rest.splitn(3, '/');
    let key = ObjectKey::new(parts.next()?, parts.next()?);
    Some((ObjectId { kind, key }, parts.next()))
}

/// What a resource names, that is no resource of its owner: a route's backends, a listener's certificates.
pub(crate) fn references(kind: &Kind) -> Vec<String> {
    match kind {
        Kind::Settings(settings) => {
            Some(settings.backend_certificate.clone()).filter(|name| !name.is_empty()).into_iter().collect()
        }
        Kind::Listener(listener) => listener.certificates.clone(),
        Kind::Route(route) => backends(route)
            .filter_map(|name| name.strip_prefix("service/"))
            .flat_map(|place| [format!("service/{place}"), format!("endpoints/{place}")])
            .collect(),
        _ => Vec::new(),
    }
}

/// The resource names of the backends that a route sends requests to, or may, or copies of them.
pub(super) fn backends(route: &v1::Route) -> impl Iterator<Item = &str> {
    let none = (&[][..], &[][..], &[][..], &[][..]);
    let (backends, mirrors, failover, parts) = match &route.action {
        Some(v1::route::Action::Forward(forward)) => {
            (&forward.backends[..], &forward.mirrors[..], &forward.failover[..], &[][..])
        }
        Some(v1::route::Action::Aggregate(aggregate)) => (&[][..], &[][..], &[][..], &aggregate.parts[..]),
        _ => none,
    };
    let names = backends.iter().map(|backend| backend.service.as_str());
    let names = names.chain(mirrors.iter().map(|mirror| mirror.service.as_str()));
    let names = names.chain(failover.iter().map(String::as_str));
    names.chain(parts.iter().map(|part| part.service.as_str())).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use gatehouse_proto::config::v1::{self, resource::Kind};

    use super::{BackendKey, Owner, owner, references};
    use crate::{resources::ObjectKey, translate::backend::Spoken};

    #[test]
    fn names_tell_their_owner() {
        let key = ObjectKey::new("shop", "orders");
        let backend = BackendKey { service: key.clone(), port: 80, spoken: Spoken::Udp };
        assert_eq!(super::service(&backend), "service/shop/orders/80/udp");
        for (name, wanted) in [
            (super::SETTINGS.to_owned(), Owner::Gateway),
            (super::listener(&key, None, "http"), Owner::Listener { set: None, section: "http".into() }),
            (
                super::listener(&ObjectKey::new("infra", "edge"), Some(&key), "http"),
                Owner::Listener { set: Some(key.clone()), section: "http".into() },
            ),
            (super::certificate(&key), Owner::object("Secret", &key)),
            (super::route("HTTPRoute/shop/orders", 3, None), Owner::object("HTTPRoute", &key)),
            (super::route("GRPCRoute/shop/orders", 0, None), Owner::object("GRPCRoute", &key)),
            (super::route("GatewayRoute/shop/orders", 0, Some("http")), Owner::object("GatewayRoute", &key)),
            (super::route("Ingress/shop/orders", 0, None), Owner::object("Ingress", &key)),
            (super::service(&backend), Owner::object("Service", &key)),
            (super::endpoints(&backend), Owner::object("Service", &key)),
            (super::auth(&key), Owner::object("AuthPolicy", &key)),
            (super::rate_limit(&key), Owner::object("RateLimitPolicy", &key)),
            (super::consumer(&key), Owner::object("Consumer", &key)),
        ] {
            assert_eq!(owner(&name), Some(wanted), "{name}");
        }
        for foreign in
            ["", "settings/x", "route/Pod/shop/orders/0", "route/HTTPRoute/shop", "auth/shop", "x/y/z"]
        {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn routes_refer_to_backends_and_listeners_to_certificates() {
        let key = ObjectKey::new("shop", "orders");
        let orders = BackendKey { service: key.clone(), port: 80, spoken: Spoken::AsSaid };
        let copies = BackendKey { port: 81, ..orders.clone() };
        let standby = BackendKey { port: 82, ..orders.clone() };
        let backend = |service: String| v1::Backend { service, ..v1::Backend::default() };
        let forward = v1::Forward {
            backends: vec![backend(super::service(&orders)), backend(String::new())],
            mirrors: vec![v1::Mirror { service: super::service(&copies), numerator: 1, denominator: 1 }],
            failover: vec![super::service(&standby)],
            ..v1::Forward::default()
        };
        let route = v1::Route { action: Some(v1::route::Action::Forward(forward)), ..v1::Route::default() };
        let of_all = [&orders, &copies, &standby].map(|key| [super::service(key), super::endpoints(key)]);
        assert_eq!(references(&Kind::Route(route)), of_all.concat());
        let listener =
            v1::Listener { certificates: vec![super::certificate(&key)], ..v1::Listener::default() };
        assert_eq!(references(&Kind::Listener(listener)), [super::certificate(&key)]);
    }
}
