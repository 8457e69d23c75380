//! Configuration as a controller would send it.

use gatehouse_proto::config::v1::{self, resource::Kind, route::Action};

pub(super) const LISTENER: &str = "listener/infra/edge/http";
/// Where it listens.
pub(super) const PORT: u16 = 80;

/// How the routes of a table differ from each other.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// Each has a prefix of its own on one host.
    Paths,
    /// The same, ten segments deep.
    DeepPaths,
    /// Each has an expression of its own on one host; it begins with a literal of its own.
    Expressions,
    /// The same, but what tells them apart stands in the middle.
    InnerExpressions,
    /// Each has a host of its own.
    Hosts,
}

impl Shape {
    pub(super) fn host(self, index: usize) -> String {
        match self {
            Shape::Hosts => format!("host-{index}.example.com"),
            _ => "shop.example.com".into(),
        }
    }

    /// A path that the route takes and no other does.
    pub(super) fn path(self, index: usize) -> String {
        match self {
            Shape::Paths => format!("/service-{index}/orders/7"),
            Shape::DeepPaths => format!("/a/b/c/d/e/f/g/h/i/service-{index}"),
            Shape::Expressions => format!("/service-{index}/orders/7"),
            Shape::InnerExpressions => format!("/api/v2/service-{index}/orders/7"),
            Shape::Hosts => "/orders/7".into(),
        }
    }

    fn path_match(self, index: usize) -> v1::PathMatch {
        let (kind, value) = match self {
            Shape::Paths => (v1::PathKind::Prefix, format!("/service-{index}")),
            Shape::DeepPaths => (v1::PathKind::Prefix, self.path(index)),
            Shape::Expressions => {
                (v1::PathKind::RegularExpression, format!("/service-{index}/orders/[0-9]+"))
            }
            Shape::InnerExpressions => {
                (v1::PathKind::RegularExpression, format!("/api/v[0-9]/service-{index}/orders/[0-9]+"))
            }
            Shape::Hosts => (v1::PathKind::Prefix, "/orders".into()),
        };
        v1::PathMatch { kind: kind.into(), value }
    }
}

pub(super) fn listener() -> v1::Resource {
    let listener =
        v1::Listener { port: PORT.into(), protocol: v1::Protocol::Http.into(), ..v1::Listener::default() };
    resource(LISTENER.into(), Kind::Listener(listener))
}

/// One route of an object of its own, to one of a hundred services.
pub(super) fn route(shape: Shape, index: usize) -> v1::Resource {
    let backend =
        v1::Backend { service: service_name(index % SERVICES), weight: 1, ..v1::Backend::default() };
    let route = v1::Route {
        object: format!("HTTPRoute/team-{}/route-{index}", index % 100),
        created: 1_700_000_000,
        attachments: vec![v1::Attachment {
            listener: LISTENER.into(),
            hostnames: vec![shape.host(index)],
            one_label: false,
        }],
        matches: vec![v1::Match { path: Some(shape.path_match(index)), ..v1::Match::default() }],
        action: Some(Action::Forward(v1::Forward { backends: vec![backend], ..v1::Forward::default() })),
        ..v1::Route::default()
    };
    resource(format!("route/{}/0", route.object), Kind::Route(route))
}

/// Another content for the same route.
pub(super) fn edited(route: &v1::Resource) -> v1::Resource {
    let mut edited = route.clone();
    if let Some(Kind::Route(route)) = &mut edited.kind {
        route.timeouts = Some(v1::Timeouts { request_ms: 15_000, ..v1::Timeouts::default() });
    }
    edited
}

/// A listener, services and so many routes.
pub(super) fn whole(shape: Shape, routes: usize) -> Vec<v1::Resource> {
    let services = (0..SERVICES).map(|index| {
        let service = v1::Service { protocol: v1::UpstreamProtocol::Http1.into(), ..v1::Service::default() };
        resource(service_name(index), Kind::Service(service))
    });
    std::iter::once(listener()).chain(services).chain((0..routes).map(|index| route(shape, index))).collect()
}

const SERVICES: usize = 100;

fn service_name(index: usize) -> String {
    format!("service/team-{index}/backend/8080")
}

fn resource(name: String, kind: Kind) -> v1::Resource {
    v1::Resource { name, version: vec![7; 16], kind: Some(kind) }
}
