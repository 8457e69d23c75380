//! Matching, and what a change of one route costs.

use std::{hint::black_box, mem, sync::Arc};

use gatehouse_proto::config::v1::{Resource, resource::Kind};
use http::{HeaderMap, Method};
use prost::Message;

use super::{
    Case, Work,
    wire::{self, PORT, Shape},
};
use crate::{
    compile::{State, route_alone},
    observe::metrics::Metrics,
    route::Facts,
    snapshot::Snapshot,
};

pub(super) const CASES: &[Case] = &[
    Case { name: "match/first-of-1", prepare: || last(Shape::Paths, 1) },
    Case { name: "match/last-of-10k-paths", prepare: || last(Shape::Paths, 10_000) },
    Case { name: "match/none-of-10k-paths", prepare: || none(Shape::Paths, 10_000) },
    Case { name: "match/each-of-10k-paths", prepare: || each(Shape::Paths, 10_000) },
    Case { name: "match/ten-segments-of-10k", prepare: || last(Shape::DeepPaths, 10_000) },
    Case { name: "match/last-of-10k-hosts", prepare: || last(Shape::Hosts, 10_000) },
    Case { name: "match/last-of-1k-expressions", prepare: || last(Shape::Expressions, 1_000) },
    Case { name: "match/last-of-1k-inner-expressions", prepare: || last(Shape::InnerExpressions, 1_000) },
    Case { name: "match/none-of-1k-expressions", prepare: || none(Shape::Expressions, 1_000) },
    Case { name: "compile/one-route", prepare: compile },
    Case { name: "change/one-of-1k-paths", prepare: || change(Shape::Paths, 1_000) },
    Case { name: "change/one-of-10k-paths", prepare: || change(Shape::Paths, 10_000) },
    Case { name: "change/one-of-10k-hosts", prepare: || change(Shape::Hosts, 10_000) },
    Case { name: "match/last-of-100k-paths", prepare: || last(Shape::Paths, 100_000) },
    Case { name: "match/last-of-100k-hosts", prepare: || last(Shape::Hosts, 100_000) },
    Case { name: "match/each-of-100k-paths", prepare: || each(Shape::Paths, 100_000) },
    Case { name: "match/each-of-100k-hosts", prepare: || each(Shape::Hosts, 100_000) },
    Case { name: "change/one-of-100k-paths", prepare: || change(Shape::Paths, 100_000) },
    Case { name: "change/one-of-100k-hosts", prepare: || change(Shape::Hosts, 100_000) },
];

/// A state in force, and its snapshot.
pub(super) fn in_force(resources: Vec<Resource>) -> (State, Snapshot) {
    let mut state = State::new(Arc::new(Metrics::default()));
    let refused = state.apply(resources, &[]).refused;
    assert!(refused.is_empty(), "{refused:?}");
    let (snapshot, unfit) = state.assemble();
    assert!(unfit.is_empty(), "{unfit:?}");
    (state, snapshot)
}

/// Finds the route that was added last.
fn last(shape: Shape, routes: usize) -> Work {
    let snapshot = in_force(wire::whole(shape, routes)).1;
    let (host, path) = (shape.host(routes - 1), shape.path(routes - 1));
    let object = format!("HTTPRoute/team-{}/route-{}", (routes - 1) % 100, routes - 1);
    let headers = HeaderMap::new();
    assert_eq!(find(&snapshot, &host, &path, &headers), Some(&*object));
    Box::new(move || {
        black_box(find(&snapshot, black_box(&host), black_box(&path), &headers));
    })
}

/// Finds one route after the other, none of which is near the last in memory.
fn each(shape: Shape, routes: usize) -> Work {
    let snapshot = in_force(wire::whole(shape, routes)).1;
    let requests: Vec<_> = (0..routes).map(|index| (shape.host(index), shape.path(index))).collect();
    let headers = HeaderMap::new();
    let mut at = 0;
    Box::new(move || {
        // A prime, so that all have their turn.
        at = (at + 7_919) % routes;
        let (host, path) = &requests[at];
        black_box(find(&snapshot, host, path, &headers));
    })
}

/// A path like those of the routes, which none of them takes.
fn none(shape: Shape, routes: usize) -> Work {
    let snapshot = in_force(wire::whole(shape, routes)).1;
    let (host, path) = (shape.host(0), "/service-x/orders/7/items/3");
    let headers = HeaderMap::new();
    assert_eq!(find(&snapshot, &host, path, &headers), None);
    Box::new(move || {
        black_box(find(&snapshot, black_box(&host), black_box(path), &headers));
    })
}

/// The object whose route takes a request.
fn find<'s>(snapshot: &'s Snapshot, host: &str, path: &str, headers: &HeaderMap) -> Option<&'s str> {
    let listener = snapshot.ports.get(&PORT)?.listeners.best(host)?;
    let facts = Facts { host, path, method: &Method::GET, headers, query: None };
    let found = listener.routes.find(&facts)?;
    Some(found.target.plan.object())
}

/// From the message to what the tables hold.
fn compile() -> Work {
    let metrics = Metrics::default();
    let Resource { name, kind, .. } = wire::route(Shape::Paths, 1);
    let Some(Kind::Route(route)) = kind else { unreachable!("it is made to be a route") };
    Box::new(move || {
        black_box(route_alone(&name, black_box(&route), &metrics).is_ok());
    })
}

/// One route changes: it is decoded and compiled, the tables are assembled, and the last snapshot is dropped.
fn change(shape: Shape, routes: usize) -> Work {
    let (mut state, mut snapshot) = in_force(wire::whole(shape, routes));
    let route = wire::route(shape, routes / 2);
    let bodies = [route.encode_to_vec(), wire::edited(&route).encode_to_vec()];
    let mut turn = 0;
    Box::new(move || {
        turn ^= 1;
        apply(&mut state, &bodies[turn]);
        drop(mem::replace(&mut snapshot, state.assemble().0));
    })
}

fn apply(state: &mut State, body: &[u8]) {
    let resource = Resource::decode(body).expect("what was encoded can be decoded");
    let applied = state.apply(vec![resource], &[]);
    assert!(applied.refused.is_empty());
}
