use std::collections::{BTreeMap, BTreeSet};

use gatehouse_proto::config::v1::{self, Respond, Settings, resource::Kind, route};
use proptest::prelude::{Strategy, any, prop};

use super::{HISTORY, Programmed, Tracker};
use crate::{
    resources::ObjectKey,
    serve::{Acks, ConfigServer, DataplaneAck, Options, State, StateVersion},
    translate::names::Owner,
};

/// The leader, its tracker, and what the dataplanes say.
struct Rig {
    server: ConfigServer,
    gateway: ObjectKey,
    tracker: Tracker,
    acks: Acks,
    ready: BTreeSet<String>,
}

impl Rig {
    fn new(ready: &[&str]) -> Self {
        Rig {
            server: ConfigServer::new(Options::default()),
            gateway: ObjectKey::new("ns", "edge"),
            tracker: Tracker::default(),
            acks: Acks::default(),
            ready: ready.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn publish(&mut self, routes: &[(&str, &str)]) -> StateVersion {
        let state = state(&self.server, routes);
        self.tracker.published(&self.gateway, state.clone());
        state.version()
    }

    fn ack(&mut self, dataplane: &str, version: StateVersion, rejected: &[(&str, &str)]) {
        let ack = ack(Some(version), rejected);
        self.acks.dataplanes.insert(dataplane.into(), ack);
        self.tracker.acknowledged(&self.gateway, &self.acks, &self.ready);
    }

    fn of(&self, route: &str) -> Programmed {
        self.tracker.state(&self.gateway, &Owner::object("HTTPRoute", &ObjectKey::new("ns", route)))
    }

    fn is_programmed(&self, route: &str) -> bool {
        self.of(route) == Programmed::Programmed
    }
}

fn ack(state: Option<StateVersion>, rejected: &[(&str, &str)]) -> DataplaneAck {
    let rejected = rejected.iter().map(|(name, reason)| ((*name).to_owned(), (*reason).to_owned()));
    let text = serde_json::json!({"build": "1", "connected_ms": 1, "state": state,
        "rejected": rejected.collect::<BTreeMap<_, _>>()});
    serde_json::from_value(text).unwrap()
}

/// Each route has one rule and refers to one backend.
fn state(server: &ConfigServer, routes: &[(&str, &str)]) -> State {
    let mut kinds = BTreeMap::from([("settings".to_owned(), Kind::Settings(Settings::default()))]);
    for (name, body) in routes {
        let action = match body.strip_prefix("service/") {
            Some(_) => route::Action::Forward(v1::Forward {
                backends: vec![v1::Backend { service: (*body).to_owned(), ..v1::Backend::default() }],
                ..v1::Forward::default()
            }),
            None => route::Action::Respond(Respond { body: (*body).to_owned(), ..Respond::default() }),
        };
        let route = v1::Route { action: Some(action), ..v1::Route::default() };
        kinds.insert(format!("route/HTTPRoute/ns/{name}/0"), Kind::Route(route));
    }
    server.publish("ns/edge", kinds);
    server.published("ns/edge").unwrap()
}

#[test]
fn true_only_after_every_ready_dataplane_has_it() {
    let mut rig = Rig::new(&["a", "b"]);
    assert!(!rig.is_programmed("x"), "nothing is published");
    let first = rig.publish(&[("x", "1")]);
    assert!(!rig.is_programmed("x"), "nobody said anything");
    rig.ack("a", first, &[]);
    let Programmed::Pending { message } = rig.of("x") else { panic!() };
    assert_eq!(message, "dataplane b has not acknowledged it yet");
    rig.ack("b", first, &[]);
    assert!(rig.is_programmed("x"));
    // One that is not ready does not count; one that becomes ready does.
    rig.ready.insert("c".into());
    rig.tracker.acknowledged(&rig.gateway, &rig.acks, &rig.ready);
    assert!(!rig.is_programmed("x"));
    rig.ready.clear();
    rig.tracker.acknowledged(&rig.gateway, &rig.acks, &rig.ready);
    assert!(!rig.is_programmed("x"), "no ready dataplane");
}

#[test]
fn an_edit_of_one_leaves_the_others() {
    let mut rig = Rig::new(&["a"]);
    let first = rig.publish(&[("x", "1"), ("y", "1")]);
    rig.ack("a", first, &[]);
    let second = rig.publish(&[("x", "2"), ("y", "1")]);
    assert!(!rig.is_programmed("x") && rig.is_programmed("y"));
    rig.ack("a", second, &[]);
    assert!(rig.is_programmed("x"));
    // What is taken away is in force when that is acknowledged.
    let third = rig.publish(&[("y", "1")]);
    assert!(!rig.is_programmed("x") && rig.is_programmed("y"));
    rig.ack("a", third, &[]);
    assert!(rig.is_programmed("x") && rig.is_programmed("never-there"));
    // A late word of an earlier state is enough for what did not change since.
    rig.publish(&[("y", "3")]);
    rig.publish(&[("y", "3"), ("z", "1")]);
    rig.ack("a", third, &[]);
    assert!(!rig.is_programmed("y") && !rig.is_programmed("z") && rig.is_programmed("x"));
}

#[test]
fn what_changes_back_is_what_the_dataplane_has() {
    let mut rig = Rig::new(&["a"]);
    let first = rig.publish(&[("x", "1")]);
    rig.ack("a", first, &[]);
    rig.publish(&[("x", "2")]);
    rig.publish(&[("x", "1")]);
    assert!(rig.is_programmed("x"), "whether or not it says so again");
    rig.ack("a", first, &[]);
    assert!(rig.is_programmed("x"));
}

#[test]
fn states_of_other_replicas_count_by_their_content() {
    let mut rig = Rig::new(&["a"]);
    let other = ConfigServer::new(Options::default());
    rig.publish(&[("x", "1")]);
    rig.ack("a", state(&other, &[("x", "0")]).version(), &[]);
    assert!(!rig.is_programmed("x"), "that was never published here");
    rig.ack("a", state(&other, &[("x", "1")]).version(), &[]);
    assert!(rig.is_programmed("x"));
    // A state in between that only the other replica saw takes nothing back.
    rig.publish(&[("x", "1"), ("y", "1")]);
    rig.ack("a", state(&other, &[("x", "1"), ("y", "0")]).version(), &[]);
    assert!(rig.is_programmed("x") && !rig.is_programmed("y"));
}

#[test]
fn a_lost_connection_takes_nothing_back_and_gives_nothing() {
    let mut rig = Rig::new(&["a"]);
    let first = rig.publish(&[("x", "1"), ("y", "1")]);
    rig.ack("a", first, &[]);
    rig.publish(&[("x", "1"), ("y", "2")]);
    rig.tracker.acknowledged(&rig.gateway, &Acks::default(), &rig.ready);
    assert!(rig.is_programmed("x") && !rig.is_programmed("y"));
    // Nor does a connection that has not said anything yet.
    let mut silent = Acks::default();
    silent.dataplanes.insert("a".into(), ack(None, &[]));
    rig.tracker.acknowledged(&rig.gateway, &silent, &rig.ready);
    assert!(rig.is_programmed("x") && !rig.is_programmed("y"));
}

#[test]
fn a_rejection_shows_on_its_owner_in_the_words_of_the_dataplane() {
    let mut rig = Rig::new(&["a", "b"]);
    let first = rig.publish(&[("x", "1"), ("y", "1")]);
    rig.ack("a", first, &[("route/HTTPRoute/ns/x/0", "the regex is too large")]);
    assert_eq!(rig.of("x"), Programmed::Rejected { message: "the regex is too large".into() });
    rig.ack("b", first, &[("route/HTTPRoute/ns/x/0", "the regex is too large"), ("nonsense", "?")]);
    assert_eq!(rig.of("x"), Programmed::Rejected { message: "the regex is too large".into() });
    assert!(rig.is_programmed("y"));
    let second = rig.publish(&[("x", "2"), ("y", "1")]);
    assert!(matches!(rig.of("x"), Programmed::Pending { .. }), "that was said of its former content");
    rig.ack("a", second, &[]);
    rig.ack("b", second, &[]);
    assert!(rig.is_programmed("x"));
}

#[test]
fn a_rejected_backend_shows_on_the_routes_that_name_it() {
    let mut rig = Rig::new(&["a"]);
    let first = rig.publish(&[("x", "service/ns/orders/80"), ("y", "service/ns/users/80")]);
    rig.ack("a", first, &[("endpoints/ns/orders/80", "10.0.0.300 is no address")]);
    let message = "endpoints/ns/orders/80: 10.0.0.300 is no address";
    assert_eq!(rig.of("x"), Programmed::Rejected { message: message.into() });
    assert!(rig.is_programmed("y"));
    rig.ack("a", first, &[]);
    assert!(rig.is_programmed("x"));
    rig.acks.oversized.insert("route/HTTPRoute/ns/y/0".into(), "split the object".into());
    rig.tracker.acknowledged(&rig.gateway, &rig.acks, &rig.ready);
    assert_eq!(rig.of("y"), Programmed::Rejected { message: "split the object".into() });
}

#[test]
fn the_history_is_bounded() {
    let mut rig = Rig::new(&["a"]);
    let first = rig.publish(&[("x", "1"), ("y", "0")]);
    for round in 1..3 * HISTORY {
        rig.publish(&[("x", "1"), ("y", &round.to_string()), (&format!("z{round}"), "1")]);
    }
    rig.ack("a", first, &[]);
    assert!(!rig.is_programmed("x"), "so old a state is not known any more");
    let last = rig.publish(&[("x", "1")]);
    rig.ack("a", last, &[]);
    assert!(["x", "y", "z7"].into_iter().all(|route| rig.is_programmed(route)));
    let track = &rig.tracker.gateways[&rig.gateway];
    assert!(track.order.len() <= HISTORY && track.positions.len() <= HISTORY);
    assert!(track.since.len() <= 2 * HISTORY + 2, "{}", track.since.len());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Against the definition: the state that each dataplane last acknowledged has the route as it is now.
    #[test]
    fn programmed_means_that_all_have_the_present_content(
        steps in prop::collection::vec(
            (any::<bool>(), prop::collection::vec(0_u8..3, 3), 0_usize..2, any::<prop::sample::Index>())
                .prop_map(|(publish, bodies, dataplane, which)| (publish, bodies, dataplane, which)),
            1..40,
        )
    ) {
        let mut rig = Rig::new(&["a", "b"]);
        let mut states: Vec<(StateVersion, Vec<u8>)> = Vec::new();
        let mut has: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (publish, bodies, dataplane, which) in steps {
            if publish || states.is_empty() {
                let texts = bodies.iter().map(u8::to_string).collect::<Vec<_>>();
                // A body of 0 stands for a route that is not there.
                let routes: Vec<(&str, &str)> = ["x", "y", "z"].into_iter().zip(&texts)
                    .filter(|(_, text)| *text != "0").map(|(name, text)| (name, text.as_str())).collect();
                states.push((rig.publish(&routes), bodies));
            } else {
                let (version, bodies) = states[which.index(states.len())].clone();
                let name = ["a", "b"][dataplane];
                rig.ack(name, version, &[]);
                has.insert(name, bodies);
            }
            let present = &states.last().unwrap().1;
            for (index, route) in ["x", "y", "z"].into_iter().enumerate() {
                if rig.is_programmed(route) {
                    let all = ["a", "b"].iter().all(|name| has.get(name).is_some_and(|h| h[index] == present[index]));
                    proptest::prop_assert!(all, "{route} is not on every dataplane");
                }
            }
        }
        // And once all have the last state, all is programmed.
        let last = states.last().unwrap().0;
        rig.ack("a", last, &[]);
        rig.ack("b", last, &[]);
        proptest::prop_assert!(["x", "y", "z"].into_iter().all(|route| rig.is_programmed(route)));
    }
}
