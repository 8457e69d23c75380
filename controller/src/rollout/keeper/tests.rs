use gatehouse_crds::{RolloutPhase as Phase, RolloutStatus};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Look, Rollouts};
use crate::{
    resources::{ObjectKey, Resources},
    serve::{Report, VersionCounts},
    translate::{Settings, translate},
};

/// One route, in a view that lags behind what was decided.
struct Rig {
    view: Resources,
    rollouts: Rollouts,
    now: Timestamp,
}

fn key() -> ObjectKey {
    ObjectKey::new("shop", "orders")
}

fn route(annotation: Option<&str>) -> Value {
    let mut route = json!({"apiVersion": "gatehouse.dev/v1alpha1", "kind": "GatewayRoute",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"name": "all",
            "backendRefs": [{"name": "v1", "port": 80}],
            "rollout": {"canary": {"backendRef": {"name": "v2", "port": 80},
                "steps": [{"weight": 5, "hold": "10s"}, {"weight": 50, "hold": "10s"}]}}}]}});
    if let Some(annotation) = annotation {
        route["metadata"]["annotations"] = json!({"gatehouse.dev/rollout": annotation});
    }
    route
}

impl Rig {
    fn new() -> Self {
        let mut view = Resources::default();
        let service = |name: &str| {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "shop"},
                "spec": {"ports": [{"port": 80}]}})
        };
        for object in [
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "gatehouse"},
                "spec": {"controllerName": "gatehouse.dev/gateway-controller"}}),
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                "metadata": {"name": "edge", "namespace": "shop"}, "spec": {"gatewayClassName": "gatehouse",
                "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}}),
            service("v1"),
            service("v2"),
            route(None),
        ] {
            view.apply(object).unwrap();
        }
        let mut rollouts = Rollouts::default();
        rollouts.rescan(&view);
        Rig { view, rollouts, now: Timestamp::from_second(1_000_000).unwrap() }
    }

    fn look(&mut self, seconds: i64) -> Look {
        self.now = self.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        let statuses = translate(&self.view, &Settings::default()).statuses;
        self.rollouts.look(&self.view, &statuses, self.now)
    }

    fn decides(&mut self, seconds: i64) -> RolloutStatus {
        self.look(seconds).statuses.remove(&key()).unwrap().remove(0)
    }

    /// The watch brings a status.
    fn sees(&mut self, status: &RolloutStatus) {
        let route = self.view.gateway_routes.get_mut(&key()).unwrap();
        route.status.get_or_insert_default().rollouts = vec![status.clone()];
    }

    /// The user edits the route.
    fn edits(&mut self, annotation: Option<&str>) {
        let before = self.view.gateway_routes.get(&key()).and_then(|route| route.status.clone());
        self.view.apply(route(annotation)).unwrap();
        self.view.gateway_routes.get_mut(&key()).unwrap().status = before;
    }
}

#[test]
fn the_own_word_counts_before_the_view_has_it() {
    let mut rig = Rig::new();
    let first = rig.decides(0);
    assert_eq!((first.phase, first.step), (Phase::Progressing, 1));
    assert_eq!(rig.look(0).due.map(|due| due.as_second()), Some(1_000_010));
    let second = rig.decides(10);
    assert_eq!(second.step, 2);
    rig.sees(&first);
    assert_eq!(rig.decides(1), second, "what was decided before comes back late");
    rig.sees(&second);
    assert_eq!(rig.decides(1), second);
}

#[test]
fn what_another_leader_has_written_counts() {
    let mut old = Rig::new();
    let first = old.decides(0);
    old.sees(&first);
    let second = old.decides(10);
    // The new one's view lags behind the old one's last word.
    let mut new = Rig::new();
    new.now = old.now;
    new.sees(&first);
    assert_eq!(new.decides(0).step, 2, "as the old one decided by itself");
    let theirs = RolloutStatus { phase: Phase::RolledBack, weight: 0, ..second };
    new.sees(&theirs);
    assert_eq!(new.decides(1), theirs);
    new.rollouts.forget();
    assert_eq!(new.decides(100), theirs, "a restart changes nothing");
}

#[test]
fn the_annotation_commands() {
    let mut rig = Rig::new();
    rig.decides(0);
    for (annotation, phase, reason) in [
        (Some("pause"), Phase::Paused, "Paused"),
        (Some("stop"), Phase::Waiting, "InvalidCommand"),
        (Some("all=resume"), Phase::Progressing, "Step"),
        (Some("other=abort"), Phase::Progressing, "Step"),
        (Some("all=abort"), Phase::RolledBack, "Aborted"),
        (None, Phase::RolledBack, "Aborted"),
        (Some("promote"), Phase::Promoted, "PromotedByUser"),
    ] {
        rig.edits(annotation);
        let status = rig.decides(0);
        assert_eq!((status.phase, &*status.reason), (phase, reason), "{annotation:?}: {status:?}");
    }
}

#[test]
fn a_route_that_is_not_served_waits() {
    let mut rig = Rig::new();
    rig.view.services.remove(&ObjectKey::new("shop", "v2"));
    let status = rig.decides(0);
    assert_eq!((status.phase, status.weight, &*status.reason), (Phase::Waiting, 0, "NotServed"));
    assert!(status.message.contains("shop/v2"), "{status:?}");
    rig.view.gateways.clear();
    assert!(rig.decides(0).message.contains("no Gateway"));
}

#[test]
fn only_routes_with_rollouts_are_looked_at() {
    let mut rig = Rig::new();
    rig.view.gateway_routes.get_mut(&key()).unwrap().spec.rules[0].rollout = None;
    rig.rollouts.note(&rig.view, &key());
    assert!(rig.look(0).statuses.is_empty());
    rig.edits(None);
    rig.rollouts.note(&rig.view, &key());
    assert_eq!(rig.look(0).statuses.len(), 1);
}

/// With analysis: two dataplanes, whose counters run on.
struct Traffic {
    rig: Rig,
    counts: [VersionCounts; 2],
    process: u64,
}

impl Traffic {
    fn new() -> Self {
        let mut rig = Rig::new();
        let mut route = route(None);
        route["spec"]["rules"][0]["rollout"]["canary"]["analysis"] =
            json!({"interval": "5s", "minRequests": 100});
        rig.view.apply(route).unwrap();
        Traffic { rig, counts: <[VersionCounts; 2]>::default(), process: 1 }
    }

    /// Each second the versions get so many requests, of which so many fail; gives what was decided in the end.
    fn run(&mut self, seconds: u64, requests: [u64; 2], errors: [u64; 2]) -> RolloutStatus {
        let mut status = None;
        for _ in 0..seconds {
            for ((counts, requests), errors) in self.counts.iter_mut().zip(requests).zip(errors) {
                counts.requests += requests;
                counts.errors += errors;
                counts.durations = vec![counts.requests];
            }
            self.report();
            let decided = self.rig.decides(1);
            self.rig.sees(&decided);
            status = Some(decided);
        }
        status.unwrap()
    }

    fn report(&mut self) {
        let name = format!("GatewayRoute/shop/orders/all@{}", self.hash());
        let rollouts = std::collections::BTreeMap::from([(name, self.counts.clone())]);
        let report = Report { process: self.process, rollouts };
        self.rig.rollouts.take([("shop/edge/a".to_owned(), &report), ("shop/edge/b".to_owned(), &report)]);
    }

    fn hash(&self) -> String {
        let rollout = self.rig.view.gateway_routes[&key()].spec.rules[0].rollout.clone().unwrap();
        super::Plan::of("shop", &rollout).unwrap().hash
    }
}

#[test]
fn a_healthy_version_is_promoted() {
    let mut traffic = Traffic::new();
    assert!(traffic.rig.rollouts.are_analysed(&traffic.rig.view));
    let status = traffic.run(8, [190, 10], [1, 0]);
    assert_eq!((status.phase, status.step), (Phase::Progressing, 1));
    let canary = status.canary.unwrap();
    assert!((80..=180).contains(&canary.requests), "of both dataplanes: {canary:?}");
    let status = traffic.run(8, [190, 10], [1, 0]);
    assert_eq!((status.phase, status.step, status.weight), (Phase::Progressing, 2, 50));
    let status = traffic.run(12, [100, 100], [1, 0]);
    assert_eq!((status.phase, status.weight), (Phase::Promoted, 100), "{status:?}");
}

#[test]
fn a_failing_version_is_rolled_back_within_two_intervals() {
    let mut traffic = Traffic::new();
    traffic.run(1, [190, 10], [0, 0]);
    for second in 1.. {
        assert!(second <= 11, "two intervals are over");
        // One in ten of each dataplane's.
        let status = traffic.run(1, [190, 10], [0, 1]);
        if status.phase == Phase::RolledBack {
            assert_eq!((status.weight, &*status.reason), (0, "ErrorRatio"));
            assert!(status.message.contains("requests failed (10.00 %)"), "{status:?}");
            assert!(status.canary.is_some(), "{status:?}");
            break;
        }
    }
    assert_eq!(traffic.run(20, [200, 0], [0, 0]).phase, Phase::RolledBack);
}

#[test]
fn a_version_with_too_little_traffic_waits() {
    let mut traffic = Traffic::new();
    let status = traffic.run(30, [19, 1], [0, 1]);
    assert_eq!((status.phase, status.step, &*status.reason), (Phase::Waiting, 1, "TooLittleTraffic"));
    let silent = traffic.rig.decides(1000);
    assert_eq!(silent.phase, Phase::Waiting, "without any report as well");
}

#[test]
fn counters_that_begin_anew_lose_nothing() {
    let mut traffic = Traffic::new();
    traffic.run(6, [190, 10], [0, 0]);
    traffic.process = 2;
    traffic.counts = Default::default();
    let status = traffic.run(3, [190, 10], [0, 0]);
    assert_eq!(status.phase, Phase::Progressing);
    let status = traffic.run(7, [190, 10], [0, 0]);
    assert_eq!((status.phase, status.step), (Phase::Progressing, 2));
}

/// It knows the step, but has seen no request of it: it waits until it has.
#[test]
fn a_new_leader_counts_from_its_own_beginning() {
    let mut traffic = Traffic::new();
    let before = traffic.run(8, [190, 10], [0, 0]);
    traffic.rig.rollouts.forget();
    let status = traffic.run(4, [190, 10], [0, 0]);
    assert_eq!((status.phase, status.step, &status.since), (Phase::Waiting, 1, &before.since), "{status:?}");
    let status = traffic.run(10, [190, 10], [0, 0]);
    assert_eq!((status.phase, status.step), (Phase::Progressing, 2), "{status:?}");
}
