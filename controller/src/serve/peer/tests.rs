use std::sync::Arc;

use gatehouse_proto::config::v1::{
    Header, Held, Hello, Rejection, Resource, Respond, Route, resource::Kind, route,
};
use prost::Message;

use super::{Delta, Peer};
use crate::serve::published::{Generation, Published};

/// Routes that answer with a body; the body is the content.
fn state(generation: u64, bodies: &[(&str, &str)]) -> Arc<Published> {
    let kind = |body: &str| {
        let headers = vec![Header { name: "x".into(), value: "y".into() }];
        let respond = Respond { status: 200, headers, body: body.into() };
        Kind::Route(Route { action: Some(route::Action::Respond(respond)), ..Route::default() })
    };
    let kinds = bodies.iter().map(|(name, body)| ((*name).into(), kind(body)));
    Arc::new(Published::after(None, kinds, Generation(generation)).unwrap())
}

fn names(delta: &Delta) -> (Vec<&str>, Vec<&str>) {
    let mut names: (Vec<&str>, Vec<&str>) = (
        delta.upserts.iter().map(|upsert| &*upsert.name).collect(),
        delta.removals.iter().map(|name| &**name).collect(),
    );
    names.0.sort_unstable();
    names.1.sort_unstable();
    names
}

fn wire(state: &Published, name: &str) -> Resource {
    Resource::decode(state.resources.get(name).unwrap().encoded()).unwrap()
}

fn rejection(state: &Published, name: &str, reason: &str) -> Rejection {
    Rejection { name: name.into(), version: wire(state, name).version, reason: reason.into() }
}

fn hello(holds: &[(&Published, &str)], rejected: Vec<Rejection>) -> Hello {
    let held = |(state, name): &(&Published, &str)| Held {
        name: (*name).into(),
        version: wire(state, name).version,
    };
    Hello { holds: holds.iter().map(held).collect(), rejected, ..Hello::default() }
}

#[test]
fn only_what_differs_is_sent() {
    let first = state(1, &[("a", "1"), ("b", "1")]);
    let mut peer = Peer::new(Hello::default());
    let delta = peer.delta(first.clone());
    assert_eq!(names(&delta), (vec!["a", "b"], vec![]));
    peer.acknowledge(delta, vec![]);
    assert!(peer.delta(first).is_empty());

    let second = state(2, &[("b", "2"), ("c", "1")]);
    let delta = peer.delta(second.clone());
    assert_eq!(names(&delta), (vec!["b", "c"], vec!["a"]));
    assert_eq!(delta.desired.generation, Generation(2));
    peer.acknowledge(delta, vec![]);
    assert!(peer.delta(second).is_empty());
}

#[test]
fn a_rejected_version_is_not_sent_again_and_going_back_heals() {
    let good = state(1, &[("a", "good")]);
    let bad = state(2, &[("a", "bad")]);
    let mut peer = Peer::new(Hello::default());
    peer.acknowledge(peer.delta(good.clone()), vec![]);
    peer.acknowledge(peer.delta(bad.clone()), vec![rejection(&bad, "a", "no")]);
    assert_eq!(peer.rejected()["a"], "no");
    assert!(peer.delta(bad).is_empty());

    let delta = peer.delta(good);
    assert_eq!(
        names(&delta),
        (vec!["a"], vec![]),
        "the dataplane must learn that the refused content is gone"
    );
    peer.acknowledge(delta, vec![]);
    assert!(peer.rejected().is_empty());
}

#[test]
fn a_hello_brings_back_what_is_held_and_refused() {
    let good = state(1, &[("a", "good"), ("b", "1"), ("gone", "1")]);
    let bad = state(2, &[("a", "bad"), ("b", "1")]);
    let mut peer =
        Peer::new(hello(&[(&good, "a"), (&good, "b"), (&good, "gone")], vec![rejection(&bad, "a", "no")]));
    assert_eq!(peer.rejected()["a"], "no");
    let delta = peer.delta(bad.clone());
    assert_eq!(names(&delta), (vec![], vec!["gone"]));
    peer.acknowledge(delta, vec![rejection(&bad, "a", "no")]);
    assert_eq!(peer.rejected().len(), 1);
}

#[test]
fn a_version_that_is_not_ours_differs() {
    let desired = state(1, &[("a", "1")]);
    for version in [vec![], vec![1; 15], vec![0; 32]] {
        let peer = Peer::new(Hello { holds: vec![Held { name: "a".into(), version }], ..Hello::default() });
        assert_eq!(names(&peer.delta(desired.clone())), (vec!["a"], vec![]));
    }
}

#[test]
fn a_rejection_must_be_of_what_was_given() {
    let desired = state(1, &[("a", "1")]);
    let other = state(2, &[("a", "2"), ("b", "1")]);
    let mut peer = Peer::new(Hello::default());
    let odd = Rejection { name: "a".into(), version: vec![], reason: "no version".into() };
    peer.acknowledge(
        peer.delta(desired),
        vec![rejection(&other, "a", "another version"), rejection(&other, "b", "never sent"), odd],
    );
    assert!(peer.rejected().is_empty());
}

#[test]
fn a_long_reason_is_cut_between_characters() {
    let desired = state(1, &[("a", "1")]);
    let mut peer = Peer::new(Hello::default());
    peer.acknowledge(
        peer.delta(desired.clone()),
        vec![rejection(&desired, "a", &format!("x{}", "é".repeat(1000)))],
    );
    assert_eq!(peer.rejected()["a"].len(), 1023);
}
